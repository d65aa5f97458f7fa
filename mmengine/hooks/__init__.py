"""Hooks: objects that a run calls before and after its steps."""

from mmengine.hooks.checkpoint_hook import CheckpointHook
from mmengine.hooks.curves_hook import CurvesHook
from mmengine.hooks.early_stopping_hook import EarlyStoppingHook
from mmengine.hooks.ema_hook import EMAHook
from mmengine.hooks.empty_cache_hook import EmptyCacheHook
from mmengine.hooks.hook import Hook
from mmengine.hooks.iter_timer_hook import IterTimerHook
from mmengine.hooks.logger_hook import LoggerHook
from mmengine.hooks.naive_visualization_hook import NaiveVisualizationHook
from mmengine.hooks.non_finite_loss_hook import NonFiniteLossHook
from mmengine.hooks.param_scheduler_hook import ParamSchedulerHook
from mmengine.hooks.profiler_hook import NPUProfilerHook, ProfilerHook
from mmengine.hooks.progress_hook import ProgressHook
from mmengine.hooks.runtime_info_hook import RuntimeInfoHook
from mmengine.hooks.sampler_seed_hook import DistSamplerSeedHook
from mmengine.hooks.sync_buffer_hook import SyncBuffersHook
from mmengine.hooks.test_time_aug_hook import PrepareTTAHook

__all__ = [
    'CheckpointHook',
    'CurvesHook',
    'DistSamplerSeedHook',
    'EMAHook',
    'EarlyStoppingHook',
    'EmptyCacheHook',
    'Hook',
    'IterTimerHook',
    'LoggerHook',
    'NPUProfilerHook',
    'NaiveVisualizationHook',
    'NonFiniteLossHook',
    'ParamSchedulerHook',
    'PrepareTTAHook',
    'ProfilerHook',
    'ProgressHook',
    'RuntimeInfoHook',
    'SyncBuffersHook',
]
