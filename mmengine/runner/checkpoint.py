"""API path of the functions in :mod:`mmengine._checkpoint`."""

from mmengine._checkpoint.files import find_latest_checkpoint, save_checkpoint
from mmengine._checkpoint.loader import (
    CheckpointLoader,
    _load_checkpoint,
    _load_checkpoint_to_model,
    _load_checkpoint_with_prefix,
    _process_mmcls_checkpoint,
    load_checkpoint,
    load_from_ceph,
    load_from_http,
    load_from_local,
    load_from_mmcls,
    load_from_openmmlab,
    load_from_pavi,
    load_from_torchvision,
)
from mmengine._checkpoint.model_zoo import (
    _get_mmengine_home,
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)
from mmengine._checkpoint.state_dict import (
    _IncompatibleKeys,
    _save_to_state_dict,
    get_state_dict,
    load_state_dict,
    weights_to_cpu,
)

__all__ = [
    'CheckpointLoader',
    '_IncompatibleKeys',
    '_get_mmengine_home',
    '_load_checkpoint',
    '_load_checkpoint_to_model',
    '_load_checkpoint_with_prefix',
    '_process_mmcls_checkpoint',
    '_save_to_state_dict',
    'find_latest_checkpoint',
    'get_deprecated_model_names',
    'get_external_models',
    'get_mmcls_models',
    'get_state_dict',
    'get_torchvision_models',
    'load_checkpoint',
    'load_from_ceph',
    'load_from_http',
    'load_from_local',
    'load_from_mmcls',
    'load_from_openmmlab',
    'load_from_pavi',
    'load_from_torchvision',
    'load_state_dict',
    'save_checkpoint',
    'weights_to_cpu',
]
