"""Config files that installed packages ship: ``mmdet::_base_/default_runtime.py``."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmengine.config.errors import (
    ConfigFileNotFoundError,
    ConfigImportError,
    ConfigKeyError,
    ConfigParsingError,
)
from mmengine.utils._plain_yaml import read_yaml
from mmengine.utils.errors import did_you_mean

MODULE2PACKAGE = {
    'mmcls': 'mmcls',
    'mmdet': 'mmdet',
    'mmdet3d': 'mmdet3d',
    'mmseg': 'mmsegmentation',
    'mmaction': 'mmaction2',
    'mmtrack': 'mmtrack',
    'mmpose': 'mmpose',
    'mmedit': 'mmedit',
    'mmocr': 'mmocr',
    'mmgen': 'mmgen',
    'mmfewshot': 'mmfewshot',
    'mmrazor': 'mmrazor',
    'mmflow': 'mmflow',
    'mmhuman3d': 'mmhuman3d',
    'mmrotate': 'mmrotate',
    'mmselfsup': 'mmselfsup',
    'mmyolo': 'mmyolo',
    'mmpretrain': 'mmpretrain',
    'mmagic': 'mmagic',
}
"""Import name of a project -> its name on PyPI."""


def package_and_path(name: str, known: Collection[str] | None = None) -> tuple[str, str]:
    """Split ``'mmdet::x/a.py'`` into the package and the path inside its configs.

    Args:
        known: The packages to choose from; any when None.

    Raises:
        ConfigParsingError: If there is not exactly one ``::`` with something on both sides, or the
            package is unknown.
    """
    parts = name.split('::')
    if len(parts) != 2 or not parts[0].isidentifier() or not parts[1]:
        raise ConfigParsingError(
            f"a config of another package is written 'package::path/to/file.py', got {name!r}"
        )
    if known is not None and parts[0] not in known:
        raise ConfigParsingError(
            f'{parts[0]!r} is not a package with configs.{did_you_mean(parts[0], known)}'
        )
    return parts[0], parts[1]


@lru_cache(maxsize=64)
def package_folder(package: str) -> Path:
    """The folder of an installed package, found without importing it.

    Raises:
        ConfigImportError: If it is not installed.
    """
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        pip_name = MODULE2PACKAGE.get(package, package)
        others = [name for name in MODULE2PACKAGE if name != package]
        raise ConfigImportError(
            f'the config needs files of the package {package!r}, which is not installed: pip '
            f'install {pip_name}{did_you_mean(package, others)}'
        )
    return Path(next(iter(spec.submodule_search_locations)))


def external_base_path(folder: Path, inside: str) -> Path:
    """The path of a config file among the configs of the package in ``folder``.

    An installed wheel has its configs in ``.mim/configs``, a source checkout beside the package.

    Raises:
        ConfigFileNotFoundError: If there is no such file.
    """
    tried = [
        folder / '.mim' / 'configs' / inside,
        folder / 'configs' / inside,
        folder.parent / 'configs' / inside,
    ]
    for path in tried:
        if path.is_file():
            return path
    raise ConfigFileNotFoundError(
        f'no config file {inside!r} of the package {folder.name!r}: looked at {tried[0]}'
    )


def config_metainfo(package_folder_path: str, cfg_path: str) -> dict[str, Any]:
    """The entry of the model with this config in the package's model index.

    Args:
        cfg_path: Path below ``configs``, with or without suffix, or the model's name.

    Raises:
        ConfigKeyError: If the index lists no such config; names the nearest ones.
    """
    root = Path(package_folder_path) / '.mim'
    known = {
        model['Config'].partition('configs/')[2] or model['Config']: model
        for model in indexed_models(root)
        if 'Config' in model
    }
    wanted = cfg_path.replace('\\', '/')
    for path, model in known.items():
        if wanted in (path, path.removesuffix('.py'), model.get('Name')):
            return model
    raise ConfigKeyError(
        f'the model index in {root} lists no config {cfg_path!r}.{did_you_mean(cfg_path, known)}'
    )


def indexed_models(root: Path) -> Iterator[dict[str, Any]]:
    """The entries of all models in the files that ``model-index.yml`` of a folder imports.

    Raises:
        ConfigFileNotFoundError: If the folder has no index.
    """
    index_file = root / 'model-index.yml'
    if not index_file.is_file():
        raise ConfigFileNotFoundError(
            f'the package has no model index: {index_file} does not exist'
        )
    for entry in read_yaml(index_file.read_text(encoding='utf-8')).get('Import') or ():
        metafile = root / entry
        read = json.loads if metafile.suffix == '.json' else read_yaml
        content = read(metafile.read_text(encoding='utf-8')) or {}
        models = content.get('Models', content) if isinstance(content, dict) else content
        yield from (model for model in models if isinstance(model, dict))


def external_config_path(package_folder_path: str, cfg_file: str) -> str:
    """The path of a config that the package's model index lists, by its path or model name."""
    model = config_metainfo(package_folder_path, cfg_file)
    path = Path(package_folder_path) / '.mim' / model['Config']
    if not path.is_file():
        raise ConfigFileNotFoundError(
            f'the model index names {model["Config"]!r}, but {path} does not exist'
        )
    return str(path)
