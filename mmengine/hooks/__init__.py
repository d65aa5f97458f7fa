"""Hooks: what acts around the steps of a run."""

from mmengine.hooks.checkpoint_hook import CheckpointHook
from mmengine.hooks.hook import Hook
from mmengine.hooks.iter_timer_hook import IterTimerHook
from mmengine.hooks.logger_hook import LoggerHook
from mmengine.hooks.non_finite_loss_hook import NonFiniteLossHook
from mmengine.hooks.param_scheduler_hook import ParamSchedulerHook
from mmengine.hooks.runtime_info_hook import RuntimeInfoHook
from mmengine.hooks.sampler_seed_hook import DistSamplerSeedHook

__all__ = [
    'CheckpointHook',
    'DistSamplerSeedHook',
    'Hook',
    'IterTimerHook',
    'LoggerHook',
    'NonFiniteLossHook',
    'ParamSchedulerHook',
    'RuntimeInfoHook',
]
