"""How samples become a batch where a dataloader config does not say it: the model may choose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine._checkpoint.unwrap import unwrap_model


def collate_of_model(model: Any) -> Any:
    """The ``collate_fn`` of dataloader configs that have none, in a run of ``model``."""
    return getattr(unwrap_model(model), 'default_collate_fn', 'pseudo_collate')


def with_collate_of(model: Any, dataloader: Mapping[str, Any]) -> Mapping[str, Any]:
    """A dataloader config that has the ``collate_fn`` of ``model``, if it has none itself."""
    if 'collate_fn' in dataloader or not hasattr(unwrap_model(model), 'default_collate_fn'):
        return dataloader
    return {**dataloader, 'collate_fn': collate_of_model(model)}
