"""From configs to the parts of a run: plain functions of their arguments."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch.utils.data import DataLoader, Dataset, IterableDataset

from mmengine.config import placed
from mmengine.dataset import DefaultSampler, worker_init_fn
from mmengine.dataset._bad_samples import BadSamplePolicy
from mmengine.dataset._limited import FirstBatches, checked_limit, limited_loader
from mmengine.dataset._sample_order import skip_bad_samples
from mmengine.dataset._usable import fault_of, is_counted
from mmengine.dist._data_parallel import get_data_parallel_info
from mmengine.evaluator import Evaluator
from mmengine.registry import DATA_SAMPLERS, DATASETS, EVALUATOR, FUNCTIONS, LOOPS
from mmengine.runner._worker_options import drop_worker_options
from mmengine.runner.base_loop import BaseLoop
from mmengine.runner.utils import as_positive
from mmengine.utils.errors import ArgumentError, ArgumentTypeError, did_you_mean


class _SlicedDataset:
    """The first ``length`` samples of a dataset."""

    def __init__(self, dataset: Any, length: int) -> None:
        self._dataset = dataset
        self._length = length

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or name == '_dataset':
            raise AttributeError(name)
        return getattr(self._dataset, name)

    def __getitem__(self, idx: int) -> Any:
        return self._dataset[idx]

    def __len__(self) -> int:
        return self._length


def build_dataloader(
    dataloader: DataLoader[Any] | Mapping[str, Any],
    seed: int | None = None,
    diff_rank_seed: bool = False,
) -> DataLoader[Any]:
    """A dataloader from its config; an object is returned as it is.

    Args:
        dataloader: ``dataset`` and ``batch_size``, and where wanted ``sampler``, ``batch_sampler``,
            ``collate_fn`` (``pseudo_collate`` by default), ``worker_init_fn``,
            ``num_batch_per_epoch`` (whole batches of the first samples, or of ``batch_sampler``),
            ``limit_batches`` (the first batches of each pass over all samples: a number, or a
            share such as 0.1),
            ``on_bad_sample`` ('raise', or 'skip' to load another sample where one raises; see
            :class:`BadSamplePolicy`), ``disable_subprocess_warning`` and any argument of
            ``torch.utils.data.DataLoader``.
        seed: For the sampler's shuffling and the workers.
        diff_rank_seed: The sampler draws its own seed.

    Raises:
        KeyError: If there is no ``dataset``.
        TypeError: If DataLoader has no argument of that name, a part is of a wrong kind, or the
            dataset has no samples to index.
        ArgumentError: If ``num_batch_per_epoch`` is not a positive integer, or the dataset has no
            length; or if ``limit_batches`` is neither a number nor a share.
    """
    if isinstance(dataloader, DataLoader):
        return dataloader
    if not isinstance(dataloader, Mapping):
        raise TypeError(f'A dataloader is a DataLoader or a dict, got {type(dataloader).__name__}.')
    options = copy.copy(dict(dataloader))
    if 'dataset' not in options:
        raise KeyError(f'A dataloader config needs a dataset; this one has {sorted(options)}.')
    dataset = _build_dataset(options.pop('dataset'))
    fault = fault_of(dataset, is_counted=is_counted(options))
    if fault is not None:
        raise ArgumentTypeError(fault)
    num_batches = options.pop('num_batch_per_epoch', None)
    if num_batches is not None:
        num_batches = as_positive('num_batch_per_epoch', num_batches)
    limit = options.pop('limit_batches', None)
    if limit is not None:
        limit = checked_limit('limit_batches', limit)
    is_quiet = options.pop('disable_subprocess_warning', False)
    bad_samples = BadSamplePolicy.of(options.pop('on_bad_sample', 'raise'))
    if num_batches is not None and options.get('batch_sampler') is None:
        dataset = _first_samples(dataset, num_batches, options.get('batch_size', 1))
    _build_samplers(options, dataset, None if diff_rank_seed else seed)
    if num_batches is not None and 'batch_sampler' in options:
        options['batch_sampler'] = FirstBatches(options['batch_sampler'], num_batches)
    drop_worker_options(options)
    options['worker_init_fn'] = _build_worker_init(options, seed, is_quiet)
    options['collate_fn'] = _build_collate(options.get('collate_fn', {'type': 'pseudo_collate'}))
    try:
        built: DataLoader[Any] = (
            DataLoader(dataset=dataset, **options)
            if limit is None
            else limited_loader(limit, dataset, options)
        )
    except TypeError as error:
        raise _explained(error, options) from error
    if bad_samples.policy == 'skip':
        skip_bad_samples(built, bad_samples)
    return built


def build_evaluator(evaluator: Evaluator | Mapping[str, Any] | str | Sequence[Any]) -> Evaluator:
    """An evaluator from an object, one metric, a list of metrics, the name of a metric, or a config
    with ``metrics`` or its own ``type``.

    Raises:
        TypeError: If it is none of these.
    """
    if isinstance(evaluator, Evaluator):
        return evaluator
    if isinstance(evaluator, Mapping):
        if 'metrics' in evaluator:
            built: Evaluator = EVALUATOR.build(placed(evaluator, type='Evaluator'))
            return built
        if _names_an_evaluator(evaluator.get('type')):
            return EVALUATOR.build(evaluator)
        return Evaluator([evaluator])
    if isinstance(evaluator, Sequence) and not isinstance(evaluator, str):
        return Evaluator(list(evaluator))
    return Evaluator(evaluator)


def build_loop(loop: Any, default_type: str, **arguments: Any) -> BaseLoop:
    """A loop from its config, or the given object.

    Args:
        loop: A loop, or a config without or with ``type``.
        default_type: Used when the config has no ``type``.
        arguments: Passed to the loop with the config.

    Raises:
        TypeError: If ``loop``, or what its config builds, is not a loop.
    """
    if isinstance(loop, BaseLoop):
        return loop
    if not isinstance(loop, Mapping):
        raise TypeError(f'A loop is a loop object or a dict, got {type(loop).__name__}.')
    built = LOOPS.build(placed(loop, type=default_type), default_args=arguments)
    if not isinstance(built, BaseLoop):
        raise TypeError(f'{type(built).__name__} is not a loop: it does not derive from BaseLoop.')
    return built


def train_loop_type(config: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The config without ``by_epoch``, and the stock loop that ``by_epoch`` means.

    Raises:
        RuntimeError: If the config has both ``type`` and ``by_epoch``.
        ArgumentError: If it has neither, nor a length.
    """
    rest = placed(config)
    if 'type' in rest:
        if 'by_epoch' in rest:
            raise RuntimeError('train_cfg names its loop by type or by by_epoch, not by both.')
        return rest, ''
    if 'by_epoch' not in rest:
        if 'max_epochs' in rest or 'max_iters' in rest:
            rest['by_epoch'] = 'max_epochs' in rest
        else:
            raise ArgumentError(
                'train_cfg needs by_epoch=True with max_epochs, by_epoch=False with max_iters, or '
                f'the type of a loop; got {sorted(rest)}.'
                + ''.join(did_you_mean(str(key), ('max_epochs', 'max_iters')) for key in rest)
            )
    return rest, 'EpochBasedTrainLoop' if rest.pop('by_epoch') else 'IterBasedTrainLoop'


def named_parts(
    dataloader: Any, evaluator: Any, stage: str
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Several dataloaders and their evaluators by name; None when ``dataloader`` is a single one.

    Args:
        dataloader: A list of dataloaders, or a dict whose values are dataloaders or their configs.
        evaluator: The same shape.
        stage: 'val' or 'test', for messages.

    Raises:
        ArgumentError: If the two do not match one to one, or the list is empty.
    """
    if isinstance(dataloader, (list, tuple)):
        if not dataloader:
            raise ArgumentError(f'{stage}_dataloader is an empty list; give at least one.')
        loaders = {str(index): loader for index, loader in enumerate(dataloader)}
        if not isinstance(evaluator, (list, tuple)) or len(evaluator) != len(loaders):
            raise ArgumentError(
                f'{stage}_dataloader is a list of {len(loaders)}, so {stage}_evaluator is a list '
                'of as many, one for each.'
            )
        return loaders, {str(index): one for index, one in enumerate(evaluator)}
    if not _is_named(dataloader):
        return None
    if not isinstance(evaluator, Mapping) or set(evaluator) != set(dataloader):
        got = sorted(evaluator) if isinstance(evaluator, Mapping) else type(evaluator).__name__
        raise ArgumentError(
            f'{stage}_dataloader has the names {sorted(dataloader)}, so {stage}_evaluator has the '
            f'same; got {got}.'
        )
    return dict(dataloader), dict(evaluator)


def _is_named(dataloader: Any) -> bool:
    return (
        isinstance(dataloader, Mapping)
        and bool(dataloader)
        and 'dataset' not in dataloader
        and all(
            isinstance(one, DataLoader) or (isinstance(one, Mapping) and 'dataset' in one)
            for one in dataloader.values()
        )
    )


def _build_dataset(dataset: Any) -> Any:
    if not isinstance(dataset, Mapping):
        return dataset
    built = DATASETS.build(dataset)
    if hasattr(built, 'full_init'):
        built.full_init()  # before workers fork, so that they share what was loaded
    return built


def _first_samples(dataset: Any, num_batches: int, batch_size: int | None) -> _SlicedDataset:
    """As many of the first samples as fill ``num_batches`` batches on every rank."""
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, '__len__'):
        raise ArgumentError(
            f'num_batch_per_epoch takes the first samples by index, but {type(dataset).__name__} '
            'is a stream or has no length. End the stream in the dataset, or train by iterations.'
        )
    length = num_batches * (batch_size or 1) * get_data_parallel_info()[1]
    return _SlicedDataset(dataset, min(length, len(dataset)))


def _build_samplers(options: dict[str, Any], dataset: Dataset[Any], seed: int | None) -> None:
    """Put the ``sampler`` or ``batch_sampler`` that torch expects into ``options``."""
    if isinstance(dataset, IterableDataset):
        return  # it has no sampler
    sampler = options.pop('sampler', None)
    batch_sampler = options.pop('batch_sampler', None)
    if sampler is None and (batch_sampler is None or isinstance(batch_sampler, Mapping)):
        sampler = DefaultSampler(dataset, shuffle=options.pop('shuffle', False), seed=seed)  # type: ignore[arg-type]  # sized by duck typing
    elif isinstance(sampler, Mapping):
        sampler = DATA_SAMPLERS.build(sampler, default_args={'dataset': dataset, 'seed': seed})
    if batch_sampler is None:
        options['sampler'] = sampler
        return
    if isinstance(batch_sampler, Mapping):
        batch_sampler = DATA_SAMPLERS.build(
            batch_sampler,
            default_args={'sampler': sampler, 'batch_size': options.pop('batch_size', 1)},
        )
    else:
        options.pop('batch_size', None)
    options['batch_sampler'] = batch_sampler


def _build_worker_init(
    options: Mapping[str, Any], seed: int | None, is_quiet: bool
) -> Callable[[int], None] | None:
    chosen = options.get('worker_init_fn')
    if isinstance(chosen, Mapping):
        arguments = dict(chosen)
        function = _resolve_function(arguments.pop('type'))
    elif chosen is not None:
        return chosen  # type: ignore[no-any-return]  # the user's own function
    elif seed is None:
        return None
    else:
        function, arguments = worker_init_fn, {'disable_subprocess_warning': is_quiet}
    rank = get_data_parallel_info()[0]
    known = {'num_workers': options.get('num_workers', 0), 'rank': rank, 'seed': seed}
    return partial(function, **{**known, **arguments})


def _build_collate(collate_fn: Any) -> Callable[[Any], Any]:
    if isinstance(collate_fn, (Mapping, str)):
        arguments = {'type': collate_fn} if isinstance(collate_fn, str) else dict(collate_fn)
        function = _resolve_function(arguments.pop('type'))
        return partial(function, **arguments) if arguments else function
    if not callable(collate_fn):
        raise TypeError(
            'collate_fn is a function, its name or a dict with type, got '
            f'{type(collate_fn).__name__}.'
        )
    return collate_fn  # type: ignore[no-any-return]  # the user's own function


def _resolve_function(kind: Any) -> Callable[..., Any]:
    if not isinstance(kind, str):
        return kind  # type: ignore[no-any-return]  # a function as type
    function: Callable[..., Any] | None = FUNCTIONS.get(kind)
    if function is None:
        raise KeyError(
            f'No function {kind!r} is registered in FUNCTIONS.'
            f'{did_you_mean(kind, FUNCTIONS.module_dict)}'
        )
    return function


def _names_an_evaluator(kind: Any) -> bool:
    found = EVALUATOR.get(kind) if isinstance(kind, str) else kind
    return isinstance(found, type) and issubclass(found, Evaluator)


def _explained(error: TypeError, options: Mapping[str, Any]) -> TypeError:
    import inspect

    known = inspect.signature(DataLoader.__init__).parameters
    wrong = [key for key in options if key not in known]
    if not wrong:
        return error
    hints = ''.join(did_you_mean(key, known) for key in wrong)
    return TypeError(f'A dataloader config has keys that DataLoader does not take: {wrong}.{hints}')
