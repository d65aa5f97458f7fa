"""``fused='auto'`` in the config of an optimizer: fused where device and dtype have it.

A fused optimizer updates all parameters in one call, in less time and with slightly other rounding.
Which optimizers, devices and dtypes have a kernel differs between versions of torch. So a step is
made with one number of each device and dtype, and if that works, the optimizer is fused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmengine.logging import print_log
from mmengine.registry import OPTIMIZERS


def with_chosen_fused(
    cfg: Mapping[str, Any], params: Iterable[Any], params_name: str, model: nn.Module
) -> Mapping[str, Any]:
    """``cfg`` with ``fused=True`` in place of 'auto', or without ``fused``; the log tells which.

    Args:
        cfg: Of the optimizer. If ``fused`` is not 'auto', it is returned as it is.
        params: Parameters or parameter groups.
        params_name: Name of the argument that takes them.
        model: Whose parameters they are.
    """
    if cfg.get('fused') != 'auto':
        return cfg
    rest = {key: value for key, value in cfg.items() if key != 'fused'}
    kinds = {(param.device, param.dtype): type(param) for param in _tensors(params)}
    reason = _why_not(rest, kinds, params_name, model)
    kind = getattr(cfg['type'], '__name__', cfg['type'])
    where = ', '.join(sorted({f'{dtype} on {device}' for device, dtype in kinds}))
    if reason is None:
        print_log(f"fused='auto': {kind} is fused for {where}.", logger='current')
        return {**rest, 'fused': True}
    print_log(f"fused='auto': {kind} is not fused for {where}: {reason}", logger='current')
    return rest


def _why_not(
    cfg: Mapping[str, Any],
    kinds: Mapping[tuple[torch.device, torch.dtype], type],
    params_name: str,
    model: nn.Module,
) -> str | None:
    if any(device.type == 'meta' for device, _ in kinds):
        return 'the parameters have no memory yet.'
    if not set(kinds.values()) <= {Tensor, nn.Parameter}:
        return 'the parameters are not plain tensors.'
    if any(getattr(module, 'sparse', False) is True for module in model.modules()):
        return 'a module has sparse gradients.'
    for device, dtype in kinds:
        probe = nn.Parameter(torch.zeros(1, device=device, dtype=dtype))
        probe.grad = torch.zeros_like(probe)
        try:
            OPTIMIZERS.build({**cfg, 'fused': True}, default_args={params_name: [probe]}).step()
        except (TypeError, RuntimeError, ValueError) as error:  # no such argument, or no kernel
            return str(error.__cause__ or error).splitlines()[0]
    return None


def _tensors(params: Iterable[Any]) -> Iterator[Tensor]:
    for entry in params:
        found = entry['params'] if isinstance(entry, Mapping) else entry
        yield from [found] if isinstance(found, Tensor) else found
