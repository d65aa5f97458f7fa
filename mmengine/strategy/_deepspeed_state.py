"""Whole parameters and optimizer state of a DeepSpeed engine, read and written.

All functions are collective: all ranks must call them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmengine._checkpoint.dtensor import kept
from mmengine.device import get_device
from mmengine.dist import all_reduce
from mmengine.strategy._deepspeed_gradients import WEIGHTS, gathered

State = dict[str, Any]


def whole_parameters(engine: Any, is_half: bool) -> Iterator[tuple[str, Tensor]]:
    """The parameters whose tensors in the model are not the whole, float32 ones, with their names.

    One after the other is gathered; see :func:`~mmengine._checkpoint.dtensor.whole_on_main_rank`
    for what remains of it.

    Args:
        engine: The engine.
        is_half: Whether the tensors in the model are in a low precision.
    """
    is_partitioned = engine.zero_optimization_stage() == WEIGHTS
    if not is_partitioned and not is_half:
        return
    done: dict[int, Tensor] = {}
    for name, param in engine.module.named_parameters(remove_duplicate=False):
        if id(param) not in done:
            if param.requires_grad:
                part = _part_of(engine, param)
                full = part.whole(part.flat)
            else:  # the engine has no float32 copy of what is not trained
                with gathered(engine, [param]):
                    full = param.detach().clone()
            done[id(param)] = kept(full)
        yield name, done[id(param)]


def write_parameters(engine: Any, values: Mapping[str, Tensor]) -> None:
    """Write the values of trained parameters to the copies that the optimizer updates.

    Args:
        engine: The engine.
        values: Whole tensors by name. Parameters without a value of their shape keep theirs.
    """
    stage = engine.zero_optimization_stage()
    if not stage:
        return
    for name, param in engine.module.named_parameters():
        value = values.get(name)
        if param.requires_grad and value is not None:
            part = _part_of(engine, param)
            part.write(part.flat, value)


def optimizer_state(engine: Any, params: Sequence[nn.Parameter]) -> dict[int, State]:
    """The state of the optimizer with whole tensors, by the position of the parameter."""
    optimizer = engine.optimizer
    if not engine.zero_optimization_stage():
        numbers = {id(param): number for number, param in enumerate(params)}
        return {numbers[id(param)]: dict(entries) for param, entries in optimizer.state.items()}
    base = optimizer.optimizer
    state: dict[int, State] = {}
    for number, param in enumerate(params):
        if not param.requires_grad:
            continue
        part = _part_of(engine, param)
        whole: State = {}
        for name, value in base.state.get(part.flat, {}).items():
            if isinstance(value, Tensor) and value.shape == part.flat.shape:
                whole[name] = kept(part.whole(value))
            else:
                whole[name] = value.clone() if isinstance(value, Tensor) else value
        if whole:
            state[number] = whole
    return state


def load_optimizer_state(
    engine: Any, params: Sequence[nn.Parameter], state: Mapping[int, State]
) -> None:
    """Load the result of :func:`optimizer_state`, or the state of another strategy."""
    optimizer = engine.optimizer
    stage = engine.zero_optimization_stage()
    if not stage:
        optimizer.state.clear()
        for number, entries in state.items():
            param = params[number]
            optimizer.state[param] = {
                name: _placed(value, param) for name, value in entries.items()
            }
        return
    base = optimizer.optimizer
    fresh: set[int] = set()
    for number, param in enumerate(params):
        entries = state.get(number, {})
        if not param.requires_grad or not entries:
            continue
        part = _part_of(engine, param)
        if id(part.flat) not in fresh:
            fresh.add(id(part.flat))
            base.state[part.flat] = {}
        own = base.state[part.flat]
        for name, value in entries.items():
            if isinstance(value, Tensor) and value.shape == part.shape:
                if name not in own:
                    own[name] = torch.zeros_like(part.flat, dtype=value.dtype)
                part.write(own[name], value)
            elif name not in own:
                own[name] = value.clone() if isinstance(value, Tensor) else value
    # The parameters have views of the state before: the next step makes new ones.
    optimizer._hp_optimizer_states_linked = False


@dataclass(frozen=True)
class _Part:
    """Where the part of one parameter is in the flat tensor that this rank updates.

    Attributes:
        flat: The flat tensor.
        shape: The shape of the parameter.
        start: First element in the flat tensor.
        source: First element in the parameter.
        size: Number of elements; 0 if this rank has no part.
    """

    flat: Tensor
    shape: torch.Size
    start: int = 0
    source: int = 0
    size: int = 0

    def write(self, flat: Tensor, value: Tensor) -> None:
        """Copy the part of ``value``, a whole tensor, to ``flat``."""
        part = value.detach().reshape(-1).narrow(0, self.source, self.size)
        flat.data.narrow(0, self.start, self.size).copy_(part)

    def whole(self, flat: Tensor) -> Tensor:
        """The whole tensor, of which each rank has its part in its ``flat``."""
        full = torch.zeros(self.shape, dtype=flat.dtype, device=get_device())
        own = flat.detach().narrow(0, self.start, self.size)
        full.view(-1).narrow(0, self.source, self.size).copy_(own)
        all_reduce(full, op='sum')
        return full


def _part_of(engine: Any, param: Any) -> _Part:
    optimizer = engine.optimizer
    if engine.zero_optimization_stage() == WEIGHTS:
        group, start, size = optimizer.grad_position[optimizer.get_param_id(param)]
        flat = optimizer.fp32_partitioned_groups_flat[group]
        source = size * optimizer._get_param_partition_rank(param)
        size = min(size, param.ds_numel - source)  # the rest fills up the last part
        return (
            _Part(flat, param.ds_shape, start, source, size)
            if size > 0
            else _Part(flat, param.ds_shape)
        )
    number = next(
        number
        for number, group in enumerate(optimizer.bit16_groups)
        if any(each is param for each in group)
    )
    flat, mapping = optimizer.single_partition_of_fp32_groups[number], param._hp_mapping
    if mapping is None:
        return _Part(flat, param.shape)
    own, whole = mapping.hp_fragment_address, mapping.lp_fragment_address
    return _Part(flat, param.shape, own.start, whole.start, own.numel)


def _placed(value: Any, param: nn.Parameter) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.clone() if value.dim() == 0 else value.to(param.device, copy=True)
