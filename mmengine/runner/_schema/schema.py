"""config_schema: the JSON schema of the config of a run."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

from torch.optim import lr_scheduler

from mmengine.config import Config, ConfigDict
from mmengine.config.lazy import LazyAttr, LazyObject, dotted_name
from mmengine.optim.scheduler._torch import TorchSchedule
from mmengine.registry import (
    DATA_SAMPLERS,
    HOOKS,
    LOG_PROCESSORS,
    LOOPS,
    METRICS,
    MODEL_WRAPPERS,
    MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    STRATEGIES,
    TRANSFORMS,
    VISUALIZERS,
    WEIGHT_INITIALIZERS,
    DefaultScope,
    Registry,
)
from mmengine.registry._paths import imported
from mmengine.registry.registry import ALL_REGISTRIES
from mmengine.runner._annotations import Schema, schema_of
from mmengine.runner._arguments import TRIOS
from mmengine.runner._check.parts import BY_KEY, raw_get, raw_items
from mmengine.runner._config_facts import KEYS_OF_BUILDERS, OTHERS
from mmengine.runner._config_keys import READ_FROM_CONFIG, misspellings
from mmengine.runner._schema.components import (
    Component,
    Definitions,
    component_of,
    described,
    names_in,
    paths_of,
    with_shared,
)
from mmengine.runner._schema.places import (
    loader_of,
    loader_parts,
    others,
    places,
    settings,
    strategy,
)
from mmengine.runner.priority import Priority
from mmengine.runner.runner import Runner
from mmengine.utils._docstrings import texts_for
from mmengine.version import __version__

DRAFT = 'https://json-schema.org/draft/2020-12/schema'
# Registries in which projects seldom register something.
_OURS = (
    DATA_SAMPLERS, LOG_PROCESSORS, LOOPS, OPTIM_WRAPPERS, OPTIMIZERS, PARAM_SCHEDULERS, STRATEGIES,
    WEIGHT_INITIALIZERS,
)  # fmt: skip


def config_schema(
    cfg: Config | ConfigDict | dict[str, Any] | None = None, *, partial: bool = False
) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of the config of a run, for editors and other tools.

    It has the top-level keys, the parts that are given together, and every registered type with
    its arguments, from signatures and docstrings. A file with ``_base_`` may leave out what it
    inherits.

    Args:
        cfg: A config whose types are described too. Its ``custom_imports`` must be imported. Then
            other names than the registered ones are mistakes. Without a config, names of models,
            datasets, transforms, metrics and hooks of a project are taken as they are.
        partial: For files that others inherit: nothing is required.
    """
    whole = None if cfg is None else cfg if isinstance(cfg, Config) else Config(cfg)
    more = {} if whole is None else _imported_types(whole)
    more.setdefault(PARAM_SCHEDULERS.name, []).extend(_torch_schedules())
    definitions = Definitions(
        _OURS if whole is None else tuple(ALL_REGISTRIES),
        _keys_of_builders(),
        more,
    )
    scope = None if whole is None else raw_get(whole, 'default_scope')
    with DefaultScope.overwrite_default_scope(scope if isinstance(scope, str) else None):
        schema: dict[str, Any] = {
            '$schema': DRAFT,
            'title': f'Config of a run of mmengine {__version__}',
            'type': 'object',
            'properties': _properties(definitions),
            'patternProperties': _misspelt(),
        }
        if not partial:
            schema['if'] = {'not': {'required': ['_base_']}}
            schema['then'] = {
                'required': ['model'],
                'properties': places(definitions.needed, loader_parts(definitions.needed)),
                'allOf': list(_trios()),
            }
    return with_shared({**schema, '$defs': dict(sorted(definitions.defs.items()))})


def _properties(definitions: Definitions) -> dict[str, Schema]:
    texts = texts_for(Runner)
    found: dict[str, Schema] = {
        '_base_': described(schema_of('str | list[str]'), 'Files whose values come first.')
    }
    for name, parameter in inspect.signature(Runner).parameters.items():
        if name != 'cfg':
            schema = schema_of(parameter.annotation, parameter.default)
            found[name] = described(schema, texts.get(name, ''))
    for name, (kind, _, text) in OTHERS.items():
        found[name] = described(schema_of(kind.replace(' or ', ' | ') + ' | None'), text)
    part = definitions.part
    known = {
        **places(part, loader_of(part)),
        **settings(),
        **others(part),
        'strategy': strategy(part),
    }
    for name, schema in known.items():
        found[name] = described(schema, found[name].get('description', ''))
    return found


def _misspelt() -> dict[str, Schema]:
    """Keys that look like misspelt ones, by a pattern for each right key."""
    known = {*inspect.signature(Runner).parameters, *READ_FROM_CONFIG} - {'cfg'}
    found: dict[str, Schema] = {}
    for name in sorted(known):
        wrong = misspellings(name, known - {'model'})
        if wrong:
            # Editors show it, besides a text about `not`.
            meant = {'deprecationMessage': f'Did you mean {name!r}?'}
            found[f'^({"|".join(wrong)})$'] = {'not': {}, **meant}
    return found


def _trios() -> Iterator[Schema]:
    for _, names in TRIOS.values():
        given = [{'required': [name], 'properties': {name: _IS_GIVEN}} for name in names]
        yield {
            'if': {'anyOf': given},
            'then': {'required': list(names), 'properties': dict.fromkeys(names, _IS_GIVEN)},
        }


_IS_GIVEN: Schema = {'type': ['object', 'array', 'string']}


def _keys_of_builders() -> dict[str, dict[str, Schema]]:
    """Keys that builders take out of a part, by the name of its registry."""
    found = {
        registry: {key: schema_of(kind) for key, kind in kinds.items()}
        for registry, kinds in KEYS_OF_BUILDERS.items()
    }
    levels = [name for level in Priority for name in (level.name, level.name.lower())]
    found[HOOKS.name]['priority'] = described(
        {'anyOf': [{'enum': levels}, schema_of('int | None')]},
        'When it acts: a level, or a number; smaller is earlier.',
    )
    constructors = {'enum': [*names_in(OPTIM_WRAPPER_CONSTRUCTORS), None]}
    found[OPTIM_WRAPPERS.name]['constructor'] = {
        'anyOf': [constructors, {'type': ['string', 'object']}]
    }
    return found


def _torch_schedules() -> list[Component]:
    """Schedulers of torch; a name alone means them where no schedule has the name."""
    own = inspect.signature(TorchSchedule).parameters
    added = {name: own[name] for name in ('monitor', 'begin', 'end', 'by_epoch', 'verbose')}
    taken, found = names_in(PARAM_SCHEDULERS), []
    for name in lr_scheduler.__all__:
        component = component_of(
            getattr(lr_scheduler, name),
            {f'torch.optim.lr_scheduler.{name}', *([] if name in taken else [name])},
        )
        found.append(component._replace(parameters={**component.parameters, **added}))
    return found


def _imported_types(cfg: Config) -> dict[str, list[Component]]:
    """Classes and functions that a config names by import paths, or as lazy or real objects.

    Returns:
        By the name of the registry that builds them where they are.
    """
    found: dict[str, dict[str, Component]] = {}
    pending: list[tuple[Any, Registry[Any] | None]] = [
        (value, _REGISTRIES.get(str(key).rpartition('_')[2], _REGISTRIES.get(str(key))))
        for key, value in raw_items(cfg)
    ]
    while pending:
        node, registry = pending.pop()
        if isinstance(node, (list, tuple)):
            pending += [(item, registry) for item in node]
        elif isinstance(node, dict):
            for key, value in raw_items(node):
                pending.append((value, BY_KEY.get(str(key), registry)))
                component = _imported(value) if key == 'type' and registry is not None else None
                if component is not None and registry is not None:
                    found.setdefault(registry.name, {})[component.names[0]] = component
    return {name: list(components.values()) for name, components in found.items()}


# By a top-level key, or by its last word.
_REGISTRIES: dict[str, Registry[Any]] = {
    'model': MODELS, 'preprocessor': MODELS, 'hooks': HOOKS, 'param_scheduler': PARAM_SCHEDULERS,
    'wrapper': OPTIM_WRAPPERS, 'cfg': LOOPS, 'model_wrapper_cfg': MODEL_WRAPPERS,
    'evaluator': METRICS, 'visualizer': VISUALIZERS, 'processor': LOG_PROCESSORS,
    'strategy': STRATEGIES, 'pipeline': TRANSFORMS,
}  # fmt: skip


def _imported(kind: Any) -> Component | None:
    target, name = kind, ''
    if isinstance(kind, (LazyObject, LazyAttr)):
        name = dotted_name(kind)
        with contextlib.suppress(ImportError):
            target = kind.build()
    elif isinstance(kind, str) and '.' in kind:
        name = kind
        with contextlib.suppress(ImportError):
            target = imported(kind)
    if not callable(target) or isinstance(target, (LazyObject, LazyAttr)):
        return None
    names = {*paths_of(target), *([name] if name else [])}
    return component_of(target, names) if names else None
