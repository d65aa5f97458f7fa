"""Data pipelines, and the part of them that the model's data preprocessor does now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.migrate.config.context import Config, Context
from mmengine.migrate.config.rules import apply_rule, suggestion
from mmengine.migrate.config.trace import edited

_BY_PREPROCESSOR = ('Normalize', 'Pad')


def convert_pipeline(ctx: Context, key: str, pipeline: Any) -> Any:
    """``pipeline`` by the rules of the projects; as it is when there are none.

    Transforms that no rule knows stay, and are listed.
    """
    if not ctx.rules.transforms:
        return pipeline
    converted: list[Any] = []
    for index, transform in enumerate(pipeline):
        converted.extend(_transform(ctx, f'{key}.{index}', transform))
    return pipeline if converted == list(pipeline) else edited(pipeline, converted)


def _transform(ctx: Context, key: str, transform: Any) -> list[Any]:
    if not isinstance(transform, Mapping) or not isinstance(transform.get('type'), str):
        return [transform]
    kind = transform['type']
    if kind == 'MultiScaleFlipAug':
        return _test_time(ctx, key, transform)
    if kind == 'Normalize' and _has_preprocessor(ctx):
        return []
    if kind == 'Pad' and _has_preprocessor(ctx) and ({'size_divisor', 'size'} & set(transform)):
        return []
    if kind not in ctx.rules.transforms:
        ctx.notes.todo(
            f'{key}.type',
            f'transform {kind} is in no rule; left as it is.{suggestion("transforms", kind)}',
        )
        return [transform]
    changed = apply_rule(ctx.rules.transforms[kind], transform)
    if changed is None:
        return []
    if isinstance(changed, list):
        return changed
    return [transform if changed == dict(transform) else edited(transform, changed)]


def _test_time(ctx: Context, key: str, transform: Mapping[str, Any]) -> list[Any]:
    """Without augmentation the wrapped transforms are the pipeline; with it, that is a model of its
    own now."""
    scales = transform.get('img_scale')
    several = isinstance(scales, list) and len(scales) > 1
    if several or transform.get('flip') or transform.get('img_ratios'):
        ctx.notes.todo(
            key,
            'test-time augmentation is done by a tta_model with a tta_pipeline; what is left here '
            'is its first view, without flips.',
        )
    scale = scales[0] if isinstance(scales, list) and scales else scales
    converted: list[Any] = []
    for index, inner in enumerate(transform.get('transforms') or []):
        if isinstance(inner, Mapping) and inner.get('type') == 'Resize' and scale is not None:
            inner = edited(inner, {**inner, 'img_scale': scale})
        if isinstance(inner, Mapping) and inner.get('type') == 'RandomFlip':
            continue
        converted.extend(_transform(ctx, f'{key}.transforms.{index}', inner))
    return converted


def _has_preprocessor(ctx: Context) -> bool:
    return ctx.rules.data_preprocessor is not None


def data_preprocessor(ctx: Context) -> Config | None:
    """The config of the model's data preprocessor, from ``Normalize`` and ``Pad`` of the training
    pipeline."""
    if ctx.rules.data_preprocessor is None:
        return None
    found: Config = {}
    data = ctx.legacy.get('data')
    train = data.get('train') if isinstance(data, Mapping) else None
    for transform in _transforms(train):
        kind = transform.get('type')
        if kind == 'Normalize':
            found |= {key: transform[key] for key in ('mean', 'std') if key in transform}
            found[_rgb_key(ctx)] = transform.get('to_rgb', True)
        elif kind == 'Pad' and 'size_divisor' in transform:
            found['pad_size_divisor'] = transform['size_divisor']
        elif kind == 'Pad' and 'size' in transform and ctx.rules.scope == 'mmseg':
            found['size'] = transform['size']
            renamed = {'pad_val': 'pad_val', 'seg_pad_val': 'seg_pad_val'}
            found |= {new: transform[old] for old, new in renamed.items() if old in transform}
    if not found:
        return None
    known = ctx.rules.data_preprocessor
    merged = {**known, **found}
    return {'type': merged.pop('type'), **merged} if 'type' in merged else merged


def _rgb_key(ctx: Context) -> str:
    return 'to_rgb' if ctx.rules.scope == 'mmpretrain' else 'bgr_to_rgb'


def _transforms(dataset: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(dataset, (list, tuple)):
        dataset = dataset[0] if dataset else None
    if not isinstance(dataset, Mapping):
        return
    for part in ('dataset', 'datasets'):
        yield from _transforms(dataset.get(part))
    for transform in dataset.get('pipeline') or ():
        if isinstance(transform, Mapping):
            yield transform
            for inner in transform.get('transforms') or ():
                if isinstance(inner, Mapping):
                    yield inner
