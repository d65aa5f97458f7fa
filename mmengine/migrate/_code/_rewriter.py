"""Fast transformers, because each file goes through a dozen of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import libcst as cst

from mmengine.migrate._code._nodes import code

# Nothing but layout: no codemod looks into these.
_LAYOUT = frozenset(
    {
        cst.SimpleWhitespace, cst.ParenthesizedWhitespace, cst.TrailingWhitespace, cst.EmptyLine,
        cst.Comment, cst.Newline, cst.Comma, cst.Dot, cst.Colon, cst.Semicolon, cst.AssignEqual,
        cst.LeftParen, cst.RightParen, cst.LeftSquareBracket, cst.RightSquareBracket,
        cst.LeftCurlyBrace, cst.RightCurlyBrace,
    }
)  # fmt: skip


def _overridden(
    rewriter: type[Rewriter], prefix: str
) -> Iterator[tuple[type[cst.CSTNode], Callable[..., Any]]]:
    for name in dir(rewriter):
        if name.startswith(prefix):
            method = getattr(rewriter, name)
            if method is not getattr(cst.CSTTransformer, name, None):
                yield getattr(cst, name.removeprefix(prefix)), method


class Rewriter(cst.CSTTransformer):
    """A fast transformer: it notes beforehand which kinds of nodes it handles."""

    _leaving: ClassVar[dict[type[cst.CSTNode], Callable[..., Any]]]
    _visiting: ClassVar[dict[type[cst.CSTNode], Callable[..., Any]]]

    def __init_subclass__(cls) -> None:
        """Note the kinds of nodes: asking by name at each node is slow."""
        cls._leaving = dict(_overridden(cls, 'leave_'))
        cls._visiting = dict(_overridden(cls, 'visit_'))

    def on_visit(self, node: cst.CSTNode) -> bool:
        """Stay out of layout."""
        kind = type(node)
        if kind in _LAYOUT:
            return False
        visit = self._visiting.get(kind)
        return visit is None or visit(self, node) is not False

    def on_leave(self, original_node: cst.CSTNode, updated_node: cst.CSTNode) -> Any:
        """Call the method for this kind of node, if there is one."""
        leave = self._leaving.get(type(original_node))
        return updated_node if leave is None else leave(self, original_node, updated_node)

    def leave_FormattedString(
        self, original_node: cst.FormattedString, updated_node: cst.FormattedString
    ) -> cst.FormattedString:
        """An expression in an f-string has other quotes than it, which Python 3.11 asks for.

        Where an expression needs both kinds, as one with an f-string in it does, three quotes
        enclose the whole.
        """
        quote = updated_node.quote
        parts = []
        for old, part in zip(original_node.parts, updated_node.parts, strict=True):
            if isinstance(part, cst.FormattedStringExpression) and part is not old:
                if len(quote) == 1 and quote in code(part):
                    part = cst.ensure_type(part.visit(_Requoted(quote)), type(part))
                if len(quote) == 1 and quote in code(part):
                    updated_node = updated_node.with_changes(
                        start=f'{updated_node.prefix}{quote * 3}', end=quote * 3
                    )
            parts.append(part)
        return updated_node.with_changes(parts=parts)

    def on_visit_attribute(self, node: cst.CSTNode, attribute: str) -> None:
        """Nodes matter here, not their attributes."""

    def on_leave_attribute(self, original_node: cst.CSTNode, attribute: str) -> None:
        """Nodes matter here, not their attributes."""


class _Requoted(cst.CSTTransformer):
    """Texts in an expression with other quotes than the f-string around it.

    Args:
        quote: The quote of the f-string.
    """

    def __init__(self, quote: str) -> None:
        super().__init__()
        self._quote = quote
        self._other = '"' if quote == "'" else "'"

    def visit_FormattedString(self, node: cst.FormattedString) -> bool:
        """An f-string in it has other quotes in its own expressions."""
        return False

    def leave_SimpleString(
        self, original_node: cst.SimpleString, updated_node: cst.SimpleString
    ) -> cst.SimpleString:
        inner = updated_node.raw_value
        if updated_node.quote != self._quote or self._other in inner or '\\' in inner:
            return updated_node
        text = f'{updated_node.prefix}{self._other}{inner}{self._other}'
        return updated_node.with_changes(value=text)


class LocalNames(Rewriter):
    """Changes names by ``leave_Name``, not where they are attributes or keywords."""

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.Attribute:
        return updated_node.with_changes(attr=original_node.attr)

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:
        return updated_node.with_changes(keyword=original_node.keyword)


class Renamer(LocalNames):
    """Replaces a local name wherever it is read or written."""

    def __init__(self, names: dict[str, str]) -> None:
        super().__init__()
        self._names = names

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.Name:
        new = self._names.get(updated_node.value)
        return updated_node.with_changes(value=new) if new else updated_node
