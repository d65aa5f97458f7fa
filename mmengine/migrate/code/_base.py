"""What the codemods share: names by their origin, marks for what is left, imports to add."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import libcst as cst

MARK = 'TODO(mmengine migrate)'
Statement = cst.SimpleStatementLine | cst.BaseCompoundStatement


@dataclass
class Source:
    """What the codemods know of one module.

    Attributes:
        origins: Full dotted name of what each imported name stands for.
        wanted: New names to import, as module and name.
        models: Classes with a ``train_step(self, data, optimizer)``, by name.
    """

    origins: dict[str, str]
    wanted: set[tuple[str, str]] = field(default_factory=set)
    models: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, module: cst.Module) -> Source:
        """Read the imports of ``module``."""
        collector = _Imports()
        module.visit(collector)
        return cls(collector.origins)

    def name_of(self, node: cst.CSTNode | None) -> str:
        """The full name of a name or attribute chain: ``nn.Module`` is ``torch.nn.Module``."""
        text = dotted(node)
        head, dot, rest = text.partition('.')
        return f'{self.origins.get(head, head)}{dot}{rest}'


class Codemod(cst.CSTTransformer):
    """Base of the codemods: one pass over a module, one kind of change.

    Attributes:
        name: What ``--list`` and the report call it.
        summary: What it does, for ``--list``.
        triggers: Words of which a file has at least one where the codemod could have work.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    triggers: ClassVar[tuple[str, ...]] = ('mmcv',)

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        self._marks: list[list[str]] = []

    def mark(self, why: str) -> None:
        """Put a comment above the statement at hand."""
        if self._marks and why not in self._marks[-1]:
            self._marks[-1].append(why)

    def want(self, module: str, name: str) -> cst.Name:
        """A name that is to be imported."""
        self.source.wanted.add((module, name))
        return cst.Name(name)

    def on_visit(self, node: cst.CSTNode) -> bool:
        """Begin to collect marks for a statement."""
        if isinstance(node, Statement):
            self._marks.append([])
        return super().on_visit(node)

    def on_leave(
        self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT
    ) -> cst.CSTNodeT | cst.RemovalSentinel | cst.FlattenSentinel[cst.CSTNodeT]:
        """Write the marks of a statement above it."""
        result = super().on_leave(original_node, updated_node)
        if isinstance(original_node, Statement):
            marks = self._marks.pop()
            if marks and isinstance(result, cst.FlattenSentinel):
                first, *others = result
                return cst.FlattenSentinel([marked(first, marks), *others])
            if marks and isinstance(result, cst.CSTNode):
                return marked(result, marks)
        return result


def marked(node: cst.CSTNodeT, reasons: Sequence[str]) -> cst.CSTNodeT:
    """``node``, a statement, with a comment for each reason above it; comments do not repeat."""
    lines = list(getattr(node, 'leading_lines', ()))
    there = {line.comment.value for line in lines if line.comment}
    for reason in reasons:
        comment = f'# {MARK}: {reason}'
        if comment not in there:
            lines.append(cst.EmptyLine(comment=cst.Comment(comment)))
    return node.with_changes(leading_lines=lines)


def dotted(node: cst.CSTNode | None) -> str:
    """``a.b.c`` of a chain of names; empty for other expressions."""
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute):
        head = dotted(node.value)
        return f'{head}.{node.attr.value}' if head else ''
    return ''


def expression(text: str) -> cst.BaseExpression:
    """Parse an expression."""
    return cst.parse_expression(text)


def statements(text: str) -> list[cst.BaseStatement]:
    """Parse statements."""
    return [
        node
        for node in cst.parse_module(text).body
        if isinstance(node, (cst.SimpleStatementLine, cst.BaseCompoundStatement))
    ]


def code(node: cst.CSTNode) -> str:
    """The text of ``node``."""
    return cst.Module(body=()).code_for_node(node)


def only(statement: cst.CSTNode) -> cst.BaseSmallStatement | None:
    """The one small statement of a line; None for anything else."""
    if isinstance(statement, cst.SimpleStatementLine) and len(statement.body) == 1:
        return statement.body[0]
    return None


def call_of(statement: cst.CSTNode) -> cst.Call | None:
    """The call that a line consists of."""
    small = only(statement)
    if isinstance(small, cst.Expr) and isinstance(small.value, cst.Call):
        return small.value
    return None


def keyword(call: cst.Call, name: str) -> cst.BaseExpression | None:
    """The value that ``call`` gives to ``name``."""
    for arg in call.args:
        if arg.keyword is not None and arg.keyword.value == name:
            return arg.value
    return None


def entry(node: cst.BaseExpression | None, name: str) -> cst.BaseExpression | None:
    """The value under ``name`` in ``dict(...)`` or ``{...}``."""
    if isinstance(node, cst.Call) and dotted(node.func) == 'dict':
        return keyword(node, name)
    if isinstance(node, cst.Dict):
        for element in node.elements:
            if (
                isinstance(element, cst.DictElement)
                and isinstance(element.key, cst.SimpleString)
                and element.key.evaluated_value == name
            ):
                return element.value
    return None


def parameters(names: str) -> cst.Parameters:
    """Parse a list of parameters."""
    function = cst.ensure_type(cst.parse_statement(f'def f({names}): pass'), cst.FunctionDef)
    return function.params


def body_of(node: cst.FunctionDef | cst.ClassDef) -> list[cst.BaseStatement]:
    """The statements of a block; none where it is written behind the colon."""
    if isinstance(node.body, cst.IndentedBlock):
        return list(node.body.body)
    return []


def with_body(node: cst.FunctionDef, new: Sequence[cst.BaseStatement]) -> cst.FunctionDef:
    """``node`` with other statements."""
    filled = list(new) or statements('pass\n')
    return node.with_changes(body=node.body.with_changes(body=filled))


class Renamer(cst.CSTTransformer):
    """Replaces a local name wherever it is read or written, not as attribute or keyword."""

    def __init__(self, names: dict[str, str]) -> None:
        super().__init__()
        self._names = names

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.Attribute:
        return updated_node.with_changes(attr=original_node.attr)

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:
        return updated_node.with_changes(keyword=original_node.keyword)

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.Name:
        new = self._names.get(updated_node.value)
        return updated_node.with_changes(value=new) if new else updated_node


class _Imports(cst.CSTVisitor):
    def __init__(self) -> None:
        self.origins: dict[str, str] = {}

    def visit_Import(self, node: cst.Import) -> None:
        for alias in node.names:
            full = dotted(alias.name)
            if alias.asname is not None:
                self.origins[dotted(alias.asname.name)] = full
            else:
                head = full.partition('.')[0]
                self.origins[head] = head

    def visit_ImportFrom(self, node: cst.ImportFrom) -> None:
        if node.relative or isinstance(node.names, cst.ImportStar):
            return
        for alias in node.names:
            known_as = alias.asname.name if alias.asname is not None else alias.name
            self.origins[dotted(known_as)] = f'{dotted(node.module)}.{dotted(alias.name)}'
