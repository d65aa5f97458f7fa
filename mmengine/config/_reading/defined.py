"""Functions and classes that config files define, as modules that another process can import.

A worker started by spawn unpickles a function by importing the module it names. A config file is on
no import path, so its module name holds its file name, and a finder executes the file again.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

# Makes this module a package, so that Python looks for `mmengine.config._reading.defined.m...`
# below it.
__path__: list[str] = []

_PREFIX = f'{__name__}.m'


def module_name(path: Path) -> str:
    """The module name of the config file at ``path``."""
    return f'{_PREFIX}{str(path).encode().hex()}'


def publish(path: Path, tree: ast.Module, namespace: dict[str, Any]) -> None:
    """Let what an executed file defines be found under its module name."""
    if not any(isinstance(statement, (ast.FunctionDef, ast.ClassDef)) for statement in tree.body):
        return
    module = ModuleType(module_name(path), 'A config file.')
    module.__dict__.update(namespace)
    sys.modules[module.__name__] = module


class ConfigFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the module name of a config file by executing the file.

    Args:
        execute: Called with the path of the file; executing the file publishes it.
    """

    def __init__(self, execute: Callable[[str], object]) -> None:
        self._execute = execute

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith(_PREFIX):
            return None
        file = bytes.fromhex(fullname.removeprefix(_PREFIX)).decode()
        return importlib.machinery.ModuleSpec(fullname, self, origin=file)

    def exec_module(self, module: ModuleType) -> None:
        # The published module replaces `module` in sys.modules.
        assert module.__spec__ is not None
        assert module.__spec__.origin is not None
        self._execute(module.__spec__.origin)
