"""One training step of each config, under MMCV 1.x and here, with the same weights and data."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from mmengine.migrate._project.migrate import Migration

_LEGACY = Path(__file__).with_name('legacy_step.py')
_TOLERANCE = 1e-5
_TIMEOUT_S = 900


@dataclass(frozen=True)
class StepComparison:
    """What became of one training step.

    Args:
        config: The config, relative to the project.
        difference: The largest relative difference of the logged losses; None if they were not
            compared.
        reason: Why they were not compared, or which loss differs.
        is_stand_in: Whether the data was made up.
    """

    config: str
    difference: float | None
    reason: str = ''
    is_stand_in: bool = False

    @property
    def is_equal(self) -> bool:
        """Whether the losses are equal."""
        return self.difference is not None and self.difference <= _TOLERANCE


def compare_steps(migration: Migration, python: str) -> list[StepComparison]:
    """Take one training step of each config that was converted, under MMCV 1.x and here.

    Args:
        migration: The project, written already.
        python: The Python of an environment with MMCV 1.x and what the project needs.

    Raises:
        ArgumentError: If ``python`` cannot be run or has no MMCV 1.x.
    """
    if migration.report is None:
        return []
    _check(python)
    configs = [
        os.path.relpath(one.source, migration.source)
        for one in migration.report.leaves
        if not one.failed and not one.is_new
    ]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        asked = folder / 'asked.json'
        asked.write_text(json.dumps(configs), 'utf-8')
        words = [str(asked), scratch]
        _run([python, str(_LEGACY), str(migration.source), *words])
        module = 'mmengine.migrate._project.new_step'
        _run([sys.executable, '-m', module, str(migration.target), *words])
        return [_comparison(folder, index, config) for index, config in enumerate(configs)]


def _check(python: str) -> None:
    code = 'import mmcv; print(mmcv.__version__)'
    try:
        done = subprocess.run(
            [python, '-W', 'ignore', '-c', code], capture_output=True, text=True, timeout=_TIMEOUT_S
        )
    except OSError as error:
        raise ArgumentError(f'{python} cannot be run: {error.strerror}.') from error
    version = done.stdout.strip()
    if done.returncode or not version.startswith('1.'):
        raise ArgumentError(f'{python} has no MMCV 1.x (it has {version or "none"}).')


def _run(command: Sequence[str]) -> None:
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONDONTWRITEBYTECODE': '1'}
    # What a project prints is not of concern, and what it fails with is in the files.
    subprocess.run(command, env=environment, capture_output=True, timeout=_TIMEOUT_S)


def _comparison(folder: Path, index: int, config: str) -> StepComparison:
    import torch

    place = folder / f'{index}.pt'
    if not place.exists():
        return StepComparison(config, None, 'MMCV ended before its step')
    legacy = torch.load(place, weights_only=True)
    if 'reason' in legacy:
        return StepComparison(config, None, f'under MMCV: {legacy["reason"]}')
    outcome = folder / f'{index}.json'
    ours: dict[str, Any] = {'reason': 'it ended before its step'}
    if outcome.exists():
        ours = json.loads(outcome.read_text('utf-8'))
    if 'reason' in ours:
        return StepComparison(config, None, f'here: {ours["reason"]}')
    return _compared(config, legacy, ours['logs'])


def _compared(config: str, legacy: dict[str, Any], ours: dict[str, float]) -> StepComparison:
    theirs = legacy['logs']
    shared = [name for name in theirs if name in ours]
    if not shared:
        return StepComparison(config, None, f'no log of both: {list(theirs)} and {list(ours)}')
    worst = max(shared, key=lambda name: _difference(theirs[name], ours[name]))
    difference = _difference(theirs[worst], ours[worst])
    reason = f'{worst} is {theirs[worst]:.6g} under MMCV and {ours[worst]:.6g} here'
    return StepComparison(
        config, difference, '' if difference <= _TOLERANCE else reason, legacy['is_stand_in']
    )


def _difference(one: float, other: float) -> float:
    if math.isnan(one) or math.isnan(other):
        return 0.0 if math.isnan(one) and math.isnan(other) else math.inf
    return 0.0 if one == other else abs(one - other) / max(abs(one), abs(other))
