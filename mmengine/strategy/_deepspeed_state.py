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
    from deepspeed.utils import safe_get_full_fp32_param

    is_partitioned = engine.zero_optimization_stage() == WEIGHTS
    if not is_partitioned and not is_half:
        return
    done: dict[int, Tensor] = {}
    for name, param in engine.module.named_parameters(remove_duplicate=False):
        if id(param) not in done:
            full = safe_get_full_fp32_param(param) if param.requires_grad else None
            if full is None:  # not trained: the engine has no float32 copy
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
            for part in _parts(engine, param):
                part.write(part.master, value)


def optimizer_state(engine: Any, params: Sequence[nn.Parameter]) -> dict[int, State]:
    """The state of the optimizer with whole tensors, by the position of the parameter."""
    optimizer = engine.optimizer
    if not engine.zero_optimization_stage():
        numbers = {id(param): number for number, param in enumerate(params)}
        return {
            numbers[id(param)]: dict(entries) for param, entries in optimizer.state.items()
        }
    base = optimizer.optimizer
    state: dict[int, State] = {}
    for number, param in enumerate(params):
        if not param.requires_grad:
            continue
        entries = base.state.get(_master_of(engine, param), {})
        whole: State = {}
        for name, value in entries.items():
            is_split = isinstance(value, Tensor) and value.shape == _master_of(engine, param).shape
            if is_split:
                whole[name] = kept(_whole_entry(param, name))
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
        master = _master_of(engine, param)
        if id(master) not in fresh:
            fresh.add(id(master))
            base.state[master] = {}
        own = base.state[master]
        for name, value in entries.items():
            if isinstance(value, Tensor) and value.numel() > 1 or _is_like(value, param, stage):
                if name not in own:
                    own[name] = torch.zeros_like(master, dtype=value.dtype)
                for part in _parts(engine, param):
                    part.write(own[name], value)
            elif name not in own:
                own[name] = value.clone() if isinstance(value, Tensor) else value
    if stage < WEIGHTS:
        # The parameters have views of the state, by which it is read again.
        optimizer._hp_optimizer_states_linked = False
        if all(base.state.get(each) for each in optimizer.single_partition_of_fp32_groups):
            optimizer._lazy_init_hp_params_optimizer_state()


@dataclass(frozen=True)
class _Part:
    """Where the part of one parameter is in a flat tensor of this rank.

    Attributes:
        master: The flat tensor that the optimizer updates.
        start: First element in the flat tensor.
        source: First element in the parameter.
        size: Number of elements.
    """

    master: Tensor
    start: int
    source: int
    size: int

    def write(self, flat: Tensor, value: Tensor) -> None:
        """Copy the part of ``value``, a whole tensor, to ``flat``."""
        part = value.detach().reshape(-1).narrow(0, self.source, self.size)
        flat.data.narrow(0, self.start, self.size).copy_(part)


def _parts(engine: Any, param: Any) -> list[_Part]:
    """The part of ``param`` that this rank updates: one, or none."""
    optimizer = engine.optimizer
    master = _master_of(engine, param)
    if engine.zero_optimization_stage() == WEIGHTS:
        _, start, size = optimizer.grad_position[optimizer.get_param_id(param)]
        source = size * optimizer._get_param_partition_rank(param)
        size = min(size, param.ds_numel - source)  # the rest fills up the last part
        return [_Part(master, start, source, size)] if size > 0 else []
    mapping = param._hp_mapping
    if mapping is None:
        return []
    own, whole = mapping.hp_fragment_address, mapping.lp_fragment_address
    return [_Part(master, own.start, whole.start, own.numel)]


def _master_of(engine: Any, param: Any) -> Tensor:
    """The flat float32 tensor with the part of ``param`` on this rank."""
    optimizer = engine.optimizer
    if engine.zero_optimization_stage() == WEIGHTS:
        number = optimizer.grad_position[optimizer.get_param_id(param)][0]
        return optimizer.fp32_partitioned_groups_flat[number]  # type: ignore[no-any-return]  # DeepSpeed
    for number, group in enumerate(optimizer.bit16_groups):
        if any(each is param for each in group):
            return optimizer.single_partition_of_fp32_groups[number]  # type: ignore[no-any-return]  # DeepSpeed
    raise AssertionError('a parameter that is trained is in no group of the engine')


def _whole_entry(param: nn.Parameter, name: str) -> Tensor:
    from deepspeed.utils import safe_get_full_optimizer_state

    return safe_get_full_optimizer_state(param, name)  # type: ignore[no-any-return]  # DeepSpeed


def _is_like(value: Any, param: Any, stage: int) -> bool:
    """Whether ``value`` belongs to the single element of ``param``, not to its group."""
    shape = param.ds_shape if stage == WEIGHTS else param.shape
    return isinstance(value, Tensor) and value.dim() > 0 and value.shape == shape


def _placed(value: Any, param: nn.Parameter) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.clone() if value.dim() == 0 else value.to(param.device, copy=True)
