"""Memory that the records of a dataset take in a process and its dataloader workers together.

    python benchmarks/annotation_memory.py [--records 1000000] [--workers 4]

For each start method: the proportional set sizes (PSS) of the process and its workers after a first
batch, less the same with ten records, over the size of the serialised records. A page that four
processes share counts as a quarter for each of them, so 1.0 is one copy.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _report import format_table, make_parser, verdict, write_report
from torch.utils.data import DataLoader

from mmengine.dataset import BaseDataset, pseudo_collate

BUDGET = 1.2
METHODS = ('fork', 'spawn', 'forkserver')


class Boxes(BaseDataset):
    """One box a record."""

    def __init__(self, num_records: int) -> None:
        self.num_records = num_records
        super().__init__()

    def load_data_list(self) -> list[dict[str, Any]]:
        """The records."""
        return [
            {
                'img_path': f'data/train/images/{number:08d}.jpg',
                'img_id': number,
                'height': 480,
                'width': 640,
                'instances': [{'bbox': [number % 100, 20.5, 99.5, 120.25], 'bbox_label': 3}],
            }
            for number in range(self.num_records)
        ]


def measure(num_records: int, method: str, num_workers: int) -> tuple[int, int]:
    """Bytes of the serialised records, and PSS of this process and its workers."""
    dataset = Boxes(num_records)
    size = dataset.data_bytes.nbytes + dataset.data_address.nbytes
    loader = DataLoader(
        dataset,
        batch_size=2,
        num_workers=num_workers,
        multiprocessing_context=method,
        collate_fn=pseudo_collate,
        persistent_workers=True,
    )
    batches = iter(loader)
    for _ in range(num_workers):
        next(batches)
    gc.collect()
    pids = ['self', *(str(child.pid) for child in multiprocessing.active_children())]
    if len(pids) != num_workers + 1:
        raise RuntimeError(f'{num_workers} workers were started, {len(pids) - 1} are there.')
    return size, sum(map(_pss, pids))


def _pss(pid: str) -> int:
    for line in Path(f'/proc/{pid}/smaps_rollup').read_text(encoding='utf-8').splitlines():
        if line.startswith('Pss:'):
            return int(line.split()[1]) * 1024
    raise RuntimeError('The system does not tell proportional set sizes.')


def measured_apart(num_records: int, method: str, num_workers: int) -> tuple[int, int]:
    """The same in a new process."""
    done = subprocess.run(
        [sys.executable, __file__, '--one', str(num_records), method, str(num_workers)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    size, pss = json.loads(done.stdout.splitlines()[-1])
    return size, pss


def copies(num_records: int, method: str, num_workers: int) -> tuple[float, int, int]:
    """How many copies of the records there are, their size and the memory, in bytes."""
    size, pss = measured_apart(num_records, method, num_workers)
    _, base = measured_apart(10, method, num_workers)
    return (pss - base) / size, size, pss - base


def main() -> None:
    """Measure, print and write the report."""
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--records', type=int, default=1_000_000)
    parser.add_argument('--workers', type=int, default=4)
    parser.add_argument('--one', nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(int(args.one[0]), args.one[1], int(args.one[2]))))
        return
    found = {method: copies(args.records, method, args.workers) for method in METHODS}
    rows = [
        [method, f'{size / 2**20:.0f}', f'{memory / 2**20:.0f}', f'{ratio:.2f}']
        for method, (ratio, size, memory) in found.items()
    ]
    print(format_table(['start method', 'records, MiB', 'memory, MiB', 'copies'], rows))
    worst = max(ratio for ratio, _, _ in found.values())
    print(verdict(worst, BUDGET, 'copies'))
    write_report(
        args.out, records=args.records, workers=args.workers, budget=BUDGET,
        copies={method: ratio for method, (ratio, _, _) in found.items()},
        bytes={method: memory for method, (_, _, memory) in found.items()},
    )  # fmt: skip


if __name__ == '__main__':
    main()
