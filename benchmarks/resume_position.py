"""Time from the start of a resumed training to its first batch, after 0 to 40,000 iterations.

    python benchmarks/resume_position.py [--repeat 5]

A checkpoint is written as if the run had done n iterations of 4 samples; then a new Runner resumes
it, and the clock runs from `train()` to the first forward pass. The dataset has 200,000 samples and
counts which of them it is asked for: a resumed run may ask for its next batches only, and they must
be those of a run that was never stopped. The budget is for the slowest at 40,000 iterations; shown
are medians of wall and CPU time.
"""

import contextlib
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sized
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from _report import format_table, make_parser, silenced, verdict, write_report
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.model import BaseModel
from mmengine.runner import Runner

BUDGET_S = 0.5
BATCH_SIZE = 4
SAMPLES = 200_000
POSITIONS = (0, 400, 4_000, 40_000)


class Numbers(Dataset[dict[str, Tensor]]):
    """Each sample is its own number."""

    def __init__(self) -> None:
        self.asked_for: list[int] = []

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        self.asked_for.append(index)
        return {'inputs': torch.tensor([float(index)])}


class BySeed(Sampler[int]):
    """A sampler as users write them: its order from its seed, and no way to skip."""

    def __init__(self, dataset: Sized, shuffle: bool, seed: int) -> None:
        self.length, self.seed = len(dataset), seed

    def __iter__(self) -> Any:
        generator = torch.Generator().manual_seed(self.seed)
        return iter(torch.randperm(self.length, generator=generator).tolist())

    def __len__(self) -> int:
        return self.length


class FirstBatch(Exception):
    """The training has got its first batch; the rest is not of interest."""


class Net(BaseModel):
    """Notes when its first forward pass begins."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)
        self.began_s: tuple[float, float] | None = None

    def forward(self, inputs: Tensor, mode: str) -> Any:
        self.began_s = (time.perf_counter(), time.process_time())
        raise FirstBatch


def build_runner(kind: str, work_dir: str, **kwargs: Any) -> Runner:
    loop, sampler = CASES[kind]
    dataset = Numbers()
    return Runner(
        model=Net(),
        work_dir=work_dir,
        train_dataloader=DataLoader(
            dataset, batch_size=BATCH_SIZE, sampler=sampler(dataset, shuffle=True, seed=1)
        ),
        train_cfg=loop,
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 1e-3, 'momentum': 0.9}},
        default_hooks={'checkpoint': None},
        log_processor={'by_epoch': loop['by_epoch']},
        randomness={'seed': 1},
        **kwargs,
    )


def resumed_after(position: int, kind: str, folder: str) -> tuple[float, float]:
    """Wall and CPU seconds to the first batch."""
    name = f'iter_{position}.pth'
    run = build_runner(kind, folder)
    run.strategy.optim_wrapper = run.build_optim_wrapper(run.optim_wrapper)
    run.save_checkpoint(folder, name, meta={'epoch': 0, 'iter': position}, by_epoch=False)

    resumed = build_runner(kind, folder, resume=True, load_from=f'{folder}/{name}')
    start_s = (time.perf_counter(), time.process_time())
    with contextlib.suppress(FirstBatch):
        resumed.train()
    began_s = resumed.model.began_s
    if resumed.iter != position:
        raise SystemExit(f'resumed at iteration {resumed.iter} in place of {position}')
    _check_data(resumed.train_dataloader, position)
    return began_s[0] - start_s[0], began_s[1] - start_s[1]


def _check_data(loader: Any, position: int) -> None:
    """Only the next batch was read, and it is the one that a run from the start would get."""
    start = position * BATCH_SIZE
    expected = list(itertools.islice(iter(loader.sampler), start, start + BATCH_SIZE))
    if loader.dataset.asked_for != expected:
        raise SystemExit(f'read {loader.dataset.asked_for[:8]}..., expected {expected}')


CASES: dict[str, tuple[dict[str, Any], Callable[..., Any]]] = {
    'by epoch, DefaultSampler': ({'by_epoch': True, 'max_epochs': 1}, DefaultSampler),
    'by iteration, InfiniteSampler': ({'by_epoch': False, 'max_iters': 50_000}, InfiniteSampler),
    "by epoch, a user's sampler": ({'by_epoch': True, 'max_epochs': 1}, BySeed),
}


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--repeat', type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    samples: dict[tuple[str, int], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder, silenced():
        resumed_after(0, next(iter(CASES)), folder)
        for _ in range(args.repeat):
            for kind in CASES:
                for position in POSITIONS:
                    found = resumed_after(position, kind, folder)
                    samples.setdefault((kind, position), []).append(found)

    results: dict[str, dict[str, dict[str, float]]] = {}
    for (kind, position), of_one in samples.items():
        wall_s, cpu_s = (statistics.median(times) for times in zip(*of_one, strict=True))
        row = {'wall_s': round(wall_s, 4), 'cpu_s': round(cpu_s, 4)}
        results.setdefault(kind, {})[str(position)] = row
    columns = ['seconds to the first batch after', *(f'{position:,}' for position in POSITIONS)]
    rows = []
    for kind, by_position in results.items():
        for key, label in (('wall_s', 'wall'), ('cpu_s', 'CPU')):
            times = [f'{row[key]:.3f}' for row in by_position.values()]
            rows.append([f'{kind}, {label}', *times])
    print(format_table(columns, rows))
    last = str(POSITIONS[-1])
    print(verdict(max(found[last]['wall_s'] for found in results.values()), BUDGET_S, 's'))
    write_report(args.out, repeat=args.repeat, budget_s=BUDGET_S, results=results)


if __name__ == '__main__':
    main()
