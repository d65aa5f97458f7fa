"""``data`` to ``*_dataloader``, and with ``evaluation`` to ``*_evaluator``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.context import Config, Context, inner_datasets
from mmengine.migrate._config.rules import build_metric, keys_of_metric
from mmengine.migrate._config.topics import loop, recording
from mmengine.migrate._config.topics.by_rule import convert_by_rule
from mmengine.migrate._config.topics.datasets import convert_dataset
from mmengine.migrate._config.topics.metrics import note_unused_metrics
from mmengine.migrate._config.trace import edited, plain

CONSUMES = ('data', 'evaluation')

_BATCH = ('samples_per_gpu', 'videos_per_gpu')
_STAGES = ('train', 'val', 'test')
_LOADER_KEYS = (
    'persistent_workers', 'drop_last', 'pin_memory', 'prefetch_factor', 'timeout',
    'multiprocessing_context', 'num_batch_per_epoch',
)  # fmt: skip
_RUNNING = (
    'type', 'interval', 'by_epoch', 'start', 'dynamic_intervals', 'save_best', 'rule',
    'greater_keys', 'less_keys', 'gpu_collect', 'pre_eval', 'broadcast_bn_buffer', 'tmpdir',
    'out_dir', 'file_client_args', *recording.OLDER_NAMES_OF_BEST,
)  # fmt: skip
_EVAL_HOOKS = ('EvalHook', 'DistEvalHook')


def convert_data(ctx: Context) -> Config:
    """Dataloaders, their loops' empty configs, and evaluators."""
    data = ctx.legacy.get('data')
    if data is None:
        _leave_evaluation(ctx, [])
        return {}
    if not isinstance(data, Mapping):
        ctx.notes.error('data', f'it is a dict with train, val and test, got {data!r}.')
        return {}
    converted: Config = {}
    for stage in _STAGES:
        if data.get(stage) is not None:
            converted[f'{stage}_dataloader'] = _dataloader(ctx, data, stage)
    # A test set without annotations is not told apart: MMCV's test script took --eval or not.
    evaluation = ctx.legacy.get('evaluation')
    for stage in ('val', 'test'):
        if f'{stage}_dataloader' not in converted:
            continue
        is_untold = evaluation is None and stage == 'val' and ctx.length is not None
        if is_untold and not _validated(ctx):
            del converted['val_dataloader']
            continue
        converted[f'{stage}_cfg'] = {}
        converted[f'{stage}_evaluator'] = _evaluator(ctx, data, stage)
    known: tuple[str, ...] = (*_BATCH, 'workers_per_gpu', *_STAGES, *_LOADER_KEYS, 'sampler')
    known += tuple(f'{stage}_dataloader' for stage in _STAGES)
    ctx.leave('data', {key: value for key, value in data.items() if key not in known})
    _leave_evaluation(ctx, [converted.get(f'{stage}_evaluator') for stage in ('val', 'test')])
    return converted


def _validated(ctx: Context) -> bool:
    """Whether a config without ``evaluation`` validated, which its project's script decided."""
    if not loop.validates_unasked(ctx):
        served = ' Its data served workflow.' if loop.has_val_step(ctx) else ''
        text = f'there is no evaluation: the validation never ran.{served}'
        ctx.notes.info('data.val', text)
        return False
    unit = 'epoch' if ctx.length is None or ctx.length.by_epoch else 'iteration'
    text = f'there is no evaluation: the validation ran after each {unit}, with interval 1.'
    if ctx.rules.validates_by_default is None:
        text = (
            'there is no evaluation. Scripts that read cfg.get("evaluation", {}) validated after '
            f'each {unit}: kept so. If yours did not, take out val_dataloader, val_cfg and '
            'val_evaluator.'
        )
    ctx.notes.info('data.val', text)
    return True


def _dataloader(ctx: Context, data: Mapping[str, Any], stage: str) -> Config:
    key = f'data.{stage}'
    own = data.get(f'{stage}_dataloader')
    own = dict(own) if isinstance(own, Mapping) else {}
    dataset = data[stage]
    size, workers = _sizes(ctx, data, own, stage)
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
    sampler = _sampler(ctx, data, own, stage, shuffle)
    for name in list(own):
        if name in _LOADER_KEYS:
            loader[name] = own.pop(name)
        else:
            ctx.notes.todo(
                f'data.{stage}_dataloader.{name}',
                f'kept as an argument of the DataLoader; check that it takes {name}.',
            )
    loader |= own
    for name in ('persistent_workers', 'prefetch_factor'):
        if name in loader and not workers:
            # torch takes these with workers only.
            del loader[name]
    loader['sampler'] = sampler
    loader['dataset'] = convert_dataset(ctx, key, dataset)
    return loader


def _sampler(ctx: Context, data: Mapping[str, Any], own: Config, stage: str, shuffle: bool) -> Any:
    """The sampler: the stage's own, or the one that training had from ``data``; projects had
    several names for it."""
    key = f'data.{stage}_dataloader.sampler'
    given = own.pop('sampler', own.pop('sampler_cfg', None))
    aware = own.pop('class_aware_sampler', None)
    if given is None and isinstance(aware, Mapping):
        given = {'type': 'ClassAwareSampler', **aware}
    if given is None and stage == 'train' and data.get('sampler') is not None:
        key, given = 'data.sampler', data['sampler']
    if given is None:
        return {'type': 'DefaultSampler', 'shuffle': shuffle}
    kind = given.get('type') if isinstance(given, Mapping) else None
    if kind not in ctx.rules.samplers:
        ctx.notes.todo(key, 'an own sampler: check its arguments.')
        return given
    return convert_by_rule(ctx, key, ctx.rules.samplers[kind], given, stage)


def _sizes(
    ctx: Context, data: Mapping[str, Any], own: Mapping[str, Any], stage: str
) -> tuple[Any, Any]:
    given = next((own[name] for name in _BATCH if name in own), None)
    shared = ctx.rules.same_batch_size or stage == 'train' or 'videos_per_gpu' in data
    if given is None and shared:
        given = next((data[name] for name in _BATCH if name in data), None)
    workers = own.get('workers_per_gpu', data.get('workers_per_gpu', 0))
    return (1 if given is None else given), workers


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
    datasets = list(inner_datasets(data[stage]))
    files = {repr(one[name]) for one in datasets for name in ('ann_file',) if name in one}
    if rule.get('test_cfg'):
        # The model had its metrics there.
        evaluation = {**_test_cfg(ctx), **evaluation}
    metric = build_metric(rule, evaluation, datasets[0] if datasets else {})
    if len(files) > 1 and isinstance(metric, dict) and 'ann_file' in metric:
        ctx.notes.todo(
            f'data.{stage}',
            f'several datasets: {metric["type"]} reads the annotations of the first alone.',
        )
    if evaluation.get('gpu_collect') and isinstance(metric, dict):
        metric['collect_device'] = 'gpu'
    return metric


def _test_cfg(ctx: Context) -> Mapping[str, Any]:
    model = ctx.legacy.get('model')
    given = ctx.legacy.get('test_cfg')
    if given is None and isinstance(model, Mapping):
        given = model.get('test_cfg')
    return given if isinstance(given, Mapping) else {}


def _leave_evaluation(ctx: Context, evaluators: list[Any]) -> None:
    evaluation = ctx.legacy.get('evaluation')
    if evaluation is None:
        return
    if not isinstance(evaluation, Mapping):
        ctx.notes.error('evaluation', f'it is a dict, got {evaluation!r}.')
        return
    kind = evaluation.get('type')
    if kind is not None and kind not in (*_EVAL_HOOKS, *ctx.rules.eval_hooks):
        ctx.notes.todo('evaluation.type', f'{kind} is an own hook; validation is the ValLoop now.')
    rule = ctx.metric_rule()
    taken: tuple[str, ...] = (*_RUNNING, *keys_of_metric(rule))
    if kind is not None and kind not in (*_EVAL_HOOKS, *ctx.rules.eval_hooks):
        taken = tuple(key for key in taken if key != 'type')
    asked = {
        key: evaluation[key] for key in keys_of_metric(rule) if evaluation.get(key) is not None
    }
    note_unused_metrics(ctx, asked, evaluators)
    for key in ('out_dir', 'file_client_args'):
        if evaluation.get(key) is not None:
            ctx.notes.info(
                f'evaluation.{key}',
                'default_hooks.checkpoint tells where the best checkpoint is written; it was '
                f'{plain(evaluation[key])!r}.',
            )
    rest = {key: value for key, value in evaluation.items() if key not in taken}
    why = 'no rule tells which argument of a metric it became; left in place.'
    ctx.leave('evaluation', rest, why)
