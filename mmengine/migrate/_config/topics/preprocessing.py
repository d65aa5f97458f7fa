"""``model.data_preprocessor``, from what ``Normalize`` and ``Pad`` did in the pipelines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.migrate._config.context import Config, Context
from mmengine.migrate._config.rules.shared import times_255

_NORMALIZERS = ('Normalize', 'NormalizeTensor', 'NormalizeOCR')
_FIRST = ('mean', 'std', 'bgr_to_rgb', 'to_rgb')


def data_preprocessor(ctx: Context) -> Config | None:
    """Its config, by the training pipeline; None where no rule or no data asks for one."""
    known = ctx.rules.data_preprocessor
    transforms = list(_deciding_transforms(ctx))
    if known is None or not transforms:
        return None
    if not isinstance(known, Mapping):
        known = known(ctx.legacy)
    found: Config = {}
    for transform in transforms:
        kind = transform.get('type')
        if kind in ctx.rules.preprocessing:
            found |= ctx.rules.preprocessing[kind](transform)
        elif kind in _NORMALIZERS:
            found |= _normalized(ctx, transform)
        elif kind == 'Pad' and 'size_divisor' in transform:
            found['pad_size_divisor'] = transform['size_divisor']
            found |= _pad_value(transform)
        elif kind == 'Pad' and 'size' in transform and _pads_in_batches(ctx):
            found['size'] = transform['size']
            names = ('pad_val', 'seg_pad_val')
            found |= {name: transform[name] for name in names if name in transform}
        elif kind == 'LoadAnnotations' and ctx.rules.scope == 'mmdet':
            found |= _of_annotations(transform)
    values = {key: found[key] for key in _FIRST if key in found}
    named = {'type': known['type']} if 'type' in known else {}
    return {**named, **values, **known, **found} or None


def is_done_by_preprocessor(ctx: Context, key: str, transform: Mapping[str, Any]) -> bool:
    """Whether a transform's work is the data preprocessor's now."""
    if ctx.rules.data_preprocessor is None:
        return False
    if transform['type'] in _NORMALIZERS:
        _check_like_training(ctx, key, transform)
        return True
    if transform['type'] == 'Pad':
        is_done = 'size_divisor' in transform or ('size' in transform and _pads_in_batches(ctx))
        if is_done:
            _check_padding(ctx, key, transform)
        return is_done
    return False


def _check_padding(ctx: Context, key: str, transform: Mapping[str, Any]) -> None:
    """Note where the data preprocessor pads otherwise than ``transform`` did."""
    made = data_preprocessor(ctx) or {}
    wanted = {'size': transform['size']} if 'size' in transform else {}
    if 'size_divisor' in transform:
        wanted['pad_size_divisor'] = transform['size_divisor']
    differing = [name for name in wanted if made.get(name) != wanted[name]]
    if differing:
        ctx.notes.todo(
            key,
            f'it pads otherwise ({", ".join(f"{name}={wanted[name]!r}" for name in differing)}) '
            'than the training pipeline, whose values the data_preprocessor has for all.',
        )


def _check_like_training(ctx: Context, key: str, transform: Mapping[str, Any]) -> None:
    deciding = next(
        (one for one in _deciding_transforms(ctx) if one.get('type') in _NORMALIZERS), transform
    )
    if _normalized(ctx, deciding) != _normalized(ctx, transform):
        ctx.notes.todo(
            key,
            'it normalizes otherwise than the training pipeline, whose values the '
            'data_preprocessor has for all.',
        )


def _pads_in_batches(ctx: Context) -> bool:
    return ctx.rules.scope == 'mmseg'


def _normalized(ctx: Context, transform: Mapping[str, Any]) -> Config:
    own = ctx.rules.preprocessing.get(transform['type'])
    if own is not None:
        return own(transform)
    found = {key: transform[key] for key in ('mean', 'std') if key in transform}
    if transform['type'] == 'NormalizeTensor':
        # It came after a division by 255, and images were read as RGB.
        found = {key: times_255(values) for key, values in found.items()}
    name = 'to_rgb' if ctx.rules.scope == 'mmpretrain' else 'bgr_to_rgb'
    return {**found, name: transform.get('to_rgb', True)}


def _pad_value(transform: Mapping[str, Any]) -> Config:
    value = transform.get('pad_val', 0)
    if isinstance(value, Mapping):
        value = value.get('img', 0)
    if isinstance(value, (list, tuple)) and len(set(value)) == 1:
        value = value[0]
    return {'pad_value': value} if value else {}


def _of_annotations(transform: Mapping[str, Any]) -> Config:
    """Masks and maps have to be padded as their images are."""
    found: Config = {}
    if transform.get('with_mask'):
        found['pad_mask'] = True
    if transform.get('with_seg'):
        found |= {'pad_seg': True, 'seg_pad_value': 255}
    return found


def _deciding_transforms(ctx: Context) -> Iterator[Mapping[str, Any]]:
    """The transforms of training, or of the first stage that has any."""
    data = ctx.legacy.get('data')
    if not isinstance(data, Mapping):
        return
    for stage in ('train', 'val', 'test'):
        found = list(_transforms(data.get(stage)))
        if found:
            yield from found
            return


def _all_steps(dataset: Mapping[str, Any]) -> Iterator[Any]:
    several = dataset.get('pipelines')
    parts = list(several) if isinstance(several, (list, tuple)) else []
    for part in (dataset.get('pipeline'), dataset.get('format_pipeline'), *parts):
        for step in part if isinstance(part, (list, tuple)) else ():
            yield from step if isinstance(step, (list, tuple)) else (step,)


def _transforms(dataset: Any) -> Iterator[Mapping[str, Any]]:
    """All transforms of the first dataset inside wrappers, and the transforms of the wrappers."""
    if isinstance(dataset, (list, tuple)):
        dataset = dataset[0] if dataset else None
    if not isinstance(dataset, Mapping):
        return
    for part in ('dataset', 'datasets'):
        yield from _transforms(dataset.get(part))
    for transform in _all_steps(dataset):
        if isinstance(transform, Mapping):
            yield transform
            inner = transform.get('transforms')
            for one in inner if isinstance(inner, (list, tuple)) else ():
                if isinstance(one, Mapping):
                    yield one
