"""The model of a config, with the weights of a checkpoint that a run has saved."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mmengine._checkpoint._newest import named_by_pointer
from mmengine._checkpoint._outside import CheckpointReadError
from mmengine._checkpoint._verify import fault_of
from mmengine._checkpoint.files import check_is_there, is_remote
from mmengine._checkpoint.loader import _load_checkpoint, _load_checkpoint_to_model, weights_of
from mmengine._checkpoint.tools import ls
from mmengine._checkpoint.tools._content import read
from mmengine.config import Config, ConfigDict
from mmengine.dist import is_distributed
from mmengine.logging import print_log
from mmengine.logging._shown_once import shown_once
from mmengine.model._build import build_model
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from mmengine.registry.registry import import_scope
from mmengine.utils.errors import ArgumentError

BEST, LAST = 'best', 'last'
_MAX_METRICS = 3  # in a sentence


@dataclass(frozen=True)
class FoundCheckpoint:
    """A checkpoint, and why it was taken.

    Attributes:
        path: A path or a URL.
        reason: Such as ``'the best of work_dirs/config'``; empty if its path was given.
        facts: Position and metrics as far as the run has noted them, such as
            ``{'epoch': 5, 'accuracy': 0.98}``.
    """

    path: str
    reason: str
    facts: Mapping[str, Any]

    def __str__(self) -> str:
        facts = ', '.join(f'{name} {_short(value)}' for name, value in self.facts.items())
        about = '; '.join(part for part in (self.reason, facts) if part)
        return f'{self.path} ({about})' if about else self.path


def opened_config(config: Config | Mapping[str, Any] | str | Path) -> Config:
    """``config`` as a ``Config``, read if it is the path of one."""
    if isinstance(config, Config):
        return config
    return Config(dict(config)) if isinstance(config, Mapping) else Config.fromfile(config)


def work_dir_of(cfg: Config, given: str | Path | None = None) -> str:
    """The work dir of a run of ``cfg``: the given one, or the one that ``mmengine train`` takes."""
    if given is not None:
        return os.fspath(given)
    own = cfg.get('work_dir')
    return str(own) if own else os.path.join('work_dirs', Path(cfg.filename or '').stem)


def find_checkpoint(
    cfg: Config, work_dir: str, wanted: str | Path | None = None
) -> FoundCheckpoint:
    """The checkpoint of a run to use.

    Args:
        cfg: The config of the run.
        work_dir: Its work dir.
        wanted: A path or a URL; ``'best'`` or ``'last'`` of the work dir; None takes the best one
            if the run has saved one, and else the last one.

    Raises:
        ArgumentError: If the work dir has no such checkpoint.
        FileNotFoundError: If there is nothing at the given path.
        CheckpointReadError: If there are checkpoints, and none of them is whole.
    """
    if wanted not in (None, BEST, LAST):
        path = os.path.expanduser(os.fspath(wanted)) if not is_remote(str(wanted)) else str(wanted)
        check_is_there(path)
        return FoundCheckpoint(path, '', _facts_at(path))
    saved = ls(work_dir) if os.path.isdir(work_dir) else []
    best = _best(saved) if wanted != LAST else None
    if best is not None:
        return FoundCheckpoint(best['path'], f'the best of {work_dir}', _facts(best))
    last = _last(work_dir, saved) if wanted != BEST else None
    if last is None:
        raise ArgumentError(_nothing_in(cfg, work_dir, wanted, saved))
    own = next(
        (one for one in saved if os.path.realpath(one['path']) == os.path.realpath(last)), {}
    )
    return FoundCheckpoint(last, f'the last of {work_dir}', _facts(own))


def trained_model(cfg: Config, checkpoint: str) -> nn.Module:
    """The model of ``cfg`` with the weights in ``checkpoint``, on the CPU, for evaluation.

    Raises:
        ArgumentError: If the checkpoint has none of the weights of the model.
        CheckpointReadError: If it is damaged, or contains no weights.
    """
    content = _load_checkpoint(checkpoint, 'cpu', 'current')
    weights_of(content, checkpoint)
    with scope_of(cfg):
        model = build_described(cfg)
    _load_checkpoint_to_model(model, content, logger='current', must_fit=True)
    return for_one_process(model).eval()


def build_described(cfg: Config | ConfigDict) -> nn.Module:
    """The model of a config, with the data preprocessor of the config if it names one.

    Raises:
        ArgumentError: If the config has no model.
    """
    described = cfg.get('model')
    if described is None:
        raise ArgumentError('The config has no model.')
    preprocessor = cfg.get('data_preprocessor')
    if isinstance(described, Mapping) and preprocessor is not None:
        described = copy.copy(described)  # a ConfigDict, which has the places of its keys
        described.setdefault('data_preprocessor', preprocessor)  # type: ignore[attr-defined]  # a dict
    return build_model(described)


def for_one_process(model: nn.Module) -> nn.Module:
    """``model`` without layers that wait for other ranks, if there are none."""
    return model if is_distributed() else revert_sync_batchnorm(model)


def scope_of(cfg: Config) -> Any:
    """Context in which names are looked up in the default scope of ``cfg``."""
    scope = cfg.get('default_scope')
    if scope is not None:
        import_scope(scope)
    return DefaultScope.overwrite_default_scope(scope)


def _best(saved: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The best of the listed checkpoints; with several metrics, the best of the newest kind."""
    marked = [one for one in saved if BEST in one['marks']]
    if len(marked) < 2:
        return marked[0] if marked else None
    # Of several best ones (`keep_best`) the newest names the first.
    hub = read(marked[-1]['path'], 'meta').get('message_hub') or {}
    named = os.path.basename(str((hub.get('runtime_info') or {}).get('best_ckpt', '')))
    return next((one for one in marked if Path(one['path']).name == named), marked[-1])


def _last(work_dir: str, saved: list[dict[str, Any]]) -> str | None:
    """The checkpoint that the pointer names, or else the newest one, that is not damaged.

    Raises:
        CheckpointReadError: If there are checkpoints, and all of them are damaged.
    """
    named = named_by_pointer(work_dir)
    if named is not None and is_remote(named):
        return named
    listed = [str(one['path']) for one in reversed(saved)]
    reasons: list[str] = []
    for path in dict.fromkeys(listed if named is None else [named, *listed]):
        fault = fault_of(path, is_read_next=True)
        if fault is None:
            if reasons:
                text = f'{path} is used. Passed over: {"; ".join(reasons)}.'
                print_log(text, logger='current', level=logging.WARNING)
            return path
        reasons.append(f'{path}: {fault}')
    if reasons:
        raise CheckpointReadError(f'No checkpoint in {work_dir} is whole: {"; ".join(reasons)}.')
    return None


def _facts(entry: Mapping[str, Any]) -> dict[str, Any]:
    position = {name: entry[name] for name in ('epoch', 'iter') if entry.get(name) is not None}
    metrics = list(shown_once(entry.get('metrics') or {}, 'val').items())[:_MAX_METRICS]
    return dict([*list(position.items())[:1], *metrics])


def _facts_at(path: str) -> dict[str, Any]:
    if is_remote(path):
        return {}
    folder = os.path.dirname(path) or '.'
    entries = ls(folder)
    return next((_facts(one) for one in entries if os.path.samefile(one['path'], path)), {})


def _nothing_in(
    cfg: Config, work_dir: str, wanted: str | Path | None, saved: list[dict[str, Any]]
) -> str:
    source = cfg.get('load_from')
    if saved:
        names = ', '.join(Path(one['path']).name for one in saved[-6:])
        return (
            f'{work_dir} has no {wanted} checkpoint. It has {names}. A run saves the best one with '
            "default_hooks=dict(checkpoint=dict(save_best='auto')); else use --checkpoint last, or "
            'the path of one.'
        )
    what = 'has no checkpoint' if os.path.isdir(work_dir) else 'does not exist'
    train = f'mmengine train {cfg.filename}' if cfg.filename else 'mmengine train CONFIG'
    hint = f' Its load_from is {source}: --checkpoint {source} takes that.' if source else ''
    return (
        f'There are no trained weights: the work dir {work_dir} {what}. Train first ({train}), or '
        f'pass --work-dir or --checkpoint.{hint}'
    )


def _short(value: Any) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)
