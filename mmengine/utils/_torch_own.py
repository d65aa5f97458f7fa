"""Whether a function is torch's own, as a known version has it.

Short ways around functions of torch are taken only while these are torch's own. A tool may have
replaced one before this package was imported, so a comparison with what it was at import is not
enough: the code has to come from a file of torch. What it does there is known by the names that it
uses.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from operator import attrgetter
from types import CodeType, FunctionType
from typing import Any

import torch

_FOLDER = os.path.join(os.path.dirname(torch.__file__), '')


def is_torchs(function: Any) -> bool:
    """Whether ``function`` is written in Python, in a file of torch."""
    return isinstance(function, FunctionType) and function.__code__.co_filename.startswith(_FOLDER)


def has_names(owner: Any, names: tuple[str, ...]) -> bool:
    """Whether ``owner`` has all attributes of dotted ``names``."""
    try:
        attrgetter(*names)(owner)
    except AttributeError:  # another version of torch
        return False
    return True


def uses_known_names(codes: list[CodeType], known: Mapping[str, set[str]]) -> bool:
    """Whether ``codes`` are of torch's functions in ``known``, and use only the names there.

    Args:
        codes: Code objects of functions.
        known: For each function, by its name, the attributes, globals and imports that it may use.
    """
    return {code.co_name for code in codes} == set(known) and all(
        code.co_filename.startswith(_FOLDER) and set(code.co_names) <= known[code.co_name]
        for code in codes
    )


def codes_of(functions: list[Any]) -> list[CodeType]:
    """The code objects of the ``functions`` that are written in Python."""
    return [function.__code__ for function in functions if isinstance(function, FunctionType)]
