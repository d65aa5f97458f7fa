"""How the CPU time of a step grows with the number of losses, hooks, groups and parameters.

    python benchmarks/step_growth.py [--turns 7]

Two linear layers, batch 4, SGD with momentum. One number grows at a time: losses of the model,
custom hooks that act after each iteration, parameter groups (of one scalar each), and parameters of
the network. The loop by hand does the same: it keeps every loss for the log, calls a function for
each hook, has the same groups and parameters. Both take turns of 100 steps in one process; shown
are the medians of the turns, and the ratio is the median of the pairs.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from _report import format_table, make_parser, silenced, write_report
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner

STEPS = 100
COUNTS = {
    'losses': (1, 4, 16, 64),
    'hooks': (0, 4, 16, 64),
    'parameter groups': (1, 4, 16, 64),
    'parameters': (4, 16, 64, 256),
}


class Network(nn.Module):
    """Two layers, and parameters that are added to the scores."""

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
        self.extra = nn.ParameterList(torch.zeros(4) for _ in range(extra))

    def forward(self, inputs: Tensor) -> Any:
        scores = self.layers(inputs)
        return scores + torch.stack(list(self.extra)).sum(0) if len(self.extra) else scores


def losses_of(net: nn.Module, inputs: Tensor, labels: Tensor, count: int) -> dict[str, Tensor]:
    loss = cross_entropy(net(inputs), labels)
    return {f'loss_{index}': loss * (1 / (index + 1)) for index in range(count)}


class Classifier(BaseModel):
    def __init__(self, extra: int, losses: int) -> None:
        super().__init__()
        self.net, self.losses = Network(extra), losses

    def forward(self, inputs: Tensor, labels: Tensor, mode: str = 'tensor') -> Any:
        return losses_of(self.net, inputs, labels, self.losses)


class Counting(Hook):
    def __init__(self) -> None:
        self.count = 0

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.count += 1


def groups_of(net: nn.Module, count: int) -> list[dict[str, Any]]:
    params = list(net.parameters())
    return [
        {'params': params},
        *({'params': [nn.Parameter(torch.zeros(()))]} for _ in range(1, count)),
    ]


def by_hand(losses: int, hooks: int, groups: int, extra: int, loader: Any) -> Callable[[], None]:
    torch.manual_seed(0)
    net = Network(extra)
    optimizer = torch.optim.SGD(groups_of(net, groups), lr=0.01, momentum=0.9)
    counts = [0] * hooks

    def act(index: int) -> None:
        counts[index] += 1

    def run() -> None:
        windows: dict[str, list[Tensor]] = {}
        for number, (inputs, labels) in enumerate(loader, start=1):
            found = losses_of(net, inputs, labels, losses)
            loss: Any = sum(found.values())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            for name, value in found.items():
                windows.setdefault(name, []).append(value.detach())
            for index in range(hooks):
                act(index)
            if number % 50 == 0:
                means = {name: torch.stack(window).mean() for name, window in windows.items()}
                print({name: value.item() for name, value in means.items()})
                windows.clear()

    return run


def compare(losses: int, hooks: int, groups: int, extra: int, turns: int) -> list[list[float]]:
    """CPU microseconds of a step by hand and in the engine, for each pair of turns."""
    generator = torch.Generator().manual_seed(0)
    data = TensorDataset(
        torch.randn(STEPS * 4, 16, generator=generator),
        torch.randint(4, (STEPS * 4,), generator=generator),
    )
    hand = by_hand(losses, hooks, groups, extra, DataLoader(data, 4))
    torch.manual_seed(0)
    model = Classifier(extra, losses)
    times: list[list[float]] = []
    with tempfile.TemporaryDirectory() as folder, silenced():
        runner = Runner(
            model=model,
            work_dir=folder,
            experiment_name=f'growth-{losses}-{hooks}-{groups}-{extra}',
            train_dataloader=DataLoader(data, 4),
            train_cfg={'by_epoch': True, 'max_epochs': 10**6},
            optim_wrapper={
                'type': 'OptimWrapper',
                'optimizer': torch.optim.SGD(groups_of(model.net, groups), lr=0.01, momentum=0.9),
            },
            default_hooks={
                'logger': {'type': 'LoggerHook', 'interval': 50},
                'checkpoint': {'type': 'CheckpointHook', 'interval': 10**6, 'save_last': False},
            },
            custom_hooks=[Counting() for _ in range(hooks)],
            randomness={'seed': 0},
        )
        loop: Any = runner.build_train_loop(runner._train_loop)
        runner._train_loop = loop

        def run_turns(*args: Any, **kwargs: Any) -> Any:
            """In place of the loop's own ``run``, with everything prepared."""
            runner.call_hook('before_train')
            for turn in range(turns + 1):
                pair = [0.0, 0.0]
                for which in (0, 1) if turn % 2 else (1, 0):
                    start = time.process_time()
                    hand() if which == 0 else loop.run_epoch()
                    pair[which] = (time.process_time() - start) / STEPS * 1e6
                times.append(pair)
            return runner.model

        loop.run = run_turns
        runner.train()
    return times[1:]


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--turns', type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    growth: dict[str, list[dict[str, Any]]] = {}
    for name, counts in COUNTS.items():
        for count in counts:
            numbers = {'losses': 1, 'hooks': 0, 'parameter groups': 1, 'parameters': 4, name: count}
            pairs = compare(
                numbers['losses'], numbers['hooks'], numbers['parameter groups'],
                numbers['parameters'] - 4, args.turns,
            )  # fmt: skip
            growth.setdefault(name, []).append(
                {
                    'count': count,
                    'by_hand_us': round(statistics.median(base for base, _ in pairs), 1),
                    'engine_us': round(statistics.median(ours for _, ours in pairs), 1),
                    'added_us': round(statistics.median(ours - base for base, ours in pairs), 1),
                    'ratio': round(statistics.median(ours / base for base, ours in pairs), 3),
                }
            )
        columns = [f'number of {name}', 'by hand us', 'this engine us', 'added us', 'ratio']
        print(format_table(columns, [list(row.values()) for row in growth[name]]), flush=True)
    write_report(args.out, turns=args.turns, growth=growth)


if __name__ == '__main__':
    main()
