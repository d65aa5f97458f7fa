"""Which checkpoints CheckpointHook keeps: its arguments, and the best ones for each metric."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmengine.hooks._best import IS_BETTER, WORST, check_rule, infer_rule
from mmengine.logging import print_log
from mmengine.utils.errors import ArgumentError, ArgumentTypeError, did_you_mean, unknown_metric

if TYPE_CHECKING:
    from mmengine.hooks.run import Run


def refuse_unknown(kwargs: dict[str, Any], known: Iterable[str]) -> None:
    """Refuse an argument that CheckpointHook does not have.

    Raises:
        TypeError: If there is one.
    """
    for name in kwargs:
        raise TypeError(f'CheckpointHook has no argument {name!r}.{did_you_mean(name, known)}')


def check_counts(interval: int, save_begin: int, max_keep_ckpts: int, keep_best: int) -> None:
    """Check the counts among the arguments of CheckpointHook.

    Raises:
        ArgumentError: If one of them is wrong.
    """
    is_number = isinstance(interval, int) and not isinstance(interval, bool)
    if not is_number or interval == 0 or interval < -1:
        raise ArgumentError(
            f'interval must be a positive integer, or -1 for no interval; got {interval!r}.'
        )
    if save_begin < 0:
        raise ArgumentError(f'save_begin must be 0 or more, got {save_begin}.')
    if max_keep_ckpts == 0 or max_keep_ckpts < -1:
        raise ArgumentError(
            f'max_keep_ckpts must be positive, or -1 for all; got {max_keep_ckpts}.'
        )
    if isinstance(keep_best, bool) or not isinstance(keep_best, int) or keep_best < 1:
        raise ArgumentError(f'keep_best must be a positive integer, got {keep_best!r}.')


def check_policy(on_save_error: str) -> None:
    """Check the argument of that name.

    Raises:
        ArgumentError: If it is neither 'raise' nor 'warn'.
    """
    if on_save_error not in ('raise', 'warn'):
        raise ArgumentError(f"on_save_error must be 'raise' or 'warn', got {on_save_error!r}.")


def checked_name(filename_tmpl: str) -> str:
    """``filename_tmpl`` itself, if a number can be put into it.

    Raises:
        ArgumentError: If it has another field than ``{}``.
    """
    try:
        filename_tmpl.format(1)
    except (KeyError, IndexError, ValueError) as error:
        raise ArgumentError(
            f"filename_tmpl has one field for a number, as in 'epoch_{{}}.pth'; got "
            f'{filename_tmpl!r}.'
        ) from error
    return filename_tmpl


def parse_save_best(save_best: Any, rule: Any) -> tuple[list[str], list[str]]:
    """The metrics of ``save_best``, and their rules; the rules are empty if none is given.

    Raises:
        ArgumentError: If a metric is given twice, 'auto' is one of several metrics, or the number
            of rules does not match.
        ArgumentTypeError: If ``save_best`` is not a name or a list of names.
    """
    if save_best is None:
        if rule is not None:
            print_log(
                'CheckpointHook ignores rule: it defines the best value, but save_best has no '
                'metric.',
                logger='current',
                level=logging.WARNING,
            )
        return [], []
    keys = texts(save_best)
    if len(keys) != len(set(keys)):
        raise ArgumentError(f'save_best contains a metric twice: {keys}.')
    if 'auto' in keys and len(keys) > 1:
        raise ArgumentError(
            "save_best='auto' cannot be combined with other metrics: it uses the first metric that "
            'is reported.'
        )
    rules = [check_rule(one) for one in as_list(rule)]
    if len(rules) not in (0, 1, len(keys)):
        raise ArgumentError(
            f'save_best has {len(keys)} metrics and rule has {len(rules)} entries; pass one rule, '
            'or one for each metric.'
        )
    return keys, rules * len(keys) if len(rules) == 1 else rules


def rules_of(keys: list[str], greater: list[str], less: list[str]) -> list[str]:
    """'greater' or 'less' for each metric, by its name; ``greater`` and ``less`` add names."""
    return [infer_rule(key, greater, less) for key in keys]


def texts(value: Any) -> list[str]:
    """``value`` as a list of strings.

    Raises:
        ArgumentTypeError: If it is neither a string nor a list of strings.
    """
    found = as_list(value)
    if not found or not all(isinstance(text, str) for text in found):
        raise ArgumentTypeError(f'Expected a name or a list of names, got {value!r}.')
    return found


def as_list(value: Any) -> list[Any]:
    """``value`` as a list: empty for None, one item for a single value."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def best_prefix(key: str) -> str:
    """Prefix of the file names of the best checkpoints for a metric."""
    return f'best_{key.replace("/", "_")}_'


class BestCheckpoints:
    """The ``size`` best checkpoints for one metric, the best one first.

    Only file names are stored, so that the list is also right after the work dir was moved or
    copied.

    Args:
        key: The metric.
        rule: 'greater' or 'less'.
        size: Number of checkpoints to keep, a positive integer.

    Attributes:
        entries: Pairs of score and file name.
        best_score: The best score so far; its file may be missing. None before the first one.
    """

    def __init__(self, key: str, rule: str, size: int) -> None:
        self.key = key
        self.rule = rule
        self.size = size
        self.entries: list[tuple[float, str]] = []
        self.best_score: float | None = None

    def is_better(self, score: float, other: float | None) -> bool:
        """Whether ``score`` is better than ``other``, or a number at all if that is None."""
        return IS_BETTER[self.rule](score, WORST[self.rule] if other is None else other)

    def accepts(self, score: float) -> bool:
        """Whether a checkpoint with this score is one of the best; a tie is not better."""
        if self.size == 1:
            return self.is_better(score, self.best_score)
        bar = self.entries[self.size - 1][0] if len(self.entries) >= self.size else None
        return self.is_better(score, bar)

    def add(self, score: float, name: str) -> list[str]:
        """Add a checkpoint; returns the names of the files that are no longer among the best."""
        others = [entry for entry in self.entries if entry[1] != name]
        place = next(
            (at for at, (other, _) in enumerate(others) if self.is_better(score, other)),
            len(others),
        )
        others.insert(place, (score, name))
        self.entries, dropped = others[: self.size], others[self.size :]
        if self.is_better(score, self.best_score):
            self.best_score = score
        return [old for _, old in dropped]

    def place_of(self, name: str) -> int:
        """The place of a file among the best, from 0."""
        return [entry[1] for entry in self.entries].index(name)

    def told(self, score: float, position: str, name: str) -> str:
        """What is logged about an added checkpoint."""
        what, place = f'{score:0.4f} {self.key} at {position}', self.place_of(name)
        if place == 0:
            return f'The best checkpoint with {what} is saved to {name}.'
        return (
            f'The checkpoint with {what} is number {place + 1} of the best {self.size} and is '
            f'saved to {name}.'
        )

    def recall(
        self,
        saved: dict[str, Any] | None,
        score: Any,
        path: Any,
        is_there: Callable[[str], bool],
    ) -> list[str] | None:
        """Take over the best checkpoints of a resumed run; returns the missing file names.

        Args:
            saved: :meth:`state_dict` of the saved run, or None.
            score: Without ``saved``, the best score, or None.
            path: Without ``saved``, its file.
            is_there: Whether a file exists in the folder of this run.

        Returns:
            None if the saved run watched another metric.
        """
        if saved is None and score is not None and best_prefix(self.key) in str(path):
            saved = {'entries': [(score, path)], 'best_score': score}
        if saved is None or saved['best_score'] is None:
            return None
        return self.restore(saved['entries'], saved['best_score'], is_there)

    def state_dict(self) -> dict[str, Any]:
        """Scores and file names."""
        return {
            'rule': self.rule,
            'best_score': self.best_score,
            'entries': [list(entry) for entry in self.entries],
        }

    def restore(
        self, entries: Sequence[Sequence[Any]], best_score: float, exists: Callable[[str], bool]
    ) -> list[str]:
        """Take over saved entries of the same metric.

        Args:
            entries: Pairs of score and file name; folders in a name are ignored.
            best_score: The best score so far.
            exists: Whether a file is in the folder of the run.

        Returns:
            The names of missing files, which are left out.
        """
        self.best_score = best_score
        missing = []
        for score, path in entries:
            name = os.path.basename(str(path))
            if not name.startswith(best_prefix(self.key)):
                continue
            if exists(name):
                self.entries.append((float(score), name))
            else:
                missing.append(name)
        self.entries.sort(key=lambda entry: entry[0], reverse=self.rule == 'greater')
        return missing


def is_missing(runner: Run, key: str, metrics: Mapping[str, Any], best: BestCheckpoints) -> bool:
    """Whether a validation did not report ``key``.

    Raises:
        KeyError: If no validation has reported it, so that the name is probably wrong.
    """
    if key in metrics:
        return False
    message = unknown_metric('save_best', key, metrics)
    if best.best_score is None:
        raise KeyError(message)
    runner.logger.warning(message)
    return True
