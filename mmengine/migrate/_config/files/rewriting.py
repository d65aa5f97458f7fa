"""The new text of one config file: what need not change stays as it is written."""

from __future__ import annotations

import io
import json
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import libcst as cst

from mmengine.config._writing.data_text import yaml_text
from mmengine.config._writing.python_text import python_text
from mmengine.migrate._config.convert import LEGACY_KEYS, OWNERS
from mmengine.migrate._config.files.base_paths import ABSENT, path_after, value_at, with_new_paths
from mmengine.migrate._config.files.rendering import Renderer, names_in
from mmengine.migrate._config.files.script import Script
from mmengine.migrate._config.files.sources import LegacyFile, merged
from mmengine.migrate._config.topics.model import CONSUMES as MOVED_INTO_MODEL
from mmengine.migrate._config.topics.model import is_loop
from mmengine.migrate._config.trace import edited, plain

Config = dict[str, Any]
_MERGED_INTO_BASE = ('model',)
"""Keys whose change is written as the difference to the base; any other as a whole, with
``_delete_``."""


def rewrite_python(
    file: LegacyFile, script: Script, target: Config, new_base: Config, *, reuse: bool = True
) -> str:
    """The new text of ``file``.

    Args:
        file: The legacy file.
        script: Its statements.
        target: What the new file is to resolve to; its values may remember how they were written.
        new_base: What its converted bases define together.
        reuse: Whether expressions are taken over as they are written.
    """
    return _Rewriting(file, script, target, new_base, reuse).text()


def rewrite_data(file: LegacyFile, target: Config, new_base: Config) -> str:
    """The new text of a JSON or YAML file, which has no comments or names to keep."""
    changes = _changes(file, plain(target), new_base, {})
    content = {name: plain(value) for name, value in changes.assigned.items()}
    kept = {name: file.own[name] for name in file.own if name in changes.untouched}
    whole: Config = {**_base_entry(file), **kept, **content}
    if file.path.suffix == '.json':
        return json.dumps(whole, indent=2) + '\n'
    return yaml_text(whole)


def flat_text(path: Path, target: Config) -> str:
    """One file without bases that resolves to ``target``."""
    content = plain(target)
    if path.suffix == '.json':
        return json.dumps(content, indent=2) + '\n'
    if path.suffix in ('.yaml', '.yml'):
        return yaml_text(content)
    return python_text(content)


def consumed(file: LegacyFile) -> set[str]:
    """The entries of ``file`` whose names mean something else now, or nothing."""
    legacy = set(file.own) & LEGACY_KEYS
    moved = {key for key in MOVED_INTO_MODEL if key in file.own and not is_loop(file.own[key])}
    return legacy | moved


@dataclass
class _Changes:
    """What a file must define anew.

    Args:
        assigned: Values by name, in the order of the new config.
        untouched: Names whose statements stay.
    """

    assigned: Config = field(default_factory=dict)
    untouched: set[str] = field(default_factory=set)


def _changes(file: LegacyFile, target: Config, new_base: Config, own: Config) -> _Changes:
    changes = _Changes()
    gone = consumed(file)
    for name, value in target.items():
        now = plain(value)
        if name in file.own and name not in gone:
            would = merged(
                {name: new_base[name]} if name in new_base else {}, {name: file.own[name]}
            )
            if would.get(name) == now and type(would.get(name)) is type(now):
                changes.untouched.add(name)
                continue
            held = own.get(name, file.own[name])
            changes.assigned[name] = _folded(held, would.get(name), value, name in new_base)
        elif name in new_base and new_base[name] == now:
            continue
        elif isinstance(value, dict) and isinstance(new_base.get(name), dict):
            if name in _MERGED_INTO_BASE:
                changes.assigned[name] = _difference(new_base[name], value)
            else:
                changes.assigned[name] = edited(value, {'_delete_': True, **value})
        else:
            changes.assigned[name] = value
    for name in new_base:
        if name not in target and new_base[name] is not None:
            changes.assigned[name] = None
    return changes


def _folded(own: Any, would: Any, wanted: Any, has_base: bool) -> Any:
    """What the file has to say of a name that it says something of already."""
    if not has_base or not isinstance(own, dict) or not isinstance(wanted, dict):
        return wanted
    if not isinstance(would, dict):
        return wanted
    return _laid_over(own, _difference(would, wanted))


def _laid_over(own: Any, change: Any) -> Any:
    if not isinstance(own, dict) or not isinstance(change, dict) or '_delete_' in change:
        return change
    return edited(own, {**own, **{k: _laid_over(own.get(k), v) for k, v in change.items()}})


def _difference(base: Mapping[str, Any], wanted: Any) -> Config:
    """The least that, laid over ``base``, gives ``wanted``."""
    if any(key not in wanted for key in base):
        return edited(wanted, {'_delete_': True, **wanted})
    change: Config = {}
    for key, value in wanted.items():
        if key not in base:
            change[key] = value
        elif plain(value) == base[key]:
            continue
        elif isinstance(value, dict):
            inner = isinstance(base[key], dict)
            whole = edited(value, {'_delete_': True, **value})
            change[key] = _difference(base[key], value) if inner else whole
        else:
            change[key] = value
    return change


def _base_entry(file: LegacyFile) -> Config:
    raw = json.loads(file.text) if file.path.suffix == '.json' else _yaml(file.text)
    return {'_base_': raw['_base_']} if '_base_' in raw else {}


def _yaml(text: str) -> Config:
    import yaml

    content: Config = yaml.safe_load(text) or {}
    return content


class _Rewriting:
    def __init__(
        self, file: LegacyFile, script: Script, target: Config, new_base: Config, reuse: bool
    ) -> None:
        self._file = file
        self._script = script
        self._target = {name: plain(value) for name, value in target.items()}
        self._new_base = new_base
        self._reuse = reuse
        own = {name: script.traced(name) for name in file.own if name in script.written}
        self._gone = consumed(file)
        self._changes = _changes(file, target, new_base, own)
        for name in sorted(self._changes.untouched & set(own)):
            if script.is_settled(name) and self._reads_changed_base(name):
                self._changes.untouched.remove(name)
                self._changes.assigned[name] = own[name]

    def text(self) -> str:
        script = self._script
        placed: dict[int, list[str]] = {}
        placed_names: dict[int, list[str]] = {}
        for name, value in self._changes.assigned.items():
            position = self._position(name)
            named = self._named_at(position, placed_names.get(position, []))
            renderer = Renderer(self._code, self._may_reuse_at(position), named)
            written = self._as_update(renderer, name, value) or renderer.statement(name, value)
            placed.setdefault(position, []).append(written)
            placed_names.setdefault(position, []).append(name)
        rewritten = self._rewritten_positions()
        header = ''.join(script.code(line) for line in script.module.header)
        out = [header]
        pending = ''
        moved: dict[int, str] = {}
        written_at: dict[int, int] = {}
        for position, statement in enumerate(script.statements):
            new = placed.get(position, [])
            code = self._code(statement)
            if position not in rewritten:
                out.append(pending + code + ''.join(new))
                pending = ''
                continue
            leading = ''.join(script.code(line) for line in getattr(statement, 'leading_lines', ()))
            body = ''.join(new)
            lost = _comments(code) - _comments(leading + body) if '#' in code else {}
            notes = ''.join(f'{comment}\n' for comment in lost)
            if new:
                written_at[position] = len(out)
                out.append(pending + leading + moved.get(position, '') + notes + body)
                pending = ''
            else:
                # Comments of what is gone go where its meaning went, else before what comes next.
                comments = _without_blank_lines(leading) + notes
                home = self._home_of(position)
                if home in placed and home > position:
                    moved[home] = moved.get(home, '') + comments
                elif home in placed and home in written_at:
                    out[written_at[home]] = _with_comments(out[written_at[home]], comments)
                else:
                    pending += comments
        out.append(pending)
        for name in sorted(self._gone):
            if name not in self._target and self._stays(name):
                placed.setdefault(script.end, []).append(f'del {name}\n')
        out.extend(placed.get(script.end, []))
        out.extend(script.code(line) for line in script.module.footer)
        text = ''.join(out)
        return text if text.endswith('\n') or not text else f'{text}\n'

    def _code(self, node: cst.CSTNode) -> str:
        """The text of ``node``, with variables of the bases under their new paths."""
        return with_new_paths(self._script.code(node), self._file.base, self._new_base)

    def _as_update(self, renderer: Renderer, name: str, value: Any) -> str | None:
        """``name.update(...)``, for a dict that code of the file puts together and that only gets
        more."""
        own = self._file.own.get(name)
        if name in self._gone or not isinstance(own, dict) or not isinstance(value, dict):
            return None
        if self._script.is_settled(name) or any(key not in value for key in own):
            return None
        more = {key: one for key, one in value.items() if key not in own or plain(one) != own[key]}
        written = renderer.expression(more, '', len(f'{name}.update') - len('dict'))
        return f'{name}.update{written[4:]}\n' if written.startswith('dict(') else None

    def _home_of(self, position: int) -> int:
        """Where stands now what the statement at ``position`` said; the end where nothing does."""
        names = {name for name in self._gone if self._script.written.get(name) == [position]}
        for new, owners in OWNERS.items():
            if names & set(owners) and new in self._changes.assigned:
                return self._position(new)
        return self._script.end

    def _stays(self, name: str) -> bool:
        return self._script.is_live(name)

    def _rewritten_positions(self) -> set[int]:
        """Statements that give way: assignments of legacy keys, and of names with a new
        value."""
        names = {name for name in self._gone if not self._stays(name)}
        names |= {
            name
            for name in self._changes.assigned
            if name not in self._gone and self._position(name) != self._script.end
            and name in self._script.written
        }  # fmt: skip
        return {self._script.written[name][0] for name in names}

    def _position(self, name: str) -> int:
        """The statement that gives way to a new one for ``name``; the end where there is none."""
        script = self._script
        if name in self._file.own and name not in self._gone:
            settled = name in script.written and script.is_settled(name)
            return script.written[name][0] if settled else script.end
        for owner in OWNERS.get(name, (name,)):
            if owner in self._gone and owner in script.written and not self._stays(owner):
                return script.written[owner][0]
        if name in self._gone and name in script.written and not self._stays(name):
            return script.written[name][0]
        return script.end

    def _named_at(self, position: int, beside: list[str]) -> list[tuple[Any, str]]:
        """Values that need not be written out, as something has them already: lists of the bases,
        and what stands just before."""
        if not self._reuse:
            return []
        named: list[tuple[Any, str]] = [
            (value, f'{{{{_base_.{name}}}}}')
            for name, value in self._new_base.items()
            if isinstance(value, list) and name.isidentifier()
        ]
        for name in beside:
            value = self._target.get(name)
            if isinstance(value, dict) and len(value) > 1 and name not in self._new_base:
                named.append((value, name))
        return named

    def _may_reuse_at(self, position: int) -> Any:
        def may_reuse(node: cst.BaseExpression, old: Any, now: Any) -> bool:
            if not self._reuse:
                return False
            read = names_in(self._script.code(node))
            if read is None:
                return False
            names, bases = read
            is_name = isinstance(node, cst.Name) and node.value in self._file.own
            same = type(old) is type(now) and old == now
            if not same and not (is_name or self._is_base_variable(node)):
                return False
            for path in bases:
                if self._is_base_variable(node) and value_at(self._new_base, path) == now:
                    continue
                if path_after(path, self._file.base, self._new_base) is None:
                    return False
            return all(self._has_value(name, position, now, is_name) for name in names)

        return may_reuse

    def _has_value(self, name: str, position: int, now: Any, is_whole: bool) -> bool:
        if not self._script.is_available(name, position):
            return False
        if name not in self._file.own:
            return True
        if name in self._gone:
            # It is read before its name is deleted, or means something else, at the end.
            return self._stays(name) and position == self._script.end
        after = self._target.get(name, ABSENT)
        if name in self._changes.assigned and self._position(name) >= position:
            return False
        if is_whole:
            return bool(after == now)
        return bool(after == self._file.own[name])

    def _reads_changed_base(self, name: str) -> bool:
        code = self._script.code(self._script.value_node(name))
        if '_base_' not in code:
            return False
        read = names_in(code)
        return read is None or any(
            path_after(path, self._file.base, self._new_base) is None for path in read[1]
        )

    def _is_base_variable(self, node: cst.BaseExpression) -> bool:
        return isinstance(node, cst.Set) and '_base_' in self._script.code(node)


class _Ordered(dict[str, None]):
    def __sub__(self, other: Mapping[str, None]) -> _Ordered:
        return _Ordered((comment, None) for comment in self if comment not in other)


def _comments(code: str) -> _Ordered:
    found = _Ordered()
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            if token.type == tokenize.COMMENT:
                found[token.string] = None
    except (tokenize.TokenError, IndentationError, SyntaxError):
        pass
    return found


def _without_blank_lines(text: str) -> str:
    return ''.join(line for line in text.splitlines(keepends=True) if line.strip())


def _with_comments(statement: str, comments: str) -> str:
    """``statement`` with more comments before it, after its own blank lines and comments."""
    lines = statement.splitlines(keepends=True)
    first = next((i for i, line in enumerate(lines) if line.strip() and line[0] != '#'), 0)
    return ''.join([*lines[:first], comments, *lines[first:]])
