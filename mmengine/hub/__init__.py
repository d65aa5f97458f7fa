"""Configs and models that installed packages ship."""

from mmengine.hub.hub import get_config, get_model

__all__ = ['get_config', 'get_model']
