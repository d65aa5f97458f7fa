"""The pass over a lazy-style config that turns its imports into lazy names."""

from __future__ import annotations

import ast
from typing import Any

from mmengine.config._reading.styles import is_standard_module
from mmengine.config.errors import ConfigParsingError
from mmengine.config.lazy import LazyObject


class ImportTransformer(ast.NodeTransformer):
    """Replaces ``from torch.optim import SGD`` by ``SGD = LazyObject('torch.optim', 'SGD')``.

    Imports of standard modules are not changed, nor are imports inside functions, classes and
    ``try`` statements, which need the import to happen.

    Args:
        global_dict: The globals that the config will run with; gets ``LazyObject``.
        base_dict: Namespaces of base files that were read already, by module name. Names imported
            from these modules are taken from the namespaces.
        filename: The config file, for the location in errors.
    """

    def __init__(
        self,
        global_dict: dict[str, Any],
        base_dict: dict[str, dict[str, Any]] | None = None,
        filename: str | None = None,
    ) -> None:
        self.global_dict = global_dict
        self.base_dict = {} if base_dict is None else base_dict
        self.filename = filename
        self.imported_obj: set[str] = set()
        self._submodules: dict[str, list[str]] = {}
        global_dict['LazyObject'] = LazyObject

    def visit_Import(self, node: ast.Import) -> Any:
        replaced: list[ast.stmt] = []
        for alias in node.names:
            if is_standard_module(alias.name):
                replaced.append(ast.copy_location(ast.Import(names=[alias]), node))
            elif alias.asname:
                replaced.append(self._assign(alias.asname, [ast.Constant(alias.name)], node))
            else:
                root = alias.name.partition('.')[0]
                modules = self._submodules.setdefault(root, [])
                if alias.name not in modules:
                    modules.append(alias.name)
                names: list[ast.expr] = [ast.Constant(name) for name in modules]
                replaced.append(self._assign(root, [ast.List(names, ast.Load())], node))
        return replaced

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        module = '.' * node.level + (node.module or '')
        if is_standard_module(module):
            return node
        base = self.base_dict.get(module)
        replaced: list[ast.stmt] = []
        for alias in node.names:
            if alias.name == '*':
                raise ConfigParsingError(
                    f'{self._location(node)}: `from {module} import *` does not say which names it '
                    'imports. Name them; a star is only for base files, inside `with '
                    'read_base():`.'
                )
            if base is not None and alias.name in base:
                self.global_dict[alias.asname or alias.name] = base[alias.name]
                continue
            arguments: list[ast.expr] = [ast.Constant(module), ast.Constant(alias.name)]
            replaced.append(self._assign(alias.asname or alias.name, arguments, node))
        return replaced

    def _assign(self, name: str, arguments: list[ast.expr], node: ast.stmt) -> ast.stmt:
        self.imported_obj.add(name)
        keywords = [ast.keyword('location', ast.Constant(self._location(node)))]
        value = ast.Call(func=ast.Name('LazyObject', ast.Load()), args=arguments, keywords=keywords)
        assign = ast.Assign(targets=[ast.Name(name, ast.Store())], value=value)
        return ast.fix_missing_locations(ast.copy_location(assign, node))

    def _location(self, node: ast.stmt) -> str:
        return f'{self.filename}:{node.lineno}'

    def _as_it_is(self, node: ast.AST) -> ast.AST:
        return node

    # These contain no imports that become lazy. Most of a config is below `visit_Assign`.
    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = visit_Try = visit_TryStar = (
        _as_it_is
    )
    visit_Assign = visit_AugAssign = visit_AnnAssign = visit_Expr = _as_it_is


class RemoveAssignFromAST(ast.NodeTransformer):
    """Drops the statements that assign one name, ``key``, and nothing else."""

    def __init__(self, key: str) -> None:
        self.key = key

    def visit_Assign(self, node: ast.Assign) -> Any:
        first = node.targets[0]
        is_key = isinstance(first, ast.Name) and first.id == self.key
        return None if is_key and len(node.targets) == 1 else node


def gather_plain_imports(
    tree: ast.Module, filename: str | None = None
) -> tuple[ast.Module, set[str]]:
    """Make the ``import a.b`` statements of a module lazy; ``from a import b`` stays.

    Returns:
        The tree, changed in place, and the names that are lazy now.
    """
    transformer = ImportTransformer({}, {}, filename)
    body: list[ast.stmt] = []
    for statement in tree.body:
        replaced = transformer.visit(statement) if isinstance(statement, ast.Import) else statement
        body.extend(replaced if isinstance(replaced, list) else [replaced])
    tree.body = body
    return tree, transformer.imported_obj
