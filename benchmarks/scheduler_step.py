"""Time to step two schedules over 200 parameter groups.

    python benchmarks/scheduler_step.py [--peer PYTHON] [--repeat 30] [--out FILE]

CPU time of one step of both schedules in microseconds: the median and the best of all repeats,
each a mean over many steps. The budget, 30 us, is meant for both schedules acting; one outside its
window, or between two milestones, should cost next to nothing. `one rate` gives all groups the same
learning rate, `200 rates` a rate of its own to each. `--peer` names the Python of a virtual
environment that has another implementation of the API: it runs the same script, for comparison.
"""

import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from _report import format_table, make_parser, verdict, write_report

sys.path.append(str(Path(__file__).resolve().parents[1]))

from mmengine.optim import scheduler

GROUPS = 200
STEPS = 1000
BUDGET_US = 30.0
LONG = 10**7

SETTINGS: dict[str, Callable[[Any], list[Any]]] = {
    'warm-up and cosine, both acting': lambda optimizer: [
        scheduler.LinearLR(optimizer, start_factor=0.5, end=LONG),
        scheduler.CosineAnnealingLR(optimizer, T_max=LONG, eta_min=1e-5),
    ],
    'rate and momentum by cosine': lambda optimizer: [
        scheduler.CosineAnnealingLR(optimizer, T_max=LONG, eta_min=1e-5),
        scheduler.CosineAnnealingMomentum(optimizer, T_max=LONG),
    ],
    'warm-up that is over, then cosine': lambda optimizer: [
        scheduler.LinearLR(optimizer, start_factor=0.5, end=10),
        scheduler.CosineAnnealingLR(optimizer, T_max=LONG, eta_min=1e-5, begin=10),
    ],
    'warm-up that is over, then milestones': lambda optimizer: [
        scheduler.LinearLR(optimizer, start_factor=0.5, end=10),
        scheduler.MultiStepLR(optimizer, milestones=[LONG]),
    ],
}
BOTH_ACTING = ('warm-up and cosine, both acting', 'rate and momentum by cosine')


def make_optimizer(rates: Sequence[float]) -> torch.optim.Optimizer:
    groups = [{'params': [torch.nn.Parameter(torch.zeros(1))], 'lr': rate} for rate in rates]
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


def microseconds_per_step(schedules: Sequence[Any]) -> float:
    start = time.process_time()
    for _ in range(STEPS):
        for schedule in schedules:
            schedule.step()
    return (time.process_time() - start) / STEPS * 1e6


def measure(repeat: int) -> list[dict[str, Any]]:
    rates = {
        'one rate': [0.1] * GROUPS,
        '200 rates': [0.1 * 0.99**index for index in range(GROUPS)],
    }
    rows = []
    for setting, build in SETTINGS.items():
        for spread, values in rates.items():
            schedules = build(make_optimizer(values))
            microseconds_per_step(schedules)
            times = [microseconds_per_step(schedules) for _ in range(repeat)]
            rows.append(
                {
                    'setting': setting,
                    'rates': spread,
                    'both_acting': setting in BOTH_ACTING,
                    'median_us': round(statistics.median(times), 2),
                    'best_us': round(min(times), 2),
                }
            )
    return rows


def measure_peer(python: str, repeat: int) -> list[dict[str, Any]]:
    command = [python, '-W', 'ignore', __file__, '--repeat', str(repeat), '--rows-only']
    # Its own mmengine comes first: this repository is the last entry of the script's path.
    script = subprocess.run(command, cwd='/', capture_output=True, text=True, check=True)
    rows: list[dict[str, Any]] = json.loads(script.stdout.splitlines()[-1])
    return rows


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--repeat', type=int, default=30)
    parser.add_argument('--peer', metavar='PYTHON')
    parser.add_argument('--rows-only', action='store_true', help='print the rows as JSON')
    args = parser.parse_args()
    warnings.simplefilter('ignore')

    rows = measure(args.repeat)
    if args.rows_only:
        print(json.dumps(rows))
        return
    if args.peer is not None:
        for row, peer in zip(rows, measure_peer(args.peer, args.repeat), strict=True):
            row['peer_median_us'], row['peer_best_us'] = peer['median_us'], peer['best_us']

    numbers = [key for key in rows[0] if key.endswith('_us')]
    columns = ['two schedules over 200 groups', 'rates', *numbers]
    cells = [[row['setting'], row['rates'], *(row[key] for key in numbers)] for row in rows]
    print(format_table(columns, cells))
    slowest = max(row['best_us'] for row in rows if row['both_acting'])
    print('the slowest with both acting, at its best:', verdict(slowest, BUDGET_US, 'us'))
    write_report(args.out, budget_us=BUDGET_US, repeat=args.repeat, rows=rows)


if __name__ == '__main__':
    main()
