"""What 'best' means: whether a metric is better greater or smaller, worked out from its name unless said."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from mmengine.utils.errors import ArgumentError

GREATER_KEYS = (
    'acc', 'top', 'AR@', 'auc', 'precision', 'mAP', 'mDice', 'mIoU', 'mAcc', 'aAcc',
)  # fmt: skip
LESS_KEYS = ('loss',)
RULES = ('greater', 'less')

IS_BETTER: dict[str, Callable[[float, float], bool]] = {
    'greater': lambda new, old: new > old,
    'less': lambda new, old: new < old,
}
WORST = {'greater': -math.inf, 'less': math.inf}


def infer_rule(
    metric: str, greater_keys: Sequence[str] = GREATER_KEYS, less_keys: Sequence[str] = LESS_KEYS
) -> str:
    """'greater' or 'less', by the metric's name.

    A key that equals the name, or the part after its last '/', decides first; then a key that the name holds. Case does not matter.

    Args:
        metric: Such as 'coco/bbox_mAP'.
        greater_keys: Names of metrics that are better greater.
        less_keys: Names of metrics that are better smaller.

    Raises:
        ArgumentError: If no key fits.
    """
    name = metric.lower()
    last = name.rsplit('/', 1)[-1]
    tables = (
        ('greater', [key.lower() for key in greater_keys]),
        ('less', [key.lower() for key in less_keys]),
    )
    for rule, keys in tables:
        if name in keys or last in keys:
            return rule
    for rule, keys in tables:
        if any(key in name for key in keys):
            return rule
    raise ArgumentError(
        f"Whether {metric!r} is better greater or smaller cannot be told from its name: pass rule='greater' or "
        "rule='less'."
    )


def check_rule(rule: str) -> str:
    """``rule`` itself.

    Raises:
        ArgumentError: If it is neither 'greater' nor 'less'.
    """
    if rule not in RULES:
        raise ArgumentError(f"A rule is 'greater' or 'less', got {rule!r}.")
    return rule
