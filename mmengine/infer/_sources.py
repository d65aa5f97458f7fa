"""Where inputs, models and their configs come from."""

import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine import registry as roots
from mmengine.config import Config
from mmengine.config._static import read_static
from mmengine.registry import Registry
from mmengine.registry._paths import imported
from mmengine.utils.errors import ArgumentError


def is_folder(backend: Any, path: str) -> bool:
    """Whether ``path`` is a folder, as far as ``backend`` has folders."""
    try:
        return bool(backend.isdir(path))
    except (NotImplementedError, AttributeError):  # over HTTP there are only files
        return False


def names_of(model: Mapping[str, Any]) -> list[str]:
    """The name and the aliases of an entry of a model index."""
    aliases = model.get('Alias') or []
    return [model['Name'], *([aliases] if isinstance(aliases, str) else aliases)]


def saved_config(checkpoint: Mapping[str, Any], name: str) -> Config:
    """The config that a checkpoint was trained with, read from its text without executing it.

    Raises:
        ArgumentError: If there is no config, its text is not one, or a ``type`` in it is the path
            of something that a file may not choose: a function, or a class of Python itself.
    """
    text = (checkpoint.get('meta') or {}).get('cfg')
    if text is None:
        text = (checkpoint.get('message_hub') or {}).get('runtime_info', {}).get('cfg')
    if not isinstance(text, str):
        raise ArgumentError(
            f'{name} holds no config (neither meta nor message_hub has cfg). Pass model=..., the '
            'config that belongs to it.'
        )
    try:
        content = read_static(text)
    except ValueError as error:
        raise ArgumentError(f'The config in {name} cannot be read: {error}') from error
    _check_types(content, name)
    return Config(content)


def _check_types(content: Any, name: str) -> None:
    """Refuse a ``type`` that would let the author of a file call anything that is installed."""
    if isinstance(content, Mapping):
        kind = content.get('type')
        if isinstance(kind, str) and '.' in kind and not _may_be_built(kind):
            raise ArgumentError(
                f'The config in {name} has type={kind!r}, which is not built from a file: it is '
                'neither a registered name nor a class of an installed package. If you trust '
                'the file, pass its config as model=...'
            )
        content = list(content.values())
    if isinstance(content, (list, tuple, set, frozenset)):
        for item in content:
            _check_types(item, name)


def _may_be_built(path: str) -> bool:
    """Whether ``path`` is a name with its scope, or the path of a class outside Python itself."""
    package = path.partition('.')[0]
    if package in sys.stdlib_module_names:
        return False
    found = imported(path)
    if found is None or inspect.isclass(found):
        module = getattr(found, '__module__', package)
        return module.partition('.')[0] not in sys.stdlib_module_names
    return any(found in registry.module_dict.values() for registry in _registries())


def _registries() -> Iterator[Any]:
    """All registries, also the registries of projects."""
    waiting = [each for each in vars(roots).values() if isinstance(each, Registry)]
    while waiting:
        registry = waiting.pop()
        yield registry
        waiting += registry.children.values()


def drop_pretrained(cfg: Config) -> None:
    """Take the first weights of a training off the model, so that nothing downloads them here."""
    model = cfg.get('model')
    if isinstance(model, dict):
        model.pop('pretrained', None)
