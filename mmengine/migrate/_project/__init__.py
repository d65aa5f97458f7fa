"""Migrate a whole project: configs, code, scripts and requirements together."""
