"""Policy ``Reduce``, which listens to a metric: to ``ReduceOnPlateauLR``, and its own check.

No length of a run tells its curve. What can be checked is the rule: with any series of metrics,
each validation must leave the learning rate that torch's ``ReduceLROnPlateau`` leaves, whose
arguments the policy has and which it was seen to follow.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.migrate._config.context import Config, Context
from mmengine.migrate._config.schedules.conversion import WARMUP_KEYS
from mmengine.migrate._config.schedules.curves import Comparison, Curve, compare

_RENAMED = {
    'mode': 'rule', 'factor': 'factor', 'patience': 'patience', 'threshold': 'threshold',
    'threshold_mode': 'threshold_rule', 'cooldown': 'cooldown', 'min_lr': 'min_value', 'eps': 'eps',
}  # fmt: skip
_RULES = {'min': 'less', 'max': 'greater'}
_WITHOUT_MEANING = ('policy', 'type', 'by_epoch', 'epoch_base_valid', 'verbose')


def is_plateau(config: Any) -> bool:
    """Whether a ``lr_config`` follows a metric."""
    if not isinstance(config, Mapping):
        return False
    name = str(config.get('policy', config.get('type', '')))
    return name.title() == 'Reduce' or name == 'ReduceLrUpdaterHook'


def convert_plateau(ctx: Context, key: str, config: Mapping[str, Any]) -> list[Config]:
    """The scheduler for a ``lr_config`` that follows a metric of the validation."""
    options = {name: config[name] for name in config if name not in _WITHOUT_MEANING}
    metric = options.pop('val_metric', None)
    if key != 'lr_config' or not isinstance(metric, str):
        ctx.notes.todo(
            key,
            'policy Reduce without val_metric follows the training loss, and no scheduler here '
            'sees that: name a metric of the validation. Left in place.'
            if key == 'lr_config'
            else 'no policy Reduce is known for a momentum. Left in place.',
        )
        ctx.leftover[key] = dict(config)
        return []
    monitor = ctx.rules_metric_name(metric, f'{key}.val_metric')
    scheduler: Config = {'type': 'ReduceOnPlateauLR', 'monitor': monitor}
    for old, new in _RENAMED.items():
        if old in options:
            value = options.pop(old)
            scheduler[new] = _RULES.get(value, value) if old == 'mode' else value
    ctx.notes.info(
        key,
        f'policy Reduce acts at each validation, by its {monitor!r}; so does ReduceOnPlateauLR.',
    )
    without_warmup = options.get('warmup') is None
    for name in options:
        if not (without_warmup and name in WARMUP_KEYS):
            ctx.notes.todo(f'{key}.{name}', 'ReduceOnPlateauLR takes no such argument.')
    return [scheduler]


def compare_plateaus(
    legacy: Mapping[str, Any], scheduler: Mapping[str, Any], base: float, validations: int
) -> Comparison:
    """The converted scheduler beside torch's, over made-up metrics of all manners.

    Args:
        legacy: The ``lr_config``.
        scheduler: What became of it.
        base: The initial learning rate.
        validations: How many there are in the run.

    Returns:
        The comparison of the series where they are farthest apart, by validation.
    """
    found = []
    for series in _series(validations):
        expected = _torch_curve(legacy, base, series)
        found.append(compare(expected, _converted_curve(scheduler, base, series)))
    return max(reversed(found), key=lambda one: one.largest)


def _series(length: int) -> Iterator[list[float]]:
    chance = random.Random(0)
    yield [0.5] * length
    yield [1.0 / (1 + index) for index in range(length)]
    yield [1.0 - 1.0 / (1 + index) for index in range(length)]
    for spread in (1e-4, 0.02, 1.0):
        yield [0.5 + spread * chance.uniform(-1, 1) for _ in range(length)]


def _optimizer(base: float) -> Any:
    import torch

    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)


def _torch_curve(legacy: Mapping[str, Any], base: float, series: list[float]) -> Curve:
    import torch

    options = {name: legacy[name] for name in _RENAMED if name in legacy}
    optimizer = _optimizer(base)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    curve = []
    for value in series:
        curve.append([optimizer.param_groups[0]['lr']])
        plateau.step(value)
    return curve


def _converted_curve(scheduler: Mapping[str, Any], base: float, series: list[float]) -> Curve:
    from mmengine.registry import PARAM_SCHEDULERS

    optimizer = _optimizer(base)
    built: Any = PARAM_SCHEDULERS.build(dict(scheduler), default_args={'optimizer': optimizer})
    curve = []
    for value in series:
        curve.append([optimizer.param_groups[0]['lr']])
        built.step({scheduler['monitor']: value})
    return curve
