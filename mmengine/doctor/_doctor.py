"""doctor: all checks in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.doctor._collectives import check_collectives
from mmengine.doctor._devices import check_devices
from mmengine.doctor._disk import check_disk
from mmengine.doctor._finding import FAIL, Finding
from mmengine.doctor._limits import check_limits
from mmengine.doctor._software import check_software
from mmengine.utils.errors import ArgumentError, did_you_mean

if TYPE_CHECKING:
    from mmengine.config import Config, ConfigDict

Findings = Iterator[Finding]
AREAS = ('software', 'devices', 'collectives', 'disk', 'limits', 'data')


def doctor(
    cfg: Config | ConfigDict | dict[str, Any] | None = None,
    work_dir: str | os.PathLike[str] | None = None,
    *,
    only: Collection[str] | None = None,
    tell: Callable[[str], None] | None = None,
) -> list[Finding]:
    """Look for what keeps this machine from training, or makes it slow.

    Versions that do not fit, a matrix product on each device, a sum over two real processes, the
    speed of the disk, and limits of the system. With a config, also the speed of its data: the
    slowest stage, and the samples a second by number of workers. It takes some seconds, and some
    more for data.

    Args:
        cfg: The config of a run. Its ``custom_imports`` must be imported.
        work_dir: The folder whose disk is looked at; by default the one of the config, else
            ``work_dirs``. It need not exist, and is not created.
        only: Areas to look at, of ``'software'``, ``'devices'``, ``'collectives'``, ``'disk'``,
            ``'limits'`` and ``'data'``; None for all.
        tell: Called with the name of an area before its checks.

    Raises:
        ArgumentError: If there is no such area, or there is no config for ``'data'``.
    """
    for area in only or ():
        if area not in AREAS:
            raise ArgumentError(f'There is no area {area!r}.{did_you_mean(area, AREAS)}')
        if area == 'data' and cfg is None:
            raise ArgumentError('The area data needs a config.')
    settings: Any = {} if cfg is None else cfg
    folder = Path(work_dir or settings.get('work_dir') or 'work_dirs')
    areas: dict[str, Callable[[], Findings]] = {
        'software': check_software,
        'devices': check_devices,
        'collectives': check_collectives,
        'disk': lambda: check_disk(folder),
        'limits': check_limits,
    }
    if cfg is not None:
        areas['data'] = lambda: _check_data(cfg)
    found = []
    for area, check in areas.items():
        if only is not None and area not in only:
            continue
        if tell is not None:
            tell(area)
        found += _findings_of(area, check)
    return found


def _findings_of(area: str, check: Callable[[], Findings]) -> list[Finding]:
    """The findings of an area; a check that cannot be made is one too, so that others go on."""
    found: list[Finding] = []
    try:
        found.extend(check())
    except Exception as error:
        lines = str(error).strip().splitlines() or ['']
        text = f'{type(error).__name__}: {lines[0]}'
        advice = 'This check could not be made: see the error.'
        found.append(Finding(area, 'check', FAIL, text, advice))
    return found


def _check_data(cfg: Any) -> Findings:
    from mmengine.doctor._data import check_data  # it imports the runner

    return check_data(cfg)
