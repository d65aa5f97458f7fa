"""The base of the codemods: marks for what is left, statements that are of no concern."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import libcst as cst

from mmengine.migrate._code._nodes import statements
from mmengine.migrate._code._rewriter import Rewriter
from mmengine.migrate._code._source import Source

MARK = 'TODO(mmengine migrate)'
_DEFINITIONS = (cst.ClassDef, cst.FunctionDef)
_STATEMENTS = frozenset(
    {
        cst.SimpleStatementLine, cst.ClassDef, cst.FunctionDef, cst.If, cst.For, cst.While, cst.Try,
        cst.TryStar, cst.With, cst.Match,
    }
)  # fmt: skip
_PARTS_OF_STATEMENTS = frozenset(
    {
        cst.Module, cst.IndentedBlock, cst.Else, cst.Finally, cst.ExceptHandler,
        cst.ExceptStarHandler, cst.MatchCase,
    }
)  # fmt: skip


class Codemod(Rewriter):
    """Base of the codemods: one pass over a module, one kind of change.

    Top-level statements, classes and functions that hold none of its words are not entered: that
    is what makes a codemod fast.

    Attributes:
        name: What ``--list`` and the report call it.
        summary: What it does, for ``--list``.
        triggers: Words of which code has at least one where the codemod could have work.
        in_expressions: Whether it looks at anything smaller than a statement.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    triggers: ClassVar[tuple[str, ...]]
    in_expressions: ClassVar[bool] = True

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        self.words = self._words()
        self._marks: list[list[str] | None] = []
        self._dropped: list[cst.EmptyLine] = []

    def _words(self) -> tuple[str, ...]:
        """The triggers, and what names with a trigger are called here."""
        aliases = {
            local
            for local, full in self.source.origins.items()
            if any(word in full.rpartition('.')[2] for word in self.triggers)
        }
        return (*self.triggers, *sorted(aliases))

    def concerns(self, text: str) -> bool:
        """Whether there could be work in ``text``."""
        return any(word in text for word in self.words)

    def mark(self, why: str) -> None:
        """Put a comment above the statement at hand."""
        if self._marks and self._marks[-1] is not None and why not in self._marks[-1]:
            self._marks[-1].append(why)

    def want(self, module: str, name: str) -> cst.Name:
        """A name that is to be imported, or what it is called where the name is taken."""
        return cst.Name(self.source.want(module, name))

    def on_visit(self, node: cst.CSTNode) -> bool:
        """Begin to collect marks for a statement; stay out of what is of no concern."""
        kind = type(node)
        if kind in _STATEMENTS:
            may_skip = self.in_expressions or not self._marks or kind in _DEFINITIONS
            if may_skip and not self.concerns(self.source.text_of(node)):
                self._marks.append(None)
                return False
            self._marks.append([])
        elif not self.in_expressions and kind not in _PARTS_OF_STATEMENTS:
            return False
        return super().on_visit(node)

    def on_leave(self, original_node: cst.CSTNode, updated_node: cst.CSTNode) -> Any:
        """Write the marks of a statement above it."""
        if type(original_node) not in _STATEMENTS:
            part = super().on_leave(original_node, updated_node)
            return _never_empty(part) if isinstance(original_node, cst.IndentedBlock) else part
        marks = self._marks[-1]
        result: Any = updated_node
        if marks is not None:
            result = super().on_leave(original_node, updated_node)
            marks = self._marks[-1] or []
        self._marks.pop()
        is_at_top = not self._marks
        if is_at_top and result is cst.RemovalSentinel.REMOVE:
            # What stands above a statement that goes is often about the next one as well.
            self._dropped += getattr(original_node, 'leading_lines', ())
            return result
        first, *others = result if isinstance(result, cst.FlattenSentinel) else [result]
        if not isinstance(first, cst.CSTNode):
            return result
        if is_at_top and self._dropped:
            first = headed(first, self._dropped)
            self._dropped = []
        first = marked(first, marks) if marks else first
        return cst.FlattenSentinel([first, *others]) if others else first


def headed(node: cst.CSTNodeT, lines: Sequence[cst.EmptyLine]) -> cst.CSTNodeT:
    """``node``, a statement, with what stood above statements before it that are gone."""
    own = list(getattr(node, 'leading_lines', ()))
    if any(line.comment for line in lines):
        return node.with_changes(leading_lines=[*lines, *own])
    return node.with_changes(leading_lines=own or list(lines))


def _never_empty(block: Any) -> Any:
    """A block that lost all it had still needs a statement."""
    return block if block.body else block.with_changes(body=statements('pass\n'))


def marked(node: cst.CSTNodeT, reasons: Sequence[str]) -> cst.CSTNodeT:
    """``node``, a statement, with a comment for each reason above it; comments do not repeat."""
    return commented(node, [f'# {MARK}: {reason}' for reason in reasons])


def commented(node: cst.CSTNodeT, comments: Sequence[str]) -> cst.CSTNodeT:
    """``node``, a statement, with these comments above it that are not there yet."""
    lines = list(getattr(node, 'leading_lines', ()))
    there = {line.comment.value for line in lines if line.comment}
    lines += [
        cst.EmptyLine(comment=cst.Comment(comment)) for comment in comments if comment not in there
    ]
    return node.with_changes(leading_lines=lines)
