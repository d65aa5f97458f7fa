"""What 'best' means: whether a metric is better greater or smaller, told by its name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from mmengine.utils.errors import ArgumentError, ArgumentKeyError

_GREATER_KEYS = (
    'acc', 'top', 'AR@', 'auc', 'precision', 'mAP', 'mDice', 'mIoU', 'mAcc', 'aAcc',
)  # fmt: skip
_LESS_KEYS = ('loss',)
RULES = ('greater', 'less')

IS_BETTER: dict[str, Callable[[float, float], bool]] = {
    'greater': lambda new, old: new > old,
    'less': lambda new, old: new < old,
}
WORST = {'greater': -math.inf, 'less': math.inf}


def infer_rule(metric: str, greater_keys: Sequence[str] = (), less_keys: Sequence[str] = ()) -> str:
    """'greater' or 'less', by the metric's name.

    Keys are looked for in four rounds, without regard to case: a given key that is the name or what
    follows its last '/', a given key within the name, and the same two rounds with the usual keys
    (acc, mAP, loss ...).

    Args:
        metric: Such as 'coco/bbox_mAP'.
        greater_keys: Further names of metrics that are better greater.
        less_keys: Further names of metrics that are better smaller.

    Raises:
        ArgumentError: If no key fits.
    """
    name = metric.lower()
    last = name.rsplit('/', 1)[-1]
    for greater, less in ((greater_keys, less_keys), (_GREATER_KEYS, _LESS_KEYS)):
        tables = {
            'greater': [key.lower() for key in greater],
            'less': [key.lower() for key in less],
        }
        for rule, keys in tables.items():
            if name in keys or last in keys:
                return rule
        for rule, keys in tables.items():
            if any(key in name for key in keys):
                return rule
    raise ArgumentError(
        f'Whether {metric!r} is better greater or smaller cannot be told from its name: pass '
        "rule='greater' or rule='less'."
    )


def check_rule(rule: str) -> str:
    """``rule`` itself.

    Raises:
        ArgumentKeyError: If it is neither 'greater' nor 'less'.
    """
    if rule not in RULES:
        raise ArgumentKeyError(f"A rule is 'greater' or 'less', got {rule!r}.")
    return rule
