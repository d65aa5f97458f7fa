"""The root registries: one for each kind of thing that a config can name.

A project's registry of the same kind is a child: ``MODELS = Registry('model',
parent=mmengine.registry.MODELS)``. Which modules register something in them is listed in
:mod:`mmengine.registry._deferred`; they are imported when a name is not found.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mmengine.registry._deferred import DEFERRED, LOCATIONS
from mmengine.registry.build_functions import (
    build_model_from_cfg,
    build_optimizer_from_cfg,
    build_runner_from_cfg,
    build_scheduler_from_cfg,
)
from mmengine.registry.registry import Registry

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from torch.utils.data import Dataset, Sampler

    from mmengine.evaluator import BaseMetric, Evaluator
    from mmengine.hooks import Hook
    from mmengine.infer import BaseInferencer
    from mmengine.model import BaseInit
    from mmengine.optim import OptimWrapper
    from mmengine.optim.scheduler import _ParamScheduler
    from mmengine.runner import BaseLoop, LogProcessor, Runner
    from mmengine.strategy import BaseStrategy
    from mmengine.visualization import BaseVisBackend, Visualizer


def _root(name: str, build_func: Callable[..., Any] | None = None) -> Registry:
    registry: Registry = Registry(
        name, build_func, scope='mmengine', locations=LOCATIONS.get(name, ())
    )
    for component, module in DEFERRED.get(name, {}).items():
        registry.defer(component, module)
    return registry


# Running: who drives the training, and how often what happens
RUNNERS: 'Registry[Runner]' = _root('runner', build_runner_from_cfg)
RUNNER_CONSTRUCTORS: Registry = _root('runner constructor')
LOOPS: 'Registry[BaseLoop]' = _root('loop')
HOOKS: 'Registry[Hook]' = _root('hook')
LOG_PROCESSORS: 'Registry[LogProcessor]' = _root('log_processor')
STRATEGIES: 'Registry[BaseStrategy]' = _root('strategy')

# Data
DATASETS: 'Registry[Dataset[Any]]' = _root('dataset')
DATA_SAMPLERS: 'Registry[Sampler[Any]]' = _root('data sampler')
TRANSFORMS: Registry[Callable[..., Any]] = _root('transform')
FUNCTIONS: Registry = _root('function')

# Models
MODELS: 'Registry[nn.Module]' = _root('model', build_model_from_cfg)
MODEL_WRAPPERS: 'Registry[nn.Module]' = _root('model_wrapper')
WEIGHT_INITIALIZERS: 'Registry[BaseInit]' = _root('weight initializer')
TASK_UTILS: Registry = _root('task util')

# Optimization
OPTIMIZERS: 'Registry[Optimizer]' = _root('optimizer', build_optimizer_from_cfg)
OPTIM_WRAPPERS: 'Registry[OptimWrapper]' = _root('optim_wrapper')
OPTIM_WRAPPER_CONSTRUCTORS: Registry = _root('optimizer wrapper constructor')
PARAM_SCHEDULERS: 'Registry[_ParamScheduler]' = _root(
    'parameter scheduler', build_scheduler_from_cfg
)

# Results
METRICS: 'Registry[BaseMetric]' = _root('metric')
EVALUATOR: 'Registry[Evaluator]' = _root('evaluator')
VISUALIZERS: 'Registry[Visualizer]' = _root('visualizer')
VISBACKENDS: 'Registry[BaseVisBackend]' = _root('vis_backend')
INFERENCERS: 'Registry[BaseInferencer]' = _root('inferencer')
