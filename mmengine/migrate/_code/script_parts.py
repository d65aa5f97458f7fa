"""The statements of a script that have to do with one runner."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import libcst as cst

from mmengine.migrate._code._nodes import call_of, code, dotted, only
from mmengine.migrate._code._source import Source
from mmengine.migrate._code.hook_objects import HookObject, as_config
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
        if call is not None and method in _TOLD and any(arg.star for arg in call.args):
            self.obstacle = self.obstacle or first_line(statement)
        elif call is not None and method in _TOLD:
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
        elif isinstance(statement, cst.If) and (
            resuming := _resuming(statement, self.name, source.configs)
        ):
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
        if found is None and source.classes.is_optimizer_hook(dotted(made.func)):
            # A class of the project, which is an optimizer wrapper now.
            found = HookObject('optimizer_config', made)
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


def names_read(text: str) -> set[str]:
    """The names, and the attributes of names, that code reads: ``args`` and ``args.lr``."""
    return {
        ast.unparse(node)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load)
    }


def stale_names(
    body: Sequence[cst.CSTNode],
    gone: Collection[int],
    used: Collection[str],
    constants: Collection[str],
) -> list[str]:
    """What is read behind ``body`` instead of in it, and is assigned again in between.

    Args:
        body: The statements.
        gone: The places of those that have become one statement behind them.
        used: What that one reads.
        constants: Names whose values it may hold in their places.
    """
    texts = [without_comments(statement) for statement in body]
    moved = [index for index in gone if index < len(body)]
    for index in moved:
        # Grows: what stands for a name that is gone has moved as well.
        read = names_read(texts[index])
        for other, statement in enumerate(body):
            small = only(statement)
            if isinstance(small, cst.Assign) and other not in moved:
                name = dotted(small.targets[0].target)
                if name in read and name in constants and name not in used:
                    moved.append(other)
    return sorted(
        {
            name
            for index in moved
            for name in names_read(texts[index]) & set(used)
            if assigns(
                [one for at, one in enumerate(body) if at > index and at not in gone], {name}
            )
        }
    )


def assigns(body: Sequence[cst.CSTNode], names: set[str]) -> bool:
    """Whether one of the statements assigns one of the names."""
    for statement in body:
        for node in ast.walk(ast.parse(textwrap.dedent(code(statement)))):
            is_set = isinstance(getattr(node, 'ctx', None), (ast.Store, ast.Del))
            if is_set and ast.unparse(node) in names:
                return True
    return False


def first_line(node: cst.CSTNode) -> str:
    lines = (line.strip() for line in code(node).splitlines())
    return next(line for line in lines if line and not line.startswith('#'))


def _resuming(statement: cst.If, name: str, configs: Collection[str]) -> cst.Call | None:
    """``dict(load_from=..., resume=...)`` for ``if cfg.resume_from: runner.resume(...) elif ...``.

    None for an ``if`` that does anything else.
    """
    places: dict[str, str] = {}
    branch: cst.BaseStatement | cst.If | cst.Else | None = statement
    while isinstance(branch, cst.If):
        lines = branch.body.body
        call = call_of(lines[0]) if len(lines) == 1 else None
        method = dotted(call.func).removeprefix(f'{name}.') if call is not None else ''
        if call is None or method not in ('resume', 'load_checkpoint') or len(call.args) != 1:
            return None
        place = code(call.args[0].value)
        tested = code(branch.test).removesuffix(' is not None').strip()
        if tested != place or method in places:
            return None
        places[method] = place
        branch = branch.orelse
    told = _start(places, configs) if branch is None else None
    return None if told is None else cst.ensure_type(cst.parse_expression(told), cst.Call)


_OF_CONFIG = re.compile(r"""((?:self\.)?\w+)(?:\.|\[['"]|\.get\(['"])(resume_from|load_from)\b.*""")


def _start(places: Mapping[str, str], configs: Collection[str]) -> str | None:
    """The arguments of Runner for where a run resumes or starts; None where they are mixed."""
    resumed, loaded = places.get('resume'), places.get('load_checkpoint')
    found = {method: _OF_CONFIG.fullmatch(place) for method, place in places.items()}
    names = {
        method: one[2] for method, one in found.items() if one is not None and one[1] in configs
    }
    if not names:
        start = f'{resumed} or {loaded}' if resumed and loaded else resumed or loaded
        return f'dict(load_from={start}' + (f', resume=bool({resumed}))' if resumed else ')')
    read = {one[1] for one in found.values() if one is not None}
    if len(read) > 1 or names not in (
        {'resume': 'resume_from', 'load_checkpoint': 'load_from'},
        {'resume': 'resume_from'},
        {'load_checkpoint': 'load_from'},
    ) or len(names) < len(places):  # fmt: skip
        return None
    config = read.pop()
    start, again = f"{config}.get('load_from')", f"{config}.get('resume', False)"
    # The converted config has one entry for both: a run that only loads does not resume.
    if loaded is None:
        return f'dict(load_from={start} if {again} else None, resume={again})'
    if resumed is None:
        return f'dict(load_from=None if {again} else {start})'
    return f'dict(load_from={start}, resume={again})'


def simple_statements(statement: cst.CSTNode) -> list[cst.SimpleStatementLine]:
    """The lines of a statement, those in the branches of an ``if`` too."""
    if isinstance(statement, cst.SimpleStatementLine):
        return [statement]
    parts: list[cst.CSTNode] = []
    if isinstance(statement, (cst.If, cst.Else)):
        parts = [*statement.body.body]
        parts += [statement.orelse] if isinstance(statement, cst.If) and statement.orelse else []
    return [line for part in parts for line in simple_statements(part)]
