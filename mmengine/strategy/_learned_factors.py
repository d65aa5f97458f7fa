"""The factor by which schedules that learn from metrics have scaled a value."""

from __future__ import annotations

import copy
from typing import Any, Protocol

from mmengine.optim.scheduler._torch import TorchSchedule
from mmengine.strategy._schedule_chains import Chain


class Advance(Protocol):
    """Steps schedulers to the position of the checkpoint."""

    def advance(self, schedulers: list[Any]) -> None:
        """Step ``schedulers``."""


def learned_factors(chain: Chain, position: Advance) -> list[float] | None:
    """The factor by which schedulers with metrics scaled each group before the checkpoint.

    The factor is the saved value divided by the value that the other schedulers alone produce with
    the saved settings. None if the groups do not match the checkpoint, or other schedulers have
    scaled them.

    Args:
        chain: Schedulers whose groups hold the values of the checkpoint.
        position: The position in the saved run.
    """
    first = chain.first
    values = first._read()
    if values == chain.pairs[-1][0]._values_as_built or not chain.is_complete:
        return None
    if any(isinstance(scheduler, TorchSchedule) for scheduler, _ in chain.pairs):
        return None
    alone = _StandIn(first.param_name, chain.pairs[0][1].get('base_values', values))
    twins = []
    for scheduler, state in chain.pairs:
        if not scheduler.need_val_args:
            twin = copy.copy(scheduler)
            known = {key: value for key, value in state.items() if key not in twin._not_state}
            vars(twin).update(copy.deepcopy(known))
            restart = {'last_step': -1, '_global_step': -1, '_last_value': None}
            vars(twin).update(optimizer=alone, _holds_tensors=False, **restart)
            twin.step()
            twins.append(twin)
    position.advance(twins)
    expected = [group[first.param_name] for group in alone.param_groups]
    factors = [
        value / other if other else 1.0 for value, other in zip(values, expected, strict=True)
    ]
    return [1.0 if abs(factor - 1) < 1e-9 else factor for factor in factors]


def scale_values(scheduler: Any, factors: list[float]) -> None:
    """Multiply the present values of the groups of ``scheduler`` by ``factors``."""
    values = scheduler._read()
    scheduler._write([value * factor for value, factor in zip(values, factors, strict=True)])
    if hasattr(scheduler, '_write_betas'):
        scheduler._write_betas()


class _StandIn:
    """Param groups without an optimizer, used to compute the values that schedulers produce."""

    def __init__(self, param_name: str, values: list[float]) -> None:
        self.param_groups: list[dict[str, Any]] = [
            {param_name: value, f'initial_{param_name}': value, 'betas': (0.0, 0.0)}
            for value in values
        ]
