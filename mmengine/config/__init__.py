"""Configs: files in Python, JSON or YAML that describe a run."""

from mmengine.config.config import Config, DictAction, read_base
from mmengine.config.config_dict import ConfigDict
from mmengine.config.errors import ConfigError
from mmengine.config.origin import source_location

__all__ = ['Config', 'ConfigDict', 'ConfigError', 'DictAction', 'read_base', 'source_location']
