"""Optimizer wrappers, and functions that build them from a configuration."""

from typing import TYPE_CHECKING, Any

from mmengine.optim.optimizer.amp_optimizer_wrapper import AmpOptimWrapper
from mmengine.optim.optimizer.apex_optimizer_wrapper import ApexOptimWrapper
from mmengine.optim.optimizer.base import BaseOptimWrapper
from mmengine.optim.optimizer.builder import build_optim_wrapper
from mmengine.optim.optimizer.closure_optimizer_wrapper import ClosureOptimWrapper
from mmengine.optim.optimizer.default_constructor import DefaultOptimWrapperConstructor
from mmengine.optim.optimizer.optimizer_wrapper import OptimWrapper
from mmengine.optim.optimizer.optimizer_wrapper_dict import OptimWrapperDict
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIMIZERS

if TYPE_CHECKING:
    from mmengine.optim.optimizer.zero_optimizer import ZeroRedundancyOptimizer

__all__ = [
    'OPTIMIZERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'AmpOptimWrapper',
    'ApexOptimWrapper',
    'BaseOptimWrapper',
    'ClosureOptimWrapper',
    'DefaultOptimWrapperConstructor',
    'OptimWrapper',
    'OptimWrapperDict',
    'ZeroRedundancyOptimizer',
    'build_optim_wrapper',
]


def __getattr__(name: str) -> Any:
    if name == 'ZeroRedundancyOptimizer':
        from mmengine.optim.optimizer.zero_optimizer import ZeroRedundancyOptimizer

        return ZeroRedundancyOptimizer
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
