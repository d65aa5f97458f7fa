"""Functions that projects import from this path."""

from __future__ import annotations

from pathlib import Path

from mmengine.config._lazy.import_pass import ImportTransformer, RemoveAssignFromAST
from mmengine.config._lazy.import_pass import gather_plain_imports as _gather_abs_import_lazyobj
from mmengine.config._reading.packages import (
    MODULE2PACKAGE,
    config_metainfo,
    external_base_path,
    external_config_path,
)
from mmengine.config._reading.packages import package_and_path as _split_package
from mmengine.config._reading.styles import is_standard_module
from mmengine.config.errors import ConfigParsingError


def _get_cfg_metainfo(package_path: str, cfg_path: str) -> dict[str, object]:
    """See :func:`mmengine.config._reading.packages.config_metainfo`."""
    return config_metainfo(package_path, cfg_path)


def _get_external_cfg_path(package_path: str, cfg_file: str) -> str:
    """See :func:`mmengine.config._reading.packages.external_config_path`."""
    return external_config_path(package_path, cfg_file)


def _get_external_cfg_base_path(package_path: str, cfg_name: str) -> str:
    """See :func:`mmengine.config._reading.packages.external_base_path`."""
    return str(external_base_path(Path(package_path), cfg_name))


def _get_package_and_cfg_path(cfg_path: str) -> tuple[str, str]:
    """See :func:`mmengine.config._reading.packages.package_and_path`; of known packages only."""
    return _split_package(cfg_path, known=MODULE2PACKAGE)


def _is_builtin_module(module_name: str) -> bool:
    """See :func:`mmengine.config._reading.styles.is_standard_module`."""
    return is_standard_module(module_name)


__all__ = [
    'MODULE2PACKAGE',
    'ConfigParsingError',
    'ImportTransformer',
    'RemoveAssignFromAST',
    '_gather_abs_import_lazyobj',
    '_get_cfg_metainfo',
    '_get_external_cfg_base_path',
    '_get_external_cfg_path',
    '_get_package_and_cfg_path',
    '_is_builtin_module',
]
