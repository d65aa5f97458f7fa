"""Python frames of this package in one training step with all default hooks, away from log points.

    python benchmarks/step_frames.py [--out benchmarks/results/step_frames.json]

Calls of functions whose file is in the package are counted by ``sys.setprofile`` over 48 iterations
of the step of ``step_overhead.py``, between two log lines. The table lists each function with its
calls a step.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent / 'step_overhead'))

import torch
from _report import format_table, make_parser, silenced, verdict, write_report
from engine import Classifier
from torch.utils.data import DataLoader, TensorDataset

import mmengine
from mmengine.hooks import Hook
from mmengine.runner import Runner

BUDGET = 45
PACKAGE = str(Path(mmengine.__file__).parent)
FIRST, LAST = 101, 148  # iterations between two log lines


class Count(Hook):
    """Counts the package's calls from the end of iteration ``FIRST`` to the end of ``LAST``."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Begin, or stop, counting."""
        if runner.iter == FIRST:
            sys.setprofile(self._note)
        elif runner.iter == LAST:
            sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if event == 'call' and code.co_filename.startswith(PACKAGE):
            self.calls[f'{Path(code.co_filename).relative_to(PACKAGE)}: {code.co_qualname}'] += 1


def main() -> None:
    """Count, print and write the report."""
    args = make_parser(__file__, __doc__).parse_args()
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.ReLU(),
        torch.nn.Linear(64, 10),
    )  # fmt: skip
    data = TensorDataset(torch.randn(800, 32), torch.randint(10, (800,)))
    count = Count()
    with tempfile.TemporaryDirectory() as folder, silenced():
        Runner(
            model=Classifier(net),
            work_dir=folder,
            train_dataloader=DataLoader(data, batch_size=4),
            train_cfg={'by_epoch': True, 'max_epochs': 1},
            optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.01, 'momentum': 0.9}},
            param_scheduler={'type': 'StepLR', 'step_size': 1},
            default_hooks={
                'logger': {'type': 'LoggerHook', 'interval': 50},
                'checkpoint': {'type': 'CheckpointHook', 'interval': 10**6, 'save_last': False},
            },
            custom_hooks=[count],
            randomness={'seed': 0},
        ).train()
    count.calls.pop('hooks/hook.py: Hook.get_triggered_stages', None)
    steps = LAST - FIRST
    rows = [[name, f'{calls / steps:.2f}'] for name, calls in count.calls.most_common()]
    total = sum(count.calls.values()) / steps
    print(format_table(['function', 'calls a step'], rows))
    print(verdict(total, BUDGET, 'frames a step'))
    write_report(args.out, frames=total, budget=BUDGET, functions=dict(rows))


if __name__ == '__main__':
    main()
