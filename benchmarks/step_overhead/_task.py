"""The work that every framework does here, and how its steps are timed and its read-backs counted.

5 epochs of 500 batches of 4 through a three-layer MLP with cross entropy, SGD with momentum, a
schedule stepped once an epoch and the mean loss logged every 50 steps; no checkpoints. The order of
the data is fixed, so that all end with the very same weights, which is checked.

The clock is in the network itself, so that nothing depends on how a framework is built: it is read
at the start of a forward pass. The first epoch warms up. After it the process stops every 100
steps, tells the CPU time of a step, and waits for a line on its standard input: so two processes
can take turns, close enough in time to meet the same machine.
"""

import hashlib
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, Dataset

EPOCHS = 5
EPOCH_LENGTH = 500
BATCH_SIZE = 4
LOG_INTERVAL = 50
TURN = 100
LR = 0.05
MOMENTUM = 0.9
LR_STEP_EPOCHS = 2
LR_GAMMA = 0.5

COUNTS_READS = 'STEP_OVERHEAD_COUNT_READS' in os.environ


class Points(Dataset[dict[str, Tensor]]):
    """Random inputs and labels."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(EPOCH_LENGTH * BATCH_SIZE, 16, generator=generator)
        self.labels = torch.randint(4, (len(self.inputs),), generator=generator)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {'inputs': self.inputs[index], 'labels': self.labels[index]}


class Clock:
    """Lets the process run in turns and tells the time that each one took."""

    def __init__(self) -> None:
        self.calls = 0
        self.counter = ReadCounter()
        self.reads_at: list[int] = []
        self._told = os.fdopen(os.dup(1), 'w')
        self._began_s = 0.0

    def tick(self) -> None:
        """Called at the start of every forward pass."""
        self.calls += 1
        if self.calls >= EPOCH_LENGTH and self.calls % TURN == 0:
            self._end_turn(time.process_time())

    def tell(self, **what: Any) -> None:
        """Write a line of JSON to whoever started this process."""
        print(json.dumps(what), file=self._told, flush=True)

    def _end_turn(self, now_s: float) -> None:
        self.reads_at.append(self.counter.count)
        if not COUNTS_READS:
            self.tell(cpu_us=(now_s - self._began_s) / TURN * 1e6)
            sys.stdin.readline()
        self._began_s = time.process_time()


class ReadCounter(TorchDispatchMode):
    """Counts ``item()`` and its like: values that the host waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def make_layers() -> nn.Sequential:
    """Three layers: from the 16 inputs to scores of 4 labels."""
    return nn.Sequential(
        nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)
    )


class Mlp(nn.Module):
    """The layers, with the clock in front of them."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.layers = make_layers()

    def forward(self, inputs: Tensor) -> Any:
        self.clock.tick()
        return self.layers(inputs)


def make_optimizer(net: nn.Module) -> torch.optim.SGD:
    """For frameworks that take an object."""
    return torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM)


def make_schedule(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.StepLR:
    """For frameworks that take an object; stepped once an epoch."""
    return torch.optim.lr_scheduler.StepLR(optimizer, LR_STEP_EPOCHS, LR_GAMMA)


def run(train: Callable[[Mlp, DataLoader[Any], str], None], version: str, settings: str) -> None:
    """Let ``train(net, loader, work_dir)`` train, and tell what came out.

    Whatever the framework prints goes to a file, not to the terminal.

    Args:
        train: Trains with one framework.
        version: Of the framework.
        settings: How it is set up, for the reader of the table.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.simplefilter('ignore')
    clock = Clock()
    net = Mlp(clock)
    loader = DataLoader(Points(), batch_size=BATCH_SIZE)
    with tempfile.TemporaryDirectory() as work_dir:
        with open(os.path.join(work_dir, 'output'), 'w') as output:
            os.dup2(output.fileno(), 1)
        with clock.counter if COUNTS_READS else nullcontext():
            train(net, loader, work_dir)
        sys.stdout.flush()
    if clock.calls != EPOCHS * EPOCH_LENGTH:
        raise SystemExit(f'{clock.calls} steps were made, not {EPOCHS} x {EPOCH_LENGTH}')
    weights = b''.join(param.detach().numpy().tobytes() for param in net.parameters())
    reads = clock.reads_at[-1] - clock.reads_at[0]
    clock.tell(
        version=version,
        settings=settings,
        reads=reads / ((EPOCHS - 1) * EPOCH_LENGTH),
        weights=hashlib.sha256(weights).hexdigest(),
    )
