"""Names and URLs of published weights."""

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import cast

ENV_HOME = 'MMENGINE_HOME'
_OWN_TABLE = 'open_mmlab.json'


def _get_mmengine_home() -> str:
    """The folder for tables of the user; it is created if it does not exist.

    The folder is $MMENGINE_HOME, or ``mmengine`` in the XDG cache folder.
    """
    cache = os.environ.get('XDG_CACHE_HOME', '~/.cache')
    home = Path(os.environ.get(ENV_HOME, Path(cache, 'mmengine'))).expanduser()
    home.mkdir(parents=True, exist_ok=True)
    return str(home)


def get_external_models() -> dict[str, str]:
    """URLs by ``openmmlab://`` name; a table in the mmengine home can add or replace entries."""
    models = dict(_shipped_tables()['openmmlab'])
    own = Path(_get_mmengine_home(), _OWN_TABLE)
    if own.is_file():
        models.update(json.loads(own.read_text(encoding='utf-8')))
    return models


def get_mmcls_models() -> dict[str, str]:
    """URLs by ``mmcls://`` name."""
    return dict(_shipped_tables()['mmcls'])


def get_deprecated_model_names() -> dict[str, str]:
    """New ``openmmlab://`` names by their old names."""
    return dict(_shipped_tables()['deprecated'])


def get_torchvision_models() -> dict[str, str]:
    """URLs of torchvision's weights, by model name ('resnet50') and by weights name
    ('ResNet50_Weights.DEFAULT').

    Raises:
        ImportError: If torchvision is not installed.
    """
    try:
        from torchvision import models
    except ImportError as error:
        raise ImportError(
            'Weights named torchvision:// are listed by torchvision: pip install torchvision'
        ) from error
    urls: dict[str, str] = {}
    for name in models.list_models():
        weights = models.get_model_weights(name)
        for member in weights.__members__:
            urls[f'{weights.__name__}.{member}'] = weights[member].url
        first = next(iter(weights.__members__), None)
        if first is not None:
            # A model name without weights means the first weights published for the model.
            urls[name] = weights[first].url
    return urls


@lru_cache(maxsize=1)
def _shipped_tables() -> dict[str, dict[str, str]]:
    text = Path(__file__).with_name('model_zoo.json').read_text(encoding='utf-8')
    return cast(dict[str, dict[str, str]], json.loads(text))
