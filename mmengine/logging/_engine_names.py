"""Names that the engine gives to its own log values, and what becomes of them in a clash."""

from __future__ import annotations

RESERVED = frozenset(
    {
        'time', 'data_time', 'eta', 'lr', 'base_lr', 'grad_norm', 'memory', 'epoch', 'iter', 'step',
    }
)  # fmt: skip


def engine_name(name: str) -> str:
    """The name of a value of the engine whose usual name is used by the user.

    Example:
        >>> engine_name('train/time'), engine_name('lr')
        ('train/engine_time', 'engine_lr')
    """
    mode, slash, rest = name.rpartition('/')
    return f'{mode}{slash}engine_{rest}'
