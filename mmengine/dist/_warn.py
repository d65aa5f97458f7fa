"""Warnings that appear once per run."""

import warnings

from mmengine.dist.utils import is_main_process

_shown: set[str] = set()


def warn_once(message: str, category: type[Warning] = UserWarning, stacklevel: int = 2) -> None:
    """Warn on rank 0 alone, and only the first time that this message comes.

    For settings without effect. A message that contains a changing number is a new message each
    time.

    Args:
        message: The text. Warnings with the same text are the same warning.
        category: Kind of warning.
        stacklevel: The line that the warning shows, as in ``warnings.warn``: 1 is the line that
            calls this function, 2 is one level further up.
    """
    if message in _shown or not is_main_process():
        return
    _shown.add(message)
    warnings.warn(message, category, stacklevel=stacklevel + 1)
