"""Distribution of the state of an optimizer wrapper over the ranks that shard its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine._checkpoint.dtensor import spread_optimizer_state


def spread_wrapper_state(optim_wrapper: Any, state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Convert ``state_dict``, which holds whole tensors, to the form that ``optim_wrapper`` loads.

    The state of parameters that are not sharded does not change.
    """
    wrappers = getattr(optim_wrapper, 'optim_wrappers', None)
    if wrappers is not None:
        return {
            name: spread_wrapper_state(wrappers[name], state) if name in wrappers else state
            for name, state in state_dict.items()
        }
    if 'state' not in state_dict or not hasattr(optim_wrapper, 'optimizer'):
        return dict(state_dict)
    return spread_optimizer_state(optim_wrapper.optimizer, dict(state_dict))
