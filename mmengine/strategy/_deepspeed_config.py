"""The config of DeepSpeed: what the strategy is given, and what the optimizer wrapper says."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.utils.errors import ArgumentError

Settings = dict[str, Any]

_AUTO = 'auto'  # configs of other engines leave a value to the engine in this way
_DTYPES = {'fp16': 'float16', 'bf16': 'bfloat16'}
_PRECISIONS = (*_DTYPES, 'torch_autocast')
_LOW = (torch.float16, torch.bfloat16)


def read_config(config: str | Path | Mapping[str, Any] | None, entries: Settings) -> Settings:
    """The config of DeepSpeed as a new dict, with ``entries`` in it.

    Args:
        config: A dict, or the path of a JSON file.
        entries: Arguments of the strategy that are entries of the config; None is not given.

    Raises:
        ArgumentError: If ``config`` and ``entries`` differ, or ``config`` has entries for what
            belongs to the run.
    """
    if isinstance(config, (str, Path)):
        try:
            config = json.loads(Path(config).read_text(encoding='utf-8'))
        except json.JSONDecodeError as error:
            raise ArgumentError(f'{config} is not JSON: {error}') from error
    if config is not None and not isinstance(config, Mapping):
        raise ArgumentError(
            f'config of DeepSpeedStrategy is a dict or the path of a JSON file that holds one; got '
            f'{type(config).__name__}.'
        )
    settings: Settings = _without_auto(copy.deepcopy(dict(config or {})))
    for name, value in entries.items():
        if value is None:
            continue
        if name in settings and settings[name] != value:
            raise ArgumentError(
                f'DeepSpeedStrategy is given {name} twice: {value!r} as an argument, and '
                f'{settings[name]!r} in config. Remove one of them.'
            )
        settings[name] = value
    for name, owner in (('optimizer', 'optim_wrapper'), ('scheduler', 'param_scheduler')):
        if name in settings:
            raise ArgumentError(
                f'The config of DeepSpeed has an entry {name!r}, but {owner} of the run decides '
                f'that. Remove the entry, and set {owner}.'
            )
    stage = settings.get('zero_optimization', {}).get('stage', 0)
    if stage not in (0, 1, 2, 3):
        raise ArgumentError(f'The stage of ZeRO is 0, 1, 2 or 3; got {stage!r}.')
    return settings


def merged_config(
    settings: Settings, wrapper: OptimWrapper, batch_size: int | None
) -> tuple[Settings, int, dict[str, Any] | None]:
    """The config for the engine, with what ``wrapper`` says.

    Args:
        settings: The result of :func:`read_config`.
        wrapper: The optimizer wrapper as it was built.
        batch_size: Of one rank; None if unknown.

    Returns:
        The config, the batches in an accumulation window, and ``clip_grad``.

    Raises:
        ArgumentError: If the two differ, or something is not supported.
    """
    merged = copy.deepcopy(settings)
    stage = merged.setdefault('zero_optimization', {}).setdefault('stage', 0)
    window = _one_of(
        'the batches of an optimizer step',
        'optim_wrapper.accumulative_counts',
        wrapper._accumulative_counts if wrapper._accumulative_counts > 1 else None,
        'gradient_accumulation_steps',
        merged.pop('gradient_accumulation_steps', None),
    )
    bound = _one_of(
        'the bound of the gradient norm',
        'optim_wrapper.clip_grad',
        _max_norm(wrapper),
        'gradient_clipping',
        merged.pop('gradient_clipping', None) or None,
    )
    micro = _one_of(
        'the batch size of a rank',
        'train_dataloader.batch_size',
        batch_size,
        'train_micro_batch_size_per_gpu',
        merged.pop('train_micro_batch_size_per_gpu', None),
    )
    window = 1 if window is None else int(window)
    merged.pop('train_batch_size', None)  # the product of the others
    merged |= {
        'train_micro_batch_size_per_gpu': micro or 1,
        'gradient_accumulation_steps': window,
        'gradient_clipping': float(bound or 0.0),
        # `DeepSpeedOptimWrapper` counts the windows, whose last one may be shorter.
        'managed_gradient_accumulation': False,
    }
    merged.setdefault('zero_allow_untested_optimizer', True)
    merged.setdefault('zero_force_ds_cpu_optimizer', False)
    _set_precision(merged, wrapper, stage)
    return merged, window, None if bound is None else {'max_norm': float(bound)}


def is_enabled(settings: Settings, name: str) -> bool:
    """Whether the block ``name``, such as ``'bf16'``, is switched on."""
    return bool((settings.get(name) or {}).get('enabled', False))


def is_half(settings: Settings) -> bool:
    """Whether the model has parameters in float16 or bfloat16, beside float32 ones of ZeRO."""
    return is_enabled(settings, 'fp16') or is_enabled(settings, 'bf16')


def _set_precision(merged: Settings, wrapper: OptimWrapper, stage: int) -> None:
    given = [name for name in _PRECISIONS if is_enabled(merged, name)]
    dtype = _autocast_dtype(wrapper)
    if dtype is not None and given:
        entry = merged['torch_autocast'] if given[0] == 'torch_autocast' else {}
        said = _DTYPES.get(given[0], str(entry.get('dtype')))
        if said != _name(dtype):
            raise ArgumentError(
                f'optim_wrapper says to compute in {_name(dtype)}, but the entry {given[0]!r} of '
                f'DeepSpeed says {said}. Remove one of them.'
            )
    elif dtype is not None:
        merged['torch_autocast'] = {'enabled': True, 'dtype': _name(dtype)}
        if dtype is torch.float16:
            if stage:
                raise ArgumentError(
                    'DeepSpeed cannot skip a step on all ranks after an overflow when ZeRO '
                    f'(stage {stage}) splits gradients of float16 autocast. Use '
                    "AmpOptimWrapper(dtype='bfloat16'), or OptimWrapper and fp16=dict("
                    'enabled=True) of DeepSpeedStrategy, with inputs_to_half.'
                )
            if getattr(wrapper, '_scale_update_param', None) is not None:
                raise ArgumentError(
                    'DeepSpeed chooses the loss scale of float16 autocast: remove loss_scale from '
                    'optim_wrapper.'
                )
    if is_half(merged):
        if not stage:
            raise ArgumentError(
                'bf16 and fp16 of DeepSpeed need stage 1, 2 or 3 of ZeRO here, because only these '
                'let a checkpoint hold the float32 parameters. Set zero_optimization=dict(stage=1),'
                " or use AmpOptimWrapper(dtype='bfloat16')."
            )
        types = merged.get('data_types') or {}
        if stage == 1 and is_enabled(merged, 'bf16') and types.get('grad_accum_dtype') == 'fp32':
            raise ArgumentError(
                'bf16 with data_types=dict(grad_accum_dtype="fp32") needs stage 2 or 3 of ZeRO '
                'here.'
            )


def _autocast_dtype(wrapper: OptimWrapper) -> torch.dtype | None:
    """The dtype in which an :class:`AmpOptimWrapper` computes, if it is a low one."""
    if not isinstance(wrapper, AmpOptimWrapper):
        return None
    dtype = wrapper.cast_dtype or torch.get_autocast_dtype(wrapper._device_type)
    return dtype if dtype in _LOW else None


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix('torch.')


def _max_norm(wrapper: OptimWrapper) -> float | None:
    arguments = wrapper.clip_grad_kwargs
    if not arguments:
        return None
    unknown = {
        name: value
        for name, value in arguments.items()
        if name != 'max_norm' and not (name == 'norm_type' and value == 2)
    }
    if 'max_norm' not in arguments or unknown:
        raise ArgumentError(
            'DeepSpeed clips by the 2-norm of all gradients: clip_grad is dict(max_norm=...); got '
            f'{arguments!r}.'
        )
    return float(arguments['max_norm'])


def _one_of(what: str, ours: str, value: Any, theirs: str, other: Any) -> Any:
    """The one of two values that is given."""
    if value is not None and other is not None and value != other:
        raise ArgumentError(
            f'{what[0].upper()}{what[1:]} is {value} in {ours}, but {other} in {theirs} of '
            'DeepSpeed. Remove one of them.'
        )
    return other if value is None else value


def _without_auto(settings: Any) -> Any:
    if not isinstance(settings, dict):
        return settings
    return {name: _without_auto(value) for name, value in settings.items() if value != _AUTO}
