"""Strings of a command line that were meant as a list or a dict."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mmengine.runner._check.mistakes import Findings

_DICT = re.compile(r'\{\s*\}|\{.*:.*\}|dict\(.*\)', re.DOTALL)
_LIST = re.compile(r'[\[(].*[\])]|list\(.*\)|tuple\(.*\)', re.DOTALL)


def check_options(options: Mapping[str, Any], findings: Findings) -> None:
    """Add a mistake for each value that is text, but has the form of a dict or a list."""
    for path, value in options.items():
        if not isinstance(value, str):
            continue
        text = value.strip()
        if _DICT.fullmatch(text):
            findings.add_once(
                path,
                f'{value!r} is text here, not a dict. Set the entries of a dict one by one: '
                f'{path}.KEY=VALUE.',
            )
        elif _LIST.fullmatch(text):
            findings.add_once(
                path,
                f'{value!r} is text here, not a list. Write a list without spaces, or quote the '
                f"whole word: '{path}=[1,2]'.",
            )
