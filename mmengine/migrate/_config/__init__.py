"""Convert configs of MMCV 1.x: :func:`migrate_configs` for files, :func:`convert_config` for one
resolved config."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmengine.migrate._config.convert import Converted, convert_config
    from mmengine.migrate._config.migrate import migrate_configs
    from mmengine.migrate._config.rules import Rules, load_rules

__all__ = ['Converted', 'Rules', 'convert_config', 'load_rules', 'migrate_configs']

_HOMES = {
    'Converted': 'convert',
    'convert_config': 'convert',
    'migrate_configs': 'migrate',
    'Rules': 'rules',
    'load_rules': 'rules',
}


def __getattr__(name: str) -> Any:
    # libcst is an extra, and schedulers of this package are built in runs that do not have it.
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    import importlib

    return getattr(importlib.import_module(f'{__name__}.{_HOMES[name]}'), name)
