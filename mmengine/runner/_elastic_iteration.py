"""The samples of an iteration, kept where a run goes on with another number of ranks."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch.utils.data import BatchSampler, DataLoader

from mmengine.dataset._batch_parts import CollateInParts
from mmengine.dist._data_parallel import get_data_parallel_info
from mmengine.optim import OptimWrapper
from mmengine.optim.optimizer.optimizer_wrapper_dict import wrappers_of
from mmengine.registry import LOOPS, OPTIM_WRAPPERS
from mmengine.runner.base_loop import BaseLoop, dataloader_of
from mmengine.runner.loops import EpochBasedTrainLoop, IterBasedTrainLoop
from mmengine.runner.utils import _get_batch_size

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner


def keep_iteration(runner: Runner, num_ranks: int) -> tuple[bool, str]:
    """Let an iteration have the samples that it had on ``num_ranks`` ranks.

    A rank loads its share of them. Where the share is larger than before, the rank computes it in
    parts of at most the size before, so that it fits into memory. Iterations, schedules,
    accumulation windows and checkpoints then are as in a run on ``num_ranks`` ranks.

    Returns:
        Whether that is possible, and how or why not.
    """
    now, data = get_data_parallel_info()[1], _training_data(runner)
    size = _get_batch_size(data) if isinstance(data, (DataLoader, Mapping)) else None
    if not size:
        return False, 'the size of its batches is not known'
    if size * num_ranks % now:
        return False, f'the {size * num_ranks} samples of an iteration cannot be divided by {now}'
    share, num_parts = size * num_ranks // now, math.ceil(num_ranks / now)
    if num_parts > 1:
        reason = _why_not_in_parts(runner)
        if reason is not None:
            return False, reason
    if not _resize(runner, data, share, num_parts):
        return False, 'the size of its batches cannot be changed'
    runner.state.config_batch_size = size
    how = f'a rank loads {share} samples for an iteration instead of {size}'
    if num_parts > 1:
        how += f', and computes them in {num_parts} parts'
    return True, f'{how}, so an iteration has as many samples'


def _training_data(runner: Runner) -> Any:
    """The training dataloader, or the config from which it is to be built."""
    loop = runner._train_loop
    return loop.dataloader if isinstance(loop, BaseLoop) else runner._train_dataloader


def _why_not_in_parts(runner: Runner) -> str | None:
    """Why this run cannot compute a batch in parts; None if it can."""
    loop = _class_of(runner._train_loop, LOOPS, None)
    if loop is not None:  # else a stock loop
        stock = EpochBasedTrainLoop if 'run_epoch' in dir(loop) else IterBasedTrainLoop
        for name in ('run', 'run_epoch', 'run_iter'):
            if getattr(loop, name, None) is not getattr(stock, name, None):
                return f'{loop.__name__} has its own {name}'
    for part in _wrappers(runner.optim_wrapper):
        kind = _class_of(part, OPTIM_WRAPPERS, OptimWrapper)
        if not issubclass(kind, OptimWrapper) or getattr(kind, 'needs_closure', False):
            return f'{kind.__name__} does not accumulate'
    return None


def _wrappers(optim_wrapper: Any) -> list[Any]:
    """Optimizer wrappers, or their configs."""
    if not isinstance(optim_wrapper, Mapping):
        return wrappers_of(optim_wrapper)
    if 'optimizer' in optim_wrapper:
        return [optim_wrapper]
    return [part for part in optim_wrapper.values() if isinstance(part, (Mapping, OptimWrapper))]


def _class_of(part: Any, registry: Any, default: Any) -> Any:
    """The class of an object or of its config."""
    kind = part.get('type', default) if isinstance(part, Mapping) else type(part)
    found = registry.get(kind) if isinstance(kind, str) else kind
    return found if inspect.isclass(found) else default


def _resize(runner: Runner, data: Any, size: int, num_parts: int) -> bool:
    """Let a rank load ``size`` samples for a batch; whether that is possible."""
    if isinstance(data, Mapping):
        config = _with_batch_size(data, size)
        if config is None:
            return False
        loader: Any = dataloader_of(runner, config)
        runner._train_dataloader = loader
    else:
        loader, order = data, data.batch_sampler
        if type(loader).__init__ is not DataLoader.__init__ or type(order) is not BatchSampler:
            return False
        order.batch_size = vars(loader)['batch_size'] = size
    if num_parts > 1:
        is_shared = get_data_parallel_info()[1] > 1
        loader.collate_fn = CollateInParts(loader.collate_fn, num_parts, is_shared)
    if isinstance(runner._train_loop, BaseLoop):
        runner._train_loop.dataloader = loader  # which has another length now
    return True


def _with_batch_size(config: Mapping[str, Any], size: int) -> Any:
    """A copy of ``config`` with this batch size; None if an object in it decides."""
    order = config.get('batch_sampler')
    if order is None:
        return _with(config, 'batch_size', size)
    if not isinstance(order, Mapping):
        return None
    if 'batch_size' in order:
        return _with(config, 'batch_sampler', _with(order, 'batch_size', size))
    return _with(config, 'batch_size', size)


def _with(config: Mapping[str, Any], name: str, value: Any) -> Any:
    # A copy of a ConfigDict keeps its location in the file, which error messages name.
    changed: Any = copy.copy(config)
    changed[name] = value
    return changed
