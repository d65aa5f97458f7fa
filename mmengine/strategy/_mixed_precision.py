"""The mixed-precision policy of a sharded model, by default from its optimizer wrapper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from mmengine.optim import AmpOptimWrapper
from mmengine.optim.optimizer.amp_optimizer_wrapper import _parse_dtype
from mmengine.optim.optimizer.optimizer_wrapper_dict import wrappers_of
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.utils.errors import ArgumentError


def dtype_of_optimizer(optim_wrapper: Any, device: str) -> torch.dtype | None:
    """The reduced dtype in which the models of an optimizer wrapper, or its config, compute.

    None if they compute in the dtype of the parameters, or if there are several dtypes.
    """
    if isinstance(optim_wrapper, Mapping):
        named = optim_wrapper.values() if _is_by_name(optim_wrapper) else [optim_wrapper]
        dtypes = {_dtype_of_config(config, device) for config in named}
    else:
        dtypes = {_dtype_of_wrapper(wrapper, device) for wrapper in wrappers_of(optim_wrapper)}
    return dtypes.pop() if len(dtypes) == 1 else None


def policy_of(setting: Any, dtype: torch.dtype | None, block: nn.Module | None) -> Any:
    """The mixed-precision policy of ``block``, or of the root if that is None.

    With ``'auto'`` the blocks exchange parameters in ``dtype`` and gradients in float32. The root
    keeps float32: so the batch, targets included, is not cast, and what the root computes itself,
    such as a loss, has the precision that autocast gives it. Blocks return float32, because the
    root runs without autocast in a validation.

    Raises:
        ArgumentError: If ``setting`` is not ``'auto'``, None or a dict.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy

    if isinstance(setting, Mapping):
        return MixedPrecisionPolicy(
            **{
                name: _dtype(value) if name.endswith('_dtype') else value
                for name, value in setting.items()
            }
        )
    if setting not in ('auto', None):
        raise ArgumentError(
            "mixed_precision is 'auto', None or a dict of arguments of MixedPrecisionPolicy; got "
            f'{setting!r}.'
        )
    if setting is None or dtype is None or block is None or _has_statistics(block):
        return MixedPrecisionPolicy()
    return MixedPrecisionPolicy(
        param_dtype=dtype, reduce_dtype=torch.float32, output_dtype=torch.float32
    )


def _is_by_name(config: Mapping[str, Any]) -> bool:
    return 'type' not in config and 'optimizer' not in config and bool(config)


def _dtype_of_config(config: Any, device: str) -> torch.dtype | None:
    if not isinstance(config, Mapping):
        return _dtype_of_wrapper(config, device)
    kind = config.get('type', 'OptimWrapper')
    found = OPTIM_WRAPPERS.get(kind) if isinstance(kind, str) else kind
    if not (isinstance(found, type) and issubclass(found, AmpOptimWrapper)):
        return None
    return _reduced(_parse_dtype(config.get('dtype'), AmpOptimWrapper.valid_dtypes), device)


def _dtype_of_wrapper(wrapper: Any, device: str) -> torch.dtype | None:
    return _reduced(wrapper.cast_dtype, device) if isinstance(wrapper, AmpOptimWrapper) else None


def _reduced(dtype: torch.dtype | None, device: str) -> torch.dtype | None:
    chosen = torch.get_autocast_dtype(device) if dtype is None else dtype
    return None if chosen in (torch.float32, torch.float64) else chosen


def _has_statistics(block: nn.Module) -> bool:
    # Running statistics are float32, and a batch norm needs parameters of their dtype.
    return any(isinstance(module, _NormBase) for module in block.modules())


def _dtype(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    dtype = getattr(torch, value.removeprefix('torch.'), None)
    if not isinstance(dtype, torch.dtype):
        raise ArgumentError(f"{value!r} is not a dtype of torch; use 'bfloat16', for example.")
    return dtype
