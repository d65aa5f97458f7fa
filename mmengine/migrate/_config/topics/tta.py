"""``MultiScaleFlipAug``: a plain test pipeline, and the augmented one for a separate model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mmengine.migrate._config.context import Context
from mmengine.migrate._config.rules.shared import META_KEYS
from mmengine.migrate._config.trace import edited

One = Callable[[str, Any], list[Any]]
"""Converts the transform of a key."""

# What merges views looks at these, to turn them back.
_FLIPPED = ('flip', 'flip_direction')
_RESIZES, _FLIPS = ('Resize', 'RResize'), ('RandomFlip', 'RRandomFlip')


def is_augmented(transform: Mapping[str, Any]) -> bool:
    """Whether there is more than one view of an image."""
    scales = transform.get('img_scale')
    several = isinstance(scales, list) and len(scales) > 1
    return bool(several or transform.get('flip') or transform.get('img_ratios'))


def plain_view(ctx: Context, key: str, transform: Mapping[str, Any], convert: One) -> list[Any]:
    """The transforms of the plain view of ``transform``, which stand in its place."""
    if is_augmented(transform):
        held = (
            'tta_model and tta_pipeline hold it'
            if ctx.rules.tta_model
            else 'that takes a tta_model and a tta_pipeline'
        )
        ctx.notes.todo(
            key,
            f'the test was augmented, which is a separate step now: {held} (PrepareTTAHook, or '
            'the option of your test script). What is left here is one view, not flipped.',
        )
    scale = _scales(transform)[0]
    converted: list[Any] = []
    for index, inner in enumerate(_inner(transform)):
        place = f'{key}.transforms.{index}'
        if _type(inner) in _FLIPS:
            continue
        if _type(inner) in _RESIZES:
            converted.extend(convert(place, edited(inner, {**inner, **scale})))
            converted.extend(_annotations(ctx))
        elif _type(inner) == 'Collect':
            converted.extend(_packed(ctx, convert(place, inner), inner))
        else:
            converted.extend(convert(place, inner))
    return converted


def views(ctx: Context, pipeline: Any, convert: One) -> list[Any] | None:
    """The whole augmented pipeline; None where ``pipeline`` augments nothing."""
    transforms = pipeline if isinstance(pipeline, (list, tuple)) else ()
    if not any(_type(one) == 'MultiScaleFlipAug' and is_augmented(one) for one in transforms):
        return None
    converted: list[Any] = []
    for transform in transforms:
        if _type(transform) == 'MultiScaleFlipAug':
            choices = list(_choices(ctx, transform, convert))
            converted.append({'type': 'TestTimeAug', 'transforms': choices})
        else:
            converted.extend(convert('', transform))
    return converted


def _choices(ctx: Context, transform: Mapping[str, Any], convert: One) -> Iterator[list[Any]]:
    """Of each step, what it is in each view."""
    for inner in _inner(transform):
        if _type(inner) in _RESIZES:
            yield [new for scale in _scales(transform) for new in convert('', {**inner, **scale})]
            yield _flips(transform)
            if annotations := _annotations(ctx):
                yield annotations
        elif _type(inner) == 'Collect':
            yield _packed(ctx, convert('', inner), inner, _FLIPPED)
        elif _type(inner) not in _FLIPS:
            yield from ([new] for new in convert('', inner))


def _flips(transform: Mapping[str, Any]) -> list[Any]:
    if not transform.get('flip'):
        return [{'type': 'RandomFlip', 'prob': 0.0}]
    directions = transform.get('flip_direction', 'horizontal')
    if not isinstance(directions, (list, tuple)):
        directions = [directions]
    flipped = [{'type': 'RandomFlip', 'prob': 1.0, 'direction': one} for one in directions]
    return [{'type': 'RandomFlip', 'prob': 0.0}, *flipped]


def _scales(transform: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The sizes of the views, as arguments of the legacy ``Resize``; the plain one first."""
    scales, ratios = transform.get('img_scale'), transform.get('img_ratios')
    several = scales if isinstance(scales, list) and scales else [scales]
    factors = ratios if isinstance(ratios, (list, tuple)) else [transform.get('scale_factor')]
    if scales is None:
        found = [{'scale_factor': factor} for factor in factors if factor is not None]
        return sorted(found, key=lambda one: one['scale_factor'] != 1.0) or [{}]
    if not isinstance(ratios, (list, tuple)):
        return [{'img_scale': scale} for scale in several]
    width, height = several[0]  # type: ignore[misc]  # not None, as just seen
    scaled = [(int(width * ratio), int(height * ratio)) for ratio in ratios]
    # The plain view has the scale itself, whether or not 1.0 is among the ratios.
    others = [scale for scale in scaled if scale != (width, height)]
    return [{'img_scale': scale} for scale in ((width, height), *others)]


def _annotations(ctx: Context) -> list[Any]:
    """The loading of annotations, which metrics compare with."""
    asked = ctx.rules.test_annotations
    if not asked:
        return []
    if isinstance(asked, Mapping):
        return [dict(asked)]
    if isinstance(asked, list):
        return [dict(one) for one in asked]
    data = ctx.legacy.get('data')
    train = data.get('train') if isinstance(data, Mapping) else None
    return [_loading(train) or {'type': 'LoadAnnotations'}]


def _loading(dataset: Any) -> Any:
    if isinstance(dataset, (list, tuple)):
        return next(filter(None, map(_loading, dataset)), None)
    if not isinstance(dataset, Mapping):
        return None
    pipeline = dataset.get('pipeline')
    for transform in pipeline if isinstance(pipeline, (list, tuple)) else ():
        if _type(transform) == 'LoadAnnotations':
            return dict(transform)
    return _loading(dataset.get('dataset', dataset.get('datasets')))


def _packed(
    ctx: Context, transforms: list[Any], collect: Mapping[str, Any], more: tuple[str, ...] = ()
) -> list[Any]:
    """The packing, with what the project's tests need, what the config asked for besides, and
    ``more``."""
    needed = ctx.rules.test_pack
    if 'meta_keys' in needed:
        asked = [one for one in collect.get('meta_keys') or () if one not in META_KEYS]
        names = dict.fromkeys((*needed['meta_keys'], *asked, *more))
        needed = {**needed, 'meta_keys': tuple(names)}
    return [{**one, **needed} if isinstance(one, dict) else one for one in transforms]


def _inner(transform: Mapping[str, Any]) -> list[Any]:
    inner = transform.get('transforms')
    return list(inner) if isinstance(inner, (list, tuple)) else []


def _type(transform: Any) -> Any:
    return transform.get('type') if isinstance(transform, Mapping) else None
