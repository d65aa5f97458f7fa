"""Functions and classes that config files define, as modules that another process can import.

A worker started by spawn unpickles a function by importing the module it names. A config file is on
no import path, so it gets a module name that holds its file name, and a finder that executes the
file again.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

# Makes this module a package, so that `import mmengine.config.defined.m...` looks for what is below
# it.
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


class _ConfigFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith(_PREFIX):
            return None
        file = bytes.fromhex(fullname.removeprefix(_PREFIX)).decode()
        return importlib.machinery.ModuleSpec(fullname, self, origin=file)

    def exec_module(self, module: ModuleType) -> None:
        from mmengine.config.config import Config

        # Executing the file publishes it: it takes the place of `module` among the imported ones.
        assert module.__spec__ is not None
        assert module.__spec__.origin is not None
        Config.fromfile(module.__spec__.origin, import_custom_modules=False)


sys.meta_path.append(_ConfigFinder())
