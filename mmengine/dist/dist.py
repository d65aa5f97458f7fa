"""API path of the collective operations, on tensors and on objects."""

# The names with an underscore are imported from here by code built on this API.
from mmengine.dist._collectives import (  # noqa: F401
    _all_reduce_coalesced,
    _get_reduce_op,
    all_gather,
    all_reduce,
    all_reduce_dict,
    all_reduce_params,
    broadcast,
    gather,
    sync_random_seed,
)
from mmengine.dist._objects import (  # noqa: F401
    _all_gather_object,
    _broadcast_object_list,
    _collect_results_device,
    _gather_object,
    _object_to_tensor,
    _tensor_to_object,
    _validate_output_list_for_rank,
    all_gather_object,
    broadcast_object_list,
    collect_results,
    collect_results_cpu,
    collect_results_gpu,
    gather_object,
)

__all__ = [
    'all_gather',
    'all_gather_object',
    'all_reduce',
    'all_reduce_dict',
    'all_reduce_params',
    'broadcast',
    'broadcast_object_list',
    'collect_results',
    'collect_results_cpu',
    'collect_results_gpu',
    'gather',
    'gather_object',
    'sync_random_seed',
]
