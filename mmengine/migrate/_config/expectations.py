"""The kind of each value of a legacy config, so that an error names the key of a wrong one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Test = Callable[[Any], bool]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_whole(value) and value > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _is_dict(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _all(items: Test) -> Test:
    return lambda value: _is_list(value) and all(map(items, value))


def _is_typed(value: Any) -> bool:
    return _is_dict(value) and _is_text(value.get('type'))


def _is_pair(value: Any) -> bool:
    return _is_list(value) and len(value) == 2 and all(map(_is_whole, value))


def _is_step_of_workflow(value: Any) -> bool:
    return _is_list(value) and len(value) == 2 and _is_text(value[0]) and _is_whole(value[1])


_COUNT = (_is_count, 'a positive integer')
_TIMES = (lambda value: _is_count(value) or _is_dict(value), 'a positive integer')
_TIMES_OR_NEVER = (
    lambda value: _is_whole(value) or _is_dict(value),
    'a whole number, or a dict with milestones',
)
_WHOLE = (_is_whole, 'a whole number')
_FLAG = (_is_flag, 'True or False')
_DICT = (_is_dict, 'a dict')
_TEXT = (_is_text, 'a string')
_DATASET = (lambda value: _is_dict(value) or _all(_is_dict)(value), 'a dict with a type, or a list')
_SCALE = (
    lambda value: _is_number(value) or value == 'dynamic' or _is_dict(value),
    "a number, 'dynamic' or a dict for the scaler",
)

_KINDS: dict[str, tuple[Test, str]] = {
    'model': _DICT,
    'workflow': (_all(_is_step_of_workflow), "a list like [('train', 1)]"),
    'evaluation': _DICT,
    'evaluation.interval': _TIMES,
    'evaluation.start': _WHOLE,
    'evaluation.by_epoch': _FLAG,
    'evaluation.save_best': _TEXT,
    'evaluation.rule': (lambda value: value in ('greater', 'less'), "'greater' or 'less'"),
    'evaluation.dynamic_intervals': (_all(_is_pair), 'a list like [(10, 1)]'),
    'checkpoint_config': _DICT,
    'checkpoint_config.interval': _TIMES_OR_NEVER,
    'checkpoint_config.by_epoch': _FLAG,
    'checkpoint_config.max_keep_ckpts': _WHOLE,
    'log_config': _DICT,
    'log_config.interval': _COUNT,
    'log_config.hooks': (_all(_is_typed), 'a list of dicts with a type'),
    'custom_hooks': (_all(_is_dict), 'a list of dicts'),
    'optimizer': (_is_dict, 'a dict with a type'),
    'optimizer.constructor': _TEXT,
    'optimizer.paramwise_cfg': _DICT,
    'optimizers': (_is_dict, 'a dict of optimizers by name'),
    'optimizer_config': _DICT,
    'optimizer_config.type': _TEXT,
    'optimizer_config.grad_clip': _DICT,
    'optimizer_config.cumulative_iters': _COUNT,
    'optimizer_config.update_interval': _COUNT,
    'optimizer_config.loss_scale': _SCALE,
    'fp16': _DICT,
    'fp16.loss_scale': _SCALE,
    'data': (_is_dict, 'a dict with train, val and test'),
    'data.samples_per_gpu': _COUNT,
    'data.videos_per_gpu': _COUNT,
    'data.workers_per_gpu': _WHOLE,
    'data.train': _DATASET,
    'data.val': _DATASET,
    'data.test': _DATASET,
    'data.train_dataloader': _DICT,
    'data.val_dataloader': _DICT,
    'data.test_dataloader': _DICT,
    'dist_params': _DICT,
    'cudnn_benchmark': _FLAG,
    'mp_start_method': _TEXT,
    'opencv_num_threads': _WHOLE,
    'find_unused_parameters': _FLAG,
    'resume_from': _TEXT,
    'auto_resume': _FLAG,
    'seed': _WHOLE,
    'deterministic': _FLAG,
    'diff_seed': _FLAG,
}
"""None is allowed everywhere: a config says so that a key of its base is off."""


def wrong_values(legacy: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The dotted keys whose values are of another kind than MMCV took, each with a sentence."""
    for key, (is_right, words) in _KINDS.items():
        value = _at(legacy, key)
        if value is not None and not is_right(value):
            yield key, f'it is {words}, got {shown(value)}.'


def _at(config: Any, path: str) -> Any:
    for part in path.split('.'):
        if not isinstance(config, Mapping):
            return None
        config = config.get(part)
    return config


def shown(value: Any) -> str:
    """A short form of ``value`` for a message."""
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'
