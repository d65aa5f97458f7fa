"""Validation records: small files with the changes of a validation, next to its checkpoint.

A checkpoint is written before the validation that is due at the same point, so that a failure
during a long validation does not lose training. Then ``meta['validation_due']`` is True in the
checkpoint. The validation changes no tensor of the checkpoint: it changes schedules and hooks that
learn from metrics, and the message hub. The record contains these changes, and reading the
checkpoint merges the record into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RECORD_SUFFIX = '.after_val'
_NOT_RECORDED = ('params',)


def make_record(
    *,
    meta: Mapping[str, Any],
    param_schedulers: Any,
    optimizer: Mapping[str, Any] | None,
    hooks: Mapping[str, Any],
    message_hub: Mapping[str, Any],
) -> dict[str, Any]:
    """The record of one validation; ``save_id`` is added for each checkpoint that it belongs to.

    Args:
        meta: Entries that replace entries of the checkpoint.
        param_schedulers: State of all schedulers.
        optimizer: The result of :func:`hyperparameters_of`.
        hooks: State of all hooks.
        message_hub: State of the message hub; histories that only training changes are removed.
    """
    scalars = {
        key: history
        for key, history in message_hub['log_scalars'].items()
        if not key.startswith('train/')
    }
    return {
        'meta': dict(meta),
        'param_schedulers': param_schedulers,
        'optimizer': None if optimizer is None else dict(optimizer),
        'hooks': dict(hooks),
        'message_hub': {**message_hub, 'log_scalars': scalars},
    }


def end_record(save_id: str) -> dict[str, Any]:
    """A record that can only add entries to ``meta`` of the checkpoint ``save_id``."""
    return {'save_id': save_id, 'meta': {}}


def hyperparameters_of(optim_wrapper: Any) -> dict[str, Any]:
    """Learning rate, momentum and similar options of each parameter group, by optimizer name."""
    if hasattr(optim_wrapper, 'optim_wrappers'):
        return {
            'by_name': {
                name: hyperparameters_of(wrapper)
                for name, wrapper in optim_wrapper.optim_wrappers.items()
            }
        }
    base = getattr(optim_wrapper, 'base_param_settings', None)
    return {
        'param_groups': [_settings(group) for group in optim_wrapper.optimizer.param_groups],
        'base_param_settings': None if base is None else _settings(base),
    }


def merge_record(checkpoint: Any, record: Mapping[str, Any]) -> None:
    """Change ``checkpoint`` in place, as if it had been written after the validation.

    A record that belongs to another file, left over from an earlier run, is ignored.
    """
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get('meta'), dict):
        return
    save_id = record.get('save_id')
    if save_id is None or save_id != checkpoint['meta'].get('save_id'):
        return
    checkpoint['meta'].update(record['meta'])
    if 'hooks' not in record:
        return
    checkpoint['hooks'] = record['hooks']
    if 'param_schedulers' in checkpoint:
        checkpoint['param_schedulers'] = record['param_schedulers']
    if 'message_hub' in checkpoint:
        for part in ('log_scalars', 'runtime_info', 'resumed_keys'):
            checkpoint['message_hub'][part].update(record['message_hub'][part])
    if 'optimizer' in checkpoint and record['optimizer'] is not None:
        _merge_hyperparameters(checkpoint['optimizer'], record['optimizer'])


def _merge_hyperparameters(state: dict[str, Any], recorded: Mapping[str, Any]) -> None:
    if 'by_name' in recorded:
        for name, part in recorded['by_name'].items():
            if name in state:
                _merge_hyperparameters(state[name], part)
        return
    for group, settings in zip(
        state.get('param_groups', []), recorded['param_groups'], strict=False
    ):
        group.update(settings)
    if recorded['base_param_settings'] is not None and 'base_param_settings' in state:
        state['base_param_settings'].update(recorded['base_param_settings'])


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key not in _NOT_RECORDED}
