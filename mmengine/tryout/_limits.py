"""limit_batches: fewer batches in each pass over the data of a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils.data import DataLoader

from mmengine.config import Config
from mmengine.dataset._limited import checked_limit
from mmengine.utils.errors import ArgumentError

STAGES = ('train', 'val', 'test')


def limit_batches(cfg: Config, **limits: int | float | None) -> None:
    """Set ``limit_batches`` of the dataloaders of ``cfg``, which is changed.

    An epoch then has that many batches, for schedules too.

    Args:
        cfg: The config of a run.
        limits: ``train``, ``val`` and ``test``: a number of batches, a share such as 0.1, or None
            for no limit. A stage with several dataloaders has it in each of them. A stage without a
            dataloader is left out.

    Raises:
        ArgumentError: If a limit is neither a number nor a share, or a dataloader is not a dict.

    Example:
        >>> cfg = Config(dict(train_dataloader=dict(dataset=[1, 2, 3])))
        >>> limit_batches(cfg, train=2, val=0.5)
        >>> cfg.train_dataloader.limit_batches
        2
    """
    for stage, limit in limits.items():
        if stage not in STAGES:
            raise ArgumentError(f'limit_batches takes {", ".join(STAGES)}, got {stage!r}.')
        key = f'{stage}_dataloader'
        loader = cfg.get(key)
        if limit is None or loader is None:
            continue
        number = checked_limit(f'The limit of {stage} batches', limit)
        for path in _paths_of(key, loader):
            cfg.merge_from_dict({f'{path}.limit_batches': number})


def _paths_of(key: str, loader: Any) -> list[str]:
    """Dotted paths of the configs of one or several dataloaders."""
    if isinstance(loader, Mapping) and 'dataset' in loader:
        return [key]
    parts: dict[Any, Any] = {}
    if isinstance(loader, Mapping):
        parts = dict(loader)
    elif isinstance(loader, (list, tuple)):
        parts = dict(enumerate(loader))
    if isinstance(loader, DataLoader) or not parts:
        raise ArgumentError(
            f'The batches of {key} cannot be limited: it is a {type(loader).__name__}, not the '
            'dict of a dataloader.'
        )
    return [path for name, part in parts.items() for path in _paths_of(f'{key}.{name}', part)]
