"""Other names of the runner in hooks: local names, names in helpers, methods by assignment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import libcst as cst

from mmengine.migrate._code._base import Codemod, marked
from mmengine.migrate._code._nodes import body_of, code, dotted, expression, only, with_body
from mmengine.migrate._code._rewriter import LocalNames, Rewriter
from mmengine.migrate._code.hook_calls import METHODS
from mmengine.migrate._code.runner_names import OF_RUNNER, advice_for

_PARTS = ('outputs', 'log_buffer', 'meta')
_ASSIGNED = '{} = {}: methods of hooks have other names and arguments here: define it with def'


class RunnerAliases(Codemod):
    """``trainer = runner`` and ``out = runner.outputs`` are the runner and its outputs."""

    name = 'runner-aliases'
    summary = 'other names of the runner in hooks -> runner'
    triggers = ('Hook', 'runner')
    in_expressions = False

    def leave_ClassDef(
        self, original_node: cst.ClassDef, updated_node: cst.ClassDef
    ) -> cst.ClassDef:
        """Methods that a hook hands its runner, and methods that it has by assignment."""
        places = _Places()
        updated_node.visit(places)
        methods = {
            item.name.value for item in body_of(updated_node) if isinstance(item, cst.FunctionDef)
        }
        kept = _kept_in_self(updated_node)
        body: list[cst.BaseStatement] = []
        for item in body_of(updated_node):
            small = only(item)
            if isinstance(item, cst.FunctionDef):
                item = _without_kept(item, kept)
                item = _with_runner(item, places.found.get(item.name.value, set()))
            elif isinstance(small, cst.Assign) and updated_node.bases:
                target, value = dotted(small.targets[0].target), code(small.value)
                if target in METHODS or (value in METHODS and value in methods):
                    item = marked(item, [_ASSIGNED.format(target, value.partition(':')[0])])
            body.append(item)
        return with_body(updated_node, body)

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        """Local names of a function that is passed the runner."""
        names = [param.name.value for param in updated_node.params.params]
        return _without_aliases(updated_node) if 'runner' in names else updated_node


def _kept_in_self(node: cst.ClassDef) -> set[str]:
    """``self.runner``, where a hook keeps its runner there and nothing else."""
    text = code(node)
    kept = set(re.findall(r'(?m)^\s*(self\.\w+) = runner$', text))
    return {one for one in kept if len(re.findall(rf'\b{one} (?::[^=\n]*)?=(?!=)', text)) == 1}


def _without_kept(method: cst.FunctionDef, kept: set[str]) -> cst.FunctionDef:
    """``method`` with the runner that it is passed in the place of the one that is kept."""
    if not kept:
        return method
    if 'runner' in [param.name.value for param in method.params.params]:
        return cst.ensure_type(method.visit(_Passed(kept)), cst.FunctionDef)
    text = code(method.body)
    used = sorted(
        {
            f'{one}.{name}'
            for one in kept
            for name in re.findall(rf'\b{one}\.(\w+)', text)
            if name not in OF_RUNNER
        }
    )
    return marked(method, [f'{one}: {advice_for(one.rpartition(".")[2])}' for one in used])


class _Passed(Rewriter):
    """``runner`` in the place of ``self.runner`` where that is read."""

    def __init__(self, kept: set[str]) -> None:
        super().__init__()
        self._kept = kept

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        return cst.Name('runner') if dotted(original_node) in self._kept else updated_node

    def leave_AssignTarget(
        self, original_node: cst.AssignTarget, updated_node: cst.AssignTarget
    ) -> cst.AssignTarget:
        return original_node if dotted(original_node.target) in self._kept else updated_node


class _Places(Rewriter):
    """Where methods of ``self`` are passed the runner.

    Attributes:
        found: The places of their parameters, ``self`` counted, by method.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, set[int]] = {}

    def visit_Call(self, node: cst.Call) -> None:
        owner, _, method = dotted(node.func).rpartition('.')
        if owner != 'self':
            return
        for index, arg in enumerate(node.args, 1):
            if arg.keyword is None and not arg.star and code(arg.value) == 'runner':
                self.found.setdefault(method, set()).add(index)


def _with_runner(method: cst.FunctionDef, places: set[int]) -> cst.FunctionDef:
    """``method`` with the parameter that is the runner called so."""
    params = list(method.params.params)
    names = [param.name.value for param in params]
    if len(places) != 1 or 'runner' in _Names.of(method):
        return method
    (place,) = places
    if place >= len(params) or 'runner' in names[place] or names[0] != 'self':
        return method
    old = names[place]
    params[place] = params[place].with_changes(name=cst.Name('runner'))
    renamed = method.visit(_Replaced({old: cst.Name('runner')}))
    renamed = cst.ensure_type(renamed, cst.FunctionDef)
    changed = renamed.with_changes(params=renamed.params.with_changes(params=params))
    return _without_aliases(changed)


def _without_aliases(function: cst.FunctionDef) -> cst.FunctionDef:
    """``function`` with ``runner.outputs`` in the place of a name that is set to it once."""
    aliases = dict(_aliases_in(body_of(function)))
    stored = _Names.of(function)
    aliases = {name: value for name, value in aliases.items() if stored.count(name) == 1}
    if not aliases:
        return function
    changed = function.visit(_Replaced(aliases))
    # What was set to a part of one of them is set to a part of the runner now.
    return _without_aliases(cst.ensure_type(changed, cst.FunctionDef))


def _aliases_in(body: list[cst.BaseStatement]) -> Iterator[tuple[str, cst.BaseExpression]]:
    texts = ('runner', *(f'runner.{part}' for part in _PARTS))
    for statement in body:
        small = only(statement)
        if isinstance(small, cst.Assign) and len(small.targets) == 1:
            name = small.targets[0].target
            if isinstance(name, cst.Name) and code(small.value) in texts:
                yield name.value, expression(code(small.value))


class _Names(Rewriter):
    """The names that a function sets, its parameters among them."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: list[str] = []

    @classmethod
    def of(cls, function: cst.FunctionDef) -> list[str]:
        """The names, each as often as it is set."""
        names = cls()
        function.visit(names)
        return names.stored

    def visit_Param(self, node: cst.Param) -> None:
        self.stored.append(node.name.value)

    def visit_AssignTarget(self, node: cst.AssignTarget) -> None:
        self.stored += _names_of(node.target)

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        self.stored += _names_of(node.target)

    def visit_AugAssign(self, node: cst.AugAssign) -> None:
        self.stored += _names_of(node.target)

    def visit_NamedExpr(self, node: cst.NamedExpr) -> None:
        self.stored += _names_of(node.target)

    def visit_For(self, node: cst.For) -> None:
        self.stored += _names_of(node.target)

    def visit_CompFor(self, node: cst.CompFor) -> None:
        self.stored += _names_of(node.target)

    def visit_AsName(self, node: cst.AsName) -> None:
        self.stored += _names_of(node.name)

    def visit_Global(self, node: cst.Global) -> None:
        # Other functions set it as well.
        self.stored += [item.name.value for item in node.names] * 2

    def visit_Nonlocal(self, node: cst.Nonlocal) -> None:
        self.stored += [item.name.value for item in node.names] * 2


def _names_of(target: cst.BaseExpression) -> list[str]:
    if isinstance(target, cst.Name):
        return [target.value]
    if isinstance(target, (cst.Tuple, cst.List)):
        return [name for element in target.elements for name in _names_of(element.value)]
    return []


class _Replaced(LocalNames):
    """Expressions in the place of names, whose assignments go."""

    def __init__(self, values: Mapping[str, cst.BaseExpression]) -> None:
        super().__init__()
        self._values = values

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        return self._values.get(original_node.value, updated_node)

    def leave_Param(self, original_node: cst.Param, updated_node: cst.Param) -> cst.Param:
        return updated_node.with_changes(name=original_node.name)

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        return updated_node.with_changes(name=original_node.name)

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> Any:
        small = only(original_node)
        if isinstance(small, cst.Assign) and isinstance(small.targets[0].target, cst.Name):
            name = small.targets[0].target.value
            if name in self._values and code(small.value) == code(self._values[name]):
                return cst.RemoveFromParent()
        return updated_node

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        empty = cst.SimpleStatementLine(body=[cst.Pass()])
        return updated_node if updated_node.body else updated_node.with_changes(body=[empty])
