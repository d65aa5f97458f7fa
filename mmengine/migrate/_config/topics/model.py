"""``model``: its ``train_cfg`` and ``test_cfg`` at the top level, and its data preprocessor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.context import Config, Context
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
    _list_changed(ctx, 'model', model)
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
    if preprocessor is not None and isinstance(model, Mapping):
        moved['data_preprocessor'] = preprocessor
    if not isinstance(model, Mapping):
        if preprocessor is not None and model is None and 'model' in ctx.legacy:
            return {'model': None}
        return {'model': moved} if moved else {}
    if not moved:
        return {'model': model}
    return {'model': edited(model, {**model, **moved})}


def _list_changed(ctx: Context, key: str, part: Any) -> None:
    """Tell which modules mean something else now; their arguments are the project's own."""
    if isinstance(part, Mapping):
        kind = part.get('type')
        if isinstance(kind, str) and kind in ctx.rules.models:
            ctx.notes.todo(f'{key}.type', f'{kind}: {ctx.rules.models[kind]}')
        for name, value in part.items():
            _list_changed(ctx, f'{key}.{name}', value)
    elif isinstance(part, (list, tuple)):
        for index, value in enumerate(part):
            _list_changed(ctx, f'{key}.{index}', value)
