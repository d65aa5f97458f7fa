"""What is known about one module: where its names come from, and which it uses."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import libcst as cst

from mmengine.migrate._code._nodes import dotted
from mmengine.migrate._code.classes import Classes
from mmengine.migrate._code.homes import home_of, is_gone, is_known
from mmengine.migrate._code.names import bound_names, imported_names, used_names

# Any other kind of object may have an optimizer, data or a length as well.
_ENTRIES_OF_CONFIGS = ('lr_config', 'optimizer_config', 'checkpoint_config', 'merge_from_dict')
_OF_LOADERS = ('samples_per_gpu', 'workers_per_gpu')
_INNER_ENTRIES = {
    'runner': ('max_epochs', 'max_iters', 'type'),
    'data': ('train', 'val', 'test', *_OF_LOADERS),
}
_CONFIGS = ('mmcv.Config', 'mmcv.utils.Config', 'mmcv.utils.config.Config')
# Projects whose code reads configs of MMCV, unless it imports this engine.
_PROJECTS = frozenset((
    'mmaction', 'mmcls', 'mmdet', 'mmdet3d', 'mmedit', 'mmgen', 'mmocr', 'mmpose', 'mmrotate',
    'mmseg', 'mmselfsup',
))  # fmt: skip


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
    """What holds an ``mmcv.Config``, or is read as only one can be: ``cfg`` or ``self.cfg``."""
    roots = {full.partition('.')[0] for full in origins.values()}
    uses_mmcv = 'mmcv' in roots or ('mmengine' not in roots and not roots.isdisjoint(_PROJECTS))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Attribute):
            found.add(_read_as_config(node) if uses_mmcv or node.attr in _OF_LOADERS else '')
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith('build_runner'):
            # build_runner(cfg.runner, ...)
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Attribute) and first.attr == 'runner':
                found.add(_owner(first.value))
        elif isinstance(node, ast.arg) and node.annotation is not None:
            found.add(node.arg if _is_config(node.annotation, origins) else '')
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            makes_one = isinstance(node.value, ast.Call) and _makes_config(node.value.func, origins)
            found.update(map(_owner, targets if makes_one else ()))
    return frozenset(found - {''})


def _owner(node: ast.expr) -> str:
    """``cfg``, ``self.cfg``; empty for what is called otherwise, or holds other things too."""
    text = ast.unparse(node)
    is_owner = isinstance(node, ast.Name) or re.fullmatch(r'self\.\w+', text)
    return text if is_owner and text not in ('self', 'args') else ''


def _read_as_config(node: ast.Attribute) -> str:
    """``cfg`` of ``cfg.lr_config``, ``cfg.runner.max_epochs`` and the like."""
    if node.attr in _ENTRIES_OF_CONFIGS:
        return _owner(node.value)
    inner = node.value
    if isinstance(inner, ast.Attribute) and node.attr in _INNER_ENTRIES.get(inner.attr, ()):
        return _owner(inner.value)
    return ''


def _is_config(annotation: ast.expr, origins: dict[str, str]) -> bool:
    """Whether ``Config``, ``mmcv.Config``, ``'Config'`` or ``Config | None`` says so."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return origins.get(annotation.value, '').startswith('mmcv.')
    return any(_full_name(one, origins) in _CONFIGS for one in ast.walk(annotation))


def _makes_config(func: ast.expr, origins: dict[str, str]) -> bool:
    """Whether a function is ``Config``, ``Config.fromfile`` or ``Config.fromstring``."""
    full = _full_name(func, origins)
    return full in _CONFIGS or (
        full.endswith(('.fromfile', '.fromstring')) and full.rpartition('.')[0] in _CONFIGS
    )


def _full_name(node: ast.AST, origins: dict[str, str]) -> str:
    if not isinstance(node, (ast.Name, ast.Attribute)):
        return ''
    head, dot, rest = ast.unparse(node).partition('.')
    return f'{origins.get(head, head)}{dot}{rest}'


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
