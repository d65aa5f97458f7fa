"""Training engine for PyTorch: Runner, OptimWrapper, hooks, configs and registries.

The names of the packages below are handed on from here, each imported when it is first asked for,
so that ``import mmengine`` alone costs next to nothing.
"""

from importlib import import_module
from typing import Any

from mmengine.version import __version__, version_info

# Later packages do not hide names of earlier ones: there are no doubles, which a test holds.
_HANDED_ON = ('config', 'registry', 'logging', 'fileio', 'utils')
_SUBPACKAGES = frozenset(
    (
        'analysis', 'config', 'dataset', 'device', 'dist', 'evaluator', 'fileio', 'hooks', 'hub',
        'infer', 'logging', 'model', 'optim', 'registry', 'runner', 'structures', 'testing',
        'utils', 'visualization',
    )
)  # fmt: skip

__all__ = ['__version__', 'version_info']


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return import_module(f'mmengine.{name}')
    if not name.startswith('_'):
        for package in _HANDED_ON:
            module = import_module(f'mmengine.{package}')
            if name in module.__all__:
                value = getattr(module, name)
                globals()[name] = value
                return value
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    names = {*globals(), *_SUBPACKAGES}
    for package in _HANDED_ON:
        names.update(import_module(f'mmengine.{package}').__all__)
    return sorted(names)
