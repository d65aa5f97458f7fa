"""Write a config as JSON or YAML."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Any

from mmengine.config.errors import ConfigTypeError
from mmengine.utils._plain import plain


def json_text(content: dict[str, Any]) -> str:
    """``content`` on one line of JSON.

    Raises:
        ConfigTypeError: If a value has no form in JSON.
    """
    # In JSON only a string can contain two opening braces in a row. When escaped, a variable in
    # braces is not filled in while the text is loaded.
    return json.dumps(_data_value(content)).replace('{{', '{\\u007b')


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
    text: str = yaml.dump(_data_value(content), Dumper=Dumper, sort_keys=False)
    return text.replace('{{', '{\\x7b')


def _data_value(value: Any) -> Any:
    """``value`` in dicts, lists, numbers and text."""
    return plain(value, _nearest, _refuse, as_json=True)


def _nearest(value: Any) -> Any:
    """The form in JSON and YAML of objects that are not dicts, lists, numbers or text."""
    if isinstance(value, (set, frozenset)):
        return _data_value(sorted(value, key=repr))
    if isinstance(value, PurePath):
        return str(value)
    if type(value).__module__ == 'numpy' and hasattr(value, 'tolist'):
        return _data_value(value.tolist())
    return NotImplemented


def _refuse(value: Any) -> Any:
    raise ConfigTypeError(
        f'{value!r} of type {type(value).__name__} has no form in JSON or YAML. Write the config '
        'to a .py file.'
    )
