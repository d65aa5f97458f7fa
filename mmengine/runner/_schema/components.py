"""Definitions of what registries build: each class with its arguments."""

from __future__ import annotations

import inspect
import json
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mmengine.registry import (
    DATA_SAMPLERS,
    LOOPS,
    MODEL_WRAPPERS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    VISUALIZERS,
    Registry,
)
from mmengine.registry._signature import taken_by
from mmengine.runner._annotations import Schema, of_kinds, schema_of
from mmengine.runner._check.parts import BY_KEY
from mmengine.utils import ManagerMixin
from mmengine.utils._docstrings import default_of, summary_of, texts_for

# Keys of every dict with a type: read by the registry, or by the merging of files.
_OF_EVERY_PART: dict[str, Schema] = {
    'type': {},
    '_scope_': {'type': 'string', 'description': 'Scope in which the type is looked up.'},
    '_delete_': {'type': 'boolean', 'description': 'Replace the inherited dict as a whole.'},
}
_WORTH_SHARING = 80
_IMPORT_PATH = r'^[A-Za-z_]\w*(\.\w+)+$'
# What the builder adds to a class of a registry, by the name of the registry.
_GIVEN: dict[str, tuple[str, ...]] = {
    LOOPS.name: ('runner', 'dataloader', 'evaluator'),
    OPTIM_WRAPPERS.name: ('optimizer',),
    DATA_SAMPLERS.name: ('dataset', 'seed', 'sampler', 'batch_size'),
    PARAM_SCHEDULERS.name: ('optimizer', 'epoch_length'),
    VISUALIZERS.name: ('name', 'save_dir'),
    MODEL_WRAPPERS.name: ('module', 'device_ids'),
}


class Component(NamedTuple):
    """A class or function, and the names by which a config can name it."""

    target: Any
    names: tuple[str, ...]
    parameters: Mapping[str, inspect.Parameter]
    takes_any: bool


class Definitions:
    """The ``$defs`` of a schema; they are made when they are first referred to.

    Args:
        is_closed: Whether each registry has all names that a config may use. Otherwise the code of
            a project may register more.
        extra: Keys of each part of a registry that its builder takes out, by its name.
        more: Components that a registry builds besides those in it, by its name.
    """

    def __init__(
        self,
        is_closed: Collection[Registry[Any]],
        extra: Mapping[str, Mapping[str, Schema]],
        more: Mapping[str, Sequence[Component]],
    ) -> None:
        self.defs: dict[str, Schema] = {}
        self._closed = {registry.name for registry in is_closed}
        self._extra = extra
        self._more = more
        self._found: dict[str, list[Component]] = {}

    def part(self, registry: Registry[Any], default_type: str | None = None) -> Schema:
        """The schema of a dict that ``registry`` builds.

        Args:
            registry: The registry.
            default_type: Its type if it has none.
        """
        key = registry.name.replace(' ', '_')
        if key not in self.defs:
            self.defs[key] = {}  # a part may contain parts of the same kind
            self.defs[key] = self._of_registry(registry)
        reference = {'$ref': f'#/$defs/{key}'}
        if default_type is None:
            return _either(['object'], reference)
        without = {'$ref': f'#/$defs/{key}.{self._named(registry, default_type).names[0]}'}
        return _either(['object'], reference, {'if': _HAS_NO_TYPE, 'then': without})

    def parts(self, registry: Registry[Any]) -> Schema:
        """The schema of a list of such dicts."""
        return {**_either(['array']), 'items': self.part(registry)}

    def part_or_parts(self, registry: Registry[Any]) -> Schema:
        """The schema of one such dict or a list of them."""
        part = self.part(registry)
        return {**part, **_either(['object', 'array']), 'allOf': part['allOf'], 'items': part}

    def needed(self, registry: Registry[Any], default_type: str | None = None) -> Schema:
        """The schema that requires the arguments without a default, and a type."""
        key = f'needed.{registry.name.replace(" ", "_")}'
        if key not in self.defs:
            self.defs[key] = _all_of(list(self._needs(registry)))
        without: Schema = {'required': ['type']}
        if default_type is not None:
            without = {'required': self._required(registry, self._named(registry, default_type))}
        is_without = {'type': 'object', **_HAS_NO_TYPE}
        return {'allOf': [{'$ref': f'#/$defs/{key}'}, {'if': is_without, 'then': without}]}

    def _of_registry(self, registry: Registry[Any]) -> Schema:
        choices, names = [], []
        for component in self._components(registry):
            key = f'{registry.name.replace(" ", "_")}.{component.names[0]}'
            if key not in self.defs:
                self.defs[key] = {}
                self.defs[key] = self._of_component(component, registry)
            names += [name for name in component.names if '.' not in name]
            choices.append({'if': _has_type(component), 'then': {'$ref': f'#/$defs/{key}'}})
        is_closed = registry.name in self._closed
        other: Schema = {'type': 'string', **({'pattern': _IMPORT_PATH} if is_closed else {})}
        kind = {
            'description': f'What to build: a name in {registry.name}, or an import path.',
            'anyOf': [{'enum': names}, other],
        }
        return {'properties': {**_OF_EVERY_PART, 'type': kind}, **_all_of(choices)}

    def _of_component(self, component: Component, registry: Registry[Any]) -> Schema:
        texts = texts_for(component.target)
        is_manager = inspect.isclass(component.target) and issubclass(
            component.target, ManagerMixin
        )
        properties: dict[str, Schema] = {
            **_OF_EVERY_PART,
            **self._extra.get(registry.name, {}),
            **({'name': {'type': 'string'}} if is_manager else {}),
        }
        for name, parameter in component.parameters.items():
            schema = self._of_argument(name, component.target, parameter)
            properties[name] = described(schema, texts.get(name, ''))
        return {
            **described({}, summary_of(component.target)),
            'properties': properties,
            'additionalProperties': component.takes_any,
        }

    def _of_argument(self, name: str, owner: Any, parameter: inspect.Parameter) -> Schema:
        if name in BY_KEY:
            # An argument of that name may be something else, such as names of metrics.
            part = {'if': {'type': 'object'}, 'then': self.part(BY_KEY[name])}
            return {**part, 'items': part}
        return schema_of(parameter.annotation, default_of(owner, parameter))

    def _needs(self, registry: Registry[Any]) -> Iterator[Schema]:
        for component in self._components(registry):
            required = self._required(registry, component)
            if required:
                yield {'if': _has_type(component), 'then': {'required': required}}
        if registry.name == OPTIM_WRAPPERS.name:
            optimizer = {'properties': {'optimizer': self.needed(OPTIMIZERS)}}
            yield {**optimizer, 'if': {'type': 'object'}, 'then': {'required': ['optimizer']}}

    def _required(self, registry: Registry[Any], component: Component) -> list[str]:
        given: Collection[str] = _GIVEN.get(registry.name, ())
        if registry.name == OPTIMIZERS.name:
            given = list(component.parameters)[:1]
        return [
            name
            for name, parameter in component.parameters.items()
            if parameter.default is parameter.empty and name not in given
        ]

    def _named(self, registry: Registry[Any], name: str) -> Component:
        return next(each for each in self._components(registry) if name in each.names)

    def _components(self, registry: Registry[Any]) -> list[Component]:
        if registry.name not in self._found:
            self._found[registry.name] = list(self._all_components(registry))
        return self._found[registry.name]

    def _all_components(self, registry: Registry[Any]) -> Iterable[Component]:
        by_target: dict[int, tuple[Any, set[str]]] = {}
        registry.root.import_from_location()
        nodes = [registry.root]
        while nodes:
            node = nodes.pop()
            nodes += node.children.values()
            for name in [*node.module_dict, *node._deferred]:
                target = _loaded(node, name)
                if target is None:
                    continue
                names = by_target.setdefault(id(target), (target, set()))[1]
                names |= {name, f'{node.scope}.{name}'}
        found = [
            component_of(target, {*names, *paths_of(target)})
            for target, names in by_target.values()
        ]
        taken = {name for component in found for name in component.names}
        more = self._more.get(registry.name, ())
        found += [each for each in more if each.names[0] not in taken]
        return sorted(found, key=lambda component: component.names[0].lower())


_HAS_NO_TYPE: Schema = {'not': {'required': ['type']}}


def with_shared(schema: Schema) -> Schema:
    """``schema`` with arguments that several components have alike as definitions."""
    defs: dict[str, Schema] = schema['$defs']
    arguments = [
        (properties, name)
        for key, one in defs.items()
        if '.' in key
        for properties in [one.get('properties', {})]
        for name in properties
    ]
    texts = [json.dumps(properties[name], sort_keys=True) for properties, name in arguments]
    counts = Counter(texts)
    shared: dict[str, str] = {}
    for (properties, name), text in zip(arguments, texts, strict=True):
        if counts[text] < 3 or len(text) < _WORTH_SHARING:
            continue
        if text not in shared:
            number = sum(key.startswith(f'argument.{name}.') for key in shared.values()) + 1
            shared[text] = f'argument.{name}.{number}'
            defs[shared[text]] = properties[name]
        properties[name] = {'$ref': f'#/$defs/{shared[text]}'}
    return schema


def described(schema: Schema, text: str) -> Schema:
    """``schema`` with a description, if there is a text."""
    return {'description': text, **schema} if text else schema


def names_in(registry: Registry[Any]) -> list[str]:
    """The names that are registered in the root of a registry."""
    registry.root.import_from_location()
    return sorted({*registry.root.module_dict, *registry.root._deferred})


def paths_of(target: Any) -> set[str]:
    """The import paths of a class or function: of its module, and of packages above it."""
    module, name = getattr(target, '__module__', None), getattr(target, '__qualname__', '')
    if not module or not name:
        return set()
    parts = module.split('.')
    owners = ['.'.join(parts[:length]) for length in range(1, len(parts) + 1)]
    # Not getattr, by which some packages import what they have.
    return {
        f'{owner}.{name}'
        for owner in owners
        if getattr(sys.modules.get(owner), '__dict__', {}).get(name) is target
    }


def _either(kinds: list[str], *conditions: Schema) -> Schema:
    """A value of one of these types, or None, or a string with a variable."""
    schema = of_kinds(*kinds, 'null')
    return {**schema, 'allOf': list(conditions)} if conditions else schema


def _all_of(conditions: list[Schema]) -> Schema:
    return {'allOf': conditions} if conditions else {}


def _has_type(component: Component) -> Schema:
    return {'properties': {'type': {'enum': list(component.names)}}, 'required': ['type']}


def component_of(target: Any, names: Collection[str]) -> Component:
    """A class or function with its arguments; the shortest of its names is the first."""
    parameters, takes_any = taken_by(target)
    ordered = sorted(names, key=lambda name: (name.count('.'), len(name), name))
    return Component(target, tuple(ordered), parameters, takes_any)


def _loaded(registry: Registry[Any], name: str) -> Any:
    """A component of a registry; None if its library is not installed."""
    try:
        return registry.get(name)
    except ImportError:
        return None
