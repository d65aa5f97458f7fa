"""Wrappers that run a model on several devices."""

from typing import TYPE_CHECKING, Any

from mmengine.model.wrappers.distributed import MMDistributedDataParallel
from mmengine.model.wrappers.seperate_distributed import MMSeparateDistributedDataParallel
from mmengine.model.wrappers.utils import is_model_wrapper

if TYPE_CHECKING:
    from mmengine.model.wrappers.fully_sharded_distributed import MMFullyShardedDataParallel

__all__ = [
    'MMDistributedDataParallel',
    'MMFullyShardedDataParallel',
    'MMSeparateDistributedDataParallel',
    'is_model_wrapper',
]


def __getattr__(name: str) -> Any:
    # Importing torch.distributed.fsdp takes most of a second, so it is imported on first use.
    if name == 'MMFullyShardedDataParallel':
        from mmengine.model.wrappers.fully_sharded_distributed import MMFullyShardedDataParallel

        return MMFullyShardedDataParallel
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
