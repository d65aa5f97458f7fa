"""The statements of a script that have to do with one runner."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

import libcst as cst

from mmengine.migrate._code._nodes import call_of, code, dotted, only
from mmengine.migrate._code._source import Source
from mmengine.migrate._code.hook_objects import as_config
from mmengine.migrate._code.legacy_runner import HOOK_METHODS

_TOLD = ('register_training_hooks', 'run', 'resume', 'load_checkpoint', *HOOK_METHODS)


@dataclass
class Parts:
    """The statements of a block that have to do with one runner, by their places.

    Attributes:
        name: What the runner is called.
        start: Where it is made.
        run: Where it is run.
        calls: The calls of its methods, by method.
        custom_hooks: Hooks that are registered.
        objects: Configs of hooks of MMCV that are registered as objects, by their keys.
        gone: Statements that are part of Runner(...) now.
        kept: Statements that a Runner understands too, once it is made.
        obstacle: What else is done with it; empty if nothing is.
        evaluates: Whether an evaluation hook is among what is kept.
    """

    name: str
    start: int
    run: int
    calls: dict[str, cst.Call] = field(default_factory=dict)
    custom_hooks: list[str] = field(default_factory=list)
    objects: dict[str, cst.BaseExpression] = field(default_factory=dict)
    gone: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    obstacle: str = ''
    evaluates: bool = False

    @classmethod
    def found(
        cls, name: str, body: Sequence[cst.CSTNode], start: int, source: Source
    ) -> Parts | None:
        """The parts of the runner that is made at ``start``; None if it is not run here."""
        runs = [
            index
            for index in range(start + 1, len(body))
            if (call := call_of(body[index])) is not None and dotted(call.func) == f'{name}.run'
        ]
        if not runs:
            return None
        parts = cls(name, start, runs[0], gone=[start, runs[0]])
        small = only(body[start])
        made = small.value if isinstance(small, cst.Assign) else None
        if isinstance(made, cst.Call) and any(arg.star for arg in made.args):
            parts.obstacle = first_line(made)
        for index in range(start + 1, runs[0] + 1):
            if re.search(rf'(?<![\w.]){name}\b', without_comments(body[index])):
                parts._take(index, body[index], source)
        return parts

    def _take(self, index: int, statement: cst.CSTNode, source: Source) -> None:
        call = call_of(statement)
        method = dotted(call.func).removeprefix(f'{self.name}.') if call is not None else ''
        if call is not None and method in _TOLD:
            self.calls[method] = call
            self.gone.append(index)
        elif call is not None and method == 'register_hook' and self._is_config(call, source):
            self.gone.append(index)
        elif (
            call is not None and method == 'register_hook' and len(call.args) == 1 and not self.kept
        ):
            # Behind one that stays, it stays as well: equal priorities run in this order.
            self.custom_hooks.append(code(call.args[0].value))
            self.gone.append(index)
        elif method == 'register_hook' or self._only_registers(statement):
            self.kept.append(index)
            self.evaluates = self.evaluates or 'EvalHook(' in code(statement)
        elif re.search(rf'(?m)^\s*{self.name}\.timestamp = ', code(statement)):
            self.gone.append(index)
        elif isinstance(statement, cst.If) and (resuming := _resuming(statement, self.name)):
            self.calls['if'] = resuming
            self.gone.append(index)
        else:
            self.obstacle = self.obstacle or first_line(statement)

    def _is_config(self, call: cst.Call, source: Source) -> bool:
        """Whether a hook object is registered that a config means as well; it is remembered."""
        made = call.args[0].value if call.args else None
        if not isinstance(made, cst.Call):
            return False
        found = as_config(source.mmcv_name(made.func), made)
        if found is None or found.key in self.objects:
            return False
        self.objects[found.key] = found.config
        return True

    def _only_registers(self, statement: cst.CSTNode) -> bool:
        """Whether a block does nothing with the runner but register hooks, as here too."""
        text = re.sub(r'#.*', '', code(statement))
        uses = re.findall(rf'(?<![\w.]){self.name}\b(\.register_hook\()?', text)
        return isinstance(statement, (cst.If, cst.For)) and all(uses)


def without_comments(node: cst.CSTNode) -> str:
    return ast.unparse(ast.parse(textwrap.dedent(code(node))))


def names_in(text: str) -> set[str]:
    """The names that code reads."""
    return set(re.findall(r'(?<![\w.])[^\W\d]\w*', text))


def assigns(body: Sequence[cst.CSTNode], names: set[str]) -> bool:
    """Whether one of the statements assigns one of the names."""
    for statement in body:
        for node in ast.walk(ast.parse(textwrap.dedent(code(statement)))):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in names:
                return True
    return False


def first_line(node: cst.CSTNode) -> str:
    lines = (line.strip() for line in code(node).splitlines())
    return next(line for line in lines if line and not line.startswith('#'))


def _resuming(statement: cst.If, name: str) -> cst.Call | None:
    """The call for a resume in ``if cfg.resume_from: runner.resume(cfg.resume_from) elif ...``."""
    pattern = (
        rf'\s*if (\w+)\.resume_from:\s+{name}\.resume\(\1\.resume_from\)\s+'
        rf'elif \1\.load_from:\s+{name}\.load_checkpoint\(\1\.load_from\)\s*'
    )
    text = re.sub(r'(?m)^\s*#.*\n', '', code(statement))
    found = re.fullmatch(pattern, text.replace(' is not None', ''))
    return cst.Call(cst.Name(found[1])) if found else None


def simple_statements(statement: cst.CSTNode) -> list[cst.SimpleStatementLine]:
    """The lines of a statement, those in the branches of an ``if`` too."""
    if isinstance(statement, cst.SimpleStatementLine):
        return [statement]
    parts: list[cst.CSTNode] = []
    if isinstance(statement, (cst.If, cst.Else)):
        parts = [*statement.body.body]
        parts += [statement.orelse] if isinstance(statement, cst.If) and statement.orelse else []
    return [line for part in parts for line in simple_statements(part)]
