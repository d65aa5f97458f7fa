"""Write a config as JSON or YAML."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Any

from mmengine.config.errors import ConfigTypeError


def json_text(content: dict[str, Any]) -> str:
    """``content`` on one line of JSON.

    Raises:
        ConfigTypeError: If a value has no form in JSON.
    """
    # In JSON only a string can contain two opening braces in a row. When escaped, a variable in
    # braces is not filled in while the text is loaded.
    return json.dumps(content, default=_plain).replace('{{', '{\\u007b')


def yaml_text(content: dict[str, Any]) -> str:
    """``content`` in YAML, keys in the order they were written.

    Raises:
        ConfigTypeError: If a value has no form in YAML.
    """
    import yaml

    class Dumper(getattr(yaml, 'CSafeDumper', yaml.SafeDumper)):  # type: ignore[misc]  # chosen at run time
        pass

    # Only a string in double quotes can contain an escape.
    Dumper.add_representer(
        str,
        lambda dumper, text: dumper.represent_scalar(
            'tag:yaml.org,2002:str', text, style='"' if '{{' in text else None
        ),
    )
    text: str = yaml.dump(_plain_tree(content), Dumper=Dumper, sort_keys=False)
    return text.replace('{{', '{\\x7b')


def _plain(value: Any) -> Any:
    """The nearest plain value; every format can write it."""
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    if isinstance(value, range):
        return list(value)
    if isinstance(value, PurePath):
        return str(value)
    if type(value).__module__ == 'numpy' and hasattr(value, 'tolist'):
        return value.tolist()
    raise ConfigTypeError(
        f'{value!r} of type {type(value).__name__} has no form in JSON or YAML. Write the config '
        'to a .py file.'
    )


def _plain_tree(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain_tree(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_tree(item) for item in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    return _plain_tree(_plain(value))
