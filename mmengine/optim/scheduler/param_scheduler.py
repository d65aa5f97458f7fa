"""API path of the schedules of any key of a parameter group."""

from ._base import INF, _ParamScheduler
from ._cyclic import CosineRestartParamScheduler, OneCycleParamScheduler
from ._decay import (
    ConstantParamScheduler,
    CosineAnnealingParamScheduler,
    ExponentialParamScheduler,
    LinearParamScheduler,
    MultiStepParamScheduler,
    PolyParamScheduler,
    StepParamScheduler,
)
from ._plateau import ReduceOnPlateauParamScheduler

__all__ = [
    'INF',
    'ConstantParamScheduler',
    'CosineAnnealingParamScheduler',
    'CosineRestartParamScheduler',
    'ExponentialParamScheduler',
    'LinearParamScheduler',
    'MultiStepParamScheduler',
    'OneCycleParamScheduler',
    'PolyParamScheduler',
    'ReduceOnPlateauParamScheduler',
    'StepParamScheduler',
    '_ParamScheduler',
]
