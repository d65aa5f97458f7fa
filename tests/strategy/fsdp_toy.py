"""A small model with blocks, its data, and its training by hand, for tests of FSDPStrategy."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel

if TYPE_CHECKING:
    from mmengine.runner import Runner

SEED, RANKS, BATCH, ITERS = 5, 2, 2, 20


class Block(nn.Module):
    """Sizes that two ranks cannot halve."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(5)
        self.linear = nn.Linear(5, 5)
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x + torch.tanh(self.linear(self.norm(x)))


class Net(BaseModel):
    def __init__(self, init_cfg: Any = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.embed = nn.Linear(3, 5)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(5, 1)
        self.register_buffer('scale', torch.tensor(0.5))

    def forward(self, x: Any, y: Any = None, mode: str = 'tensor') -> Any:  # type: ignore[override]
        out = torch.tanh(self.embed(x))
        for block in self.blocks:
            out = block(out)
        out = self.head(out) * self.scale
        if mode == 'loss':
            return {'loss': F.mse_loss(out.float(), y)}
        return list(out) if mode == 'predict' else out


class Wide(nn.Linear):
    """Weights beside which the activations of a batch are small."""

    def __init__(self) -> None:
        super().__init__(64, 64, bias=False)


class Deep(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Wide() for _ in range(16))
        self.head = nn.Linear(64, 1)

    def forward(self, x: Any, y: Any = None, mode: str = 'tensor') -> Any:  # type: ignore[override]
        out = F.pad(x, (0, 61))
        for layer in self.layers:
            out = torch.tanh(layer(out))
        return {'loss': F.mse_loss(self.head(out), y)}


class Exchanges(TorchDispatchMode):
    """How often, in which order and dtypes parameters are gathered and gradients exchanged."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.order = ''
        self.dtypes: dict[str, set[str]] = {'gathered': set(), 'reduced': set()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name()
        if 'reduce_scatter' in name:
            self.count += 1
            self.order += 'r'
            self.dtypes['reduced'].add(str(args[1].dtype))
        elif 'allgather_base' in name:
            self.order += 'g'
            self.dtypes['gathered'].add(str(args[1].dtype))
        return func(*args, **(kwargs or {}))


class Generator(nn.Linear):
    def __init__(self) -> None:
        super().__init__(3, 3)


class Discriminator(nn.Linear):
    def __init__(self) -> None:
        super().__init__(3, 1)


class Gan(BaseModel):
    """Its step calls its two parts, not the model itself."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = Generator()
        self.discriminator = Discriminator()

    def forward(self, x: Any, y: Any = None, mode: str = 'tensor') -> Any:  # type: ignore[override]
        return list(self.discriminator(self.generator(x)))

    def losses(self, x: torch.Tensor) -> Iterator[tuple[str, nn.Module, Any]]:
        """Each part with the other one, and its loss as a function."""
        judge, make = self.discriminator, self.generator
        yield (
            'discriminator',
            make,
            lambda: (judge(make(x).detach()) - judge(x) + judge(x).square()).mean(),
        )
        yield 'generator', judge, lambda: -judge(make(x)).mean()

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, torch.Tensor]:
        loss = torch.zeros(())
        for name, other, compute in self.losses(data['x']):
            other.requires_grad_(False)
            with optim_wrapper[name].optim_context(self):
                loss = compute()
            optim_wrapper[name].update_params(loss)
            other.requires_grad_(True)
        return {'loss': loss.detach()}


def gan_by_hand(optimizer: dict[str, Any]) -> dict[str, Any]:
    """One process; the discriminator steps once for two batches."""
    torch.manual_seed(SEED)
    model = Gan()
    settings = dict(optimizer)
    kind = getattr(torch.optim, settings.pop('type'))
    parts = {'discriminator': model.discriminator, 'generator': model.generator}
    made = {name: kind(part.parameters(), **settings) for name, part in parts.items()}
    inputs = torch.utils.data.default_collate(samples())['x'].split(RANKS * BATCH)
    for index, x in enumerate(inputs):
        for name, other, compute in model.losses(x):
            other.requires_grad_(False)
            (compute() / (2 if name == 'discriminator' else 1)).backward()
            if name == 'generator' or index % 2:
                made[name].step()
                made[name].zero_grad()
            other.requires_grad_(True)
    return {'model': model.state_dict()}


class Mean(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += [float(value) for value in data_samples]

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return {'mean': sum(results) / len(results)}


def samples(count: int = RANKS * BATCH * ITERS) -> list[dict[str, torch.Tensor]]:
    inputs = torch.randn(count, 3, generator=torch.Generator().manual_seed(3))
    return [{'x': x, 'y': x.sum().reshape(1)} for x in inputs]


def loader(batch_size: int = BATCH) -> dict[str, Any]:
    return {
        'dataset': samples(),
        'batch_size': batch_size,
        'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        'collate_fn': {'type': 'default_collate'},
    }


def seeded_net(**more: Any) -> Net:
    """The same on all ranks and in all strategies."""
    torch.manual_seed(SEED)
    return Net(**more)


def config(work_dir: str, optim_wrapper: Any, **more: Any) -> dict[str, Any]:
    """Arguments of a Runner that trains the model for one epoch of 20 iterations."""
    return {
        'model': seeded_net(),
        'work_dir': work_dir,
        'train_dataloader': loader(),
        'train_cfg': {'by_epoch': True, 'max_epochs': 1},
        'optim_wrapper': optim_wrapper,
        'launcher': 'pytorch',
        'log_level': 'ERROR',
        'default_hooks': {'checkpoint': None},
        **more,
    }


def trained(runner: Runner) -> dict[str, Any]:
    """The whole state after the training of ``runner``."""
    runner.train()
    return whole_state(runner)


def whole_state(runner: Runner) -> dict[str, Any]:
    """Parameters, buffers and optimizer state."""
    strategy = runner.strategy
    optimizer = strategy.optim_state_dict()['state']
    return {'model': dict(strategy.model_state_dict()), 'optimizer': optimizer}


def compare(found: dict[str, Any], expected: dict[str, Any], **tolerance: float) -> None:
    """Compare two results of :func:`whole_state`."""
    tolerance = tolerance or {'atol': 1e-6, 'rtol': 1e-6}
    for name, value in expected['model'].items():
        torch.testing.assert_close(found['model'][name], value, **tolerance)
    if 'optimizer' not in expected:
        return
    assert found['optimizer'].keys() == expected['optimizer'].keys()
    for number, entries in expected['optimizer'].items():
        for name, value in entries.items():
            torch.testing.assert_close(found['optimizer'][number][name], value, **tolerance)


def by_hand(
    optimizer: dict[str, Any],
    accumulation: int = 1,
    max_norm: float | None = None,
    momentum_of_average: float | None = None,
    iters: int = ITERS,
    without_batch: int | None = None,
    model: nn.Module | None = None,
) -> dict[str, Any]:
    """One process on the joined batches of all ranks, in plain torch.

    Args:
        optimizer: Name and arguments of a torch optimizer.
        accumulation: Batches per step; the last window may be shorter.
        max_norm: Bound of the norm of the gradients.
        momentum_of_average: Share of the new weights in a moving average.
        iters: Iterations.
        without_batch: A batch that gives no gradient.
        model: The model; by default the seeded one.
    """
    model = seeded_net() if model is None else model
    average = copy.deepcopy(model)
    settings = dict(optimizer)
    made = getattr(torch.optim, settings.pop('type'))(model.parameters(), **settings)
    data = torch.utils.data.default_collate(samples())
    size = RANKS * BATCH
    starts = list(range(0, iters * size, size))
    for first in range(0, iters, accumulation):
        window = starts[first : first + accumulation]
        made.zero_grad()
        for start in window:
            if start == (size * without_batch if without_batch is not None else None):
                continue
            batch = {key: value[start : start + size] for key, value in data.items()}
            (model(**batch, mode='loss')['loss'] / len(window)).backward()
        if max_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        made.step()
        with torch.no_grad():
            for target, source in zip(average.parameters(), model.parameters(), strict=True):
                share = 1.0 if first == 0 else momentum_of_average or 0.0
                target.lerp_(source, share)
    with torch.no_grad():
        means = [float(each(**data).mean()) for each in (model, average)]
    return {
        'model': model.state_dict(),
        'optimizer': made.state_dict()['state'],
        'average': average.state_dict(),
        'mean': means[0],
        'mean_of_average': means[1],
    }
