"""Time for which saving a checkpoint holds up the training, over `torch.save` of the same tensors.

    python benchmarks/checkpoint_save.py [--repeat 15] [--dir FOLDER]

`Runner.save_checkpoint` of a run (model, optimizer with momentum, schedules, a message hub with
10,000 iterations, random numbers) takes turns with `torch.save` of the very dict that it wrote.
The engine also makes sure that the file is on the disk before its name moves to it; so `torch.save`
followed by fsync is shown too, and the ratio of wall times is to that one. The budget is for both
ratios, of CPU time and of wall time; each is of two saves side by side, and shown are medians.

With `CheckpointHook(async_save=True)` a thread writes the file. Its stall is the time until the
training goes on: gathering the state and one copy of it in host memory, beside which stands the
time of copying the same tensors alone. What the thread takes from the training is the time of a
fixed piece of computation while it writes, over the time without it.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from _report import format_table, make_parser, silenced, verdict, write_report
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmengine.hooks._save_queue import SaveQueue
from mmengine.model import BaseModel
from mmengine.runner import Runner

BUDGET_RATIO = 1.05
HISTORY = 10_000
SIZES = {'small (7 k parameters)': (16, 64, 3), 'large (17 M parameters)': (512, 2048, 5)}


class Classifier(BaseModel):
    def __init__(self, inputs: int, width: int, depth: int) -> None:
        super().__init__()
        widths = [inputs, *[width] * (depth - 1), 32]
        self.layers = nn.Sequential(*map(nn.Linear, widths, widths[1:]))

    def forward(self, inputs: Tensor, mode: str) -> Any:
        return {'loss': self.layers(inputs).square().mean()}


def trained_runner(shape: tuple[int, int, int], work_dir: str) -> Runner:
    """One step in, so that the optimizer has its state; with the history of a longer run."""
    data = [{'inputs': torch.randn(shape[0])} for _ in range(2)]
    runner = Runner(
        model=Classifier(*shape),
        work_dir=work_dir,
        train_dataloader=DataLoader(data, batch_size=2),  # type: ignore[arg-type]  # a list serves as dataset
        train_cfg={'by_epoch': True, 'max_epochs': 1},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 1e-3, 'momentum': 0.9}},
        param_scheduler=[
            {'type': 'LinearLR', 'start_factor': 0.1, 'by_epoch': False, 'end': 500},
            {'type': 'MultiStepLR', 'milestones': [8, 11], 'by_epoch': True},
        ],
        default_hooks={'checkpoint': None},
    )
    runner.train()
    for name in ('train/loss', 'train/lr', 'train/time', 'train/data_time'):
        for index in range(HISTORY):
            runner.message_hub.update_scalar(name, index / HISTORY)
    return runner


def timed(save: Callable[[str], None], path: str) -> tuple[float, float]:
    """Wall and CPU milliseconds of this thread, for writing a new file."""
    wall, cpu = time.perf_counter(), time.thread_time()
    save(path)
    spent = (time.perf_counter() - wall) * 1e3, (time.thread_time() - cpu) * 1e3
    os.unlink(path)
    return spent


def measure(runner: Runner, folder: str, repeat: int) -> dict[str, Any]:
    path = os.path.join(folder, 'checkpoint.pth')
    runner.save_checkpoint(*os.path.split(path))
    size = os.path.getsize(path)
    written = torch.load(path, weights_only=True)
    os.unlink(path)

    def by_torch(path: str) -> None:
        torch.save(written, path)

    def by_torch_to_disk(path: str) -> None:
        with open(path, 'wb') as file:
            torch.save(written, file)
            file.flush()
            os.fsync(file.fileno())

    def by_engine(path: str) -> None:
        runner.save_checkpoint(*os.path.split(path))

    calls: dict[str, Callable[[str], None]] = {
        'torch.save': by_torch,
        'torch.save and fsync': by_torch_to_disk,
        'this engine': by_engine,
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for turn in range(repeat + 1):
        for name in list(calls)[:: 1 if turn % 2 else -1]:
            times[name].append(timed(calls[name], path))
    times = {name: of_one[1:] for name, of_one in times.items()}
    pairs = list(zip(times['this engine'], times['torch.save and fsync'], strict=True))
    return {
        'file_mb': round(size / 2**20, 3),
        'wall_ms': {n: round(statistics.median(w for w, _ in t), 3) for n, t in times.items()},
        'cpu_ms': {n: round(statistics.median(c for _, c in t), 3) for n, t in times.items()},
        'wall_ratio': round(statistics.median(ours[0] / base[0] for ours, base in pairs), 3),
        'cpu_ratio': round(statistics.median(ours[1] / base[1] for ours, base in pairs), 3),
    }


def measure_async(runner: Runner, folder: str, repeat: int) -> dict[str, Any]:
    path = os.path.join(folder, 'checkpoint.pth')
    runner.save_checkpoint(*os.path.split(path))
    written = torch.load(path, weights_only=True)
    os.unlink(path)
    tensors = [value for value in _tensors(written) if value.numel()]
    queue = SaveQueue(in_background=True)
    times: dict[str, list[float]] = {
        'one copy': [], 'stall, async': [], 'stall, sync': [], 'work': [], 'work while writing': []
    }  # fmt: skip

    def clock(name: str, call: Callable[[], Any]) -> None:
        begin = time.perf_counter()
        kept = call()
        times[name].append((time.perf_counter() - begin) * 1e3)
        del kept

    def save_async() -> None:
        with queue.used_by(runner.strategy):
            runner.save_checkpoint(*os.path.split(path))

    matrix = torch.randn(256, 256)

    def work() -> None:
        for _ in range(100):
            matrix @ matrix

    for _ in range(repeat + 1):
        clock('one copy', lambda: [tensor.clone() for tensor in tensors])
        clock('stall, sync', lambda: runner.save_checkpoint(*os.path.split(path)))
        os.unlink(path)
        clock('work', work)
        clock('stall, async', save_async)
        clock('work while writing', work)
        error = queue.outcome()
        assert error is None, error
        os.unlink(path)
    medians = {name: round(statistics.median(found[1:]), 3) for name, found in times.items()}
    pairs = list(zip(times['stall, async'][1:], times['one copy'][1:], strict=True))
    return {
        'ms': medians,
        'stall_over_copy': round(statistics.median(stall / copy for stall, copy in pairs), 3),
    }


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return [tensor for item in value.values() for tensor in _tensors(item)]
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--repeat', type=int, default=15)
    parser.add_argument('--dir', help='where the checkpoints go; decides about the disk')
    args = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for name, shape in SIZES.items():
        with tempfile.TemporaryDirectory(dir=args.dir) as folder:
            with silenced():
                runner = trained_runner(shape, folder)
            results[name] = measure(runner, folder, args.repeat)
            results[name]['async'] = measure_async(runner, folder, args.repeat)

    rows = []
    for name, found in results.items():
        for method, wall_ms in found['wall_ms'].items():
            rows.append([f'{name}: {method}', f'{wall_ms:.2f}', f'{found["cpu_ms"][method]:.2f}'])
        rows.append([f'{name}: ratio', found['wall_ratio'], found['cpu_ratio']])
    print(format_table(['', 'wall ms', 'CPU ms'], rows))
    print(
        format_table(
            ['', 'ms'],
            [
                [f'{name}: {what}', f'{ms:.2f}']
                for name, found in results.items()
                for what, ms in found['async']['ms'].items()
            ],
        )
    )
    large = results[list(SIZES)[-1]]
    print('large: stall, async, over one copy:', large['async']['stall_over_copy'])
    print('large:', verdict(max(large['wall_ratio'], large['cpu_ratio']), BUDGET_RATIO))
    write_report(args.out, repeat=args.repeat, budget_ratio=BUDGET_RATIO, results=results)


if __name__ == '__main__':
    main()
