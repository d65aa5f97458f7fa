"""``model``: its ``train_cfg`` and ``test_cfg`` at the top level, and its data preprocessor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.context import Config, Context
from mmengine.migrate._config.topics.by_rule import convert_by_rule
from mmengine.migrate._config.topics.preprocessing import data_preprocessor
from mmengine.migrate._config.trace import edited

CONSUMES = ('train_cfg', 'test_cfg')
_OF_A_LOOP = ('by_epoch', 'max_epochs', 'max_iters', 'val_interval')


def is_loop(config: Any) -> bool:
    """Whether a top-level ``train_cfg`` is this engine's already, not the model's of MMCV times."""
    if not isinstance(config, Mapping):
        return False
    kind = config.get('type')
    return any(key in config for key in _OF_A_LOOP) or (isinstance(kind, str) and 'Loop' in kind)


def convert_model(ctx: Context) -> Config:
    """``model`` with what belongs to it."""
    model = ctx.legacy.get('model')
    moved: Config = {}
    for key in ('train_cfg', 'test_cfg'):
        if key in ctx.legacy and not is_loop(ctx.legacy[key]):
            of_model = model.get(key) if isinstance(model, Mapping) else None
            # An empty one beside the model's says nothing.
            if of_model is not None and ctx.legacy[key] in (None, {}, of_model):
                continue
            if of_model is not None:
                ctx.notes.error(
                    key,
                    f'this config and its model both have a {key}, with different values: MMCV '
                    'stops with an error when it builds the model. Keep one of them.',
                )
                return {}
            moved[key] = ctx.legacy[key]
            ctx.notes.info(key, "is the model's: moved under model.")
    preprocessor = data_preprocessor(ctx)
    if not isinstance(model, Mapping):
        if preprocessor is not None and model is None and 'model' in ctx.legacy:
            return {'model': None}
        added = {} if preprocessor is None else {'data_preprocessor': preprocessor}
        return {'model': moved | added} if moved or added else {}
    converted = _part(ctx, 'model', edited(model, {**model, **moved}) if moved else model)
    if preprocessor is not None:
        own = converted.get('data_preprocessor')
        own = own if isinstance(own, Mapping) else {}
        converted = edited(model, {**converted, 'data_preprocessor': {**preprocessor, **own}})
    return {'model': converted}


def _part(ctx: Context, key: str, part: Any) -> Any:
    """A part of a model with its modules by the rules; their other arguments are the project's."""
    if isinstance(part, (list, tuple)):
        parts = [_part(ctx, f'{key}.{index}', value) for index, value in enumerate(part)]
        if parts == list(part):
            return part
        return edited(part, tuple(parts) if isinstance(part, tuple) else parts)
    if not isinstance(part, Mapping):
        return part
    new = {name: _part(ctx, f'{key}.{name}', value) for name, value in part.items()}
    kind = part.get('type')
    rule = ctx.rules.models.get(kind) if isinstance(kind, str) else None
    if isinstance(rule, str):
        ctx.notes.todo(f'{key}.type', f'{kind}: {rule}')
    elif rule is not None:
        new = convert_by_rule(ctx, key, rule, new, ctx.legacy)
    return part if new == dict(part) and list(new) == list(part) else edited(part, new)
