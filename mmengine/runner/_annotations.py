"""From the annotation of an argument to the JSON schema of its value."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

# A string that holds a variable, which is filled in when the file is read: '{{ _base_.width }}'.
VARIABLE = r'\{\{.*\}\}'
VARIABLE_PATTERN = re.compile(VARIABLE)
_NAMES = {
    **dict.fromkeys(('int', 'Integral'), 'integer'),
    **dict.fromkeys(('float', 'Number', 'Real', 'number', '_Number'), 'number'),
    'bool': 'boolean',
    **dict.fromkeys(('str', 'Path', 'PathLike'), 'string'),
    **dict.fromkeys(('None', 'NoneType'), 'null'),
    **dict.fromkeys(
        ('dict', 'Dict', 'Mapping', 'MutableMapping', 'OrderedDict', 'Config', 'ConfigDict'),
        'object',
    ),
    **dict.fromkeys(
        ('list', 'List', 'tuple', 'Tuple', 'Sequence', 'Iterable', 'Collection', 'set', 'Set',
         'frozenset'), 'array',
    ),
}  # fmt: skip
# Classes of objects, which no file can hold.
_OBJECTS = frozenset(
    ('Tensor', 'Module', 'Optimizer', 'Logger', 'DataLoader', 'Dataset', 'Sampler', 'Hook',
     'BaseLoop', 'BaseMetric', 'Evaluator', 'Visualizer', 'LogProcessor', 'BaseVisBackend',
     'BaseOptimWrapper')
)  # fmt: skip


def schema_of(annotation: Any, default: Any = inspect.Parameter.empty) -> Schema:
    """The schema of an argument.

    Args:
        annotation: An annotation, or its text. What is not known allows everything.
        default: The default of the argument; it is allowed in any case.
    """
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    if annotation is inspect.Parameter.empty:
        text = 'Any'
    try:
        members = _members(ast.parse(text.strip(), mode='eval').body)
    except SyntaxError:
        members = None
    schema = joined(members)
    if default is inspect.Parameter.empty:
        return schema
    as_json = json_form(default)
    if as_json is _NO_FORM:
        return schema
    if schema and not _allows(schema, as_json):
        schema = joined([*(members or ()), {'type': 'null'}]) if as_json is None else {}
    return {**schema, 'default': as_json}


def joined(members: list[Schema] | None) -> Schema:
    """The schema of a value that fits one of ``members``, or is a string with a variable."""
    if not members:
        return {}
    kinds = [member['type'] for member in members if list(member) == ['type']]
    if len(kinds) < len(members):
        variable = [] if 'string' in kinds else [{'type': 'string', 'pattern': VARIABLE}]
        return {'anyOf': [*members, *variable]}
    if 'string' in kinds:
        return {'type': kinds if len(kinds) > 1 else kinds[0]}
    return of_kinds(*kinds)


def of_kinds(*kinds: str) -> Schema:
    """The schema of a value of one of these types, or of a string with a variable."""
    # Editors show this text in place of the pattern.
    expected = f'Expected {" or ".join(kinds)}.'
    return {'type': [*kinds, 'string'], 'pattern': VARIABLE, 'patternErrorMessage': expected}


def accepts(schema: Schema, value: Any) -> bool:
    """Whether a plain value of a config fits a schema that :func:`schema_of` has made.

    As in Python, and not as in JSON, 0 and 1 pass for bools, and a tuple is a list.
    Numbers with a fraction pass for integers.
    """
    if 'anyOf' in schema:
        return any(accepts(member, value) for member in schema['anyOf'])
    if 'enum' in schema:
        return value in schema['enum']
    if 'type' not in schema:
        return True
    kinds = kinds_in(schema)
    if isinstance(value, str):
        return 'string' in kinds or VARIABLE_PATTERN.search(value) is not None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        is_bool = 'boolean' in kinds and value in (0, 1)
        return is_bool or not kinds.isdisjoint(('number', 'integer'))
    if isinstance(value, (list, tuple)):
        fits = schema.get('minItems', 0) <= len(value) <= schema.get('maxItems', len(value))
        items = schema.get('items', {})
        return 'array' in kinds and fits and all(accepts(items, item) for item in value)
    if isinstance(value, Mapping):
        return 'object' in kinds
    return not kinds.isdisjoint(_kinds_of(value))


def kinds_in(schema: Schema) -> set[str]:
    """The JSON types that a schema allows; empty if it allows all."""
    if 'anyOf' in schema:
        return set().union(*(kinds_in(member) for member in schema['anyOf']))
    if 'enum' in schema:
        return set().union(*(_kinds_of(value) for value in schema['enum']))
    named = schema.get('type', ())
    kinds = {named} if isinstance(named, str) else {*named}
    return kinds - {'string'} if 'pattern' in schema else kinds


_NO_FORM = object()


def json_form(value: Any) -> Any:
    """``value`` as JSON has it; ``_NO_FORM`` if it has no such form."""
    if isinstance(value, tuple):
        value = list(value)
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return _NO_FORM
    return json.loads(text)


def _members(node: ast.expr) -> list[Schema] | None:
    """The alternatives of an annotation; None if it allows everything."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _either([node.left, node.right])
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return _members(ast.parse(node.value, mode='eval').body)
        return [{'type': 'null'}] if node.value is None else None
    if isinstance(node, ast.Subscript):
        return _of_subscript(node)
    name = node.id if isinstance(node, ast.Name) else getattr(node, 'attr', '')
    if name in _OBJECTS:
        return []
    return [{'type': _NAMES[name]}] if name in _NAMES else None


def _either(nodes: list[ast.expr]) -> list[Schema] | None:
    found: list[Schema] = []
    for node in nodes:
        members = _members(node)
        if members is None:
            return None
        found += [member for member in members if member not in found]
    return found


def _of_subscript(node: ast.Subscript) -> list[Schema] | None:
    owner = node.value
    name = owner.id if isinstance(owner, ast.Name) else getattr(owner, 'attr', '')
    arguments = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name in ('Union', 'Optional'):
        found = _either(arguments)
        is_open = name == 'Union' or found is None or {'type': 'null'} in found
        return found if is_open else [*(found or ()), {'type': 'null'}]
    if name == 'Literal':
        values = [each.value for each in arguments if isinstance(each, ast.Constant)]
        return [{'enum': values}] if len(values) == len(arguments) else None
    if name in _OBJECTS:
        return []
    kind = _NAMES.get(name)
    if kind != 'array':
        return None if kind is None else [{'type': kind}]
    is_any_length = isinstance(arguments[-1], ast.Constant) and arguments[-1].value is ...
    is_tuple = name.lower() == 'tuple' and not is_any_length
    items = _either(arguments[:-1] if is_any_length else arguments)
    schema: Schema = {'type': 'array'}
    if items:
        schema['items'] = joined(items)
    if is_tuple:
        schema.update(minItems=len(arguments), maxItems=len(arguments))
    return [schema]


def _allows(schema: Schema, value: Any) -> bool:
    """Whether the kind of a default fits, as far as its outermost type tells."""
    for member in schema.get('anyOf', [schema]):
        if value in member.get('enum', ()):
            return True
        if isinstance(value, str) and 'pattern' in member:
            continue
        named = member.get('type', ())
        if _kinds_of(value) & {*([named] if isinstance(named, str) else named)}:
            return True
    return False


def _kinds_of(value: Any) -> set[str]:
    if value is None:
        return {'null'}
    if isinstance(value, bool):
        return {'boolean'}
    if isinstance(value, int):
        return {'integer', 'number'}
    if isinstance(value, float):
        return {'number', 'integer'} if value.is_integer() else {'number'}
    return {
        'string' if isinstance(value, str) else 'array' if isinstance(value, list) else 'object'
    }
