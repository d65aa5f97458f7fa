"""What a run must be given together, and what it must not."""

from collections.abc import Mapping
from typing import Any

from mmengine.utils.errors import ArgumentError


def check_given_together(stage: str, **parts: Any) -> None:
    """All of ``parts`` are given, or none.

    Args:
        stage: 'training', 'validation' or 'testing', for the message.
        parts: By argument name.

    Raises:
        ArgumentError: Naming what is given and what is missing.
    """
    given = [name for name, part in parts.items() if part is not None]
    missing = [name for name, part in parts.items() if part is None]
    if given and missing:
        raise ArgumentError(
            f'For {stage}, Runner takes {", ".join(parts)} together or not at all: '
            f'{", ".join(given)} given, {", ".join(missing)} missing.'
        )


def check_scheduler(param_scheduler: Any, optim_wrapper: Any) -> None:
    """A scheduler needs an optimizer, and is a dict, a list, or a dict of these by optimizer.

    Raises:
        ArgumentError: If there is no optimizer.
        TypeError: If it is something else.
    """
    if param_scheduler is None:
        return
    if optim_wrapper is None:
        raise ArgumentError('param_scheduler changes an optimizer, but optim_wrapper is not given.')
    is_scheduler = hasattr(param_scheduler, 'step') and hasattr(param_scheduler, 'state_dict')
    if not is_scheduler and not isinstance(param_scheduler, (Mapping, list, tuple)):
        raise TypeError(
            'param_scheduler is a scheduler, a dict, a list of these, or a dict of lists by '
            f'optimizer; got {type(param_scheduler).__name__}.'
        )
