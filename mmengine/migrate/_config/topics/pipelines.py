"""Data pipelines: their transforms by the rules of the projects.

Transforms without a rule stay, and are listed. What the model's data preprocessor does now is
left out (:mod:`.preprocessing`); what augmented a test is in :mod:`.tta`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mmengine.migrate._config.context import Config, Context, inner_datasets
from mmengine.migrate._config.notes import Notes
from mmengine.migrate._config.rules import suggestion
from mmengine.migrate._config.topics.by_rule import convert_by_rule
from mmengine.migrate._config.topics.preprocessing import is_done_by_preprocessor
from mmengine.migrate._config.topics.tta import plain_view, views
from mmengine.migrate._config.trace import edited

One = Callable[[str, Any], list[Any]]
# Their policies have magnitudes, and are what they were.
_OWN_AUTO_AUGMENT = ('mmpretrain', 'mmselfsup')


def convert_pipeline(ctx: Context, key: str, pipeline: Any, dataset: Any = None) -> Any:
    """``pipeline`` by the rules; as it is when there are none.

    Args:
        ctx: The conversion.
        key: Dotted key of the pipeline.
        pipeline: Its transforms.
        dataset: The dataset that it is of, for rules that look at it.
    """
    if not ctx.rules.transforms:
        return pipeline
    converted: list[Any] = []
    for index, transform in enumerate(pipeline):
        converted.extend(_transform(ctx, f'{key}.{index}', transform, dataset))
    return pipeline if converted == list(pipeline) else edited(pipeline, converted)


def convert_variables(ctx: Context) -> Config:
    """Top-level variables that hold a pipeline follow the rules as the pipelines in ``data`` do.

    So they stay equal, and the datasets go on naming them. Notes are made where they are used.
    """
    if not ctx.rules.transforms:
        return {}
    quiet = Context(ctx.legacy, ctx.rules, Notes(), ctx.length)
    return {
        name: convert_pipeline(quiet, name, value, _user_of(ctx, value))
        for name, value in ctx.legacy.items()
        if 'pipeline' in name and isinstance(value, (list, tuple))
    }


def convert_test_time(ctx: Context) -> Config:
    """``tta_model`` and ``tta_pipeline`` where tests were augmented and a rule has the model."""
    data = ctx.legacy.get('data')
    if ctx.rules.tta_model is None or not isinstance(data, Mapping):
        return {}
    for dataset in inner_datasets(data.get('test', data.get('val'))):
        found = views(ctx, dataset.get('pipeline'), _quietly(ctx, dataset))
        if found is not None:
            return {'tta_model': dict(ctx.rules.tta_model), 'tta_pipeline': found}
    return {}


def _quietly(ctx: Context, dataset: Any) -> One:
    quiet = Context(ctx.legacy, ctx.rules, Notes(), ctx.length)
    return lambda key, transform: _transform(quiet, key, transform, dataset)


def _user_of(ctx: Context, pipeline: Any) -> Any:
    """The dataset that has ``pipeline``; a training one where there is none."""
    data = ctx.legacy.get('data')
    datasets = list(_all_datasets(data)) if isinstance(data, Mapping) else []
    users = (one for one in datasets if one.get('pipeline') == pipeline)
    return next(users, datasets[0] if datasets else None)


def _all_datasets(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for stage in ('train', 'val', 'test'):
        yield from inner_datasets(data.get(stage))


def _transform(ctx: Context, key: str, transform: Any, dataset: Any) -> list[Any]:
    if isinstance(transform, (list, tuple)):
        return [convert_pipeline(ctx, key, transform, dataset)]  # several pipelines in a list
    if not isinstance(transform, Mapping) or not isinstance(transform.get('type'), str):
        return [transform]
    kind = transform['type']
    if kind == 'MultiScaleFlipAug':
        return plain_view(ctx, key, transform, lambda k, one: _transform(ctx, k, one, dataset))
    if kind in ctx.rules.transforms and isinstance(transform.get('transforms'), (list, tuple)):
        inner = convert_pipeline(ctx, f'{key}.transforms', transform['transforms'], dataset)
        transform = edited(transform, {**transform, 'transforms': inner})
    if is_done_by_preprocessor(ctx, key, transform):
        return []
    if (
        kind == 'AutoAugment'
        and ctx.rules.scope not in _OWN_AUTO_AUGMENT
        and _holds_known(ctx, transform)
    ):
        return [_choice(ctx, key, transform, dataset)]
    if kind not in ctx.rules.transforms:
        ctx.notes.todo(
            f'{key}.type',
            f'transform {kind} is in no rule; left as it is.{suggestion("transforms", kind)}',
        )
        return [transform]
    changed = convert_by_rule(ctx, key, ctx.rules.transforms[kind], transform, dataset)
    if changed is None:
        return []
    if isinstance(changed, list):
        return changed
    return [transform if changed == dict(transform) else edited(transform, changed)]


def _policies(transform: Mapping[str, Any]) -> list[Any]:
    policies = transform.get('policies')
    return [one for one in policies if isinstance(one, (list, tuple))] if policies else []


def _holds_known(ctx: Context, transform: Mapping[str, Any]) -> bool:
    """Whether an ``AutoAugment`` only chooses among pipelines of ordinary transforms."""
    inner = [one for policy in _policies(transform) for one in policy]
    return bool(inner) and all(
        isinstance(one, Mapping) and one.get('type') in ctx.rules.transforms and 'level' not in one
        for one in inner
    )


def _choice(ctx: Context, key: str, transform: Mapping[str, Any], dataset: Any) -> Any:
    policies = [
        convert_pipeline(ctx, f'{key}.policies.{index}', policy, dataset)
        for index, policy in enumerate(_policies(transform))
    ]
    rest = {name: transform[name] for name in transform if name not in ('type', 'policies')}
    whole = edited(transform['policies'], policies)
    return edited(transform, {'type': 'RandomChoice', 'transforms': whole, **rest})
