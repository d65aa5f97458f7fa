"""Warnings that one reader sees once."""

import warnings

from mmengine.dist.utils import is_main_process

_said: set[str] = set()


def warn_once(message: str, category: type[Warning] = UserWarning, stacklevel: int = 2) -> None:
    """Warn on rank 0 alone, and only the first time that this message comes.

    Meant for settings that have no effect. A message with a changing number in it is a new one each
    time.

    Args:
        message: The text, which is what makes a warning the same.
        category: Kind of warning.
        stacklevel: Whose line the warning shows, as in ``warnings.warn``: 1 is the line that calls
            this function, 2 the caller of the function it stands in.
    """
    if message in _said or not is_main_process():
        return
    _said.add(message)
    warnings.warn(message, category, stacklevel=stacklevel + 1)
