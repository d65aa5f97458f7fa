"""Lines of imports: where new ones go, and one line for each module."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import libcst as cst

from mmengine.migrate._code._nodes import code, dotted, only, statements

_LINE_LENGTH = 100


def import_lines(by_home: dict[str, list[str]]) -> list[cst.BaseStatement]:
    """``from home import names`` for each home."""
    text = ''.join(
        f'from {home} import {", ".join(sorted(names))}\n'
        for home, names in sorted(by_home.items())
    )
    return statements(text)


def with_imports(
    body: Sequence[cst.CSTNode], wanted: set[tuple[str, str]], there: dict[str, str]
) -> list[cst.CSTNode]:
    """``body`` with imports of what is wanted and not there, behind those that it has."""
    by_home: dict[str, list[str]] = defaultdict(list)
    for home, name in wanted:
        old, _, alias = name.partition(' as ')
        if there.get(alias or old) != f'{home}.{old}':
            by_home[home].append(name)
    place = _end_of_imports(body)
    return [*body[:place], *import_lines(by_home), *body[place:]]


def merged(body: Sequence[cst.CSTNode], old: Sequence[cst.CSTNode]) -> list[cst.CSTNode]:
    """``body``, imports that are not among the ``old`` ones joined by their module."""
    before = set(old)
    result: list[cst.CSTNode] = []
    names: dict[str, list[str]] = {}
    places: dict[str, int] = {}
    for statement in body:
        home = _home_of(statement)
        if home and statement not in before and home in places:
            names[home] += _names_of(statement)
            continue
        if home and home not in places:
            places[home], names[home] = len(result), _names_of(statement)
        result.append(statement)
    for home, place in places.items():
        line = result[place]
        if names[home] != _names_of(line):
            result[place] = _from(home, sorted(set(names[home])), line)
        elif line not in before and len(code(line).strip().rpartition('\n')[2]) > _LINE_LENGTH:
            result[place] = _from(home, names[home], line)
    return result


def _home_of(statement: cst.CSTNode) -> str:
    """The module of a plain ``from mmengine... import names``; empty for any other line."""
    small = only(statement)
    if not isinstance(small, cst.ImportFrom) or isinstance(small.names, cst.ImportStar):
        return ''
    module = dotted(small.module)
    assert isinstance(statement, cst.SimpleStatementLine)
    comments = [line.comment for line in statement.leading_lines]
    is_plain = not any(comments) and statement.trailing_whitespace.comment is None
    is_ours = module.partition('.')[0] == 'mmengine' and not small.relative
    return module if is_ours and is_plain and small.lpar is None else ''


def _names_of(statement: cst.CSTNode) -> list[str]:
    small = only(statement)
    assert isinstance(small, cst.ImportFrom)
    assert not isinstance(small.names, cst.ImportStar)
    return [
        code(alias.with_changes(comma=cst.MaybeSentinel.DEFAULT)).strip() for alias in small.names
    ]


def _from(home: str, names: Sequence[str], like: cst.CSTNode) -> cst.CSTNode:
    text = f'from {home} import {", ".join(names)}'
    if len(text) > _LINE_LENGTH:
        lines = ''.join(f'    {name},\n' for name in names)
        text = f'from {home} import (\n{lines})'
    new = statements(f'{text}\n')[0]
    return new.with_changes(leading_lines=getattr(like, 'leading_lines', ()))


def _end_of_imports(body: Sequence[cst.CSTNode]) -> int:
    """Behind the first run of imports at the top, the docstring before it included."""
    place = 0
    for index, statement in enumerate(body):
        small = statement.body[0] if isinstance(statement, cst.SimpleStatementLine) else None
        is_text = isinstance(small, cst.Expr) and isinstance(
            small.value, (cst.SimpleString, cst.ConcatenatedString)
        )
        if isinstance(small, (cst.Import, cst.ImportFrom)) or (index == 0 and is_text):
            place = index + 1
        elif place or not isinstance(small, cst.Assign):
            break
    return place
