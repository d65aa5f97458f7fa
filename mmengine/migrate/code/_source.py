"""What the codemods know of one module: where its names come from, and which it uses."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field

import libcst as cst

from mmengine.migrate.code._nodes import dotted
from mmengine.migrate.code.homes import home_of, is_known

# Any other kind of object may have an optimizer, data or a length as well.
_ENTRIES_OF_CONFIGS = ('lr_config', 'optimizer_config', 'checkpoint_config')
TOO_DEEP = 'its expressions are nested too deeply'


def parse(text: str) -> ast.Module:
    """The syntax tree of ``text``, without warnings about it.

    Raises:
        SyntaxError: If it is no Python that can be read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            return ast.parse(text)
        except (RecursionError, MemoryError) as error:
            raise SyntaxError(TOO_DEEP) from error
        except ValueError as error:
            raise SyntaxError(str(error)) from error


@dataclass
class Source:
    """What the codemods know of one module.

    Attributes:
        origins: Full dotted name of what each imported name stands for.
        used: Names that its code used before any of it was converted.
        bound: Names that its code gives to things of its own.
        wanted: New names to import, as module and name.
        configs: What holds the outcome of ``Config.fromfile``.
        models: Classes with a ``train_step(self, data, optimizer)``, by name.
        layout: A module with the indent and line ends of this one.
        texts: The text of each statement that was asked for.
    """

    origins: dict[str, str]
    used: set[str] = field(default_factory=set)
    bound: frozenset[str] = frozenset()
    wanted: set[tuple[str, str]] = field(default_factory=set)
    configs: frozenset[str] = frozenset()
    models: set[str] = field(default_factory=set)
    layout: cst.Module = field(default_factory=lambda: cst.Module(body=()))
    texts: dict[cst.CSTNode, str] = field(default_factory=dict)

    @classmethod
    def of(cls, tree: ast.Module) -> Source:
        """Read the names of a module."""
        nodes = list(ast.walk(tree))
        used, bound = used_names(nodes), _bound_names(nodes)
        origins = _names_of_stars(nodes, used - bound) | imported_names(nodes)
        return cls(origins, used, bound, configs=_configs_of(nodes, origins))

    def name_of(self, node: cst.CSTNode | None) -> str:
        """The full name of a name or attribute chain: ``nn.Module`` is ``torch.nn.Module``."""
        text = dotted(node)
        head, dot, rest = text.partition('.')
        return f'{self.origins.get(head, head)}{dot}{rest}'

    def mmcv_name(self, node: cst.CSTNode | None) -> str:
        """The last part of a name that comes from MMCV; empty for any other name."""
        full = self.name_of(node)
        return full.rpartition('.')[2] if full.startswith('mmcv.') else ''

    def want(self, module: str, name: str) -> str:
        """Ask for an import; by what name the code can use it."""
        there = self.origins.get(name, f'{module}.{name}')
        is_free = there == f'{module}.{name}' or home_of(there) == (module, name)
        if is_free and name not in self.bound:
            self.wanted.add((module, name))
            return name
        self.wanted.add((module, f'{name} as mmengine_{name}'))
        return f'mmengine_{name}'

    def text_of(self, node: cst.CSTNode) -> str:
        """The text of a statement; remembered, since most statements stay as they are."""
        text = self.texts.get(node)
        if text is None:
            text = self.texts[node] = self.layout.code_for_node(node)
        return text

    def code_of(self, module: cst.Module) -> str:
        """The text of ``module`` without the comments at its ends."""
        return ''.join(map(self.text_of, module.body))


def imported_names(nodes: Iterable[ast.AST]) -> dict[str, str]:
    """What each imported name stands for."""
    origins = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                head = alias.name.partition('.')[0]
                origins[alias.asname or head] = alias.name if alias.asname else head
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                origins[alias.asname or alias.name] = f'{node.module}.{alias.name}'
    origins.pop('*', None)
    return origins


def _configs_of(nodes: Iterable[ast.AST], origins: dict[str, str]) -> frozenset[str]:
    """Names that are set to ``mmcv.Config.fromfile(...)``, or have what only configs have."""
    found: set[str] = set()
    uses_mmcv = any(full.partition('.')[0] == 'mmcv' for full in origins.values())
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr in _ENTRIES_OF_CONFIGS and uses_mmcv:
            if isinstance(node.value, ast.Name) and node.value.id not in ('self', 'args'):
                found.add(node.value.id)
            continue
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        func = node.value.func
        if isinstance(func, ast.Attribute) and func.attr == 'fromfile':
            head, _, rest = ast.unparse(func).partition('.')
            full = f'{origins.get(head, head)}.{rest}'
            if full.startswith('mmcv.') and full.endswith('Config.fromfile'):
                found.update(each.id for each in node.targets if isinstance(each, ast.Name))
    return frozenset(found)


def _names_of_stars(nodes: Iterable[ast.AST], free: set[str]) -> dict[str, str]:
    """Names that come from ``from mmcv.runner import *``, as far as can be told."""
    stars = [
        node.module
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        and (node.module or '').startswith('mmcv')
        and node.names[0].name == '*'
    ]
    if not stars:
        return {}
    return {
        name: f'{module}.{name}'
        for module in stars
        for name in free
        if is_known(f'{module}.{name}')
    }


def _bound_names(nodes: Iterable[ast.AST]) -> frozenset[str]:
    """Names of variables, arguments, functions and classes, wherever in the module."""
    names = set()
    for node in nodes:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    return frozenset(names)


def used_names(nodes: Iterable[ast.AST]) -> set[str]:
    """Names that the code uses, those in short texts included: annotations and ``__all__``."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            is_short = len(node.value) < 80
            names.update(re.findall(r'[^\W\d]\w*', node.value) if is_short else ())
    return names
