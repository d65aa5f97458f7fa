"""What a config says beside the keys of its engine: its own variables, and what scripts read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.migrate._config.context import Config, Context
from mmengine.migrate._config.kinds import Kind, kind_of
from mmengine.migrate._config.trace import plain

_OF_SCRIPTS = {
    'precise_bn': 'PreciseBNHook, in custom_hooks, does it where a project has one',
    'omnisource': 'the training of several datasets at once is one of your own loops now',
    'persistent_workers': 'it belongs in each dataloader',
    'prefetch': 'the loader moved and normalized images; the data_preprocessor does that',
    'metrics': 'they belong in val_evaluator and test_evaluator',
    'timer_config': 'IterTimerHook measures, in default_hooks',
    'inception_pkl': 'it belongs in the metrics that use it',
    'use_ddp_wrapper': 'model_wrapper_cfg tells how a model is wrapped',
    'is_dynamic_ddp': 'model_wrapper_cfg tells how a model is wrapped',
    'eval_pipeline': 'each dataloader has its pipeline',
}
"""Keys that the training scripts of projects read, each with what does so today."""
_READ_HERE = frozenset((
    'work_dir', 'load_from', 'log_level', 'default_scope', 'custom_imports', 'cfg', 'launcher',
    'experiment_name', 'auto_scale_lr', 'custom_hooks', 'model', 'train_cfg', 'test_cfg',
))  # fmt: skip


def note_variables(ctx: Context, kept: Mapping[str, Any]) -> None:
    """Note what stays in a config and is read by nothing any more."""
    if kind_of(ctx.legacy) is not Kind.LEGACY:
        return
    for key, value in kept.items():
        if key in _OF_SCRIPTS:
            if value not in (None, False, {}, []):
                ctx.notes.todo(
                    key, f"a project's training script read it: {_OF_SCRIPTS[key]}. Left in place."
                )
        elif key not in _READ_HERE and isinstance(value, Mapping) and not _is_used(ctx, key, value):
            ctx.notes.info(
                key,
                'nothing in this config uses it: if a script read it, it has to do so still.',
            )


def _is_used(ctx: Context, key: str, value: Mapping[str, Any]) -> bool:
    """Whether all that a variable says is elsewhere in the config."""
    others: Config = {name: other for name, other in ctx.legacy.items() if name != key}
    there = set(_leaves(others))
    return all(leaf in there for leaf in _leaves(value))


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _leaves(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _leaves(one)
    else:
        yield repr(plain(value))
