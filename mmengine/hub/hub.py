"""Configs and models by the name of the package that ships them."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from torch import nn

from mmengine._checkpoint.loader import load_checkpoint
from mmengine.config import Config
from mmengine.config._reading.packages import (
    config_metainfo,
    external_base_path,
    package_and_path,
    package_folder,
)
from mmengine.registry import MODELS, DefaultScope
from mmengine.registry.registry import import_scope
from mmengine.utils.errors import ArgumentError


def get_config(cfg_path: str, pretrained: bool = False) -> Config:
    """Load a config of an installed package.

    Args:
        cfg_path: The package and the file in its configs:
            ``'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'``.
        pretrained: Add ``model_path``, where the model index has the published weights.

    Raises:
        ConfigError: If the name is not of this form, the package not installed (then also an
            ``ImportError``), or the file not there (a ``FileNotFoundError``).
        ValueError: If no weights are published.
    """
    package, inside = package_and_path(cfg_path)
    folder = package_folder(package)
    cfg = Config.fromfile(external_base_path(folder, inside))
    if pretrained:
        weights = config_metainfo(str(folder), inside).get('Weights')
        if not weights:
            raise ArgumentError(f'The model index of {package} has no Weights for {inside}.')
        cfg.model_path = weights if isinstance(weights, str) else weights[0]
    return cfg


def get_model(cfg_path: str, pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Build the model of a config of an installed package.

    Args:
        cfg_path: The package and the file, as for :func:`get_config`.
        pretrained: Load the published weights.
        kwargs: Arguments of the model that its config does not give.

    Raises:
        ConfigError: As :func:`get_config`.
    """
    package, _ = package_and_path(cfg_path)
    cfg = get_config(cfg_path, pretrained)
    scope = cfg.get('default_scope') or package
    _register_parts_of(scope)
    if cfg.get('data_preprocessor') is not None:
        kwargs = {'data_preprocessor': cfg.data_preprocessor, **kwargs}
    with DefaultScope.overwrite_default_scope(scope):
        model: nn.Module = MODELS.build(cfg.model, default_args=kwargs)
    if pretrained:
        load_checkpoint(model, cfg.model_path, map_location='cpu')
    return model


def _register_parts_of(package: str) -> None:
    """Have a package register its models. Old packages, without registry locations, need a call."""
    import_scope(package)
    name = f'{package}.utils'
    if importlib.util.find_spec(name) is not None:
        register = getattr(importlib.import_module(name), 'register_all_modules', None)
        if register is not None:
            register(False)  # without making the package the default scope for good
