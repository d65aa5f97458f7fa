"""Imports: names of MMCV 1.x from where they live now."""

from __future__ import annotations

import ast
from collections import defaultdict
from typing import Any

import libcst as cst

from mmengine.migrate._code._base import Codemod, headed
from mmengine.migrate._code._nodes import dotted, only
from mmengine.migrate._code._source import Source
from mmengine.migrate._code.homes import GONE, advice_for, home_of, is_gone, is_module
from mmengine.migrate._code.import_lines import import_lines, merged, with_imports
from mmengine.migrate._code.names import imported_names, parse, used_names

_STAR = 'names that other modules took from this import * are not imported any more'


class Imports(Codemod):
    """``from mmcv.runner import BaseModule`` comes from ``mmengine.model``, and so on."""

    name = 'imports'
    summary = 'import names of mmcv from their new homes; mmcv.Config(...) too'
    triggers = ('mmcv',)

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._used: set[str] = set()

    def _words(self) -> tuple[str, ...]:
        """``mmcv``, and what modules of it are called here."""
        origins = self.source.origins.items()
        return ('mmcv', *sorted(local for local, full in origins if is_module(full)))

    def visit_Module(self, node: cst.Module) -> None:
        """Note which names the code uses, now that the other codemods are done."""
        self._used = used_names(ast.walk(parse(self.source.code_of(node))))

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        """``mmcv.Config`` by its own name, imported from its home."""
        if dotted(original_node).partition('.')[0] not in self.source.origins:
            return updated_node
        full = self.source.name_of(original_node)
        found = home_of(full)
        if found is None:
            old = full.rpartition('.')[2]
            if is_gone(full) and not is_module(full):
                self.mark(f'{old}: {advice_for(old)}')
            return updated_node
        return self.want(*found)

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement] | cst.RemovalSentinel:
        """Split an import by the new homes of its names."""
        imported = updated_node.body[0]
        if not isinstance(imported, cst.ImportFrom) or imported.relative:
            return updated_node
        module = dotted(imported.module)
        if module.partition('.')[0] != 'mmcv':
            return updated_node
        if len(updated_node.body) != 1:
            self.mark('several statements on one line: split it, and migrate again')
            return updated_node
        if isinstance(imported.names, cst.ImportStar):
            return self._without_star(updated_node, module)
        moved: dict[str, list[str]] = defaultdict(list)
        kept = []
        for alias in imported.names:
            old = dotted(alias.name)
            local = dotted(alias.asname.name) if alias.asname else old
            found = home_of(f'{module}.{old}')
            if found is not None:
                home, new = found
                if not self._is_settled(local):
                    moved[home].append(new if new == local else f'{new} as {local}')
            elif self._is_taken_over(module, old, local):
                continue
            else:
                kept.append(alias.with_changes(comma=cst.MaybeSentinel.DEFAULT))
                if is_gone(f'{module}.{old}') and not is_module(f'{module}.{old}'):
                    self.mark(f'{old}: {advice_for(old)}')
        if len(kept) == len(imported.names):
            return updated_node
        first = imported.with_changes(names=kept, lpar=None, rpar=None) if kept else None
        return _replaced(updated_node, first, moved)

    def _is_settled(self, local: str) -> bool:
        """Whether the code used a name, and the codemods have seen to it that none does now."""
        return local in self.source.used and local not in self._used

    def _is_taken_over(self, module: str, old: str, local: str) -> bool:
        """Whether the import of a name without a home can go."""
        is_wanted = local == old and any(name == old for _, name in self.source.wanted)
        # A name that no later MMCV has makes the module unimportable, whether or not it was used.
        return is_wanted or (is_gone(f'{module}.{old}') and local not in self._used)

    def _without_star(
        self, line: cst.SimpleStatementLine, module: str
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement] | cst.RemovalSentinel:
        moved: dict[str, list[str]] = defaultdict(list)
        for local, full in sorted(self.source.origins.items()):
            if full != f'{module}.{local}' or local not in self._used:
                continue
            found = home_of(full)
            if found is not None:
                home, new = found
                moved[home].append(new if new == local else f'{new} as {local}')
            elif is_gone(full):
                self.mark(f'{local}: {advice_for(local)}')
        if not module.startswith(GONE):
            return line
        self.mark(_STAR)
        return _replaced(line, None, moved) if moved else line

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        """Drop modules that nothing uses any more; add the imports that other codemods need."""
        nodes = list(ast.walk(parse(self.source.code_of(updated_node))))
        leftovers = _Modules(self.source, used_names(nodes))
        body: list[cst.CSTNode] = []
        dropped: list[cst.EmptyLine] = []
        for statement in updated_node.body:
            left: Any = statement
            if 'mmcv' in self.source.text_of(statement):
                left = statement.visit(leftovers)
            if not isinstance(left, cst.CSTNode):
                dropped += statement.leading_lines
                continue
            body.append(headed(left, dropped))
            dropped = []
        body = with_imports(body, self.source.wanted, imported_names(nodes))
        return updated_node.with_changes(body=merged(body, original_node.body))


def _replaced(
    line: cst.SimpleStatementLine, first: cst.ImportFrom | None, moved: dict[str, list[str]]
) -> cst.RemovalSentinel | cst.FlattenSentinel[cst.BaseStatement]:
    """Imports in the place of ``line``, which keep its comments."""
    lines: list[cst.BaseStatement] = []
    if first is not None:
        lines.append(line.with_changes(body=[first]))
    lines += import_lines(moved)
    if not lines:
        return cst.RemoveFromParent()
    if first is None:
        lines[0] = lines[0].with_changes(leading_lines=line.leading_lines)
        lines[-1] = lines[-1].with_changes(trailing_whitespace=line.trailing_whitespace)
    return cst.FlattenSentinel(lines)


def _may_be_module(full: str) -> bool:
    return full.count('.') == 1 or is_module(full)


class _Modules(Codemod):
    """Imports of modules of MMCV, once the names that came from them are replaced."""

    triggers = ('mmcv',)
    in_expressions = False

    def __init__(self, source: Source, used: set[str]) -> None:
        super().__init__(source)
        self._used = used

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | cst.RemovalSentinel:
        """``import mmcv.runner``, ``from mmcv import runner`` and the like."""
        small = only(original_node)
        if isinstance(small, cst.Import):
            prefix = ''
        elif isinstance(small, cst.ImportFrom) and not small.relative:
            prefix = f'{dotted(small.module)}.'
        else:
            return updated_node
        if isinstance(small.names, cst.ImportStar):
            return updated_node
        kept: list[cst.ImportAlias] = []
        for alias in small.names:
            full = f'{prefix}{dotted(alias.name)}'
            is_theirs = full == 'mmcv' or (full.startswith('mmcv.') and _may_be_module(full))
            new = self._alias(alias, full) if is_theirs else alias
            if new is not None:
                kept.append(new)
        if not kept:
            return cst.RemoveFromParent()
        if all(new is old for new, old in zip(kept, small.names, strict=False)) and (
            len(kept) == len(small.names)
        ):
            return updated_node
        kept[-1] = kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
        return updated_node.with_changes(body=[small.with_changes(names=kept)])

    def _alias(self, alias: cst.ImportAlias, full: str) -> cst.ImportAlias | None:
        local = dotted(alias.asname.name) if alias.asname else dotted(alias.name).partition('.')[0]
        is_package = local == 'mmcv' and (full == 'mmcv' or full.startswith(GONE))
        if local not in self._used and (local in self.source.used or is_package):
            # Unused from the start, the package alone would still have to be there.
            return None
        if not full.startswith(GONE):
            return alias
        if local == 'mmcv':
            return cst.ImportAlias(cst.Name('mmcv'), comma=alias.comma)
        if full != 'mmcv.utils':
            self.mark(f'{full} is in no later MMCV: find a new home for what is taken from it')
        return alias
