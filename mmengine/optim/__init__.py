"""Optimizers and the schedules of their parameters."""

from typing import TYPE_CHECKING, Any

from mmengine.optim.optimizer import (
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIMIZERS,
    AmpOptimWrapper,
    ApexOptimWrapper,
    BaseOptimWrapper,
    ClosureOptimWrapper,
    DefaultOptimWrapperConstructor,
    OptimWrapper,
    OptimWrapperDict,
    build_optim_wrapper,
)
from mmengine.optim.scheduler import (
    ConstantLR,
    ConstantMomentum,
    ConstantParamScheduler,
    CosineAnnealingLR,
    CosineAnnealingMomentum,
    CosineAnnealingParamScheduler,
    CosineRestartLR,
    CosineRestartMomentum,
    CosineRestartParamScheduler,
    ExponentialLR,
    ExponentialMomentum,
    ExponentialParamScheduler,
    LinearLR,
    LinearMomentum,
    LinearParamScheduler,
    MultiStepLR,
    MultiStepMomentum,
    MultiStepParamScheduler,
    OneCycleLR,
    OneCycleParamScheduler,
    PolyLR,
    PolyMomentum,
    PolyParamScheduler,
    ReduceOnPlateauLR,
    ReduceOnPlateauMomentum,
    ReduceOnPlateauParamScheduler,
    StepLR,
    StepMomentum,
    StepParamScheduler,
    _ParamScheduler,
)

if TYPE_CHECKING:
    from mmengine.optim.optimizer import ZeroRedundancyOptimizer

__all__ = [
    'OPTIMIZERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'AmpOptimWrapper',
    'ApexOptimWrapper',
    'BaseOptimWrapper',
    'ClosureOptimWrapper',
    'ConstantLR',
    'ConstantMomentum',
    'ConstantParamScheduler',
    'CosineAnnealingLR',
    'CosineAnnealingMomentum',
    'CosineAnnealingParamScheduler',
    'CosineRestartLR',
    'CosineRestartMomentum',
    'CosineRestartParamScheduler',
    'DefaultOptimWrapperConstructor',
    'ExponentialLR',
    'ExponentialMomentum',
    'ExponentialParamScheduler',
    'LinearLR',
    'LinearMomentum',
    'LinearParamScheduler',
    'MultiStepLR',
    'MultiStepMomentum',
    'MultiStepParamScheduler',
    'OneCycleLR',
    'OneCycleParamScheduler',
    'OptimWrapper',
    'OptimWrapperDict',
    'PolyLR',
    'PolyMomentum',
    'PolyParamScheduler',
    'ReduceOnPlateauLR',
    'ReduceOnPlateauMomentum',
    'ReduceOnPlateauParamScheduler',
    'StepLR',
    'StepMomentum',
    'StepParamScheduler',
    'ZeroRedundancyOptimizer',
    '_ParamScheduler',
    'build_optim_wrapper',
]


def __getattr__(name: str) -> Any:
    if name == 'ZeroRedundancyOptimizer':
        from mmengine.optim.optimizer.zero_optimizer import ZeroRedundancyOptimizer

        return ZeroRedundancyOptimizer
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
