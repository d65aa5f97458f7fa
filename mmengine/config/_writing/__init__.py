"""A config as text: Python, JSON or YAML."""
