"""``data`` to ``*_dataloader``, and with ``evaluation`` to ``*_evaluator``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate.config.context import Config, Context
from mmengine.migrate.config.pipelines import convert_pipeline
from mmengine.migrate.config.rules import apply_rule, suggestion
from mmengine.migrate.config.trace import edited

CONSUMES = ('data', 'evaluation')

_BATCH = ('samples_per_gpu', 'videos_per_gpu')
_STAGES = ('train', 'val', 'test')
_LOADER_KEYS = (
    'persistent_workers', 'drop_last', 'pin_memory', 'prefetch_factor', 'timeout',
    'multiprocessing_context',
    'num_batch_per_epoch',
)  # fmt: skip
_WRAPPERS = ('RepeatDataset', 'ConcatDataset', 'ClassBalancedDataset')
_RUNNING = (
    'type', 'interval', 'by_epoch', 'start', 'dynamic_intervals', 'save_best', 'rule',
    'greater_keys',
    'less_keys', 'gpu_collect', 'pre_eval', 'broadcast_bn_buffer', 'tmpdir',
)  # fmt: skip
_EVAL_HOOKS = ('EvalHook', 'DistEvalHook')


def convert_data(ctx: Context) -> Config:
    """Dataloaders, their loops' empty configs, and evaluators."""
    data = ctx.legacy.get('data')
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        ctx.notes.error('data', f'it is a dict with train, val and test, got {data!r}.')
        return {}
    converted: Config = {}
    for stage in _STAGES:
        if data.get(stage) is not None:
            converted[f'{stage}_dataloader'] = _dataloader(ctx, data, stage)
    # A test set without annotations is not told apart: MMCV's test script was asked for --eval or
    # not.
    evaluation = ctx.legacy.get('evaluation')
    for stage in ('val', 'test'):
        if f'{stage}_dataloader' not in converted:
            continue
        if evaluation is None and stage == 'val' and ctx.length is not None:
            ctx.notes.info('data.val', 'there is no evaluation: the validation never ran.')
            del converted['val_dataloader']
            continue
        converted[f'{stage}_cfg'] = {}
        converted[f'{stage}_evaluator'] = _evaluator(ctx, data, stage)
    known: tuple[str, ...] = (*_BATCH, 'workers_per_gpu', *_STAGES, *_LOADER_KEYS)
    known += tuple(f'{stage}_dataloader' for stage in _STAGES)
    ctx.leave('data', {key: value for key, value in data.items() if key not in known})
    _leave_evaluation(ctx)
    return converted


def _dataloader(ctx: Context, data: Mapping[str, Any], stage: str) -> Config:
    key = f'data.{stage}'
    own = data.get(f'{stage}_dataloader')
    own = dict(own) if isinstance(own, Mapping) else {}
    dataset = data[stage]
    size, workers = _sizes(data, own, stage)
    if isinstance(dataset, Mapping):
        inside = [name for name in (*_BATCH, 'workers_per_gpu') if name in dataset]
        if inside:
            rest = {name: value for name, value in dataset.items() if name not in inside}
            size = next((dataset[name] for name in _BATCH if name in dataset), size)
            workers = dataset.get('workers_per_gpu', workers)
            dataset = edited(dataset, rest)
    loader: Config = {'batch_size': size, 'num_workers': workers}
    shared = {name: data[name] for name in _LOADER_KEYS if name in data}
    project = ctx.rules.train_dataloader if stage == 'train' else ctx.rules.val_dataloader
    loader |= {**project, **shared}
    shuffle = own.pop('shuffle', stage == 'train')
    for name in (*_BATCH, 'workers_per_gpu'):
        own.pop(name, None)
    sampler = own.pop('sampler', None)
    for name in list(own):
        if name in _LOADER_KEYS:
            loader[name] = own.pop(name)
        else:
            ctx.notes.todo(
                f'data.{stage}_dataloader.{name}',
                f'kept as an argument of the DataLoader; check that it takes {name}.',
            )
    loader |= own
    if sampler is not None:
        ctx.notes.todo(f'data.{stage}_dataloader.sampler', 'an own sampler: check its arguments.')
    if loader.get('persistent_workers') and not workers:
        del loader['persistent_workers']
    loader['sampler'] = sampler or {'type': 'DefaultSampler', 'shuffle': shuffle}
    loader['dataset'] = _dataset(ctx, key, dataset)
    return loader


def _sizes(data: Mapping[str, Any], own: Mapping[str, Any], stage: str) -> tuple[Any, Any]:
    given = next((own[name] for name in _BATCH if name in own), None)
    if given is None and (stage == 'train' or 'videos_per_gpu' in data):
        given = next((data[name] for name in _BATCH if name in data), None)
    workers = own.get('workers_per_gpu', data.get('workers_per_gpu', 0))
    return (1 if given is None else given), workers


def _dataset(ctx: Context, key: str, dataset: Any) -> Any:
    if isinstance(dataset, (list, tuple)):
        if len(dataset) == 1:
            return _dataset(ctx, f'{key}.0', dataset[0])
        parts = [_dataset(ctx, f'{key}.{index}', one) for index, one in enumerate(dataset)]
        return {'type': 'ConcatDataset', 'datasets': edited(dataset, parts)}
    if not isinstance(dataset, Mapping):
        ctx.notes.error(key, f'a dataset is a dict with a type, got {dataset!r}.')
        return dataset
    kind = dataset.get('type')
    new: Config = dict(dataset)
    if 'dataset' in new:
        new['dataset'] = _dataset(ctx, f'{key}.dataset', new['dataset'])
    if 'datasets' in new and isinstance(new['datasets'], (list, tuple)):
        new['datasets'] = edited(
            dataset['datasets'],
            [_dataset(ctx, f'{key}.datasets.{i}', one) for i, one in enumerate(new['datasets'])],
        )
    if kind == 'ConcatDataset' and 'separate_eval' in new:
        separate = new.pop('separate_eval')
        if separate:
            ctx.notes.todo(
                f'{key}.separate_eval', 'give one dataloader and evaluator each, as a dict by name.'
            )
    if isinstance(new.get('pipeline'), (list, tuple)):
        new['pipeline'] = convert_pipeline(ctx, f'{key}.pipeline', new['pipeline'])
    if isinstance(kind, str) and kind in ctx.rules.datasets:
        changed = apply_rule(ctx.rules.datasets[kind], new)
        if not isinstance(changed, Mapping):
            ctx.notes.error(f'{key}.type', f'the rule for {kind} gives no dataset.')
            return dataset
        new = dict(changed)
        if key.startswith(('data.val', 'data.test')) and kind not in _WRAPPERS:
            for name, value in ctx.rules.test_dataset.items():
                new.setdefault(name, value)
    elif isinstance(kind, str) and kind not in _WRAPPERS:
        ctx.notes.todo(
            f'{key}.type',
            f'{kind} is in no rule: check its arguments. Left as it is.'
            f'{suggestion("datasets", kind)}',
        )
    return dataset if new == dict(dataset) and list(new) == list(dataset) else edited(dataset, new)


def _evaluator(ctx: Context, data: Mapping[str, Any], stage: str) -> Any:
    evaluation = ctx.legacy.get('evaluation')
    evaluation = evaluation if isinstance(evaluation, Mapping) else {}
    rule = ctx.metric_rule()
    if rule is None:
        if stage == 'val':
            asked = evaluation.get('metric', evaluation.get('metrics'))
            ctx.notes.todo(
                'evaluation',
                f'no rule tells which metric class stands for {asked!r}: val_evaluator and '
                'test_evaluator are empty lists; add it there.',
            )
        return []
    dataset = data[stage]
    while isinstance(dataset, (list, tuple)) and dataset:
        dataset = dataset[0]
    metric = rule['build'](evaluation, dataset if isinstance(dataset, Mapping) else {})
    if 'type' in rule and isinstance(metric, dict):
        metric['type'] = rule['type']
    if evaluation.get('gpu_collect') and isinstance(metric, dict):
        metric['collect_device'] = 'gpu'
    return metric


def _leave_evaluation(ctx: Context) -> None:
    evaluation = ctx.legacy.get('evaluation')
    if evaluation is None:
        return
    if not isinstance(evaluation, Mapping):
        ctx.notes.error('evaluation', f'it is a dict, got {evaluation!r}.')
        return
    kind = evaluation.get('type')
    if kind is not None and kind not in _EVAL_HOOKS:
        ctx.notes.todo('evaluation.type', f'{kind} is an own hook; validation is the ValLoop now.')
    rule = ctx.metric_rule()
    taken: tuple[str, ...] = (*_RUNNING, *(rule['takes'] if rule else ()))
    if kind is not None and kind not in _EVAL_HOOKS:
        taken = tuple(key for key in taken if key != 'type')
    rest = {key: value for key, value in evaluation.items() if key not in taken}
    why = 'no rule tells which argument of a metric it became; left in place.'
    ctx.leave('evaluation', rest, why)
