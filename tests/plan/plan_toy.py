"""A small transformer and its training, planned and then run for real."""

from __future__ import annotations

import gc
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.runner._preparing import prepare_training

BATCH, LENGTH, WIDTH, VOCABULARY, SAMPLES = 4, 16, 64, 100, 64


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
        self.norm = nn.LayerNorm(WIDTH)
        self.wide = nn.Linear(WIDTH, 4 * WIDTH)
        self.narrow = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return x + self.narrow(F.gelu(self.wide(self.norm(x))))


class Words(BaseModel):
    def __init__(self, depth: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(depth))
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.head.weight = self.embed.weight  # shared, as in most language models
        self.register_buffer('positions', torch.arange(LENGTH))

    def forward(self, words: Any, mode: str = 'tensor') -> Any:  # type: ignore[override]
        x = self.embed(words) + self.positions[:, None] / LENGTH
        for block in self.blocks:
            x = block(x)
        return {'loss': F.cross_entropy(self.head(x).flatten(0, 1), words.flatten())}


class Pair(BaseModel):
    """A generator and a discriminator, each with a step of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(Block(), Block())
        self.discriminator = nn.Sequential(Block(), nn.Linear(WIDTH, 1))

    def forward(self, words: Any, mode: str = 'tensor') -> Any:  # type: ignore[override]
        return self.generator(words)

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, torch.Tensor]:
        real = data['words'][..., None].expand(-1, -1, WIDTH) / LENGTH
        with optim_wrapper['discriminator'].optim_context(self):
            fake = self.generator(real).detach()
            loss = (self.discriminator(fake) - self.discriminator(real)).mean()
        optim_wrapper['discriminator'].update_params(loss)
        self.discriminator.requires_grad_(False)
        with optim_wrapper['generator'].optim_context(self):
            loss = -self.discriminator(self.generator(real)).mean()
        optim_wrapper['generator'].update_params(loss)
        self.discriminator.requires_grad_(True)
        return {'loss': loss.detach()}


def config(strategy: Any, batches: int = 1, **more: Any) -> dict[str, Any]:
    """Of a training for two epochs; of two sub-models if ``strategy`` names them."""
    if isinstance(strategy, dict) and 'generator' in strategy:
        adam = {'optimizer': {'type': 'AdamW', 'lr': 0.001}, 'accumulative_counts': batches}
        more = {'model': {'type': Pair}, 'optim_wrapper': dict.fromkeys(strategy, adam), **more}
    return {
        'model': {'type': Words},
        'train_dataloader': {
            'dataset': [{'words': torch.arange(LENGTH)} for _ in range(SAMPLES)],
            'batch_size': BATCH,
            'sampler': {'type': 'DefaultSampler', 'shuffle': True},
            'collate_fn': {'type': 'default_collate'},
        },
        'train_cfg': {'by_epoch': True, 'max_epochs': 2},
        'optim_wrapper': {
            'optimizer': {'type': 'AdamW', 'lr': 0.001},
            'accumulative_counts': batches,
            'clip_grad': {'max_norm': 1.0},
        },
        'strategy': strategy,
        **more,
    }


class Collectives(TorchDispatchMode):
    """Number and bytes of collective operations by name, as torch calls them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        names = {
            'c10d::allreduce_': ('all_reduce', 0),
            'c10d::_allgather_base_': ('all_gather', 0),
            'c10d::_reduce_scatter_base_': ('reduce_scatter', 1),
            '_c10d_functional::all_reduce': ('all_reduce', 0),
        }
        if func.name() in names:
            name, place = names[func.name()]
            whole = args[place] if isinstance(args[place], (list, tuple)) else [args[place]]
            entry = self.found.setdefault(name, [0, 0])
            entry[0] += 1
            entry[1] += sum(tensor.numel() * tensor.element_size() for tensor in whole)
        if any(kind.__name__ == 'DTensor' for kind in types):
            return NotImplemented
        return func(*args, **(kwargs or {}))


def measured(folder: str, strategy: Any, batches: int) -> dict[str, Any]:
    """Memory and messages of an optimizer step of a real rank.

    Memory is what torch's allocator was asked for since before the model was built, in the step
    with the smallest peak: threads of gloo may free a tensor later than the step needs it.
    """
    gc.collect()  # what is freed later would be taken from the memory of this run
    launcher = 'pytorch' if torch.distributed.is_initialized() else 'none'
    settings = config(strategy, batches, launcher=launcher, log_level='ERROR', work_dir=folder)
    kinds = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=kinds, profile_memory=True) as profile:
        with torch.profiler.record_function('before'):
            torch.empty(1)
        runner = Runner.from_cfg(settings)
        prepare_training(runner)
        runner.model.train()
        batch = next(iter(runner.train_dataloader))
        runner.optim_wrapper.initialize_count_status(runner.model, 0, 1000)

        def step() -> None:
            for _ in range(batches):
                runner.model.train_step(batch, runner.optim_wrapper)

        step()
        step()  # DDP has made its buckets anew
        gc.collect()  # cycles of the placing hold whole parameters
        for _ in range(8):
            with torch.profiler.record_function('step'):
                step()
    with Collectives() as collectives:
        step()
    peaks = _peaks(profile)
    return {'peak': min(peaks['step']) - peaks['before'][0], 'sent': collectives.found}


def _peaks(profile: Any) -> dict[str, list[int]]:
    """The most bytes of the process, as its allocator counts them, in each span by name."""
    spans: list[tuple[str, int, int]] = []
    counts: list[tuple[int, int]] = []
    pending = list(profile.profiler.kineto_results.experimental_event_tree())
    while pending:
        event = pending.pop()
        pending += event.children
        if event.name in ('before', 'step'):
            spans.append((event.name, event.start_time_ns, event.end_time_ns))
        elif event.tag == torch._C._profiler._EventType.Allocation:
            counts.append((event.start_time_ns, event.extra_fields.total_allocated))
    found: dict[str, list[int]] = {}
    for name, begin, end in spans:
        found.setdefault(name, []).append(max(size for at, size in counts if begin <= at <= end))
    return found
