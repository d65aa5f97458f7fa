"""Imports: names of MMCV 1.x from where they live now."""

from __future__ import annotations

from collections import defaultdict

import libcst as cst

from mmengine.migrate.code._base import Codemod, Source, dotted, statements
from mmengine.migrate.code.homes import ADVICE, GONE, HOMES


class Imports(Codemod):
    """``from mmcv.runner import BaseModule`` comes from ``mmengine.model``, and so on."""

    name = 'imports'
    summary = 'import names of mmcv from their new homes; mmcv.Config(...) too'

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._used: set[str] = set()

    def visit_Module(self, node: cst.Module) -> None:
        """Note which names the code uses."""
        uses = _Uses()
        node.visit(uses)
        self._used = uses.names

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        """``mmcv.Config`` by its own name, imported from its home."""
        full = self.source.name_of(original_node)
        if full not in HOMES or dotted(original_node).partition('.')[0] not in self.source.origins:
            return updated_node
        home, name = HOMES[full]
        taken_by = self.source.origins.get(name, f'{home}.{name}')
        if taken_by != f'{home}.{name}' and HOMES.get(taken_by) != (home, name):
            alias = home.rpartition('.')[2]
            return cst.Attribute(self.want(home.rpartition('.')[0], alias), cst.Name(name))
        return self.want(home, name)

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement] | cst.RemovalSentinel:
        """Split an import by the new homes of its names."""
        imported = updated_node.body[0]
        if (
            len(updated_node.body) != 1
            or not isinstance(imported, cst.ImportFrom)
            or isinstance(imported.names, cst.ImportStar)
            or imported.relative
        ):
            return updated_node
        module = dotted(imported.module)
        if module.partition('.')[0] != 'mmcv':
            return updated_node
        moved: dict[str, list[str]] = defaultdict(list)
        kept = []
        for alias in imported.names:
            old = dotted(alias.name)
            local = dotted(alias.asname.name) if alias.asname else old
            full = f'{module}.{old}'
            if full in HOMES:
                home, new = HOMES[full]
                if local in self._used or local.startswith('_'):
                    moved[home].append(new if new == local else f'{new} as {local}')
            elif self._is_settled(module, old, local):
                continue
            else:
                kept.append(alias.with_changes(comma=cst.MaybeSentinel.DEFAULT))
                if module.startswith(GONE):
                    advice = ADVICE.get(old, 'it has no counterpart that this tool knows')
                    self.mark(f'{old}: {advice}')
        if len(kept) == len(imported.names):
            return updated_node
        lines: list[cst.BaseStatement] = []
        if kept:
            lines.append(updated_node.with_changes(body=[imported.with_changes(names=kept)]))
        for home, names in sorted(moved.items()):
            lines += statements(f'from {home} import {", ".join(sorted(names))}\n')
        if not lines:
            return cst.RemoveFromParent()
        if not kept:
            lines[0] = lines[0].with_changes(leading_lines=updated_node.leading_lines)
            last = lines[-1]
            if isinstance(last, cst.SimpleStatementLine):
                lines[-1] = last.with_changes(trailing_whitespace=updated_node.trailing_whitespace)
        return cst.FlattenSentinel(lines)

    def _is_settled(self, module: str, old: str, local: str) -> bool:
        """Whether no code needs the old name any more."""
        if local == old and any(name == old for _, name in self.source.wanted):
            return True
        return module.startswith(GONE) and local not in self._used and old in ADVICE

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        """Drop ``import mmcv`` where nothing is left to use it; add what was asked for."""
        uses = _Uses()
        updated_node.visit(uses)
        body = [
            statement
            for statement in updated_node.body
            if not (_imports_only(statement, 'mmcv') and 'mmcv' not in uses.names)
        ]
        return _with_imports(updated_node.with_changes(body=body), self.source.wanted)


def _imports_only(statement: cst.CSTNode, package: str) -> bool:
    return (
        isinstance(statement, cst.SimpleStatementLine)
        and len(statement.body) == 1
        and isinstance(statement.body[0], cst.Import)
        and all(
            dotted(alias.name).partition('.')[0] == package and alias.asname is None
            for alias in statement.body[0].names
        )
    )


def _with_imports(module: cst.Module, wanted: set[tuple[str, str]]) -> cst.Module:
    there = Source.of(module).origins
    by_home: dict[str, list[str]] = defaultdict(list)
    for home, name in sorted(wanted):
        if there.get(name) != f'{home}.{name}':
            by_home[home].append(name)
    if not by_home:
        return module
    lines = statements(
        ''.join(f'from {home} import {", ".join(names)}\n' for home, names in by_home.items())
    )
    body = list(module.body)
    place = max(
        (
            index + 1
            for index, statement in enumerate(body)
            if isinstance(statement, cst.SimpleStatementLine)
            and isinstance(statement.body[0], (cst.Import, cst.ImportFrom))
        ),
        default=1 if module.get_docstring() else 0,
    )
    return module.with_changes(body=[*body[:place], *lines, *body[place:]])


class _Uses(cst.CSTVisitor):
    """Names that the code outside of imports uses."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_Import(self, node: cst.Import) -> bool:
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        return False

    def visit_Name(self, node: cst.Name) -> None:
        self.names.add(node.value)

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        node.value.visit(self)
        return False

    def visit_SimpleString(self, node: cst.SimpleString) -> None:
        # An entry of __all__ is a use too.
        self.names.add(node.value.strip('\'"'))
