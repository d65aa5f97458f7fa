"""Checks the dataloaders and evaluators of a config, and the files that datasets read."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from mmengine._checkpoint.files import check_is_there
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.dataset._bad_samples import BadSamplePolicy
from mmengine.dataset._limited import checked_limit
from mmengine.dataset._usable import fault_of_class, is_counted
from mmengine.evaluator import Evaluator
from mmengine.evaluator._common_metrics import config_of
from mmengine.registry import DATA_SAMPLERS, DATASETS, EVALUATOR, FUNCTIONS, METRICS
from mmengine.runner._build import named_parts
from mmengine.runner._check.mistakes import Findings
from mmengine.runner._check.parts import Parts, is_of, nearest, raw_get, raw_items
from mmengine.runner._values import misfits_of_loader
from mmengine.runner._worker_options import OF_WORKERS
from mmengine.utils.errors import ArgumentError, did_you_mean, short_form

OF_BUILDER = (
    'num_batch_per_epoch', 'limit_batches', 'on_bad_sample', 'disable_subprocess_warning',
)  # fmt: skip
_GIVEN = {'sampler': ('dataset', 'seed'), 'batch_sampler': ('sampler', 'batch_size')}
_PLAIN = (bool, int, float, str, type(None))
_READERS: dict[str, Callable[[Any], Any]] = {
    'limit_batches': partial(checked_limit, 'limit_batches'),
    'on_bad_sample': BadSamplePolicy.of,
}
LEAST = {'batch_size': 1, 'num_batch_per_epoch': 1, 'num_workers': 0}


def check_data(cfg: Config, stage: str, parts: Parts, findings: Findings) -> None:
    """Check the dataloader and the evaluator of ``stage``: 'train', 'val' or 'test'."""
    loader, evaluator = (raw_get(cfg, f'{stage}_{part}') for part in ('dataloader', 'evaluator'))
    if stage == 'train':
        check_dataloader(loader, 'train_dataloader', parts, findings)
        return
    try:
        several = named_parts(loader, evaluator, stage) if loader and evaluator else None
    except ArgumentError as error:
        findings.add(f'{stage}_dataloader', str(error))
        return
    if several is None:
        check_dataloader(loader, f'{stage}_dataloader', parts, findings)
        check_evaluator(evaluator, f'{stage}_evaluator', parts, findings)
        return
    for name, one in several[0].items():
        check_dataloader(one, f'{stage}_dataloader.{name}', parts, findings)
        check_evaluator(several[1][name], f'{stage}_evaluator.{name}', parts, findings)


def check_dataloader(loader: Any, path: str, parts: Parts, findings: Findings) -> None:
    """Check one dataloader; an object is taken as it is."""
    if loader is None or isinstance(loader, DataLoader):
        return
    if not isinstance(loader, Mapping):
        findings.add(path, f'a dataloader is a dict, got {type(loader).__name__}.')
        return
    for found in misfits_of_loader(loader, path):
        findings.add_once(path, found.message, key=found.key)
    known = [*inspect.signature(DataLoader).parameters, *OF_BUILDER]
    for key, value in raw_items(loader):
        if key not in known:
            message = f'a dataloader has no key {key!r}.{did_you_mean(str(key), known, limit=1)}'
            findings.add(path, message, key=str(key))
        elif key in LEAST and value is not None:
            check_number(findings, path, key, value, LEAST[key])
        elif key in _READERS and value is not None:
            ask(value, path, _READERS[key], findings, key=key)
    dataset = raw_get(loader, 'dataset')
    if dataset is None and 'dataset' not in loader:
        findings.add(path, 'a dataloader needs a dataset.')
    kind = parts.check(dataset, f'{path}.dataset', DATASETS)
    _check_samples(loader, kind, path, findings)
    check_annotations(dataset, kind, f'{path}.dataset', findings)
    for key, given in _GIVEN.items():
        parts.check(raw_get(loader, key), f'{path}.{key}', DATA_SAMPLERS, given=given)
    for key in ('collate_fn', 'worker_init_fn'):
        _check_function(raw_get(loader, key), path, key, findings)
    _check_together(loader, kind or type(dataset), path, parts)


def _check_together(loader: Mapping[Any, Any], kind: Any, path: str, parts: Parts) -> None:
    """Let torch say which settings do not go together, with data without a meaning."""
    chosen: dict[str, Any] = dict.fromkeys((*OF_BUILDER, 'collate_fn', 'worker_init_fn'), ...)
    if not raw_get(loader, 'num_workers'):
        chosen |= dict.fromkeys(OF_WORKERS, ...)
    if isinstance(kind, type) and issubclass(kind, IterableDataset):
        return
    if raw_get(loader, 'batch_sampler') is not None:
        chosen |= {'batch_sampler': [[0]], 'batch_size': ..., 'sampler': ...}
    elif raw_get(loader, 'sampler') is not None:
        chosen['sampler'] = [0]
    plain = {key: value for key, value in raw_items(loader) if isinstance(value, _PLAIN)}
    parts.construct(plain, path, DataLoader, **{**chosen, 'dataset': [0]})


def ask(
    value: Any, path: str, read: Callable[[Any], Any], findings: Findings, *, key: str = ''
) -> None:
    """Add a mistake if the function that reads a value refuses it."""
    try:
        read(value)
    except (ValueError, TypeError, KeyError) as error:
        words = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        inner = value if isinstance(value, Mapping) else {}
        wrong = next((str(name) for name, _ in raw_items(inner) if str(name) in words), '')
        findings.add(path, words, key=key or wrong)


def _check_samples(loader: Any, kind: Any, path: str, findings: Findings) -> None:
    """Check that a class of datasets has samples, and their number where it is needed."""
    if not isinstance(kind, type):
        return
    fault = fault_of_class(kind, is_counted=is_counted(loader))
    if fault is not None:
        findings.add(path, fault, key='dataset')


def check_number(findings: Findings, path: str, key: str, value: Any, least: int) -> None:
    """Add a mistake if ``value`` is not an integer of at least ``least``."""
    is_whole = isinstance(value, float) and value.is_integer()
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if not (is_integer or is_whole) or value < least:
        kind = 'a positive integer' if least == 1 else f'an integer of at least {least}'
        findings.add(path, f'{key} must be {kind}, got {value!r}.', key=key)


def _check_function(function: Any, path: str, key: str, findings: Findings) -> None:
    kind = raw_get(function, 'type') if isinstance(function, Mapping) else function
    if isinstance(function, Mapping) and kind is None:
        findings.add(path, f'{key} needs a type.', key=key)
    elif isinstance(kind, (bool, int, float, list, tuple)):
        got = short_form(kind)
        findings.add(
            path, f'{key} is a function, its name, or a dict with a type; got {got}.', key=key
        )
    if isinstance(kind, str) and FUNCTIONS.get(kind) is None:
        near = did_you_mean(kind, FUNCTIONS.module_dict, limit=1)
        findings.add(
            path, f'{key}: no function {kind!r} is registered in FUNCTIONS.{near}', key=key
        )


def check_evaluator(evaluator: Any, path: str, parts: Parts, findings: Findings) -> None:
    """Check an evaluator: one metric, a list of metrics, or a config with ``metrics``."""
    if isinstance(evaluator, (list, tuple)):
        for index, metric in enumerate(evaluator):
            _check_metric(metric, f'{path}.{index}', parts)
        return
    if not isinstance(evaluator, Mapping):
        _check_metric(evaluator, path, parts)
        return
    kind = raw_get(evaluator, 'type')
    found = EVALUATOR.get(kind) if isinstance(kind, str) else kind
    if 'metrics' in evaluator:
        parts.check(evaluator, path, EVALUATOR, default_type='Evaluator', skip=('metrics',))
        check_evaluator(raw_get(evaluator, 'metrics'), f'{path}.metrics', parts, findings)
    elif isinstance(found, type) and issubclass(found, Evaluator):
        parts.check(evaluator, path, EVALUATOR)
    else:
        _check_metric(evaluator, path, parts)


def _check_metric(metric: Any, path: str, parts: Parts) -> None:
    if isinstance(metric, str):
        metric = config_of(metric)
    kind = parts.check(metric, path, METRICS)
    if is_of(kind, 'mmengine.evaluator'):
        parts.construct(metric, path, kind)


def check_annotations(dataset: Any, kind: Any, path: str, findings: Findings) -> None:
    """Add a mistake if the annotation file of a ``BaseDataset`` is not there."""
    if not isinstance(dataset, Mapping) or not isinstance(kind, type):
        return
    if not issubclass(kind, BaseDataset) or raw_get(dataset, 'lazy_init'):
        return
    if any(getattr(kind, name) is not getattr(BaseDataset, name) for name in ('__init__',
           '_join_prefix', 'load_data_list', 'full_init')):  # fmt: skip
        return
    ann_file, root = raw_get(dataset, 'ann_file'), raw_get(dataset, 'data_root') or ''
    if not isinstance(ann_file, str) or not ann_file or not isinstance(root, str):
        return
    if '://' in ann_file or '://' in root or os.path.exists(os.path.join(root, ann_file)):
        return
    whole = Path(root, ann_file)
    names = [each.name for each in whole.parent.iterdir()] if whole.parent.is_dir() else []
    near = nearest(whole.name, names)
    hint = f' Did you mean {near!r}?' if near else ''
    where = '' if whole.parent.is_dir() else f' There is no folder {str(whole.parent)!r}.'
    findings.add(path, f'ann_file {str(whole)!r} is not there.{where}{hint}', key='ann_file')


def check_checkpoint(value: Any, path: str, findings: Findings) -> None:
    """Add a mistake if a local checkpoint is not there."""
    if not isinstance(value, str) or '://' in value:
        return
    try:
        check_is_there(value)
    except FileNotFoundError as error:
        findings.add(path, ': '.join(str(each) for each in (error.args[-1:] or [error])))
