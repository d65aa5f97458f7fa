"""ResumeRequest: what the ``resume`` of a run asks for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.utils.errors import ArgumentError, ArgumentTypeError, did_you_mean

_SOURCES = ('config', 'checkpoint')
_CHOICES: dict[str, tuple[str, ...]] = {
    'schedule': _SOURCES,
    'optimizer': _SOURCES,
    'on_change': ('warn', 'error'),
}
_KEYS = ('path', *_CHOICES, 'again')


@dataclass(frozen=True)
class ResumeRequest:
    """Whether a run resumes, from where, and what wins where config and checkpoint differ.

    Attributes:
        enabled: Whether the run resumes.
        path: The checkpoint; ``'auto'`` for the newest in the work dir; None for the newest in the
            work dir, or ``load_from`` if the work dir has none.
        schedule: ``'config'``: schedules have the settings of the config, and step from the start
            to the position of the checkpoint. ``'checkpoint'``: schedules go on as they were saved.
            None: settings that the config has changed come from the config.
        optimizer: The same for the options of parameter groups, such as ``weight_decay``.
            ``'config'`` also lets an optimizer that does not fit its saved state begin anew.
        on_change: ``'warn'`` logs what differs from the config of the checkpoint, ``'error'``
            refuses to resume.
        again: Open a run that had ended.
    """

    enabled: bool = False
    path: str | None = None
    schedule: str | None = None
    optimizer: str | None = None
    on_change: str = 'warn'
    again: bool = False

    @property
    def source(self) -> bool | str:
        """The same as the API's ``resume``: False, True, ``'auto'`` or a path."""
        return self.path or self.enabled


def parse_resume(resume: Any) -> ResumeRequest:
    """The request in the ``resume`` of a runner: None, a bool, ``'auto'``, a path, or a dict.

    Raises:
        ArgumentError: If a dict has an unknown key or a wrong value.
        ArgumentTypeError: If ``resume`` is something else.
    """
    if isinstance(resume, Mapping):
        return _from_dict(resume)
    if resume is None or isinstance(resume, bool):
        return ResumeRequest(enabled=bool(resume))
    if isinstance(resume, (str, os.PathLike)):
        path = os.fspath(resume)
        return ResumeRequest(enabled=bool(path), path=str(path) or None)
    raise ArgumentTypeError(
        "resume is True, False, 'auto', the path of a checkpoint, or a dict with "
        f'{", ".join(_KEYS)}; got {type(resume).__name__}.'
    )


def _from_dict(given: Mapping[str, Any]) -> ResumeRequest:
    for key in given:
        if key not in _KEYS:
            raise ArgumentError(
                f'resume has {key!r}, which has no meaning.{did_you_mean(str(key), _KEYS)} Its '
                f'keys are {", ".join(_KEYS)}.'
            )
    for key, choices in _CHOICES.items():
        value = given.get(key)
        if value is not None and value not in choices:
            raise ArgumentError(
                f'resume has {key}={value!r}.{did_you_mean(str(value), choices)} It is '
                f'{" or ".join(map(repr, choices))}.'
            )
    again = given.get('again', False)
    if not isinstance(again, bool):
        raise ArgumentError(f'resume has again={again!r}. It is True or False.')
    path = given.get('path')
    if path is not None and not isinstance(path, (str, os.PathLike)):
        raise ArgumentError(
            f"resume has path={path!r}. It is a path, 'auto', or None for the newest checkpoint."
        )
    return ResumeRequest(
        enabled=True,
        path=str(os.fspath(path)) or None if path is not None else None,
        schedule=given.get('schedule'),
        optimizer=given.get('optimizer'),
        on_change=given.get('on_change') or 'warn',
        again=again,
    )
