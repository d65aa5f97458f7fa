"""A small model with blocks, its data, and its training by hand, for tests of FSDPStrategy."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel

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


def by_hand(
    optimizer: dict[str, Any], accumulation: int = 1, max_norm: float | None = None
) -> dict[str, Any]:
    """One process on the joined batches of all ranks, in plain torch."""
    model = seeded_net()
    settings = dict(optimizer)
    made = getattr(torch.optim, settings.pop('type'))(model.parameters(), **settings)
    data = torch.utils.data.default_collate(samples())
    size = RANKS * BATCH
    starts = list(range(0, ITERS * size, size))
    for first in range(0, ITERS, accumulation):
        window = starts[first : first + accumulation]
        made.zero_grad()
        for start in window:
            batch = {key: value[start : start + size] for key, value in data.items()}
            (model(**batch, mode='loss')['loss'] / len(window)).backward()
        if max_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        made.step()
    return {'model': model.state_dict(), 'optimizer': made.state_dict()['state']}
