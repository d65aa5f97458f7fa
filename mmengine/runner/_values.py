"""Values of a wrong kind: text where a bool is needed, a list where a dict is.

What an argument takes is read from its annotation, or else from its default.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from torch.utils.data import DataLoader

from mmengine.config.config_dict import raw_items
from mmengine.dataset._usable import fault_of, is_counted
from mmengine.runner._annotations import Schema, accepts, kinds_in, schema_of
from mmengine.runner._config_facts import AUTO_SCALE_LR, OTHERS, SETTINGS
from mmengine.runner._data_of_config import STAGES, described_loaders
from mmengine.utils.errors import ArgumentTypeError

_PLAIN = (str, bool, int, float, list, tuple, Mapping, type(None))
_SCALARS = {'boolean', 'integer', 'number', 'null'}
_BOOLS = ('true', 'false', 'yes', 'no', 'on', 'off', '0', '1')
_WORDS = {
    'boolean': 'True or False',
    'integer': 'an integer',
    'number': 'a number',
    'string': 'text',
    'array': 'a list',
    'object': 'a dict',
    'null': 'None',
}
_OF_LISTS = {
    'integer': 'integers', 'number': 'numbers', 'string': 'texts', 'array': 'lists',
    'object': 'dicts',
}  # fmt: skip
_LONG = 40
# Arguments whose dict names what to build.
_PARTS = ('module', 'data_preprocessor', 'generator', 'discriminator', 'visualizer', 'init_cfg')
# Arguments of a run that other functions read, which say what is wrong.
_READ_APART = (
    'self', 'cfg', 'model', 'log_level', 'checkpoint', 'preempt', 'strategy', 'watchdog',
)  # fmt: skip
_SETTINGS = ('randomness', 'env_cfg')
_PARTS_OF_LOADER = ('dataset', 'sampler', 'batch_sampler', 'collate_fn', 'worker_init_fn')


class Misfit(NamedTuple):
    """A value of a wrong kind.

    Attributes:
        path: The dotted path of the dict that has it; empty for the whole config.
        key: Its key.
        message: What it must be, and what it is.
    """

    path: str
    key: str
    message: str

    def __str__(self) -> str:
        return f'{self.path}: {self.message}' if self.path else self.message


def misfit(
    key: str,
    value: Any,
    annotation: Any,
    default: Any = inspect.Parameter.empty,
    *,
    is_exact: bool = True,
    takes_fractions: bool = False,
) -> str | None:
    """What is wrong with the kind of an argument's value; None if nothing is known to be.

    Args:
        key: Name of the argument, for the message.
        value: From a config. An object is taken as it is.
        annotation: Of the argument.
        default: Of the argument.
        is_exact: Whether the annotation is complete, as in this package. Otherwise only text is
            judged, where nothing but a number or a bool is needed.
        takes_fractions: Whether arguments that are integers by annotation may have fractions.
    """
    if not isinstance(value, _PLAIN):
        return None
    schema = schema_of(annotation, default)
    kinds = kinds_in(schema)
    if isinstance(value, str):
        if not kinds:
            schema = _schema_by_default(default)
            return _message(key, value, schema) if _reads_as(value, kinds_in(schema)) else None
        if 'boolean' in kinds and value.lower() in ('true', 'false'):
            return _message(key, value, {'type': 'boolean'})  # also where a path is text
    is_fraction = isinstance(value, float) and not value.is_integer() and not takes_fractions
    if accepts(schema, value) and not (is_fraction and kinds and 'number' not in kinds):
        return None
    is_certain = is_exact or (isinstance(value, str) and kinds <= _SCALARS)
    return _message(key, value, schema) if is_certain else None


def misfits(
    path: str,
    given: Mapping[Any, Any],
    annotations: Mapping[str, Any],
    *skipped: str,
    is_exact: bool = True,
    takes_fractions: bool = False,
) -> Iterator[Misfit]:
    """The entries of ``given`` that do not fit ``annotations``, as far as these name them.

    Args:
        path: Of ``given``.
        given: A dict of a config.
        annotations: Annotations, or parameters of a signature, by key.
        skipped: Keys to leave out.
        is_exact: See :func:`misfit`.
        takes_fractions: The same.
    """
    for key, value in raw_items(given):
        known = annotations.get(key)
        if known is None or key in skipped:
            continue
        is_parameter = isinstance(known, inspect.Parameter)
        taken = (known.annotation, known.default) if is_parameter else (known,)
        message = misfit(
            str(key), value, *taken, is_exact=is_exact, takes_fractions=takes_fractions
        )
        if message is not None:
            yield Misfit(path, str(key), message)


def misfits_of_run(given: Mapping[str, Any], constructor: Callable[..., Any]) -> Iterator[Misfit]:
    """Arguments of a run, and entries of its settings, that are of a wrong kind.

    Args:
        given: The arguments by name, and other keys of a config. None is not given.
        constructor: Takes the arguments.
    """
    present = {name: value for name, value in raw_items(given) if value is not None}
    others = {key: kind.replace(' or ', ' | ') for key, (kind, _, _) in OTHERS.items()}
    known = {**others, **inspect.signature(constructor).parameters}
    yield from misfits('', present, known, *_READ_APART)
    for key in _SETTINGS:
        setting = SETTINGS[key]
        parameters = inspect.signature(setting.target).parameters
        more = {argument.name: argument.type for argument in setting.more}
        yield from _within(present, key, {**parameters, **more})
    yield from _within(present, 'auto_scale_lr', AUTO_SCALE_LR)


def misfits_of_loader(loader: Mapping[Any, Any], path: str) -> Iterator[Misfit]:
    """Settings of a dataloader that are of a wrong kind, and a dataset that is not a dataset."""
    parameters = inspect.signature(DataLoader).parameters
    more = {'disable_subprocess_warning': 'bool'}
    yield from misfits(path, loader, {**parameters, **more}, *_PARTS_OF_LOADER)
    entries = dict(raw_items(loader))
    if 'dataset' in entries and not isinstance(entries['dataset'], Mapping):
        fault = fault_of(entries['dataset'], is_counted=is_counted(entries))
        if fault is not None:
            yield Misfit(path, 'dataset', fault)


def check_values(given: Mapping[str, Any], constructor: Callable[..., Any]) -> None:
    """Check the arguments of a run, before anything is built.

    Raises:
        ArgumentTypeError: If a value is of a wrong kind; the message has all such values.
    """
    found = list(misfits_of_run(given, constructor))
    for stage in STAGES:
        for name, loader in described_loaders(given, stage).items():
            path = f'{stage}_dataloader' if name is None else f'{stage}_dataloader.{name}'
            if isinstance(loader, Mapping):
                found += misfits_of_loader(loader, path)
    if found:
        raise ArgumentTypeError('\n  '.join(map(str, found)))


def _within(given: Mapping[str, Any], key: str, annotations: Mapping[str, Any]) -> Iterable[Misfit]:
    entries = given.get(key)
    return misfits(key, entries, annotations) if isinstance(entries, Mapping) else ()


def _schema_by_default(default: Any) -> Schema:
    """What an argument without an annotation takes, if its default is a bool or a number."""
    if isinstance(default, bool):
        return {'type': 'boolean'}
    return {'type': 'number'} if isinstance(default, (int, float)) else {}


def _reads_as(text: str, kinds: set[str]) -> bool:
    """Whether ``text`` is a bool or a number of one of these kinds, in quotes."""
    if 'boolean' in kinds and text.lower() in _BOOLS:
        return True
    if kinds.isdisjoint(('number', 'integer')):
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def _message(key: str, value: Any, schema: Schema) -> str:
    if isinstance(value, str):
        got = f'the text {value!r}'
        kinds = kinds_in(schema)
        hint = ' Leave out the quotes.' if _reads_as(value, kinds) else ''
        if 'object' in kinds and key in _PARTS:
            hint = f' Write dict(type={value!r}).'
    else:
        got, hint = _short(value), ''
    return f'{key} must be {_needed(schema)}, got {got}.{hint}'


def _needed(schema: Schema) -> str:
    """A schema in words."""
    needed: dict[str, None] = {}
    for member in schema.get('anyOf', [schema]):
        if 'enum' in member:
            needed.update(dict.fromkeys(map(repr, member['enum'])))
        kinds = kinds_in(member) if 'enum' not in member else set()
        if 'number' in kinds:
            kinds.discard('integer')
        items = {*_OF_LISTS} & kinds_in(member.get('items', {}))
        for kind, word in _WORDS.items():
            if kind in kinds:
                of = f' of {_OF_LISTS[min(items)]}' if kind == 'array' and len(items) == 1 else ''
                needed[word + of] = None
    words = sorted(needed, key=lambda word: word == 'None')
    return ' or '.join(words)


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return 'a dict'
    if isinstance(value, (list, tuple)):
        text = repr(value)
        return f'a {type(value).__name__}' if len(text) > _LONG else text
    return repr(value)
