"""Compares the config of a resumed run with the config in its checkpoint, and reports it once."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mmengine.config import source_location
from mmengine.dist import is_main_process
from mmengine.runner._position_of_resume import position_in_this_run
from mmengine.runner._settings import read_settings
from mmengine.strategy._resume_report import NOT_SET, ResumeChange, ResumeReport
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner
    from mmengine.strategy._resume_request import ResumeRequest

# They say where a run takes place and how it is called, not what is trained.
_PLACES = frozenset(
    {
        'work_dir', 'load_from', 'resume', 'resume_from', 'auto_resume', 'launcher', 'local_rank',
        'gpu_ids', 'gpus', 'device', 'experiment_name', 'log_level', 'env_cfg', 'cfg',
    }
)  # fmt: skip
# In the text of an object that a config holds.
_ADDRESS = re.compile(r' at 0x[0-9a-f]+(?=>)')
# Items of a list that are compared one by one.
_MOST_SETTINGS = 30
_ENGINE_KEYS = ('optim_wrapper', 'train_cfg', 'train_dataloader')


def begin_comparison(runner: Runner, checkpoint: Mapping[str, Any]) -> None:
    """Compare run and checkpoint if the checkpoint is being resumed; else note that nothing is.

    Raises:
        ArgumentError: If something differs and ``resume`` has ``on_change='error'``.
    """
    state = runner.state
    state.resume_report, state.resumed_position = None, None
    if state.is_resuming:
        state.resume_report = compare_configs(runner, checkpoint)
        state.resumed_position = position_in_this_run(runner, checkpoint)


def compare_configs(runner: Runner, checkpoint: Mapping[str, Any]) -> ResumeReport:
    """What differs between the config in ``checkpoint`` and the config of ``runner``.

    Raises:
        ArgumentError: If something differs and ``resume`` has ``on_change='error'``.
    """
    report = ResumeReport()
    request = runner.state.resume_request
    then = _settings_then(checkpoint.get('meta'), report)
    if then is None:
        runner.logger.warning(
            f'The config cannot be compared with the one of the checkpoint: '
            f'{report.why_not_compared}'
        )
        return report
    now = read_settings(runner.config_text, runner._arguments_text)
    report.add_config(
        [
            ResumeChange(key, old, new, _used(key, then, now, request), _written(runner, key, new))
            for key, old, new in differences(_normal(then), _normal(now))
        ]
    )
    if report.changes and request.on_change == 'error':
        raise ArgumentError(
            'The config is not the one of the checkpoint, and resume has '
            f"on_change='error':\n{report.table()}\nRestore these values, or resume with "
            "on_change='warn'."
        )
    return report


def tell_changes(runner: Runner) -> None:
    """Log once what differs from the resumed checkpoint, and write it to the log folder."""
    report, runner.state.resume_report = runner.state.resume_report, None
    if report is None or not report.changes:
        return
    text = (
        f'The run differs from the checkpoint {report.source}, which it resumes. "used" says which '
        f'value it continues with:\n{report.table()}'
    )
    runner.logger.warning(text)
    if is_main_process():
        os.makedirs(runner.log_dir, exist_ok=True)
        for name, content in (
            ('resume_changes.txt', f'{text}\n'),
            ('resume_changes.json', f'{report.as_json()}\n'),
        ):
            with open(os.path.join(runner.log_dir, name), 'w', encoding='utf-8') as file:
                file.write(content)


def differences(
    then: Mapping[Any, Any], now: Mapping[Any, Any], prefix: str = ''
) -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted key, value then, value now) for all values that differ.

    Dicts are compared key by key, and lists that contain a dict item by item. Lists and tuples of
    equal items are equal. A long list, such as the samples of a dataset, is one value.
    """
    for key in [*now, *(key for key in then if key not in now)]:
        old, new = then.get(key, NOT_SET), now.get(key, NOT_SET)
        path = f'{prefix}{key}'
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f'{path}.')
        elif _is_data(old) or _is_data(new):
            if not _is_equal(old, new):
                yield path, _described(old), _described(new)
        elif _has_dicts(old) and _has_dicts(new):
            yield from differences(dict(enumerate(old)), dict(enumerate(new)), f'{path}.')
        elif not _is_equal(old, new):
            yield path, old, new


def _settings_then(meta: Any, report: ResumeReport) -> dict[str, Any] | None:
    meta = meta if isinstance(meta, Mapping) else {}
    text, arguments = meta.get('cfg') or '', meta.get('arguments') or ''
    if not isinstance(text, str) or not isinstance(arguments, str):
        report.why_not_compared = 'the config in the checkpoint is not text.'
        return None
    if not text and not arguments:
        report.why_not_compared = 'the checkpoint has no config.'
        return None
    try:
        then = read_settings(text, arguments)
    except ValueError as error:
        report.why_not_compared = str(error)
        return None
    if not any(key in then for key in _ENGINE_KEYS):
        report.why_not_compared = (
            f'it has none of {", ".join(_ENGINE_KEYS)}, so it is not a config of this engine.'
        )
        return None
    return then


def _normal(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without places and unset keys, with one form for what has several."""
    normal = {
        key: value
        for key, value in settings.items()
        if key not in _PLACES and value is not None and not key.startswith('_')
    }
    schedulers = normal.get('param_scheduler')
    if isinstance(schedulers, Mapping) and 'type' in schedulers:
        normal['param_scheduler'] = [schedulers]
    if not schedulers:
        normal.pop('param_scheduler', None)
    hooks = normal.get('custom_hooks')
    if isinstance(hooks, (list, tuple)):
        shown = [hook for hook in hooks if not _is_display(hook)]
        normal['custom_hooks'] = shown
        if not shown:
            del normal['custom_hooks']
    return normal


def _is_display(hook: Any) -> bool:
    """Whether the command line adds the hook, if it runs in a terminal."""
    return isinstance(hook, Mapping) and str(hook.get('type')).endswith('ProgressHook')


def _used(key: str, then: Mapping[str, Any], now: Mapping[str, Any], request: ResumeRequest) -> str:
    """Which of the two values the run goes on with."""
    parts = key.split('.')
    if parts[0] == 'param_scheduler':
        return request.schedule or 'config'
    if parts[0] == 'auto_scale_lr' or is_optimizer_option(parts):
        is_scheduled = parts[-1] == 'lr' and bool(now.get('param_scheduler'))
        if is_scheduled and request.schedule == 'checkpoint':
            return 'checkpoint'
        return request.optimizer or 'config'
    if parts[0] == 'randomness' and (now.get('randomness') or {}).get('seed') is None:
        return 'checkpoint' if parts[-1] in ('randomness', 'seed') else 'config'
    if parts[0] == 'optim_wrapper' and 'loss_scale' in parts:
        return 'config; an unchanged scale goes on from the checkpoint'
    if parts[0] == 'model':
        return 'config; weights from the checkpoint'
    return 'config'


def is_optimizer_option(parts: list[str]) -> bool:
    """Whether a key of the config sets options of parameter groups."""
    return parts[0] == 'optim_wrapper' and any(
        part in ('optimizer', 'paramwise_cfg', 'constructor') for part in parts[1:]
    )


def _written(runner: Runner, key: str, now: Any) -> str:
    if now is NOT_SET:
        return 'checkpoint'
    place = source_location(runner.cfg, key)
    if place is None and '.' in key:  # a single scheduler is compared as a list of one
        head, _, rest = key.partition('.0.')
        place = source_location(runner.cfg, f'{head}.{rest}') if rest else None
    return place or ('config' if key.partition('.')[0] in runner.cfg else 'argument')


def _is_data(value: Any) -> bool:
    """Whether a list has so many items that they are samples rather than settings."""
    return isinstance(value, (list, tuple)) and len(value) > _MOST_SETTINGS


def _described(value: Any) -> Any:
    """The number of items of a list, and a short hash of them."""
    if not isinstance(value, (list, tuple)):
        return value
    digest = hashlib.sha256(_ADDRESS.sub('', repr(list(value))).encode()).hexdigest()
    return f'{len(value)} items ({digest[:8]})'


def _has_dicts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value)


def _is_equal(one: Any, other: Any) -> bool:
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_is_equal, one, other))
    if isinstance(one, bool) is not isinstance(other, bool):
        return False
    if isinstance(one, str) and isinstance(other, str):
        return one == other or _ADDRESS.sub('', one) == _ADDRESS.sub('', other)
    return bool(one == other) or (one != one and other != other)
