"""What a wrapper's direct step saves over the plain calls of the optimizer.

    python benchmarks/optimizer_calls.py [--pairs 15] [--out FILE]

CPU time of ``OptimWrapper.step()`` and ``zero_grad()`` together, as ``update_params`` calls them,
for the parameters of the 3-layer MLP of ``step_overhead.py`` and gradients that are there already.
Turns of 200 steps with ``direct_step`` and without alternate, one thread. Shown are the median and
the minimum of each, in microseconds a step, and the median of the differences of the pairs.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _report import format_table, make_parser, write_report

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmengine.optim import OptimWrapper

STEPS = 200
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    'SGD with momentum': lambda params: torch.optim.SGD(params, lr=0.01, momentum=0.9),
    'AdamW': lambda params: torch.optim.AdamW(params, lr=0.01),
    'AdamW, fused': lambda params: torch.optim.AdamW(params, lr=0.01, fused=True),
}


def make_params() -> list[torch.nn.Parameter]:
    shapes = [(64, 32), (64,), (64, 64), (64,), (10, 64), (10,)]
    return [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]


def microseconds_per_step(wrapper: OptimWrapper, direct: bool) -> float:
    wrapper.direct_step = direct
    params = wrapper.optimizer.param_groups[0]['params']
    gradients = [torch.ones_like(param) for param in params]
    total = 0.0
    for _ in range(STEPS):
        for param, gradient in zip(params, gradients, strict=True):
            param.grad = gradient
        start = time.process_time()
        wrapper._close_window(None, None)
        total += time.process_time() - start
    return total / STEPS * 1e6


def measure(pairs: int) -> list[dict[str, Any]]:
    rows = []
    for name, build in OPTIMIZERS.items():
        wrapper = OptimWrapper(build(make_params()))
        times: dict[bool, list[float]] = {True: [], False: []}
        microseconds_per_step(wrapper, False)
        microseconds_per_step(wrapper, True)
        for index in range(pairs):
            for direct in (True, False) if index % 2 else (False, True):
                times[direct].append(microseconds_per_step(wrapper, direct))
        saved = [plain - direct for plain, direct in zip(times[False], times[True], strict=True)]
        rows.append(
            {
                'optimizer': name,
                'plain_us': round(statistics.median(times[False]), 1),
                'plain_min_us': round(min(times[False]), 1),
                'direct_us': round(statistics.median(times[True]), 1),
                'direct_min_us': round(min(times[True]), 1),
                'saved_us': round(statistics.median(saved), 1),
            }
        )
    return rows


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--pairs', type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = measure(args.pairs)
    columns = ['optimizer', 'plain', 'min', 'direct', 'min', 'saved']
    print(format_table(columns, [[str(cell) for cell in row.values()] for row in rows]))
    write_report(args.out, pairs=args.pairs, steps=STEPS, rows=rows)


if __name__ == '__main__':
    main()
