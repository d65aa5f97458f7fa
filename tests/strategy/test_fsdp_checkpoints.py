"""Checkpoints of FSDPStrategy: whole files that any strategy resumes; meta initialisation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fsdp_toy import (
    ITERS,
    Net,
    by_hand,
    compare,
    config,
    loader,
    seeded_net,
    trained,
)
from torch import nn

from mmengine.hooks import Hook
from mmengine.registry import MODELS
from mmengine.runner import FlexibleRunner, Runner
from mmengine.testing._internal.distributed import run_distributed

pytestmark = pytest.mark.distributed

ADAMW = {'type': 'AdamW', 'lr': 0.001}
# Iteration 5 is inside the second window of 3, the last window has 2.
WRAPPER = {'optimizer': ADAMW, 'accumulative_counts': 3}
SAVING = {'checkpoint': {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 5}}
FSDP = {'type': 'FSDPStrategy', 'blocks': ['Block']}


class Held(Hook):
    """Which tensors of a checkpoint a rank holds before rank 0 writes it."""

    priority = 'LOWEST'
    numel = 0

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        tensors = [*checkpoint['state_dict'].values(), *checkpoint['ema_state_dict'].values()]
        tensors += [
            value
            for entries in checkpoint['optimizer']['state'].values()
            for value in entries.values()
            if value.dim()
        ]
        for gradients in checkpoint['optimizer']['accumulation']['gradients']:
            tensors += gradients.values()
        numel = sum(0 if tensor.is_meta else tensor.numel() for tensor in tensors)
        self.numel = max(numel, self.numel)


class Tilted(Net):
    """A net with a parameter of its own that ``init_weights`` or nobody initialises."""

    def __init__(self, sets_tilt: bool = True) -> None:
        super().__init__()
        self.tilt = nn.Parameter(torch.full((7, 3), 2.0))
        self.register_buffer('turns', torch.arange(4))
        self.sets_tilt = sets_tilt

    def init_weights(self) -> None:
        if self.sets_tilt:
            nn.init.normal_(self.tilt)


def _runner(folder: str, strategy: Any, **more: Any) -> Runner:
    return Runner(**config(folder, WRAPPER, **more), cfg={'strategy': strategy})


def _save(rank: int, folder: str) -> dict[str, Any]:
    held, ema = Held(), {'type': 'EMAHook', 'momentum': 0.25}
    runner = _runner(f'{folder}/saved', FSDP, default_hooks=SAVING, custom_hooks=[ema, held])
    return {'saved': trained(runner), 'held': held.numel}


def _resume(folder: str) -> dict[str, Any]:
    ema = [{'type': 'EMAHook', 'momentum': 0.25}]
    found = {}
    for name, strategy in (('fsdp', FSDP), ('ddp', 'ddp')):
        for iteration in (5, 15):
            source = {'load_from': f'{folder}/saved/iter_{iteration}.pth', 'resume': True}
            runner = _runner(f'{folder}/{name}_{iteration}', strategy, **source, custom_hooks=ema)
            found[f'{name}_{iteration}'] = trained(runner)
    return found


def _save_replicas(rank: int, world_size: int, folder: str) -> dict[str, Any]:
    strategy = {**FSDP, 'mesh': {'replicate': 2, 'shard': 2}}
    more = {'default_hooks': SAVING, 'train_dataloader': loader(1)}
    runner = _runner(f'{folder}/replicas', strategy, **more)
    found = trained(runner)
    local = sum(param.to_local().numel() for param in runner.model.parameters())
    return {'saved': found, 'local': local}


def _meta(folder: str) -> dict[str, Any]:
    MODELS.register_module(module=Net, force=True)
    MODELS.register_module(module=Tilted, force=True)
    strategy = {**FSDP, 'meta_init': True}
    found: dict[str, Any] = {}

    def runner(name: str, model: Any, strategy: Any, **more: Any) -> FlexibleRunner:
        arguments = config(f'{folder}/{name}', WRAPPER, randomness={'seed': 7}, **more)
        return FlexibleRunner(**{**arguments, 'model': model}, strategy=strategy)

    made = runner('meta', {'type': 'Net'}, strategy)
    made.strategy.prepare(made.model)
    torch.manual_seed(7)
    made.strategy.init_weights()
    found['reset'] = dict(made.strategy.model_state_dict())
    made.state.has_weights = True
    found['meta'] = trained(made)

    with torch.device('meta'):
        model = Net()
    made = runner('device', model, FSDP)
    found['unknown'] = _error(made.train)

    made = runner('tilted', {'type': 'Tilted'}, strategy)
    made.train()
    state = made.strategy.model_state_dict()
    found['turns'] = state['turns']
    found['tilt'] = state['tilt']
    found['unset'] = _error(runner('unset', {'type': 'Tilted', 'sets_tilt': False}, strategy).train)

    source = {'load_from': f'{folder}/plain.pth'}
    loads = {**strategy, 'skip_init_weights': True}
    found['loaded'] = trained(runner('loaded', {'type': 'Net'}, loads, **source))
    found['not_loaded'] = _error(runner('none', {'type': 'Net'}, loads).train)
    found['half'] = _error(
        runner('half', {'type': 'Net'}, loads, load_from=f'{folder}/half.pth').train
    )
    return found


def _error(call: Any) -> str:
    try:
        call()
    except Exception as error:
        return f'{error}\n{error.__cause__}'
    return ''


def _all(rank: int, world_size: int, folder: str) -> dict[str, Any]:
    return {**_save(rank, folder), **_resume(folder), **_meta(folder)}


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('fsdp')
    state = seeded_net().state_dict()
    torch.save(state, folder / 'plain.pth')
    torch.save({name: value for name, value in state.items() if 'head' not in name},
               folder / 'half.pth')  # fmt: skip
    return folder


@pytest.fixture(scope='module')
def ranks(folder: Path) -> list[dict[str, Any]]:
    return run_distributed(_all, 2, str(folder))


@pytest.mark.shows(['DDP', 'FSDP'], 'resume', 'works')
@pytest.mark.parametrize('name', ['saved', 'fsdp_5', 'fsdp_15', 'ddp_5', 'ddp_15'])
def test_it_is_resumed_by_fsdp_and_ddp(name: str, ranks: Any) -> None:
    truth = by_hand(ADAMW, 3)
    for found in ranks:
        compare(found[name], truth)


@pytest.mark.shows('FSDP', 'another number of ranks', 'works')
@pytest.mark.parametrize('iteration', [5, 15])
def test_it_is_resumed_by_one_process_with_the_joined_batch(
    iteration: int, ranks: Any, folder: Path
) -> None:
    ema = [{'type': 'EMAHook', 'momentum': 0.25}]
    compare(_alone(folder, 'saved', iteration, custom_hooks=ema), by_hand(ADAMW, 3))


def test_four_ranks_in_two_replicas_and_their_file(folder: Path) -> None:
    truth = by_hand(ADAMW, 3)
    found = run_distributed(_save_replicas, 4, str(folder))
    for each in found:
        compare(each['saved'], truth)
    # Each replica has all 106 parameters.
    assert found[0]['local'] + found[1]['local'] == found[2]['local'] + found[3]['local'] == 106
    compare(_alone(folder, 'replicas', 5), truth)


def _alone(folder: Path, name: str, iteration: int, **more: Any) -> dict[str, Any]:
    """One process resumes and trains with the joined batch."""
    arguments = config(
        str(folder / f'alone_{name}_{iteration}'),
        WRAPPER,
        launcher='none',
        train_dataloader=loader(4),
        load_from=str(folder / name / f'iter_{iteration}.pth'),
        resume=True,
        **more,
    )
    runner = Runner(**arguments)
    found = trained(runner)
    assert runner.iter == ITERS
    return found


def test_its_file_holds_the_average_and_whole_tensors(ranks: Any, folder: Path) -> None:
    truth = by_hand(ADAMW, 3, momentum_of_average=0.25)
    file = torch.load(folder / 'saved' / 'iter_20.pth', weights_only=True)
    for name, value in truth['average'].items():
        torch.testing.assert_close(file['state_dict'][name], value, atol=1e-6, rtol=1e-6)
    for name, value in truth['model'].items():
        saved = file['ema_state_dict'][f'module.{name}']
        torch.testing.assert_close(saved, value, atol=1e-6, rtol=1e-6)


def test_only_rank_0_holds_whole_tensors(ranks: Any) -> None:
    # In an open window: weights, average, two moments and gradients of 106 parameters.
    assert ranks[0]['held'] >= 5 * 106
    # The buffer and the counter are plain tensors on every rank.
    assert ranks[1]['held'] <= 4


def _by_reset() -> Net:
    """The values of a model that is built in one process: modules draw in the same order."""
    torch.manual_seed(7)
    return Net()


def test_a_meta_model_has_the_values_of_one_process(ranks: Any) -> None:
    expected = _by_reset().state_dict()
    for found in ranks:
        for name, value in expected.items():
            assert torch.equal(found['reset'][name], value), name
        compare(found['meta'], by_hand(ADAMW, 3, model=_by_reset()))


def test_a_module_that_cannot_be_initialised_is_named(ranks: Any) -> None:
    for found in ranks:
        # A buffer of a model on the meta device has lost its value.
        assert 'these tensors have no values: scale (Net)' in found['unknown']
        assert 'tilt (Tilted)' in found['unset']
        assert 'reset_parameters()' in found['unset']


def test_init_weights_fills_sharded_parameters(ranks: Any) -> None:
    tilt = ranks[0]['tilt']
    assert torch.equal(tilt, ranks[1]['tilt'])
    assert len(tilt.unique()) == 21  # each rank draws its own numbers
    assert ranks[0]['turns'].tolist() == [0, 1, 2, 3]


def test_a_plain_file_fills_a_meta_model(ranks: Any) -> None:
    for found in ranks:
        compare(found['loaded'], by_hand(ADAMW, 3))
        assert 'have no values' in found['not_loaded']
        assert 'head.weight (Linear), head.bias (Linear)' in found['half']
