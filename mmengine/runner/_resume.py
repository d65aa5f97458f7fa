"""What a checkpoint of a run holds beside its strategy's state, and how a run takes it up again."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmengine._checkpoint.plain import savable
from mmengine.dataset._dataloader import set_epoch
from mmengine.dist import all_gather_object, get_world_size
from mmengine.dist._data_parallel import get_data_parallel_info, of_data_ranks
from mmengine.hooks._states import hooks_state, load_hooks_state
from mmengine.process.seed import rng_state, set_rng_state
from mmengine.strategy._resume_source import lineage
from mmengine.version import __version__

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner

Checkpoint = dict[str, Any]


def pack(runner: Runner, meta: Mapping[str, Any] | None, by_epoch: bool) -> Checkpoint:
    """Everything of ``runner`` that its strategy does not hold. All ranks call it.

    Args:
        runner: The run.
        meta: Entries that override the ones worked out here.
        by_epoch: Within a training, whether the save comes at the end of an epoch that is not
            counted as finished yet, or, if False, after an iteration that is not. Between stages
            everything is counted.
    """
    if meta is not None and not isinstance(meta, Mapping):
        raise TypeError(f'meta is a dict or None, got {type(meta).__name__}.')
    in_training = runner.state.stage == 'train'
    own_meta = {
        'epoch': runner.epoch + 1 if in_training and by_epoch else runner.epoch,
        'iter': runner.iter + 1 if in_training and not by_epoch else runner.iter,
        'cfg': runner.config_text,
        'arguments': runner._arguments_text,
        'optimizer_options': runner.state.built_options(),
        'resumed_from': runner.state.resumed_from,
        'seed': runner.seed,
        'experiment_name': runner.experiment_name,
        'time': time.strftime('%Y%m%d_%H%M%S', time.localtime()),
        'mmengine_version': __version__,
        'world_size': get_world_size(),
        'counts': runner.state.counts(),
        'save_id': uuid.uuid4().hex,
        'run_id': runner.state.run_id,
        **(meta or {}),
    }
    own_meta.setdefault('validation_due', _validates_next(runner, own_meta, by_epoch))
    data = _data_position(runner, (own_meta['epoch'], own_meta['iter']), by_epoch)
    if data is not None:
        own_meta['data'] = data
    dataset = _train_dataset(runner)
    if hasattr(dataset, 'metainfo'):
        own_meta['dataset_meta'] = savable(dataset.metainfo, unknown=str)
    return {
        'meta': own_meta,
        'message_hub': runner.message_hub.state_dict(),
        'hooks': hooks_state(runner),
        'rng': of_data_ranks(all_gather_object(rng_state())),
    }


def unpack(runner: Runner, checkpoint: Checkpoint) -> None:
    """Go on where ``checkpoint`` was saved: position, seed, messages, hooks, random numbers."""
    meta = checkpoint.get('meta', {})
    runner.state.resumed_from = lineage(checkpoint)
    runner.state.run_id = meta.get('run_id', runner.state.run_id)
    if 'message_hub' in checkpoint:
        runner.message_hub.load_state_dict(checkpoint['message_hub'])
        runner.message_hub.pop_info('loop_stage', None)  # the stage in which it was saved
    _adopt_seed(runner, meta)
    _warn_about_changes(runner, meta)
    load_hooks_state(runner, checkpoint.get('hooks', {}))
    _continue_at(runner, meta, _own_rng(runner, checkpoint))
    runner.state.ended = meta.get('ended')
    runner.state.resumed_at = runner.state.moment(meta.get('iter', 0))
    if hasattr(runner.train_loop, 'owes_validation'):
        runner.train_loop.owes_validation = bool(meta.get('validation_due'))
    runner.logger.info(f'resumed epoch: {runner.epoch}, iter: {runner.iter}')


def _train_dataset(runner: Runner) -> Any:
    """The training dataset, if the train loop exists; it is never built for the question."""
    return getattr(getattr(runner._train_loop, 'dataloader', None), 'dataset', None)


def _validates_next(runner: Runner, meta: Mapping[str, Any], by_epoch: bool) -> bool:
    """Whether the loop validates at the point where the checkpoint is written, after writing."""
    if runner.state.stage != 'train':
        return bool(getattr(runner._train_loop, 'owes_validation', False))
    validates_at = getattr(runner._train_loop, 'validates_at', None)
    if validates_at is None:
        return False
    return bool(validates_at(meta['epoch'], meta['iter'], by_epoch))


def _data_position(runner: Runner, moment: tuple[int, int], by_epoch: bool) -> Any:
    """Position in the data at ``moment``, in finished epochs and iterations.

    None if it is unknown: a caller may write another moment than the present one.
    """
    loop = runner._train_loop
    if not hasattr(loop, 'data_position'):
        return None
    coming = (runner.epoch + 1, runner.iter) if by_epoch else (runner.epoch, runner.iter + 1)
    if moment == (runner.epoch, runner.iter):
        position = loop.data_position(is_pass_over=False)
    elif moment == coming:
        position = loop.data_position(is_pass_over=by_epoch, ahead=0 if by_epoch else 1)
    else:
        return None
    position['accumulative_counts'] = getattr(runner.optim_wrapper, '_accumulative_counts', None)
    return position


def _continue_at(runner: Runner, meta: Mapping[str, Any], rng: dict[str, Any] | None) -> None:
    loop = runner.train_loop
    epoch, iteration = meta.get('epoch', 0), meta.get('iter', 0)
    if hasattr(loop, 'data_position'):
        loop.resume(epoch, iteration, rng, meta.get('data'))
        return
    if hasattr(loop, 'resume'):
        loop.resume(epoch, iteration, rng)
        return
    # A custom loop with the counters of the built-in loops, but without `resume`.
    loop._epoch, loop._iter = epoch, iteration
    if rng is not None:
        set_rng_state(rng)


def _own_rng(runner: Runner, checkpoint: Checkpoint) -> dict[str, Any] | None:
    states = checkpoint.get('rng')
    if not states:
        return None
    rank, num_ranks = get_data_parallel_info()
    if len(states) != num_ranks:
        runner.logger.warning(
            f'The checkpoint is of {len(states)} ranks, this run has {num_ranks}: random '
            'numbers go on from the seed, so the run is a valid continuation but not the same bits.'
        )
        return None
    state: dict[str, Any] = states[rank]
    return state


def _adopt_seed(runner: Runner, meta: Mapping[str, Any]) -> None:
    """The order of the data depends on the seed: a run without a given seed keeps the saved one."""
    seed = meta.get('seed')
    if seed is None or seed == runner.seed:
        return
    if runner.randomness_cfg.get('seed') is not None:
        runner.logger.warning(
            f'The run is resumed with seed {runner.seed} where it had {seed}: the order of the '
            'data changes.'
        )
        return
    runner.set_randomness(**{**runner.randomness_cfg, 'seed': seed})
    dataloader = runner.train_dataloader
    batch_sampler = getattr(dataloader, 'batch_sampler', None)
    samplers: list[Any] = [
        getattr(dataloader, 'sampler', None),
        getattr(batch_sampler, 'sampler', None),
    ]
    for sampler in samplers:
        if hasattr(sampler, 'seed'):
            sampler.seed = seed
    set_epoch(dataloader, meta.get('epoch', 0))


def _warn_about_changes(runner: Runner, meta: Mapping[str, Any]) -> None:
    dataset = _train_dataset(runner)
    then, now = meta.get('dataset_meta'), getattr(dataset, 'metainfo', None)
    if then is not None and now is not None and repr(then) != repr(savable(now, unknown=str)):
        runner.logger.warning(
            'The training dataset describes itself (metainfo) otherwise than when the checkpoint '
            'was saved.'
        )
    ranks = meta.get('world_size')
    # Otherwise the loop warns of what changed since `data` was saved.
    if ranks is not None and ranks != get_world_size() and 'data' not in meta:
        runner.logger.warning(
            f'The checkpoint was saved by {ranks} ranks and is resumed by {get_world_size()}: an '
            'iteration now stands for another number of samples.'
        )
