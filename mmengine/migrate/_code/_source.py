"""What is known about one module: where its names come from, and which it uses."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

import libcst as cst

from mmengine.migrate._code._nodes import dotted
from mmengine.migrate._code.classes import Classes
from mmengine.migrate._code.homes import home_of, is_gone, is_known
from mmengine.migrate._code.names import bound_names, imported_names, used_names

# Any other kind of object may have an optimizer, data or a length as well.
_ENTRIES_OF_CONFIGS = ('lr_config', 'optimizer_config', 'checkpoint_config')
_LENGTHS_OF_RUNNERS = ('max_epochs', 'max_iters', 'type')


@dataclass
class Source:
    """What is known about one module.

    Attributes:
        origins: Full dotted name of what each imported name stands for.
        used: Names that its code used before any of it was converted.
        bound: Names that its code defines.
        wanted: New names to import, as module and name.
        configs: What holds the outcome of ``Config.fromfile``.
        models: Classes with a ``train_step(self, data, optimizer)``, by name.
        half_precision: Classes of which a method was cast to half precision by a decorator.
        classes: The classes of the project, this module included.
        layout: A module with the indent and line ends of this one.
        texts: The text of each statement read so far.
    """

    origins: dict[str, str]
    used: set[str] = field(default_factory=set)
    bound: frozenset[str] = frozenset()
    wanted: set[tuple[str, str]] = field(default_factory=set)
    configs: frozenset[str] = frozenset()
    models: set[str] = field(default_factory=set)
    half_precision: set[str] = field(default_factory=set)
    classes: Classes = field(default_factory=Classes)
    layout: cst.Module = field(default_factory=lambda: cst.Module(body=()))
    texts: dict[cst.CSTNode, str] = field(default_factory=dict)

    @classmethod
    def of(cls, tree: ast.Module, project: Classes | None = None) -> Source:
        """Read the names of a module, with those classes of its project that are known."""
        nodes = list(ast.walk(tree))
        used, bound = used_names(nodes), bound_names(nodes)
        origins = _names_of_stars(nodes, used - bound) | imported_names(nodes)
        classes = Classes.of_module(tree)
        if project is not None:
            classes = project.with_those_of(classes)
        return cls(origins, used, bound, configs=_configs_of(nodes, origins), classes=classes)

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
        # A name that no later MMCV has gives way to the one that takes its place.
        is_free = is_free or is_gone(there)
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


def _configs_of(nodes: Iterable[ast.AST], origins: dict[str, str]) -> frozenset[str]:
    """Names that are set to ``mmcv.Config.fromfile(...)``, or have what only configs have."""
    found: set[str] = set()
    uses_mmcv = any(full.partition('.')[0] == 'mmcv' for full in origins.values())
    for node in nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith('build_runner'):
            # build_runner(cfg.runner, ...)
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Attribute) and first.attr == 'runner':
                found.update(one.id for one in [first.value] if isinstance(one, ast.Name))
            continue
        if isinstance(node, ast.Attribute) and node.attr in _ENTRIES_OF_CONFIGS and uses_mmcv:
            if isinstance(node.value, ast.Name) and node.value.id not in ('self', 'args'):
                found.add(node.value.id)
            continue
        if isinstance(node, ast.Attribute) and node.attr in _LENGTHS_OF_RUNNERS and uses_mmcv:
            # cfg.runner.max_epochs
            inner = node.value
            if isinstance(inner, ast.Attribute) and inner.attr == 'runner':
                owner = inner.value
                if isinstance(owner, ast.Name) and owner.id not in ('self', 'args'):
                    found.add(owner.id)
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
    """Names that come from ``from mmcv.runner import *``, as far as can be found."""
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
