"""Checkpoints of MMCV 1.x in this engine's layout."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from mmengine._checkpoint.plain import savable
from mmengine.fileio import load
from mmengine.migrate._legacy_averages import split_averages
from mmengine.utils.errors import ArgumentError
from mmengine.version import __version__

_SAVED_BY_ITER = re.compile(r'^(?:best_.*_)?iter_(\d+)\.pth$')
_Rules = Sequence[tuple[str, str]]


@dataclass
class MigratedCheckpoint:
    """A checkpoint in this engine's layout.

    Attributes:
        content: What to save.
        notes: What was understood, for the user.
        todo: What was left in place because it has no counterpart.
    """

    content: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    todo: list[str] = field(default_factory=list)


def migrate_checkpoint(
    checkpoint: Any,
    rename: _Rules = (),
    iterations: int | None = None,
    file_name: str = '',
    averages: str | None = None,
) -> MigratedCheckpoint:
    """Convert what a checkpoint file of MMCV 1.x held.

    ``state_dict`` loses the prefix of a distributed wrapper; of weights that EMAHook averaged, the
    averages are the ``state_dict``, and those as trained the ``ema_state_dict``; the state of the
    AMP scaler joins the optimizer's, best scores the message hub's. Schedules of MMCV have no
    state: on resuming, schedulers of this engine step to the checkpoint's iteration.

    Args:
        checkpoint: The file's content. Not changed.
        rename: Regular expressions and what replaces them in the names of weights, one by one.
        iterations: How many were finished, for a checkpoint saved by iteration: MMCV counts
            neither the iteration nor the epoch at whose end it saves as it does by epoch.
        file_name: The name of the file, which may tell whether it was the best of an epoch.
        averages: Where EMAHook left the averages: 'plain' for the names of the model, 'ema_' for
            those with this prefix; None to find out.

    Raises:
        ArgumentError: If it holds no weights, is in this engine's layout already, two weights would
            get one name, or ``averages`` is something else.
    """
    if not isinstance(checkpoint, Mapping):
        raise ArgumentError(
            f'A checkpoint is a dict; the file holds a {type(checkpoint).__name__}.'
        )
    meta = checkpoint.get('meta') or {}
    if 'mmengine_version' in meta or 'param_schedulers' in checkpoint:
        raise ArgumentError('The checkpoint is in the layout of this engine already.')
    # Published weights are often the state dict alone.
    weights = checkpoint.get('state_dict', checkpoint)
    if not isinstance(weights, Mapping) or not any(isinstance(v, Tensor) for v in weights.values()):
        raise ArgumentError(
            f'The checkpoint holds no weights; its keys are {list(checkpoint)[:8]}.'
        )

    result = MigratedCheckpoint({})
    new_meta, best = _convert_meta(meta, iterations, result)
    split = split_averages(
        {name.removeprefix('module.'): value for name, value in weights.items()},
        meta.get('config'),
        file_name,
        by_iteration='iter' in meta and new_meta['iter'] != meta['iter'],
        place=averages,
    )
    result.content = {'meta': new_meta, 'state_dict': _renamed(split.averaged, rename)}
    if split.raw:
        renamed = _renamed(split.raw, rename)
        # The average began with a copy, which counts here as the first step.
        steps = new_meta.get('iter', 0) + 1
        result.content['ema_state_dict'] = OrderedDict(
            [('steps', steps)] + [(f'module.{name}', value) for name, value in renamed.items()]
        )
        names = 'the plain names' if split.place == 'plain' else 'names with ema_'
        result.notes.append(f'EMAHook had left the averaged weights under {names}')
        if split.is_guess:
            result.todo.append(
                f'nothing in the file tells that: if {names} are buffers of the weights as trained '
                '(an EMAHook of priority NORMAL, or saved by iteration), pass --averages ema_'
            )
    if 'optimizer' in checkpoint:
        result.content['optimizer'] = _convert_optimizer(checkpoint['optimizer'], meta, result)
    if best:
        result.content['message_hub'] = {
            'log_scalars': OrderedDict(),
            'runtime_info': OrderedDict(best),
            'resumed_keys': OrderedDict.fromkeys(best, True),
        }
    if weights is not checkpoint:
        for key in checkpoint.keys() - {'meta', 'state_dict', 'optimizer'}:
            result.content[key] = checkpoint[key]
            result.todo.append(f'{key!r} is kept as it is; nothing here reads it')
    return result


def parse_rename_rules(texts: Sequence[str]) -> list[tuple[str, str]]:
    """``PATTERN=REPLACEMENT`` each, or a JSON or YAML file that maps patterns to replacements.

    Raises:
        ArgumentError: If one is neither, or its pattern is not a valid regular expression.
    """
    rules: list[tuple[str, str]] = []
    for text in texts:
        if Path(text).suffix in ('.json', '.yaml', '.yml') and '=' not in text:
            if not Path(text).is_file():
                raise ArgumentError(f'There is no file of rules at {text}.')
            content = load(text)
            if not isinstance(content, Mapping):
                raise ArgumentError(f'{text} should map patterns to replacements.')
            rules += [(str(pattern), str(new)) for pattern, new in content.items()]
            continue
        pattern, separator, new = text.partition('=')
        if not separator:
            raise ArgumentError(
                f'A rule is PATTERN=REPLACEMENT or a .json or .yaml file; got {text!r}.'
            )
        rules.append((pattern, new))
    for pattern, new in rules:
        try:
            re.sub(pattern, new, '')
        except re.error as error:
            raise ArgumentError(
                f'The rule {pattern}={new} is not a valid regular expression: {error}.'
            ) from error
    return rules


def iterations_from_name(path: Path) -> int | None:
    """The count in ``iter_<n>.pth``, through links such as ``latest.pth``; None for other names."""
    match = _SAVED_BY_ITER.match(path.resolve().name)
    return int(match[1]) if match else None


def _convert_meta(
    meta: Mapping[str, Any], iterations: int | None, result: MigratedCheckpoint
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The new meta, and best scores and their checkpoints."""
    moved = {'CLASSES', 'PALETTE', 'config', 'hook_msgs', 'fp16'}
    new: dict[str, Any] = {key: value for key, value in meta.items() if key not in moved}
    new['mmengine_version'] = __version__
    if iterations is not None and iterations == meta.get('iter', -1) + 1:
        new['iter'] = iterations
        new['epoch'] = max(meta.get('epoch', 1) - 1, 0)
        result.notes.append(
            f'saved by iteration: {iterations} iterations are finished, where MMCV wrote '
            f'{meta["iter"]}'
        )
    elif iterations is not None and 'iter' in meta and iterations != meta['iter']:
        result.todo.append(
            f'the name says {iterations} iterations and the file {meta["iter"]}; the file was '
            'believed'
        )
    dataset = {
        key.lower(): meta[key] for key in ('CLASSES', 'PALETTE') if meta.get(key) is not None
    }
    if dataset:
        new['dataset_meta'] = dataset
    if 'config' in meta:
        new['cfg'] = str(meta['config'])
    messages = meta.get('hook_msgs') or {}
    best = {key: messages[key] for key in ('best_score', 'best_ckpt') if key in messages}
    return savable(new, unknown=str), savable(best, unknown=str)


def _convert_optimizer(optimizer: Any, meta: Mapping[str, Any], result: MigratedCheckpoint) -> Any:
    if not isinstance(optimizer, Mapping):
        raise ArgumentError(
            f'The optimizer state should be a dict, got {type(optimizer).__name__}.'
        )
    scaler = (meta.get('fp16') or {}).get('loss_scaler')
    if scaler is None:
        return dict(optimizer)
    if 'param_groups' in optimizer:
        result.notes.append('the state of the loss scaler joined the optimizer state')
        return {**optimizer, 'loss_scaler': scaler}
    result.todo.append('one loss scaler for several optimizers: each starts with a fresh one')
    return dict(optimizer)


def _renamed(weights: Mapping[str, Any], rules: _Rules) -> OrderedDict[str, Any]:
    renamed: OrderedDict[str, Any] = OrderedDict()
    origins: dict[str, str] = {}
    for name, value in weights.items():
        new = name
        for pattern, replacement in rules:
            new = re.sub(pattern, replacement, new)
        if new in renamed:
            raise ArgumentError(f'The rules give {origins[new]!r} and {name!r} one name, {new!r}.')
        renamed[new], origins[new] = value, name
    return renamed


def summary_of(content: Mapping[str, Any]) -> str:
    """What a converted checkpoint holds, in a line."""
    meta = content['meta']
    parts = [f'{len(content["state_dict"])} weights']
    if 'optimizer' in content:
        names = [] if 'param_groups' in content['optimizer'] else list(content['optimizer'])
        parts.append(f'optimizers {", ".join(names)}' if names else 'an optimizer')
    if 'iter' in meta:
        parts.append(f'epoch {meta.get("epoch", 0)}, iteration {meta["iter"]}')
    return ', '.join(parts)
