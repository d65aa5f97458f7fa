"""What FSDPStrategy combines with: each feature against one process on the joined batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fsdp_toy import (
    BATCH,
    ITERS,
    RANKS,
    SEED,
    Deep,
    Exchanges,
    Gan,
    Mean,
    by_hand,
    compare,
    config,
    gan_by_hand,
    loader,
    samples,
    seeded_net,
    trained,
    whole_state,
)

from mmengine._checkpoint.state_dict import weights_to_cpu
from mmengine.dataset import default_collate
from mmengine.dist._dtensor import is_dtensor
from mmengine.hooks import Hook
from mmengine.model._copying import copy_model
from mmengine.runner import FlexibleRunner, Runner
from mmengine.testing._internal.distributed import run_distributed

pytestmark = pytest.mark.distributed

SGD = {'type': 'SGD', 'lr': 0.01, 'momentum': 0.9}
ADAMW = {'type': 'AdamW', 'lr': 0.001}
EMA = 0.25
JOINED = RANKS * BATCH
VALIDATION = {'val_dataloader': loader(4), 'val_cfg': {}, 'val_evaluator': Mean()}


class NotFinite(Hook):
    """Makes the loss of rank 0 in one iteration infinite."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if batch_idx == self.iteration and runner.strategy.rank == 0:
            data_batch['y'].fill_(float('inf'))


class StopAfter(Hook):
    def __init__(self, iterations: int) -> None:
        self.iterations = iterations

    def after_train_iter(self, runner: Any, batch_idx: int, *args: Any, **kwargs: Any) -> None:
        if batch_idx + 1 == self.iterations:
            runner.train_loop.stop_training = True


class Sizes(Hook):
    """Numbers that the rank holds between two steps, and gathered blocks within a step."""

    def before_train(self, runner: Any) -> None:
        self.gathered = 0
        blocks = list(runner.model.blocks)

        def count(block: Any, args: Any) -> None:
            whole = [not is_dtensor(each.linear.weight) for each in blocks]
            self.gathered = max(self.gathered, sum(whole))

        for block in blocks:
            block.linear.register_forward_pre_hook(count)

    def after_train(self, runner: Any) -> None:
        state = runner.optim_wrapper.optimizer.state
        self.params = sum(param.to_local().numel() for param in runner.model.parameters())
        self.states = sum(
            value.to_local().numel()
            for entries in state.values()
            for value in entries.values()
            if value.dim()
        )


def _fsdp(folder: str, wrapper: dict[str, Any], strategy: Any, **more: Any) -> Runner:
    settings = {'type': 'FSDPStrategy', 'blocks': ['Block'], **strategy}
    return Runner(**config(folder, wrapper, **more), cfg={'strategy': settings})


def _peak(folder: str) -> int:
    """Most bytes that a rank holds in a step, with the state of AdamW."""
    from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker

    settings = {'type': 'FSDPStrategy', 'blocks': ['Wide']}
    arguments = {**config(folder, {'optimizer': ADAMW}), 'model': Deep()}
    runner = Runner(**arguments, cfg={'strategy': settings})
    runner.train()
    tracker = FSDPMemTracker(runner.model, runner.optim_wrapper.optimizer)
    with tracker:
        runner.model.train_step(next(iter(runner.train_dataloader)), runner.optim_wrapper)
    return int(tracker.get_tracker_snapshot('peak')[torch.device('cpu')]['Total'])


def _order_by_hand(batch: Any) -> str:
    """The exchanges of the second step of a model whose blocks have all of its parameters."""
    from torch.distributed.fsdp import fully_shard

    model = Deep()
    for block in (*model.layers, model.head, model):
        fully_shard(block)
    model(**batch, mode='loss')['loss'].backward()
    with Exchanges() as exchanges:
        model(**batch, mode='loss')['loss'].backward()
    return exchanges.order


def _order_by_engine(folder: str) -> tuple[str, str]:
    settings = {'type': 'FSDPStrategy', 'blocks': ['Wide', 'Linear']}
    arguments = {**config(folder, {'optimizer': SGD}), 'model': Deep()}
    runner = Runner(**arguments, cfg={'strategy': settings})
    runner.train()
    batch = next(iter(runner.train_dataloader))
    with Exchanges() as exchanges:
        runner.model.train_step(batch, runner.optim_wrapper)
    return exchanges.order, _order_by_hand(batch)


def _seen(*_: Any) -> None:
    """A forward hook of the user."""


def _use_all(rank: int, world_size: int, folder: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    plain = {'optimizer': SGD}
    window = {'optimizer': SGD, 'accumulative_counts': 4}

    averaged = [{'type': 'EMAHook', 'momentum': EMA}]
    runner = _fsdp(f'{folder}/ema', plain, {}, custom_hooks=averaged, **VALIDATION)
    found['ema'] = trained(runner)
    ema = next(hook for hook in runner.hooks if type(hook).__name__ == 'EMAHook')
    found['average'] = dict(weights_to_cpu(ema.ema_model.module.state_dict()))
    found['validated'] = float(runner.message_hub.get_scalar('val/mean').current())

    found['orders'] = _order_by_engine(f'{folder}/order')

    runner = _fsdp(f'{folder}/val', plain, {'blocks': None}, **VALIDATION)
    handle = runner.model.register_forward_hook(_seen)
    found['hooks of a copy'] = list(copy_model(runner.model)._forward_hooks.values())
    handle.remove()
    found['before'] = runner.val()['mean']
    found['trained'] = trained(runner)  # an optimizer of the same parameters
    found['after'] = runner.val()['mean']

    for name, wrapper in (('each', plain), ('window', window)):
        runner = _fsdp(f'{folder}/count_{name}', wrapper, {})
        with Exchanges() as exchanges:
            runner.train()
        found[f'exchanges_{name}'] = exchanges.count
        found[f'state_{name}'] = whole_state(runner)

    runner = _fsdp(f'{folder}/recompute', plain, {'activation_checkpointing': True})
    found['recompute'] = trained(runner)
    found['calls'] = [block.calls for block in runner.model.blocks]

    found['rolled back'] = _roll_back(f'{folder}/rolled_back')

    graphs: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    compiled = {'strategy': {'type': 'FSDPStrategy', 'blocks': ['Block']}}
    runner = FlexibleRunner(
        **config(f'{folder}/compile', plain), **compiled, compile={'backend': backend}
    )
    found['compile'] = trained(runner)
    found['graphs'] = len(graphs)

    for name, strategy in {
        'hsdp': {'mesh': {'replicate': 2, 'shard': 1}},
        'kept': {'reshard_after_forward': False},
        'offload': {'cpu_offload': True},
        'wrapper': {
            'blocks': None,
            'model_wrapper': {
                'type': 'MMFullyShardedDataParallel',
                'auto_wrap_policy': {'type': 'size_based_auto_wrap_policy', 'min_num_params': 30},
                'use_orig_params': True,
            },
        },
    }.items():
        runner = _fsdp(f'{folder}/{name}', window, strategy)
        found[name] = trained(runner)
    found['wrapped_blocks'] = [type(block).__name__ for block in runner.strategy._blocks]

    for name, frees in (('sizes', True), ('sizes_kept', False)):
        sizes, strategy = Sizes(), {'reshard_after_forward': frees}
        runner = _fsdp(f'{folder}/{name}', {'optimizer': ADAMW}, strategy, custom_hooks=[sizes])
        runner.train()
        found[name] = sizes.params, sizes.states, sizes.gathered

    found['peak'] = _peak(f'{folder}/peak')

    skips = {**window, 'skip_non_finite': True}
    found['skip'] = trained(
        _fsdp(
            f'{folder}/skip', skips, {}, custom_hooks=[NotFinite(7)],
            default_hooks={'checkpoint': None, 'non_finite_loss': None},
        )
    )  # fmt: skip
    found['stopped'] = trained(
        _fsdp(
            f'{folder}/stop',
            window,
            {},
            custom_hooks=[StopAfter(10)],
            train_cfg={'by_epoch': False, 'max_iters': ITERS},
        )
    )

    torch.manual_seed(SEED)
    gan = Gan()
    both = {'discriminator': {'optimizer': SGD, 'accumulative_counts': 2}, 'generator': plain}
    arguments = {**config(f'{folder}/gan', both, **VALIDATION), 'model': gan}
    blocks = {'type': 'FSDPStrategy', 'blocks': ['Generator', 'Discriminator']}
    runner = Runner(**arguments, cfg={'strategy': blocks})
    runner.val()
    runner.train()
    found['gan'] = {'model': dict(runner.strategy.model_state_dict())}

    frozen = seeded_net()
    frozen.embed.requires_grad_(False)
    frozen.blocks[0].norm.requires_grad_(False)
    saving = {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 10, 'async_save': True}
    arguments = config(f'{folder}/frozen', window, default_hooks={'checkpoint': saving})
    settings = {'type': 'FSDPStrategy', 'blocks': ['Block']}
    runner = Runner(**{**arguments, 'model': frozen}, cfg={'strategy': settings})
    found['frozen'] = trained(runner)

    fp16 = {'type': 'AmpOptimWrapper', 'dtype': 'float16', 'loss_scale': {'init_scale': 2.0**40}}
    runner = _fsdp(f'{folder}/fp16', {**fp16, **plain}, {})
    found['overflow'] = trained(runner)['model']
    found['scale'] = runner.optim_wrapper.loss_scaler.get_scale()
    return {**found, **_use_ddp(folder)}


def _roll_back(folder: str) -> dict[str, Any]:
    data = {**loader(), 'dataset': samples()[: 6 * JOINED]}
    more = {
        'train_dataloader': data,
        'custom_hooks': [NotFinite(3)],
        'default_hooks': {'checkpoint': None, 'non_finite_loss': {'policy': 'rollback'}},
    }
    return trained(_fsdp(folder, {'optimizer': SGD, 'accumulative_counts': 2}, {}, **more))


def _use_ddp(folder: str) -> dict[str, Any]:
    """What the other tests do not show with DDP."""
    plain = {'optimizer': SGD}
    cfg = {'strategy': 'ddp', 'activation_checkpointing': ['blocks.1']}
    averaged = [{'type': 'EMAHook', 'momentum': EMA}]
    arguments = config(f'{folder}/ddp', plain, custom_hooks=averaged, **VALIDATION)
    runner = Runner(**arguments, cfg=cfg)
    found: dict[str, Any] = {'ddp': trained(runner)}
    found['ddp_calls'] = [block.calls for block in runner.model.module.blocks]
    found['ddp_validated'] = float(runner.message_hub.get_scalar('val/mean').current())

    graphs: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    runner = FlexibleRunner(
        **config(f'{folder}/ddp_compile', plain), strategy='ddp', compile={'backend': backend}
    )
    found['ddp_compile'], found['ddp_graphs'] = trained(runner), len(graphs)

    fp16 = {'type': 'AmpOptimWrapper', 'dtype': 'float16', 'loss_scale': {'init_scale': 2.0**40}}
    arguments = config(f'{folder}/ddp_fp16', {**fp16, **plain})
    runner = Runner(**arguments, cfg={'strategy': 'ddp'})
    found['ddp_overflow'] = trained(runner)['model']
    found['ddp_scale'] = runner.optim_wrapper.loss_scaler.get_scale()
    return found


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('fsdp')


@pytest.fixture(scope='module')
def used(folder: Path) -> list[dict[str, Any]]:
    return run_distributed(_use_all, 2, str(folder))


@pytest.mark.shows('FSDP', 'EMA', 'works')
def test_the_average_is_on_shards_and_is_validated(used: Any) -> None:
    truth = by_hand(SGD, momentum_of_average=EMA)
    for found in used:
        compare(found['ema'], truth)
        for name, value in truth['average'].items():
            torch.testing.assert_close(found['average'][name], value, atol=1e-6, rtol=1e-6)
        assert found['validated'] == pytest.approx(truth['mean_of_average'], abs=1e-6)


def test_validations_before_and_after_the_training(used: Any) -> None:
    truth = by_hand(SGD)
    for found in used:
        assert found['before'] == pytest.approx(by_hand(SGD, iters=0)['mean'], abs=1e-6)
        compare(found['trained'], truth)
        assert found['after'] == pytest.approx(truth['mean'], abs=1e-6)


def test_blocks_gather_ahead_of_the_computation(used: Any) -> None:
    for found in used:
        by_engine, by_hand = found['orders']
        assert by_engine == by_hand
        # Backwards a block is gathered before the gradients of the block behind it are exchanged.
        assert 'ggr' in by_hand


def test_hooks_of_the_user_are_in_copies(used: Any) -> None:
    for found in used:
        assert [hook.__name__ for hook in found['hooks of a copy']] == ['_seen']


def test_a_window_exchanges_gradients_once(used: Any) -> None:
    for found in used:
        # Two blocks and the root.
        assert found['exchanges_each'] == 3 * ITERS
        assert found['exchanges_window'] == 3 * ITERS / 4
        compare(found['state_window'], by_hand(SGD, 4))


@pytest.mark.shows('FSDP', 'activation checkpointing', 'works')
def test_activations_are_computed_again(used: Any) -> None:
    for found in used:
        assert found['calls'] == [2 * ITERS, 2 * ITERS]
        compare(found['recompute'], by_hand(SGD))


@pytest.mark.shows('FSDP', 'compile', 'works')
def test_blocks_are_compiled(used: Any) -> None:
    for found in used:
        assert found['graphs'] >= 1
        compare(found['compile'], by_hand(SGD))


@pytest.mark.parametrize('name', ['hsdp', 'kept', 'offload', 'wrapper'])
def test_other_placings_give_the_same_numbers(name: str, used: Any) -> None:
    for found in used:
        compare(found[name], by_hand(SGD, 4))


def test_blocks_by_the_policy_of_the_wrapper(used: Any) -> None:
    # The linear layer of a block has 30 parameters, its norm 10, the rest of the model 26.
    assert used[0]['wrapped_blocks'] == ['FSDPLinear', 'FSDPLinear']


def test_a_rank_holds_its_part_of_parameters_and_states(used: Any) -> None:
    # embed 3*5+5, two blocks of 5+5+5*5+5, head 5+1
    total = 20 + 2 * 40 + 6
    assert sum(found['sizes'][0] for found in used) == total
    assert sum(found['sizes'][1] for found in used) == 2 * total  # two moments
    # Rows of five are split three to two: within one row for each of the tensors.
    for found in used:
        assert found['sizes'][0] <= total / 2 + 3 * 5
        # One block at a time, or both if they are kept.
        assert found['sizes'][2] == 1
        assert found['sizes_kept'][2] == 2


def test_the_memory_of_a_rank_is_its_part_and_one_block(used: Any) -> None:
    numel = 16 * 64 * 64 + 65
    # Parameters, gradients and two moments of four bytes, on two ranks; a block in full.
    part, block = 4 * 4 * numel / 2, 4 * 64 * 64
    for found in used:
        assert part < found['peak'] < 1.1 * part + block


def test_a_batch_that_is_not_finite_is_skipped_on_all_ranks(used: Any) -> None:
    for found in used:
        compare(found['skip'], by_hand(SGD, 4, without_batch=7))


def test_a_return_to_earlier_weights_drops_the_open_window(used: Any) -> None:
    """Windows of two: the step of the second one is bad, which is read in the first batch of the
    third one. Its gradients, of broken weights, are dropped, and the last batch steps alone."""
    model = seeded_net()
    batch = default_collate(samples()[5 * JOINED : 6 * JOINED])
    (model(**batch, mode='loss')['loss'] / 2).backward()
    torch.optim.SGD(model.parameters(), lr=SGD['lr'], momentum=0.9).step()  # type: ignore[arg-type]  # a float
    for found in used:
        compare(found['rolled back'], {'model': model.state_dict()})


def test_a_stop_inside_a_window_steps_with_its_mean(used: Any) -> None:
    for found in used:
        compare(found['stopped'], by_hand(SGD, 4, iters=10))


def test_the_step_of_a_gan_calls_blocks(used: Any) -> None:
    for found in used:
        compare(found['gan'], gan_by_hand(SGD))


def test_frozen_parameters_stay_and_a_thread_saves(used: Any, folder: Path) -> None:
    model = seeded_net()
    model.embed.requires_grad_(False)
    model.blocks[0].norm.requires_grad_(False)
    truth = by_hand(SGD, 4, model=model)
    for found in used:
        compare({'model': found['frozen']['model']}, {'model': truth['model']})
    file = torch.load(folder / 'frozen' / 'iter_20.pth', weights_only=True)
    for name, value in used[0]['frozen']['model'].items():
        assert torch.equal(file['state_dict'][name], value)


@pytest.mark.shows('FSDP', 'AMP in float16', 'works')
def test_an_overflow_in_float16_skips_the_step_on_all_ranks(used: Any) -> None:
    for found in used:
        # torch halves the scale in each step, and 2**20 is still too large.
        assert found['scale'] == 2.0 ** (40 - ITERS)
        for name, value in seeded_net().state_dict().items():
            assert torch.equal(found['overflow'][name], value)


@pytest.mark.shows('DDP', ['EMA', 'activation checkpointing'], 'works')
def test_ddp_averages_weights_and_computes_activations_again(used: Any) -> None:
    truth = by_hand(SGD, momentum_of_average=EMA)
    for found in used:
        compare(found['ddp'], truth)
        # The second block is computed twice; validations compute both of them.
        assert found['ddp_calls'][1] - found['ddp_calls'][0] == ITERS
        assert found['ddp_validated'] == pytest.approx(truth['mean_of_average'], abs=1e-6)


@pytest.mark.shows('DDP', 'compile', 'works')
def test_ddp_is_compiled(used: Any) -> None:
    for found in used:
        assert found['ddp_graphs'] >= 1
        compare(found['ddp_compile'], by_hand(SGD))


@pytest.mark.shows('DDP', 'AMP in float16', 'works')
def test_an_overflow_with_ddp_skips_the_step_on_all_ranks(used: Any) -> None:
    for found in used:
        assert found['ddp_scale'] == 2.0 ** (40 - ITERS)
        for name, value in seeded_net().state_dict().items():
            assert torch.equal(found['ddp_overflow'][name], value)
