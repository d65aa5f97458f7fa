"""Runner, loops and other parts of a run."""

from typing import TYPE_CHECKING, Any

from mmengine.runner._flexible_runner import FlexibleRunner
from mmengine.runner.activation_checkpointing import turn_on_activation_checkpointing
from mmengine.runner.amp import autocast
from mmengine.runner.base_loop import BaseLoop
from mmengine.runner.checkpoint import (
    CheckpointLoader,
    find_latest_checkpoint,
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
    get_state_dict,
    get_torchvision_models,
    load_checkpoint,
    load_state_dict,
    save_checkpoint,
    weights_to_cpu,
)
from mmengine.runner.log_processor import LogProcessor
from mmengine.runner.loops import EpochBasedTrainLoop, IterBasedTrainLoop, TestLoop, ValLoop
from mmengine.runner.priority import Priority, get_priority
from mmengine.runner.runner import Runner
from mmengine.runner.utils import set_random_seed

if TYPE_CHECKING:
    from mmengine.runner._check.config import check_config
    from mmengine.runner._check.mistakes import ConfigMistake, ConfigMistakesError
    from mmengine.runner._schema.schema import config_schema

__all__ = [
    'BaseLoop',
    'CheckpointLoader',
    'ConfigMistake',
    'ConfigMistakesError',
    'EpochBasedTrainLoop',
    'FlexibleRunner',
    'IterBasedTrainLoop',
    'LogProcessor',
    'Priority',
    'Runner',
    'TestLoop',
    'ValLoop',
    'autocast',
    'check_config',
    'config_schema',
    'find_latest_checkpoint',
    'get_deprecated_model_names',
    'get_external_models',
    'get_mmcls_models',
    'get_priority',
    'get_state_dict',
    'get_torchvision_models',
    'load_checkpoint',
    'load_state_dict',
    'save_checkpoint',
    'set_random_seed',
    'turn_on_activation_checkpointing',
    'weights_to_cpu',
]


def __getattr__(name: str) -> Any:
    # Only commands check configs, so a run from Python does not import the check.
    if name == 'check_config':
        from mmengine.runner._check.config import check_config

        return check_config
    if name == 'config_schema':
        from mmengine.runner._schema.schema import config_schema

        return config_schema
    if name in ('ConfigMistake', 'ConfigMistakesError'):
        from mmengine.runner._check import mistakes

        return getattr(mistakes, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
