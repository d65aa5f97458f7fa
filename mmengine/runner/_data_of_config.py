"""The data of a config in the order of the dataset, for what looks at samples without a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import DataLoader

from mmengine.config import Config
from mmengine.runner._build import _is_named, build_dataloader
from mmengine.runner._model_collate import with_collate_of

STAGES = ('test', 'val', 'train')
# What decides which samples a batch has, and in which order.
_OF_ORDER = ('sampler', 'batch_sampler', 'shuffle', 'drop_last')


def described_loaders(cfg: Config | Mapping[str, Any], stage: str) -> dict[str | None, Any]:
    """The dataloaders of a stage by name; the name of a single one is None.

    A stage without data has no entry.
    """
    loader = cfg.get(f'{stage}_dataloader')
    if loader is None:
        return {}
    if isinstance(loader, (list, tuple)):
        return {str(index): one for index, one in enumerate(loader)}
    return dict(loader) if _is_named(loader) else {None: loader}


def first_loader(cfg: Config, stages: Sequence[str] = STAGES) -> tuple[str, Any] | None:
    """The key and the first dataloader of the first stage that has data; None if none has."""
    for stage in stages:
        for name, loader in described_loaders(cfg, stage).items():
            key = f'{stage}_dataloader'
            return key if name is None else f'{key}.{name}', loader
    return None


def loader_in_order(
    loader: Any, batch_size: int | None = None, model: Any = None
) -> DataLoader[Any]:
    """A dataloader that visits each sample once, in the order of the dataset.

    Args:
        loader: A dataloader or its config. Its sampler is not used.
        batch_size: Samples of a batch; None takes the batch size of ``loader``.
        model: What the batches are for; it may choose how a config without ``collate_fn`` joins.
    """
    if isinstance(loader, DataLoader):
        settings: dict[str, Any] = {
            'dataset': loader.dataset,
            'collate_fn': loader.collate_fn,
            'num_workers': loader.num_workers,
            'batch_size': loader.batch_size or getattr(loader.batch_sampler, 'batch_size', None),
        }
    else:
        chosen = with_collate_of(model, loader)
        settings = {key: value for key, value in chosen.items() if key not in _OF_ORDER}
    settings['batch_size'] = batch_size or settings.get('batch_size') or 1
    return build_dataloader(settings, seed=0)


def description_of(loader: Any) -> Mapping[str, Any]:
    """The config of a dataloader; empty for an object."""
    return loader if isinstance(loader, Mapping) else {}
