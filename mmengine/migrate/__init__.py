"""From MMCV 1.x to this engine: configs, code, checkpoints and running models.

What converted configs and code refer to is handed on from here, imported when first asked for.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    'LegacyEMAHook': '_ema',
    'LegacyHook': '_legacy_hook',
    'LegacyLRScheduler': '_schedulers',
    'LegacyLrUpdaterHook': '_updater_hooks',
    'LegacyModel': '_legacy_model',
    'LegacyMomentumScheduler': '_schedulers',
    'LegacyOptimizerStepHook': '_optimizer_step_hook',
    'LegacyParamSchedulerHook': '_scheduler_hook',
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_HOMES[name]}'), name)
