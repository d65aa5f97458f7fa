"""Where the parts of a run are in its config: the schema of each top-level key."""

from __future__ import annotations

import inspect
from typing import Any, Protocol

from torch.utils.data import DataLoader

from mmengine.process.env import LAUNCHERS
from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    EVALUATOR,
    HOOKS,
    LOG_PROCESSORS,
    LOOPS,
    METRICS,
    MODEL_WRAPPERS,
    MODELS,
    OPTIM_WRAPPERS,
    PARAM_SCHEDULERS,
    RUNNERS,
    STRATEGIES,
    TRANSFORMS,
    VISUALIZERS,
    Registry,
)
from mmengine.runner._annotations import VARIABLE, Schema, joined, of_kinds, schema_of
from mmengine.runner._check.config import LEVELS
from mmengine.runner._check.data import LEAST, OF_BUILDER
from mmengine.runner._config_facts import (
    AUTO_SCALE_LR,
    DATALOADER,
    ON_BAD_SAMPLE,
    SETTINGS,
    Setting,
)
from mmengine.runner._config_keys import CLOSED
from mmengine.runner._hook_list import DEFAULT_HOOKS
from mmengine.runner._preparing import STRATEGY_NAMES
from mmengine.runner._schema.components import described, names_in
from mmengine.utils._docstrings import default_of, markdown, texts_for

_OBJECT: Schema = {'type': 'object'}
_LIST = of_kinds('array', 'null')
_STAGES = ('val', 'test')


class Part(Protocol):
    """The schema of a dict that a registry builds, or of what such a dict needs."""

    def __call__(self, registry: Registry[Any], default_type: str | None = None) -> Schema: ...


def places(part: Part, loader: Schema) -> dict[str, Schema]:
    """The schemas of the top-level keys that hold parts which registries build.

    Args:
        part: Called for each kind of part.
        loader: The schema of a dataloader.
    """
    model = part(MODELS)
    found = {
        'model': _one_or_list(model),
        'train_dataloader': loader,
        'optim_wrapper': _optim_wrapper(part),
        'param_scheduler': _schedules(part),
        'train_cfg': _train_loop(part),
        'visualizer': part(VISUALIZERS, 'Visualizer'),
        'log_processor': part(LOG_PROCESSORS, 'LogProcessor'),
        'custom_hooks': {**_LIST, 'items': part(HOOKS)},
        'tta_model': model,
        'tta_pipeline': {**_LIST, 'items': {'if': _OBJECT, 'then': part(TRANSFORMS)}},
    }
    for stage, default in zip(_STAGES, ('ValLoop', 'TestLoop'), strict=True):
        found[f'{stage}_cfg'] = part(LOOPS, default)
        found[f'{stage}_dataloader'] = _several(loader, 'dataset')
        found[f'{stage}_evaluator'] = _evaluators(part)
    found['default_hooks'] = {
        'properties': {key: part(HOOKS, config['type']) for key, config in DEFAULT_HOOKS.items()},
        'additionalProperties': part(HOOKS),
    }
    return found


def settings() -> dict[str, Schema]:
    """The schemas of the top-level keys whose values are numbers, text, or dicts of these."""
    fixed = {key: _setting(setting, CLOSED.get(key)) for key, setting in SETTINGS.items()
             if key not in ('log_processor', 'visualizer')}  # fmt: skip
    # A file may have a variable of this name: the path of a checkpoint, or a hook.
    fixed['checkpoint'] = {
        'if': {'type': 'object', 'not': {'required': ['type']}}, 'then': fixed['checkpoint']
    }  # fmt: skip
    resume = {'anyOf': [{'type': ['boolean', 'string', 'null']}, fixed['resume']]}
    levels = [name for level in LEVELS for name in (level, level.lower())]
    return {
        **fixed,
        'resume': resume,
        'launcher': joined([{'enum': [*LAUNCHERS, None]}]),
        'log_level': joined([{'enum': levels}, {'type': 'integer'}]),
        'auto_scale_lr': _closed(
            {
                key: {**schema_of(kind), **({'minimum': 1} if kind == 'int' else {})}
                for key, kind in AUTO_SCALE_LR.items()
            }
        ),
        'custom_imports': _closed(
            {
                'imports': schema_of('str | list[str] | None'),
                'allow_failed_imports': {'type': 'boolean', 'default': False},
            }
        ),
        'sync_bn': joined([{'enum': ['torch', 'mmcv', None]}]),
    }


def strategy(part: Part) -> Schema:
    """The schema of ``strategy``: a name, a config, or either by the name of a module."""
    one = {
        'anyOf': [
            {'enum': ['auto', *STRATEGY_NAMES, *names_in(STRATEGIES)]},
            {'type': 'string', 'pattern': rf'{VARIABLE}|\.'},
            {'type': 'null'},
            {**_OBJECT, 'required': ['type'], **part(STRATEGIES)},
        ]
    }
    by_module = {**_OBJECT, 'not': {'required': ['type']}, 'additionalProperties': one}
    return {'anyOf': [*one['anyOf'], by_module]}


def others(part: Part) -> dict[str, Schema]:
    """The schemas of keys that are read from the config, not passed to the runner."""
    wrapper = {'if': _OBJECT, 'then': part(MODEL_WRAPPERS)}
    runner = {'anyOf': [{'enum': names_in(RUNNERS)}, {'type': 'string', 'pattern': r'\.'}]}
    return {'runner_type': runner, 'model_wrapper_cfg': wrapper}


def _closed(properties: dict[str, Schema]) -> Schema:
    return {
        'type': ['object', 'null'],
        'properties': {**properties, '_delete_': {'type': 'boolean'}},
        'additionalProperties': False,
    }


def _setting(setting: Setting, known: tuple[str, ...] | None = None) -> Schema:
    """The schema of a dict of settings, from the signature and docstring of what reads it."""
    texts = texts_for(setting.target)
    properties = {
        name: described(
            schema_of(parameter.annotation, default_of(setting.target, parameter)),
            texts.get(name, ''),
        )
        for name, parameter in inspect.signature(setting.target).parameters.items()
        if name not in (*setting.leave_out, 'self')
    }
    for one in setting.more:
        properties[one.name] = described(schema_of(one.type), one.text)
    if known is not None and set(known) != set(properties):
        raise LookupError(f'{setting.target.__name__} takes {set(properties) ^ set(known)}')
    return _closed(properties)


def loader_parts(part: Part) -> Schema:
    """The schema of the parts of a dataloader alone."""
    sampler = part(DATA_SAMPLERS)
    return {
        'properties': {'dataset': part(DATASETS), 'sampler': sampler, 'batch_sampler': sampler},
        'if': _OBJECT,
        'then': {'required': ['dataset']},
    }


def loader_of(part: Part) -> Schema:
    """The schema of a dataloader with all its keys."""
    sampler = part(DATA_SAMPLERS)
    function = {'type': ['string', 'object', 'null']}
    properties: dict[str, Schema] = {
        name: schema_of(parameter.annotation, parameter.default)
        for name, parameter in inspect.signature(DataLoader).parameters.items()
    }
    properties.update(
        dataset=part(DATASETS),
        sampler=sampler,
        batch_sampler=sampler,
        collate_fn=function,
        worker_init_fn=function,
        num_batch_per_epoch=schema_of('int | None'),
        limit_batches={**schema_of('int | float | None'), 'exclusiveMinimum': 0},
        disable_subprocess_warning=schema_of('bool'),
        on_bad_sample={'anyOf': [{'enum': ['raise', 'skip']}, _setting(ON_BAD_SAMPLE)]},
        _delete_={'type': 'boolean'},
    )
    for name, least in LEAST.items():
        properties[name] = {**properties[name], 'minimum': least}
    assert set(OF_BUILDER) <= set(properties)
    for name, text in DATALOADER.items():
        properties[name] = described(properties[name], markdown(text))
    return {
        **of_kinds('object', 'null'),
        'properties': properties,
        'additionalProperties': False,
    }


def _several(one: Schema, key: str) -> Schema:
    """One, a list of them, or several by name: dicts that each have ``key``."""
    is_one = {'required': [key]}
    are_named = {'additionalProperties': {**_OBJECT, 'required': [key]}, 'minProperties': 1}
    return {
        'if': {'type': 'array'},
        'then': {'items': one},
        'else': {
            'if': {**_OBJECT, 'not': is_one, **are_named},
            'then': {'additionalProperties': one},
            'else': one,
        },
    }


def _one_or_list(one: Schema) -> Schema:
    return {'if': {'type': 'array'}, 'then': {'items': one}, 'else': one}


def _optim_wrapper(part: Part) -> Schema:
    single: Schema = {
        'if': {'properties': {'constructor': {'type': ['null']}}},
        'then': part(OPTIM_WRAPPERS, 'OptimWrapper'),  # another constructor reads it in its way
    }
    named = {
        'not': {'anyOf': [{'required': [key]} for key in ('optimizer', 'constructor', 'type')]}
    }
    each_has_one = {'additionalProperties': {**_OBJECT, 'required': ['optimizer']}}
    return {
        'if': {**_OBJECT, 'minProperties': 1, **named, **each_has_one},
        'then': {'additionalProperties': single},
        'else': single,
    }


def _schedules(part: Part) -> Schema:
    one = part(PARAM_SCHEDULERS)
    some = _one_or_list(one)
    return {
        'if': {**_OBJECT, 'not': {'required': ['type']}, 'minProperties': 1},
        'then': {'additionalProperties': some},
        'else': some,
    }


def _train_loop(part: Part) -> Schema:
    by_iter = {
        'anyOf': [
            {'required': ['by_epoch'], 'properties': {'by_epoch': {'const': False}}},
            {'required': ['max_iters'], 'not': {'required': ['by_epoch']}},
        ]
    }
    return {
        'if': by_iter,
        'then': part(LOOPS, 'IterBasedTrainLoop'),
        'else': part(LOOPS, 'EpochBasedTrainLoop'),
    }


def _evaluators(part: Part) -> Schema:
    is_evaluator = {**_OBJECT, 'required': ['metrics'], 'not': {'required': ['type']}}
    metric = {'if': {**_OBJECT, 'required': ['type']}, 'then': _metric_or_evaluator(part)}
    one: Schema = {
        'if': {'type': 'array'},
        'then': {'items': metric},
        'else': {'if': is_evaluator, 'then': part(EVALUATOR, 'Evaluator'), 'else': metric},
    }
    are_named = {
        **_OBJECT,
        'not': {'anyOf': [{'required': ['type']}, {'required': ['metrics']}]},
        'additionalProperties': {'type': ['object', 'array']},
    }
    return {'if': are_named, 'then': {'additionalProperties': one}, 'else': one}


def _metric_or_evaluator(part: Part) -> Schema:
    is_evaluator = {'properties': {'type': {'enum': names_in(EVALUATOR)}}}
    return {'if': is_evaluator, 'then': part(EVALUATOR), 'else': part(METRICS)}
