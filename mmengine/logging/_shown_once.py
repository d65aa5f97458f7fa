"""Names of an evaluation that mean one thing, shown once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def shown_once(scalars: Mapping[str, Any], mode: str) -> dict[str, Any]:
    """The scalars of an evaluation without ``loss`` where ``val_loss`` is the same number."""

    def is_repeated(name: str) -> bool:
        prefix, slash, last = name.rpartition('/')
        if last != 'loss':
            return False
        total = scalars.get(f'{prefix}{slash}{mode}_loss')
        value = scalars[name]
        return total is not None and bool(total == value or (total != total and value != value))

    return {name: value for name, value in scalars.items() if not is_repeated(name)}
