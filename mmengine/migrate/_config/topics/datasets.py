"""Datasets: what is inside wrappers, several written as one, and what their rules say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.context import Config, Context
from mmengine.migrate._config.rules import suggestion, with_defaults
from mmengine.migrate._config.topics.by_rule import convert_by_rule
from mmengine.migrate._config.topics.pipelines import convert_pipeline
from mmengine.migrate._config.trace import edited

_WRAPPERS = ('RepeatDataset', 'ConcatDataset', 'ClassBalancedDataset', 'MultiImageMixDataset')


def convert_dataset(ctx: Context, key: str, dataset: Any) -> Any:
    """``dataset`` by the rules of the projects.

    Args:
        ctx: The conversion.
        key: Its dotted key: 'data.train' or below.
        dataset: A dataset, or a list of those that are concatenated.
    """
    if isinstance(dataset, (list, tuple)):
        if len(dataset) == 1:
            return convert_dataset(ctx, f'{key}.0', dataset[0])
        parts = [convert_dataset(ctx, f'{key}.{index}', one) for index, one in enumerate(dataset)]
        return {'type': 'ConcatDataset', 'datasets': edited(dataset, parts)}
    if not isinstance(dataset, Mapping):
        ctx.notes.error(key, f'a dataset is a dict with a type, got {dataset!r}.')
        return dataset
    several = _several(ctx, key, dataset)
    if several:
        return convert_dataset(ctx, key, several)
    new: Config = dict(dataset)
    for part in ('dataset', 'datasets'):
        if isinstance(new.get(part), (Mapping, list, tuple)):
            new[part] = _inside(ctx, f'{key}.{part}', new[part], is_list=part == 'datasets')
    if 'separate_eval' in new:
        _check_separate(ctx, key, new.pop('separate_eval'), dataset)
    for part in ('pipeline', 'format_pipeline'):
        if isinstance(new.get(part), (list, tuple)):
            new[part] = convert_pipeline(ctx, f'{key}.{part}', new[part], dataset)
    if isinstance(new.get('pipelines'), (list, tuple)):
        several_pipelines = [
            convert_pipeline(ctx, f'{key}.pipelines.{index}', one, dataset)
            for index, one in enumerate(new['pipelines'])
        ]
        new['pipelines'] = edited(new['pipelines'], several_pipelines)
    new = _by_rule(ctx, key, new)
    return dataset if new == dict(dataset) and list(new) == list(dataset) else edited(dataset, new)


def _inside(ctx: Context, key: str, inside: Any, *, is_list: bool) -> Any:
    if is_list and isinstance(inside, (list, tuple)):
        parts = [convert_dataset(ctx, f'{key}.{index}', one) for index, one in enumerate(inside)]
        return edited(inside, parts)
    return convert_dataset(ctx, key, inside)


def _by_rule(ctx: Context, key: str, dataset: Config) -> Config:
    kind = dataset.get('type')
    is_wrapper = kind in _WRAPPERS
    if not isinstance(kind, str) or (is_wrapper and kind not in ctx.rules.datasets):
        return dataset
    if kind not in ctx.rules.datasets:
        ctx.notes.todo(
            f'{key}.type',
            f'{kind} is in no rule: check its arguments. Left as it is.'
            f'{suggestion("datasets", kind)}',
        )
        return dataset
    stage = key.split('.')[1]
    changed = convert_by_rule(ctx, key, ctx.rules.datasets[kind], dataset, stage)
    if not isinstance(changed, Mapping):
        ctx.notes.error(f'{key}.type', f'the rule for {kind} gives no dataset.')
        return dataset
    if is_wrapper:
        return dict(changed)
    added = ctx.rules.train_dataset if stage == 'train' else ctx.rules.test_dataset
    return _within(changed, added)


def _within(dataset: Mapping[str, Any], defaults: Mapping[str, Any]) -> Config:
    """``dataset`` with what is not said of the datasets that read files, inside wrappers too."""
    if dataset.get('type') not in _WRAPPERS:
        return with_defaults(dataset, defaults)
    inner = dataset.get('dataset')
    if isinstance(inner, Mapping) and dataset.get('type') == 'RepeatDataset':
        return {**dataset, 'dataset': edited(inner, _within(inner, defaults))}
    return dict(dataset)


def _several(ctx: Context, key: str, dataset: Mapping[str, Any]) -> list[Config]:
    """The datasets that one with lists of annotation files or folders stands for; none for one."""
    lists = {
        name: dataset[name]
        for name in ctx.rules.listed or ()
        if isinstance(dataset.get(name), (list, tuple))
    }
    if not lists:
        return []
    lengths = {len(values) for values in lists.values()}
    if len(lengths) != 1 or 0 in lengths:
        ctx.notes.error(
            f'{key}.{next(iter(lists))}',
            'one dataset for each of a list, but these lists are of different lengths: '
            f'{", ".join(f"{name} has {len(values)}" for name, values in lists.items())}.',
        )
        return []
    separate = dataset.get('separate_eval', True)
    parts = []
    for index in range(lengths.pop()):
        one = {name: values[index] for name, values in lists.items()}
        part = {name: one.get(name, value) for name, value in dataset.items()}
        part.pop('separate_eval', None)
        parts.append(part)
    if len(parts) > 1 and not key.startswith('data.train'):
        _check_separate(ctx, key, separate, dataset)
    ctx.notes.info(f'{key}.{next(iter(lists))}', f'a list: {len(parts)} datasets, concatenated.')
    return parts


def _check_separate(ctx: Context, key: str, separate: Any, dataset: Mapping[str, Any]) -> None:
    if separate and not key.startswith('data.train'):
        ctx.notes.todo(
            f'{key}.separate_eval' if 'separate_eval' in dataset else key,
            'each dataset was evaluated on its own: here all are one. For values of each, give '
            'each a dataloader and an evaluator.',
        )
