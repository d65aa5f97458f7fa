"""A chain of data transforms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from mmengine.dataset._notes import add_note
from mmengine.registry import TRANSFORMS


class Compose:
    """Call transforms one after another, each on what the one before returned.

    A transform that returns None drops the sample: the chain ends there, and the dataset draws
    another sample. An error in a transform leaves with a note that says which transform it was, and
    on which sample.

    Args:
        transforms: Configs, which are built from ``TRANSFORMS``, and callables. None for an empty
            chain.

    Raises:
        TypeError: If an entry is neither a config nor callable.

    Example:
        >>> Compose([lambda sample: sample + 1, str])(41)
        '42'
    """

    _dropped_by: str | None = None

    def __init__(self, transforms: Sequence[Mapping[str, Any] | Callable[..., Any]] | None) -> None:
        if transforms is None:
            transforms = []
        if isinstance(transforms, (str, Mapping)) or not isinstance(transforms, Sequence):
            raise TypeError(
                f'A pipeline is a list of transforms, got {type(transforms).__name__}. Write a '
                'single transform as a list of one.'
            )
        self.transforms: list[Callable[..., Any]] = [
            _as_callable(transform, position) for position, transform in enumerate(transforms, 1)
        ]

    def __call__(self, data: Any) -> Any:
        """What the last transform returns for ``data``; None once a transform drops the sample."""
        for number, transform in enumerate(self.transforms, 1):
            try:
                transformed = transform(data)
            except Exception as error:
                add_note(error, f'Raised in {self._whereabouts(number, data)}.')
                raise
            if transformed is None:
                self._dropped_by = self._whereabouts(number, data)
                return None
            data = transformed
        return data

    def __repr__(self) -> str:
        lines = ''.join(f'\n    {transform}' for transform in self.transforms)
        return f'{type(self).__name__}({lines}\n)'

    def _whereabouts(self, number: int, data: Any) -> str:
        transform = self.transforms[number - 1]
        name = getattr(transform, '__name__', type(transform).__name__)
        sample = ''
        if isinstance(data, Mapping):
            known_as = [f'{key}={data[key]!r}' for key in ('sample_idx', 'img_path') if key in data]
            sample = f', on the sample with {", ".join(known_as)}' if known_as else ''
        return f'transform {number} of {len(self.transforms)} of the pipeline, {name}{sample}'


def _as_callable(transform: Any, position: int) -> Callable[..., Any]:
    built = TRANSFORMS.build(transform) if isinstance(transform, Mapping) else transform
    if not callable(built):
        raise TypeError(
            f'Transform {position} of the pipeline must be a config (a dict with a type) or a '
            f'callable, got {type(built).__name__}.'
        )
    return cast(Callable[..., Any], built)
