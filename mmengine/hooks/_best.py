"""Whether a greater or a smaller value of a metric is better, inferred from its name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from mmengine.utils.errors import ArgumentError, ArgumentKeyError

_GREATER_KEYS = (
    'acc', 'top', 'AR@', 'auc', 'precision', 'mAP', 'mDice', 'mIoU', 'mAcc', 'aAcc',
)  # fmt: skip
_LESS_KEYS = ('loss',)
# Whole names only: within other words the letters mean other things.
_LESS_NAMES = ('mae', 'mse', 'perplexity')
RULES = ('greater', 'less')

IS_BETTER: dict[str, Callable[[float, float], bool]] = {
    'greater': lambda new, old: new > old,
    'less': lambda new, old: new < old,
}
WORST = {'greater': -math.inf, 'less': math.inf}


def infer_rule(metric: str, greater_keys: Sequence[str] = (), less_keys: Sequence[str] = ()) -> str:
    """Return 'greater' or 'less', inferred from the name of the metric.

    Keys are searched in four rounds, ignoring case. The first round looks for a given key that
    equals the name or the part after the last '/'. The second round looks for a given key within
    the name. The last two rounds repeat this with the default keys (acc, mAP, loss ...). Names that
    equal a metric of this package, such as 'mse', come last.

    Args:
        metric: Name of the metric, such as 'coco/bbox_mAP'.
        greater_keys: Additional names of metrics whose greater values are better.
        less_keys: Additional names of metrics whose smaller values are better.

    Raises:
        ArgumentError: If no key matches.
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
    if last in _LESS_NAMES:
        return 'less'
    raise ArgumentError(
        f'The name {metric!r} does not show whether greater or smaller values are better: pass '
        "rule='greater' or rule='less'."
    )


def check_rule(rule: str) -> str:
    """Return ``rule``.

    Raises:
        ArgumentKeyError: If it is neither 'greater' nor 'less'.
    """
    if rule not in RULES:
        raise ArgumentKeyError(f"A rule is 'greater' or 'less', got {rule!r}.")
    return rule
