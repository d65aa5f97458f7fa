"""Reads the arguments of ``MMFullyShardedDataParallel`` as settings for ``fully_shard``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.utils.errors import ArgumentError

_WRAPPER = 'MMFullyShardedDataParallel'
# What `fully_shard` always does, or decides itself.
_WITHOUT_EFFECT = frozenset(
    {
        'backward_prefetch', 'device_id', 'forward_prefetch', 'limit_all_gathers', 'module',
        'process_group', 'sync_module_states', 'use_orig_params',
    }
)  # fmt: skip
_RESHARDS = {'FULL_SHARD': None, 'SHARD_GRAD_OP': False}
_HYBRID = {'HYBRID_SHARD': None, '_HYBRID_SHARD_ZERO2': False}
_DTYPES = ('param_dtype', 'reduce_dtype', 'cast_forward_inputs')


def settings_of_wrapper(model_wrapper: Any) -> tuple[dict[str, Any], list[str]]:
    """Settings for ``FSDPStrategy`` from its argument ``model_wrapper``.

    Args:
        model_wrapper: None, or ``MMFullyShardedDataParallel`` by name, class, or as a config with
            its arguments.

    Returns:
        The settings by name, and the names of arguments that have no effect.

    Raises:
        ArgumentError: If it is another wrapper, or an argument has no counterpart.
    """
    if model_wrapper is None:
        return {}, []
    arguments: dict[str, Any] = {}
    kind = model_wrapper
    if isinstance(model_wrapper, Mapping):
        arguments = dict(model_wrapper)
        kind = arguments.pop('type', _WRAPPER)
    name = getattr(kind, '__name__', kind)
    if not isinstance(name, str) or name.rpartition('.')[2] != _WRAPPER:
        raise ArgumentError(
            f'FSDPStrategy shards a model by fully_shard; model_wrapper can only hold arguments of '
            f'{_WRAPPER}, got {name!r}.'
        )
    settings: dict[str, Any] = {}
    if arguments.get('auto_wrap_policy') is not None:
        settings['blocks'] = _policy_of(arguments['auto_wrap_policy'])
    if arguments.get('cpu_offload') is not None:
        offload = arguments['cpu_offload']
        settings['cpu_offload'] = bool(getattr(offload, 'offload_params', offload))
    if arguments.get('mixed_precision') is not None:
        settings['mixed_precision'] = _precision_of(arguments['mixed_precision'])
    if arguments.get('sharding_strategy') is not None:
        settings |= _placing_of(arguments['sharding_strategy'])
    used = {'auto_wrap_policy', 'cpu_offload', 'mixed_precision', 'sharding_strategy'}
    unknown = set(arguments) - used - _WITHOUT_EFFECT
    if unknown:
        raise ArgumentError(
            f'fully_shard has no counterpart for {", ".join(sorted(unknown))} of {_WRAPPER}. '
            'Remove it; FSDPStrategy has separate arguments for blocks and initialisation.'
        )
    return settings, sorted(set(arguments) & _WITHOUT_EFFECT)


def _policy_of(policy: Any) -> Any:
    if callable(policy):
        return policy
    from mmengine.model.wrappers.fully_sharded_distributed import _function

    return _function(policy, 'auto_wrap_policy')


def _precision_of(precision: Any) -> dict[str, Any]:
    given = (
        dict(precision)
        if isinstance(precision, Mapping)
        else {name: getattr(precision, name, None) for name in _DTYPES}
    )
    # The casts of FSDP1 for the root alone, and for buffers, do not exist here.
    if 'cast_root_forward_inputs' in given:
        given.setdefault('cast_forward_inputs', given.pop('cast_root_forward_inputs'))
    unknown = set(given) - {*_DTYPES, 'output_dtype', 'buffer_dtype', 'keep_low_precision_grads'}
    if unknown:
        raise ArgumentError(
            f'mixed_precision of model_wrapper has unknown entries: {", ".join(sorted(unknown))}.'
        )
    return {
        name: value
        for name, value in given.items()
        if name in (*_DTYPES, 'output_dtype') and value is not None
    }


def _placing_of(strategy: Any) -> dict[str, Any]:
    name = getattr(strategy, 'name', strategy)
    if name in _RESHARDS:
        return {'reshard_after_forward': _RESHARDS[name]}
    if name in _HYBRID:
        return {'reshard_after_forward': _HYBRID[name], 'mesh': 'nodes'}
    if name == 'NO_SHARD':
        raise ArgumentError(
            "sharding_strategy='NO_SHARD' keeps the whole model on each rank: use strategy='ddp'."
        )
    raise ArgumentError(
        f'sharding_strategy should be one of {[*_RESHARDS, *_HYBRID]}, got {name!r}.'
    )
