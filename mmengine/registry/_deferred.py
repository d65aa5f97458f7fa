"""Modules that the root registries import by name, because they are in layers above this one.

Registered classes depend on the registry, so the registry cannot import their modules at the top of
a file. This table is the only place of the lower layers that names modules above them.
"""

LOCATIONS: dict[str, tuple[str, ...]] = {
    'runner': ('mmengine.runner',),
    'loop': ('mmengine.runner',),
    'hook': ('mmengine.hooks',),
    'log_processor': ('mmengine.runner',),
    'strategy': ('mmengine.strategy',),
    'dataset': ('mmengine.dataset',),
    'data sampler': ('mmengine.dataset',),
    'function': ('mmengine.dataset',),
    'model': ('mmengine.model',),
    'model_wrapper': ('mmengine.model',),
    'weight initializer': ('mmengine.model',),
    'optimizer': ('mmengine.optim',),
    'optim_wrapper': ('mmengine.optim',),
    'optimizer wrapper constructor': ('mmengine.optim',),
    'parameter scheduler': ('mmengine.optim',),
    'metric': ('mmengine.evaluator',),
    'evaluator': ('mmengine.evaluator',),
    'visualizer': ('mmengine.visualization',),
    'vis_backend': ('mmengine.visualization',),
    'inferencer': ('mmengine.infer',),
}
"""Name of a root registry -> modules imported the first time that a name is not found in it."""

DEFERRED: dict[str, dict[str, str]] = {
    'strategy': {
        'ColossalAIStrategy': 'mmengine.strategy.colossalai',
        'DeepSpeedStrategy': 'mmengine.strategy.deepspeed',
        'FSDPStrategy': 'mmengine.strategy.fsdp',
        'SeparateStrategy': 'mmengine.strategy.separate',
    },
    'model_wrapper': {
        'MMFullyShardedDataParallel': 'mmengine.model.wrappers.fully_sharded_distributed',
        'MMDeepSpeedEngineWrapper': 'mmengine.strategy.deepspeed',
        'ColossalAIModelWrapper': 'mmengine.strategy.colossalai',
        'CollosalAIModelWrapper': 'mmengine.strategy.colossalai',
    },
    'optim_wrapper': {
        'DeepSpeedOptimWrapper': 'mmengine.strategy.deepspeed',
        'ColossalAIOptimWrapper': 'mmengine.strategy.colossalai',
    },
    'optimizer wrapper constructor': {
        'LegacyRegexOptimWrapperConstructor': 'mmengine.migrate._paramwise',
    },
    'hook': {
        'LegacyEMAHook': 'mmengine.migrate._ema',
        'LegacyOptimizerStepHook': 'mmengine.migrate._optimizer_step_hook',
        'LegacyParamSchedulerHook': 'mmengine.migrate._scheduler_hook',
    },
    'model': {
        'LegacyModel': 'mmengine.migrate._legacy_model',
        'LegacyMovingAverage': 'mmengine.migrate._ema',
    },
    'parameter scheduler': {
        'LegacyLRScheduler': 'mmengine.migrate._schedulers',
        'LegacyMomentumScheduler': 'mmengine.migrate._schedulers',
    },
}
"""Name of a root registry -> names in it -> the module imported when that name is looked up.

These modules are slow to import, or few projects need them.
"""

MODEL_LIST = 'mmengine.model.base_module.Sequential'
"""The class that a list of model configs is built into."""
