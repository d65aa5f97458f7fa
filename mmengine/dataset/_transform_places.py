"""Where a dataset keeps its transforms, so that others can take their place for a while."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_HOLDS_PARTS = ('dataset', '_dataset', 'datasets', 'pipeline', 'transform', 'transforms')
_HOLDS_TRANSFORMS = ('pipeline', 'transform', 'transforms')


@dataclass(frozen=True)
class TransformPlace:
    """Where a transform is kept: in a list, or as an attribute."""

    holder: Any
    key: int | str
    name: str

    def get(self) -> Any:
        """What is there."""
        return self.holder[self.key] if isinstance(self.key, int) else vars(self.holder)[self.key]

    def put(self, transform: Any) -> None:
        """Put something else there."""
        if isinstance(self.key, int):
            self.holder[self.key] = transform
        else:
            vars(self.holder)[self.key] = transform


def transform_places(dataset: Any) -> list[TransformPlace]:
    """The transforms of a dataset, of the datasets that it wraps, and within others."""
    found: list[TransformPlace] = []
    pending, known = [dataset], set[int]()
    for part in pending:
        if isinstance(part, (list, tuple)):
            pending.extend(part)
            continue
        if id(part) in known or not hasattr(part, '__dict__'):
            continue
        known.add(id(part))
        for name in _HOLDS_PARTS:
            value = vars(part).get(name)
            if value is None:
                continue
            if name in _HOLDS_TRANSFORMS and isinstance(value, list):
                for index, each in enumerate(value):
                    if _has_parts(each):
                        pending.append(each)
                    elif callable(each):
                        found.append(TransformPlace(value, index, _name_of(each)))
            elif name in _HOLDS_TRANSFORMS and callable(value) and not _has_parts(value):
                found.append(TransformPlace(part, name, _name_of(value)))
            else:
                pending.append(value)
    return found


def _has_parts(transform: Any) -> bool:
    return isinstance(getattr(transform, '__dict__', {}).get('transforms'), list)


def _name_of(transform: Any) -> str:
    name = getattr(transform, '__name__', None)
    return name if isinstance(name, str) else type(transform).__name__
