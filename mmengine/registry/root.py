"""The root registries: one for each kind of thing that a config can name.

A project's registry of the same kind is a child: ``MODELS = Registry('model',
parent=mmengine.registry.MODELS)``. The packages that register something here are named as strings,
and imported when a name is first missed.
"""

from mmengine.registry.build_functions import (
    build_model_from_cfg,
    build_optimizer_from_cfg,
    build_runner_from_cfg,
    build_scheduler_from_cfg,
)
from mmengine.registry.registry import Registry

_ROOT = 'mmengine'

# Running: who drives the training, and how often what happens
RUNNERS = Registry('runner', build_runner_from_cfg, scope=_ROOT, locations=['mmengine.runner'])
RUNNER_CONSTRUCTORS = Registry('runner constructor', scope=_ROOT)
LOOPS = Registry('loop', scope=_ROOT, locations=['mmengine.runner'])
HOOKS = Registry('hook', scope=_ROOT, locations=['mmengine.hooks'])
LOG_PROCESSORS = Registry('log_processor', scope=_ROOT, locations=['mmengine.runner'])
STRATEGIES = Registry('strategy', scope=_ROOT, locations=['mmengine._strategy'])

# Data
DATASETS = Registry('dataset', scope=_ROOT, locations=['mmengine.dataset'])
DATA_SAMPLERS = Registry('data sampler', scope=_ROOT, locations=['mmengine.dataset'])
TRANSFORMS = Registry('transform', scope=_ROOT)
FUNCTIONS = Registry('function', scope=_ROOT, locations=['mmengine.dataset'])

# Models
MODELS = Registry('model', build_model_from_cfg, scope=_ROOT, locations=['mmengine.model'])
MODEL_WRAPPERS = Registry('model_wrapper', scope=_ROOT, locations=['mmengine.model'])
WEIGHT_INITIALIZERS = Registry('weight initializer', scope=_ROOT, locations=['mmengine.model'])
TASK_UTILS = Registry('task util', scope=_ROOT)

# Optimization
OPTIMIZERS = Registry(
    'optimizer', build_optimizer_from_cfg, scope=_ROOT, locations=['mmengine.optim']
)
OPTIM_WRAPPERS = Registry('optim_wrapper', scope=_ROOT, locations=['mmengine.optim'])
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor', scope=_ROOT, locations=['mmengine.optim']
)
PARAM_SCHEDULERS = Registry(
    'parameter scheduler', build_scheduler_from_cfg, scope=_ROOT, locations=['mmengine.optim']
)

# Results
METRICS = Registry('metric', scope=_ROOT, locations=['mmengine.evaluator'])
EVALUATOR = Registry('evaluator', scope=_ROOT, locations=['mmengine.evaluator'])
VISUALIZERS = Registry('visualizer', scope=_ROOT, locations=['mmengine.visualization'])
VISBACKENDS = Registry('vis_backend', scope=_ROOT, locations=['mmengine.visualization'])
INFERENCERS = Registry('inferencer', scope=_ROOT, locations=['mmengine.infer'])

# What is costly to import, or needed by few, comes in when its name is asked for.
MODEL_WRAPPERS.defer(
    'MMFullyShardedDataParallel', 'mmengine.model.wrappers.fully_sharded_distributed'
)
MODEL_WRAPPERS.defer('MMDeepSpeedEngineWrapper', 'mmengine._strategy.deepspeed')
MODEL_WRAPPERS.defer('ColossalAIModelWrapper', 'mmengine._strategy.colossalai')
MODEL_WRAPPERS.defer('CollosalAIModelWrapper', 'mmengine._strategy.colossalai')
OPTIM_WRAPPERS.defer('DeepSpeedOptimWrapper', 'mmengine._strategy.deepspeed')
OPTIM_WRAPPERS.defer('ColossalAIOptimWrapper', 'mmengine._strategy.colossalai')
HOOKS.defer('LegacyEMAHook', 'mmengine.migrate.ema')
MODELS.defer('LegacyModel', 'mmengine.migrate.legacy_model')
MODELS.defer('LegacyMovingAverage', 'mmengine.migrate.ema')
OPTIM_WRAPPER_CONSTRUCTORS.defer('LegacyRegexOptimWrapperConstructor', 'mmengine.migrate.paramwise')
PARAM_SCHEDULERS.defer('LegacyLRScheduler', 'mmengine.migrate.schedulers')
PARAM_SCHEDULERS.defer('LegacyMomentumScheduler', 'mmengine.migrate.schedulers')
