"""The gradients that a DeepSpeed engine holds in an open accumulation window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmengine.dist import all_reduce

WEIGHTS = 3  # the stage in which the parameters are partitioned too
GRADIENTS = 2


def is_zero_engine(engine: Any) -> bool:
    """Whether ZeRO partitions anything: False in stage 0, which is data parallel."""
    return bool(engine.zero_optimization())


def held_gradients(engine: Any, params: Sequence[nn.Parameter], factor: float) -> dict[int, Tensor]:
    """The mean gradients over all ranks times ``factor``, by the position of their parameter.

    All ranks must call it. Empty if the engine keeps them where they cannot be read: with offloaded
    gradients, and where they are added in another dtype than the parameters have.
    """
    stage = engine.zero_optimization_stage()
    optimizer = engine.optimizer
    if stage and (
        _is_offloaded(engine) or optimizer.gradient_accumulation_dtype != optimizer.dtype
    ):
        return {}
    if stage:
        factor /= optimizer.loss_scale
    held = {}
    for number, param in enumerate(params):
        if not param.requires_grad:
            continue
        if stage == WEIGHTS:
            grad = optimizer.get_fp32_grad_for_param(param)
        elif stage == GRADIENTS:
            grad = _own_part(optimizer, param)
            all_reduce(grad, op='sum')
        else:
            given = getattr(param, 'grad_accum', None) if param.grad is None else param.grad
            grad = torch.zeros_like(param) if given is None else given.detach().clone()
            all_reduce(grad, op='mean')
        held[number] = (grad * factor).cpu()
    return held


def restore_held(
    engine: Any, params: Sequence[nn.Parameter], by_rank: Sequence[dict[int, Tensor]]
) -> None:
    """Give the engine the gradients of an open window, as one entry or as one for each rank.

    The engine takes them as it takes the gradients of a backward pass. All ranks must call it.
    """
    total: dict[int, Tensor] = {}
    for gradients in by_rank:
        for number, grad in gradients.items():
            total[number] = total[number] + grad if number in total else grad
    with gathered(engine, params):
        terms = [
            (params[number] * (grad / len(by_rank)).to(params[number])).sum()
            for number, grad in sorted(total.items())
            if params[number].requires_grad
        ]
        if not terms:
            return
        loss = torch.stack([term.float() for term in terms]).sum()
        engine.backward(loss, scale_wrt_gas=False)


def drop_gradients(engine: Any) -> None:
    """Forget the gradients of an open window."""
    optimizer, stage = engine.optimizer, engine.zero_optimization_stage()
    optimizer.zero_grad(set_to_none=True)
    if not stage:
        engine.zero_grad()
    elif stage < WEIGHTS:
        for held in (optimizer.averaged_gradients, optimizer.all_grad_tensors):
            for group in held:
                held[group] = None
        for group in optimizer.bit16_groups:
            for param in group:
                param.grad_accum = None
        if _is_offloaded(engine):
            optimizer.reset_cpu_buffers()


def gathered(engine: Any, params: Sequence[nn.Parameter], source: int | None = None) -> Any:
    """Context in which ``params`` are whole on each rank.

    Args:
        engine: The engine.
        params: Some of its parameters.
        source: The rank whose changes are kept when the context ends; None if nothing changes.
    """
    from deepspeed.runtime.zero import GatheredParameters

    is_partitioned = engine.zero_optimization_stage() == WEIGHTS
    return GatheredParameters(list(params), modifier_rank=source, enabled=is_partitioned)


def _own_part(optimizer: Any, param: nn.Parameter) -> Tensor:
    """The averaged gradient in the part of ``param`` that this rank updates; 0 elsewhere."""
    part = torch.zeros_like(param, dtype=torch.float32)
    mapping: Any = param._hp_mapping  # type: ignore[attr-defined]  # set by DeepSpeed
    if mapping is None:
        return part
    for number, owned in enumerate(optimizer.params_in_partition):
        held = optimizer.all_grad_tensors.get(number)
        for position, each in enumerate(owned):
            if each is param and held is not None:
                address = mapping.lp_fragment_address
                grad = held[position].flatten().narrow(0, address.start, address.numel)
                part.view(-1).narrow(0, address.start, address.numel).copy_(grad)
    return part


def _is_offloaded(engine: Any) -> bool:
    return bool(engine.zero_offload_optimizer() or engine.zero_offload_param())
