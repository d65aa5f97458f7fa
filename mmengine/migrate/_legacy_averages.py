"""Which of a checkpoint's weights ``EMAHook`` of MMCV 1.x had averaged.

The hook kept second weights in buffers of the model, ``ema_a_b`` for ``a.b``. While training, these
are the averages; at the end of an epoch it exchanged them with the parameters, and back when the
next began. So a checkpoint saved by iteration has the averages in ``ema_a_b``. One saved at the end
of an epoch has them in ``a.b`` if the hook came before the one that saves, by its priority; a best
one has them there always, as validation came last. (By iteration, a hook that came after the one
that saves had not yet averaged the last step: a resumed run lacked it under MMCV, and does here.)
"""

from __future__ import annotations

import ast
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.runner.priority import get_priority
from mmengine.utils.errors import ArgumentError

PLACES = ('plain', 'ema_')
_PREFIX = 'ema_'
_SAVING = get_priority('NORMAL')  # CheckpointHook came first among equals
_BEST_OF_EPOCH = re.compile(r'^best_.*epoch_\d+\.pth$')

Weights = OrderedDict[str, Any]


@dataclass(frozen=True)
class Split:
    """The weights of a checkpoint, told apart.

    Args:
        averaged: The averages, and what has none.
        raw: The weights as trained; empty without averages.
        place: Where the averages were: 'plain' or 'ema_'.
        is_guess: Whether nothing told the place.
    """

    averaged: Weights
    raw: Weights
    place: str = 'plain'
    is_guess: bool = False


def split_averages(
    weights: Mapping[str, Any],
    config: Any,
    file_name: str = '',
    by_iteration: bool = False,
    place: str | None = None,
) -> Split:
    """Tell the averages from the weights as trained.

    Args:
        weights: By name, without the prefix of a distributed wrapper.
        config: The text of the run's config, if the checkpoint has it.
        file_name: The name of the checkpoint.
        by_iteration: Whether it was saved by iteration.
        place: 'plain' or 'ema_', where the averages are; None to find out.

    Raises:
        ArgumentError: If ``place`` is neither.
    """
    if place is not None and place not in PLACES:
        raise ArgumentError(f'averages are in {" or ".join(PLACES)}, got {place!r}.')
    counterparts = {
        name: key for name in weights if (key := _PREFIX + name.replace('.', '_')) in weights
    }
    kept = set(counterparts.values())
    plain: Weights = OrderedDict((k, v) for k, v in weights.items() if k not in kept)
    if not kept:
        return Split(plain, OrderedDict())
    second: Weights = OrderedDict(
        (k, weights[counterparts[k]] if k in counterparts else v) for k, v in plain.items()
    )
    found = place or _place(config, file_name, by_iteration)
    if found == 'ema_':
        return Split(second, plain, found)
    return Split(plain, second, 'plain', is_guess=found is None)


def _place(config: Any, file_name: str, by_iteration: bool) -> str | None:
    if by_iteration:
        return 'ema_'
    if _BEST_OF_EPOCH.match(file_name):
        return 'plain'
    priority = next(_priorities(str(config)), None)
    if priority is None:
        return None
    return 'plain' if get_priority(priority) < _SAVING else 'ema_'


def _priorities(config: str) -> Iterator[int | str]:
    """Priorities of the EMA hooks in the text of a config."""
    try:
        tree = ast.parse(config)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            pairs = [
                (key.value, value)
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant)
            ]
        elif isinstance(node, ast.Call):
            pairs = [(one.arg, one.value) for one in node.keywords]
        else:
            continue
        entries = {key: value.value for key, value in pairs if isinstance(value, ast.Constant)}
        if str(entries.get('type', '')).endswith('EMAHook'):
            priority = entries.get('priority', 'NORMAL')
            yield priority if isinstance(priority, int) else str(priority)
