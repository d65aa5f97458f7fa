"""Where inputs, models and their configs come from."""

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
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
    """The config that a checkpoint was trained with."""
    text = (checkpoint.get('meta') or {}).get('cfg')
    if text is None:
        text = (checkpoint.get('message_hub') or {}).get('runtime_info', {}).get('cfg')
    if not isinstance(text, str):
        raise ArgumentError(
            f'{name} holds no config (neither meta nor message_hub has cfg). Pass model=..., the '
            'config that belongs to it.'
        )
    return Config.fromstring(text, file_format='.py')


def drop_pretrained(cfg: Config) -> None:
    """Take the first weights of a training off the model, so that nothing downloads them here."""
    model = cfg.get('model')
    if isinstance(model, dict):
        model.pop('pretrained', None)
