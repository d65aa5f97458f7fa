"""Text-style configs: Python, JSON or YAML files that inherit through ``_base_``."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config._merge import check_no_delete_left, join_bases, overlay, unshare
from mmengine.config._origin.places import Origin
from mmengine.config._reading.paths import base_path
from mmengine.config._reading.placeholders import (
    BaseVariableRewriter,
    base_value,
    fill_base_variables,
    fill_env_variables,
    fill_file_variables,
    has_base_variables,
    quote_bare_base_variables,
    resolve_base_variables,
)
from mmengine.config._reading.python_file import (
    bound_by_statements,
    entries_of,
    execute,
    warn_if_deprecated,
)
from mmengine.config._reading.source import Source, read_source
from mmengine.config._reading.styles import assigns_base, lazy_sign, mixed_styles, read_base_sign
from mmengine.config.config_dict import ConfigDict
from mmengine.config.errors import ConfigParsingError, ConfigSyntaxError, execution_error
from mmengine.utils._plain_yaml import read_yaml

BASE_KEY = '_base_'


@dataclass
class Loaded:
    """A config file merged with everything that it inherits.

    ``own`` is what the file itself defines, ``base`` what its base files do together.
    """

    entries: ConfigDict
    own: ConfigDict | None = None
    base: ConfigDict | None = None
    base_paths: list[Path] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    env_variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TextLoader:
    """Loads text-style files.

    For each file: fill in variables, load the base files, execute or parse the file, merge the
    result into the bases.
    """

    use_file_variables: bool = True
    use_env_variables: bool = True
    lazy_import: bool | None = None

    def load(self, source: Source) -> Loaded:
        """Load ``source`` and its base files.

        Raises:
            ConfigError: If one of the files is wrong.
        """
        loaded = self._load(source)
        inherits = len(loaded.texts) > 1
        if inherits and any('_delete_' in text for text in loaded.texts):
            check_no_delete_left(loaded.entries)
        return loaded

    def _load(self, source: Source) -> Loaded:
        loaded = Loaded(ConfigDict())
        text = self._filled(source, loaded.env_variables)
        read = self._python if source.path.suffix == '.py' else self._data
        read(source, text, loaded)
        loaded.texts.append(f'{source.path}\n{source.text}')
        warn_if_deprecated(loaded.entries, source)
        return loaded

    def _filled(self, source: Source, env_variables: dict[str, str]) -> str:
        text = source.text
        if self.use_file_variables:
            text = fill_file_variables(text, source.path)
        if self.use_env_variables:
            text = fill_env_variables(text, source.label, env_variables)
        return quote_bare_base_variables(text, source.path.suffix)

    def _python(self, source: Source, text: str, loaded: Loaded) -> None:
        tree = source.parse(text)
        # With lazy_import=False imports are done at once; read_base() works with lazy imports only.
        sign = lazy_sign(tree) if self.lazy_import is not False else read_base_sign(tree)
        if sign is not None:
            raise mixed_styles(source, sign, assigns_base(tree))
        base = self._bases(_base_names_in_code(source, tree), source, loaded)
        tree.body = [statement for statement in tree.body if not _assigns_base_only(statement)]
        namespace: dict[str, Any] = {}
        if base is not None:
            namespace[BASE_KEY] = base
            if has_base_variables(text):
                tree = BaseVariableRewriter().visit(tree)
                namespace['__base_value__'] = lambda path, line: base_value(
                    base, path, f'{source.label}:{line}'
                )
                namespace['__base_text__'] = lambda raw, line: fill_base_variables(
                    raw, base, f'{source.label}:{line}'
                )
        helpers = bound_by_statements(tree) | {BASE_KEY}
        recorder = execute(source, tree, namespace)
        try:
            entries = entries_of(source, tree, namespace, helpers)
        finally:
            recorder.forget()
        loaded.own, loaded.base = entries, base
        loaded.entries = entries if base is None else overlay(base, entries)
        if text.count(BASE_KEY) > 1:
            unshare(loaded.entries)

    def _data(self, source: Source, text: str, loaded: Loaded) -> None:
        content = _parse_data(source, text)
        base = self._bases(_as_list(content.pop(BASE_KEY, [])), source, loaded)
        if has_base_variables(text):
            content = resolve_base_variables(content, base or {}, source.label)
        entries = ConfigDict(content)
        mark_file(entries, source.label)
        loaded.own, loaded.base = entries, base
        loaded.entries = entries if base is None else overlay(base, entries)

    def _bases(self, names: list[Any], source: Source, loaded: Loaded) -> ConfigDict | None:
        parts = []
        for name in names:
            path, scope = base_path(name, source.path)
            loaded.base_paths.append(path)
            base = self._load(read_source(path, child=source))
            if scope is not None:
                add_scope(base.entries, scope)
            parts.append(base.entries)
            loaded.texts.extend(base.texts)
            loaded.env_variables.update(base.env_variables)
        return join_bases(parts) if parts else None


def add_scope(value: Any, scope: str) -> None:
    """Set ``_scope_`` of the outermost dicts with a ``type`` to the package that registers it."""
    if isinstance(value, ConfigDict):
        if 'type' in value:
            value.setdefault('_scope_', scope)
            return
        for item in dict.values(value):
            add_scope(item, scope)
    elif isinstance(value, (list, tuple)):
        for item in value:
            add_scope(item, scope)


def mark_file(value: Any, label: str) -> None:
    """Record the file as the origin of every dict. Parsers of JSON and YAML give no lines."""
    if isinstance(value, ConfigDict):
        object.__setattr__(value, '_origin', Origin((label, 0)))
        for item in dict.values(value):
            mark_file(item, label)
    elif isinstance(value, (list, tuple)):
        for item in value:
            mark_file(item, label)


def _base_names_in_code(source: Source, tree: ast.Module) -> list[Any]:
    names: list[Any] = []
    for statement in tree.body:
        if not _assigns_base_only(statement):
            continue
        value = statement.value  # type: ignore[attr-defined]  # an assignment, as just checked
        try:
            names = _as_list(ast.literal_eval(value))
        except ValueError:
            expression = ast.fix_missing_locations(ast.Expression(value))
            scope = {'__file__': str(source.path)}
            try:
                names = _as_list(eval(compile(expression, source.label, 'eval'), scope))
            except Exception as error:
                raise execution_error(error)(
                    f'{source.label}:{statement.lineno}: _base_ is read before the file runs, so '
                    f'it can use no name that the file defines: {error}'
                ) from error
    return names


def _assigns_base_only(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Assign)
        and len(statement.targets) == 1
        and isinstance(statement.targets[0], ast.Name)
        and statement.targets[0].id == BASE_KEY
    )


def _as_list(names: Any) -> list[Any]:
    return list(names) if isinstance(names, (list, tuple)) else [names]


def _parse_data(source: Source, text: str) -> dict[str, Any]:
    parse = partial(_parse_json if source.path.suffix == '.json' else _parse_yaml, source)
    content = parse(text)
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise ConfigParsingError(
            f'{source.label}: a config is a mapping of keys to values, got a '
            f'{type(content).__name__}'
        )
    return content


def _parse_json(source: Source, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise _data_error(source, text, error.msg, error.lineno) from None
    except RecursionError:
        raise _data_error(source, text, 'too many levels of nesting', None) from None


def _parse_yaml(source: Source, text: str) -> Any:
    import yaml

    try:
        return read_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, 'problem_mark', None)
        reason = getattr(error, 'problem', None) or str(error).partition('\n')[0]
        raise _data_error(source, text, reason, mark.line + 1 if mark else None) from None


def _data_error(source: Source, text: str, reason: str, line: int | None) -> ConfigSyntaxError:
    lines = text.splitlines()
    shown = lines[line - 1] if line and line <= len(lines) else None
    return ConfigSyntaxError(f'syntax error, {reason}', source.label, line, shown)
