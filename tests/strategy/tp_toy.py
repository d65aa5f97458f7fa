"""A small transformer whose layers can be split, its data, and its training by hand."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from mmengine.model import BaseModel

SEED, BATCH, ITERS, LENGTH, WIDTH = 5, 4, 10, 4, 8

# Between these layers tensors are whole on all ranks.
PLAN: dict[str, Any] = {
    'blocks.*.norm1': 'sequence',
    'blocks.*.attn.qkv': 'colwise',
    'blocks.*.attn.proj': 'rowwise',
    'blocks.*.fc1': 'colwise',
    'blocks.*.fc2': 'rowwise',
}
# Each rank holds its part of the sequence from the embedding to the head.
SEQUENCE_PLAN: dict[str, Any] = {
    'embed': {'style': 'colwise', 'output': 'sequence'},
    'blocks.*.norm*': {'style': 'sequence', 'input': 'sequence', 'output': 'sequence'},
    'blocks.*.attn.qkv': {'style': 'colwise', 'input': 'sequence'},
    'blocks.*.attn.proj': {'style': 'rowwise', 'output': 'sequence'},
    'blocks.*.fc1': {'style': 'colwise', 'input': 'sequence'},
    'blocks.*.fc2': {'style': 'rowwise', 'output': 'sequence'},
    'norm': {'style': 'sequence', 'input': 'sequence'},
}


class Attention(nn.Module):
    """Four heads; the features of a head follow each other, so that ranks can share them."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = self.qkv(x).unflatten(-1, (-1, 3, WIDTH // 4)).transpose(1, 2)
        q, k, v = heads.unbind(-2)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = Attention()
        self.fc1, self.fc2 = nn.Linear(WIDTH, 16), nn.Linear(16, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.fc2(torch.tanh(self.fc1(self.norm2(x))))


class Former(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, WIDTH)
        self.blocks = nn.ModuleList([Layer(), Layer()])
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 1)
        # Of the batches of this rank.
        self.seen: list[float] = []
        self.losses: list[float] = []

    def forward(self, x: Any, y: Any = None, mode: str = 'tensor') -> Any:  # type: ignore[override]
        out = self.embed(x)
        for block in self.blocks:
            out = block(out)
        out = self.head(self.norm(out).mean(1))
        if mode == 'loss':
            self.seen.append(x.sum().item())
            loss = F.mse_loss(out.float(), y)
            self.losses.append(loss.item())
            return {'loss': loss}
        return list(out) if mode == 'predict' else out


def former() -> Former:
    torch.manual_seed(SEED)
    return Former()


def samples(count: int = BATCH * ITERS) -> list[dict[str, torch.Tensor]]:
    inputs = torch.randn(count, LENGTH, 3, generator=torch.Generator().manual_seed(3))
    return [{'x': x, 'y': x.mean().reshape(1)} for x in inputs]


def loader(num_data_ranks: int) -> dict[str, Any]:
    """A step has the same four samples on any number of data ranks."""
    return {
        'dataset': samples(),
        'batch_size': BATCH // num_data_ranks,
        'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        'collate_fn': {'type': 'default_collate'},
    }


def config(work_dir: str, wrapper: Any, num_data_ranks: int, **more: Any) -> dict[str, Any]:
    """Arguments of a Runner that trains the model for one epoch of 10 iterations."""
    return {
        'model': former(),
        'work_dir': work_dir,
        'train_dataloader': loader(num_data_ranks),
        'train_cfg': {'by_epoch': True, 'max_epochs': 1},
        'optim_wrapper': wrapper,
        'launcher': 'pytorch',
        'log_level': 'ERROR',
        'default_hooks': {'checkpoint': None},
        **more,
    }


def by_hand(
    optimizer: dict[str, Any],
    accumulation: int = 1,
    max_norm: float | None = None,
    momentum: float = 1.0,
    iters: int = ITERS,
) -> dict[str, Any]:
    """One process on the joined batches, in plain torch.

    Args:
        optimizer: Name and arguments of a torch optimizer.
        accumulation: Batches per step; the last window may be shorter.
        max_norm: Bound of the norm of the gradients.
        momentum: Share of the new weights in a moving average.
        iters: Iterations.
    """
    model = former()
    average = copy.deepcopy(model)
    settings = dict(optimizer)
    made = getattr(torch.optim, settings.pop('type'))(model.parameters(), **settings)
    data = torch.utils.data.default_collate(samples())
    batches = list(zip(data['x'].split(BATCH), data['y'].split(BATCH), strict=True))
    losses = []
    for first in range(0, iters, accumulation):
        window = batches[first : min(first + accumulation, iters)]
        made.zero_grad()
        for x, y in window:
            loss = model(x, y, mode='loss')['loss']
            losses.append(loss.item())
            (loss / len(window)).backward()
        if max_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        made.step()
        with torch.no_grad():
            for target, source in zip(average.parameters(), model.parameters(), strict=True):
                target.lerp_(source, momentum if first else 1.0)
    with torch.no_grad():
        mean = float(model(data['x']).mean())
    return {
        'model': model.state_dict(),
        'optimizer': made.state_dict()['state'],
        'average': average.state_dict(),
        'losses': losses,
        'mean': mean,
    }
