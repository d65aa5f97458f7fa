"""Checkpoints that a killed run was about to remove."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Any

from mmengine._checkpoint._ledger import read_entries
from mmengine._checkpoint._verify import UNCHANGED, change_of
from mmengine._checkpoint.validation_record import RECORD_SUFFIX

INTERVAL, INTERIM, BEST = 'interval', 'interim', 'best'
"""Why a checkpoint was written that a later one replaces: ``meta['rotation']``."""


@dataclass(frozen=True)
class Kept:
    """What a run keeps, in a folder.

    Attributes:
        run_id: The run, over all its starts.
        iteration: Finished iterations. Of later checkpoints the run may become the author again.
        template: Names of interval checkpoints, with ``{}`` for the number.
        numbers: The interval checkpoints that are kept; empty if all are.
        interim: Name of the interim checkpoint; None if there is none.
        best: By prefix of their names, the best checkpoints.
    """

    run_id: str
    iteration: int
    template: str
    numbers: Sequence[int] = ()
    interim: str | None = None
    best: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def supersedes(self, name: str, entry: Mapping[str, Any]) -> bool:
        """Whether the run would have removed this file of its ledger."""
        iteration = entry.get('iter')
        if entry.get('run') != self.run_id or not isinstance(iteration, int):
            return False
        if iteration > self.iteration:
            return False
        rotation = entry.get('rotation')
        if rotation == INTERVAL and self.numbers:
            number = _number_in(name, self.template)
            return number is not None and number not in self.numbers and number < max(self.numbers)
        if rotation == INTERIM and self.numbers:
            return name != self.interim
        if rotation == BEST:
            names = (self.best[one] for one in self.best if self._is_best(name, one))
            kept = next(names, [])
            return bool(kept) and name not in kept
        return False

    def _is_best(self, name: str, prefix: str) -> bool:
        """Whether the file is a best one of the metric with this prefix, by any of its names."""
        rest = name.removeprefix(prefix)
        is_by_unit = re.fullmatch(r'[a-z]+_[0-9]+\.pth', rest) is not None
        return rest != name and (is_by_unit or _number_in(rest, self.template) is not None)


def leftovers(folder: str, kept: Kept) -> list[str]:
    """Names of checkpoints in ``folder`` that the run would have removed, had it not been killed.

    Only those that the ledger has, with the content that the ledger states, are among them.
    """
    entries = read_entries(folder)
    names = [name for name, entry in entries.items() if kept.supersedes(name, entry)]
    names += [
        name
        for name in entries
        if name.endswith(RECORD_SUFFIX)
        and not os.path.lexists(os.path.join(folder, name.removesuffix(RECORD_SUFFIX)))
    ]
    found = []
    for name in names:
        path = Path(folder, name)
        is_own = not path.is_symlink() and change_of(path, entries) == UNCHANGED
        if is_own:
            found.append(name)
    return found


def _number_in(name: str, template: str) -> int | None:
    texts = [re.escape(text) for text, *_ in Formatter().parse(template)]
    match = re.fullmatch(f'{texts[0]}0*([0-9]+){"".join(texts[1:])}', name)
    # The field of the template may have a format, such as {:04d}.
    return None if match is None or template.format(int(match[1])) != name else int(match[1])
