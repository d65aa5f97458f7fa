"""A resolved config of MMCV 1.x to one of this engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmengine.migrate._config.context import Config, Context
from mmengine.migrate._config.expectations import wrong_values
from mmengine.migrate._config.kinds import (
    MEANINGFUL_HERE,
    OF_MMCV,
    Kind,
    is_for_runner,
    kind_of,
)
from mmengine.migrate._config.notes import ERROR, Note, Notes
from mmengine.migrate._config.rules import Rules
from mmengine.migrate._config.schedules import plateau
from mmengine.migrate._config.schedules.conversion import Length, convert_schedule
from mmengine.migrate._config.topics import (
    data,
    environment,
    hooks,
    loop,
    model,
    optimizer,
    pipelines,
    recording,
)
from mmengine.migrate._config.trace import edited, untraced
from mmengine.migrate._config.variables import note_variables
from mmengine.migrate._schedule.legacy_schedule import is_own_policy
from mmengine.utils.errors import ArgumentError

SCHEDULES = ('lr_config', 'momentum_config')
LEGACY_KEYS = frozenset((
    *loop.CONSUMES, *recording.CONSUMES, *environment.CONSUMES, *optimizer.CONSUMES,
    *data.CONSUMES, *SCHEDULES,
))  # fmt: skip
"""Top-level keys that only a config of MMCV 1.x has."""

OWNERS: dict[str, tuple[str, ...]] = {
    'model': ('model', 'train_cfg', 'test_cfg'),
    'train_cfg': ('runner', 'total_epochs', 'total_iters'),
    'val_cfg': ('data',),
    'test_cfg': ('data',),
    'train_dataloader': ('data',),
    'val_dataloader': ('data',),
    'test_dataloader': ('data',),
    'tta_model': ('data',),
    'tta_pipeline': ('data',),
    'val_evaluator': ('data',),
    'test_evaluator': ('data',),
    'optim_wrapper': ('optimizer', 'optimizers'),
    'param_scheduler': ('lr_config', 'momentum_config'),
    'default_hooks': ('checkpoint_config', 'log_config'),
    'custom_hooks': ('custom_hooks', 'lr_config'),
    'visualizer': ('log_config',),
    'log_processor': ('log_config',),
    'default_scope': ('log_config',),
    'env_cfg': ('dist_params', 'cudnn_benchmark', 'mp_start_method', 'opencv_num_threads'),
    'randomness': ('seed', 'deterministic', 'diff_seed'),
    'model_wrapper_cfg': ('find_unused_parameters',),
    'load_from': ('load_from', 'resume_from'),
    'resume': ('resume_from', 'auto_resume'),
}
"""Of each new key, the legacy keys that call for it, the most telling first."""


@dataclass(frozen=True)
class Converted:
    """What became of a config.

    Args:
        config: The new config.
        notes: What there is to tell.
        length: How long the run is, if the config tells.
        leftover: What of ``config`` are entries of MMCV 1.x, for which no rule is known.
    """

    config: Config
    notes: list[Note]
    length: Length | None
    leftover: Config = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether something in the legacy config is wrong, so that this one is not to be used."""
        return any(note.kind == ERROR for note in self.notes)


def convert_config(
    legacy: Mapping[str, Any],
    *,
    rules: Rules | None = None,
    iters_per_epoch: int | None = None,
    locate: Callable[[str], str | None] | None = None,
) -> Converted:
    """Convert a whole config, its bases resolved.

    Args:
        legacy: The config; left unchanged.
        rules: Vocabularies of projects; see :func:`load_rules`.
        iters_per_epoch: Iterations of an epoch, for what cannot be said in epochs otherwise.
        locate: Gives the place ('file:line') of a dotted key, for notes.
    """
    notes = Notes(locate or (lambda key: None))
    for key, text in wrong_values(legacy):
        notes.error(key, text)
    try:
        length = loop.run_length(legacy, notes, iters_per_epoch, (rules or Rules()).runners)
    except _MALFORMED as error:
        notes.error('runner', f'it does not tell the length of the run ({error}).')
        length = None
    ctx = Context(legacy, rules or Rules(), notes, length)
    new: Config = {}
    for topic, keys in _TOPICS.items():
        try:
            new.update(topic(ctx))
        except _MALFORMED as error:
            # What a value may look like in a broken config has no end; which key it is in has.
            given = [key for key in keys if key in legacy] or list(keys)
            if not any(notes.has_error(key) for key in given):
                notes.error(
                    given[0],
                    f'a value in {" or ".join(given)} is not of the kind that MMCV took '
                    f'({type(error).__name__}: {untraced(str(error))}).',
                )
    kept = _kept(ctx, new)
    made = {key: value for key, value in new.items() if key not in kept}
    note_variables(ctx, {key: kept[key] for key in kept if key not in MEANINGFUL_HERE})
    return Converted({**kept, **made, **ctx.leftover}, notes.items, length, ctx.leftover)


def _kept(ctx: Context, new: Config) -> Config:
    """What the config says that is not MMCV's: its own variables, and keys of this engine."""
    moved = {key for key in model.CONSUMES if not model.is_loop(ctx.legacy.get(key))}
    own = {key: ctx.legacy[key] for key in ctx.legacy if key not in LEGACY_KEYS | moved}
    kind = kind_of(ctx.legacy)
    kept = {}
    for key, value in own.items():
        is_ours = kind is Kind.HALF and key in MEANINGFUL_HERE and is_for_runner(key, value)
        if is_ours or key not in new:
            kept[key] = value
        if key in MEANINGFUL_HERE and kind in (Kind.LEGACY, Kind.HALF) and not is_ours:
            _tell_of_variable(ctx, key, value, key in new)
    if kind is not Kind.HALF:
        return kept
    merged = _merge_entries(kept, new)
    _tell_of_doubles(ctx, kept, merged)
    return {**kept, **merged}


def _tell_of_variable(ctx: Context, key: str, value: Any, is_lost: bool) -> None:
    if value or is_lost:
        fate = 'not carried over' if is_lost else 'kept'
        ctx.notes.todo(
            key,
            f'is a variable of the config by a name that Runner reads: {fate}. Rename it in '
            'the source.',
        )


def _merge_entries(kept: Config, new: Config) -> Config:
    """The dicts of separate entries that both engines' keys of a half-migrated config fill, where
    no entry is in both."""
    merged = {}
    for key in ('default_hooks', 'env_cfg', 'randomness'):
        mine, made = kept.get(key), new.get(key)
        if isinstance(mine, Mapping) and isinstance(made, Mapping) and not set(mine) & set(made):
            merged[key] = edited(mine, {**mine, **made})
    return merged


def _tell_of_doubles(ctx: Context, kept: Config, merged: Config) -> None:
    """Name the legacy keys of a half-migrated config beside which their successors stand."""
    for old, successors in OF_MMCV.items():
        there = [
            key for key in successors if key in kept and key in ctx.legacy and key not in merged
        ]
        if old in ctx.legacy and there:
            ctx.notes.todo(
                old,
                f'{", ".join(there)} of this engine is there as well, and was kept: compare the '
                f'two, and take {old} out.',
            )


def _schedules(ctx: Context) -> Config:
    schedulers: list[Config] = []
    given = [key for key in SCHEDULES if ctx.legacy.get(key) is not None]
    for key in given:
        config = ctx.legacy[key]
        if not isinstance(config, Mapping):
            ctx.notes.error(key, f"it is dict(policy='step', ...), got {config!r}.")
            return {}
        if ctx.length is None:
            ctx.notes.error(key, 'a schedule needs the length of the run: runner or total_epochs.')
            return {}
        if key == 'lr_config' and is_own_policy(config, ctx.rules.own_hooks):
            hooks.note_updater_hook(ctx, config)
            continue
        if plateau.is_plateau(config):
            schedulers += plateau.convert_plateau(ctx, key, config)
            continue
        try:
            schedulers += convert_schedule(
                config,
                ctx.length,
                ctx.notes,
                of_momentum=key == 'momentum_config',
                key=key,
                keeps_times=hooks.needs_legacy_times(ctx),
            )
        except (ArgumentError, TypeError) as error:
            ctx.notes.error(key, untraced(str(error)))
            return {}
    own = [key for key in given if key != 'lr_config' or not ctx.updater_hooks]
    return {'param_scheduler': schedulers} if own else {}


_MALFORMED = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
_TOPICS: dict[Callable[[Context], Config], tuple[str, ...]] = {
    model.convert_model: ('model', 'train_cfg', 'test_cfg', 'data'),
    pipelines.convert_variables: ('data',),
    pipelines.convert_test_time: ('data',),
    loop.convert_loop: ('runner', 'evaluation', 'workflow'),
    data.convert_data: ('data', 'evaluation'),
    optimizer.convert_optimizer: ('optimizer', 'optimizers', 'optimizer_config', 'fp16'),
    _schedules: SCHEDULES,
    recording.convert_default_hooks: ('checkpoint_config', 'log_config', 'evaluation'),
    hooks.convert_custom_hooks: ('custom_hooks',),
    recording.convert_logging: ('log_config',),
    environment.convert_environment: ('dist_params', 'resume_from'),
}
