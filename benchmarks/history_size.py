"""Memory and bytes in a checkpoint of the histories of a long run.

    python benchmarks/history_size.py [--iterations 1000000]
                                      [--out benchmarks/results/history_size.json]

A message hub gets 20 scalars per iteration, half of them tensors, and is read every 50 iterations,
as by log lines. At each point: how far the resident set of this process has grown since the first
1,000 iterations (MB of 2**20), and the size of ``torch.save`` of the hub's state (MB of 10**6).
"""

import io
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from _report import format_table, make_parser, verdict, write_report

from mmengine.logging import MessageHub

MEMORY_BUDGET_MB = 30.0
CHECKPOINT_BUDGET_MB = 2.0
SCALARS = tuple(f'train/loss_{number}' for number in range(20))
READ_EVERY = 50
FIRST = 1_000


def resident_mb() -> float:
    """Resident set of this process."""
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


def saved_mb(hub: MessageHub) -> float:
    """Size of the state of ``hub`` in a file."""
    file = io.BytesIO()
    torch.save(hub.state_dict(), file)
    return file.tell() / 1e6


def main() -> int:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--iterations', type=int, default=1_000_000)
    options = parser.parse_args()

    hub = MessageHub('long run')
    points = {FIRST, *(options.iterations * part // 10 for part in range(1, 11))}
    start = 0.0
    rows = []
    for iteration in range(1, options.iterations + 1):
        loss = torch.tensor(1.0 / iteration)
        for number, key in enumerate(SCALARS):
            hub.update_scalar(key, loss if number % 2 else 1.0 / iteration)
        if iteration % READ_EVERY == 0:
            hub.read_scalars()
            for buffer in hub.log_scalars.values():
                buffer.mean(10)
        if iteration == FIRST:
            start = resident_mb()
        if iteration in points:
            rows.append(
                {
                    'iterations': iteration,
                    'memory_mb': round(resident_mb() - start, 2),
                    'checkpoint_mb': round(saved_mb(hub), 3),
                }
            )
    print(
        format_table(
            ['iterations of 20 scalars', 'MB grown', 'MB in a checkpoint'],
            [list(row.values()) for row in rows],
        )
    )
    print(verdict(rows[-1]['memory_mb'], MEMORY_BUDGET_MB, 'MB of memory'))
    print(verdict(rows[-1]['checkpoint_mb'], CHECKPOINT_BUDGET_MB, 'MB in a checkpoint'))
    write_report(
        options.out,
        memory_budget_mb=MEMORY_BUDGET_MB,
        checkpoint_budget_mb=CHECKPOINT_BUDGET_MB,
        points=rows,
    )
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
