"""A strategy for each sub-model of a GAN with two ranks, against one process by hand."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from fsdp_toy import (
    BATCH,
    RANKS,
    SEED,
    Gan,
    Generator,
    compare,
    config,
    gan_by_hand,
    loader,
    samples,
)
from torch import nn

from mmengine._checkpoint.state_dict import weights_to_cpu
from mmengine.config import Config
from mmengine.dist._dtensor import is_dtensor
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel, MMSeparateDistributedDataParallel
from mmengine.runner import FlexibleRunner, Runner
from mmengine.runner._preparing import build_strategy
from mmengine.strategy import SeparateStrategy
from mmengine.strategy._parts import find_parts, read_parts
from mmengine.testing._internal.distributed import run_distributed

SGD = {'type': 'SGD', 'lr': 0.01, 'momentum': 0.9}
# The step of the discriminator has two batches.
BOTH = {
    'discriminator': {'optimizer': SGD, 'accumulative_counts': 2},
    'generator': {'optimizer': SGD},
}
MIXED = {'generator': 'fsdp', 'discriminator': 'ddp'}
TURNED = {
    'generator': {'type': 'ddp', 'broadcast_buffers': True},
    'discriminator': {'type': 'FSDPStrategy', 'reshard_after_forward': False},
}
# Iteration 5 is inside a window of the discriminator.
SAVING = {'checkpoint': {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 5}}
EMA = [{'type': 'EMAHook', 'momentum': 0.25}]
JOINT = {'optimizer': SGD, 'accumulative_counts': 4, 'clip_grad': {'max_norm': 0.05}}
STOP = 6


class Critic(Gan):
    """One loss and one optimizer for both sub-models."""

    def forward(self, x: Any, y: Any = None, mode: str = 'tensor') -> Any:  # type: ignore[override]
        out = self.discriminator(torch.tanh(self.generator(x)))
        return {'loss': (out - y).square().mean()} if mode == 'loss' else list(out)

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, torch.Tensor]:
        return super(Gan, self).train_step(data, optim_wrapper)


class Late(Gan):
    """Both optimizers step in the end, after a forward pass of the generator without backward."""

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, torch.Tensor]:
        x, loss = data['x'], torch.zeros(())
        for name in ('generator', 'discriminator'):
            self.discriminator.requires_grad_(name == 'discriminator')
            loss = self.loss_of(name, x)
            optim_wrapper[name].backward(loss)
        for name in ('generator', 'discriminator'):
            optim_wrapper[name].step()
            optim_wrapper[name].zero_grad()
        return {'loss': loss.detach()}

    def loss_of(self, name: str, x: torch.Tensor) -> torch.Tensor:
        judge, made = self.discriminator, torch.tanh(self.generator(x))
        if name == 'generator':
            return -judge(made).mean()
        return (judge(made.detach()) - judge(x) + judge(x).square()).mean()


class Counted(Generator):
    """Counts how often it computes."""

    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return super().forward(x)


class StopAfter(Hook):
    """Stops inside an accumulation window."""

    def after_train_iter(self, runner: Any, batch_idx: int, *args: Any, **kwargs: Any) -> None:
        if batch_idx + 1 == STOP:
            runner.train_loop.stop_training = True


def _gan(kind: type[Gan] = Gan) -> Gan:
    torch.manual_seed(SEED)
    return kind()


def _runner(folder: str, strategy: Any, wrapper: Any, model: Gan, **more: Any) -> Runner:
    arguments = {**config(folder, wrapper, **more), 'model': model}
    return Runner(**arguments, cfg={'strategy': strategy})


def _trained(runner: Runner) -> dict[str, Any]:
    runner.train()
    found = {'model': dict(runner.strategy.model_state_dict())}
    for hook in runner.hooks:
        if type(hook).__name__ == 'EMAHook':
            average: Any = hook
            found['average'] = dict(weights_to_cpu(average.ema_model.module.state_dict()))
    return found


def _late_by_hand() -> dict[str, Any]:
    """One process, with the average of the parameters after each step."""
    model = Late()
    model.load_state_dict(_gan(Late).state_dict())
    average = {name: value.clone() for name, value in model.state_dict().items()}
    parts: dict[str, nn.Module] = {
        'generator': model.generator, 'discriminator': model.discriminator
    }  # fmt: skip
    made = {
        name: torch.optim.SGD(part.parameters(), lr=0.01, momentum=0.9)
        for name, part in parts.items()
    }
    inputs = torch.utils.data.default_collate(samples())['x'].split(RANKS * BATCH)
    for index, x in enumerate(inputs):
        for name in parts:
            model.discriminator.requires_grad_(name == 'discriminator')
            model.loss_of(name, x).backward()
        for optimizer in made.values():
            optimizer.step()
            optimizer.zero_grad()
        for name, value in model.state_dict().items():
            average[name].lerp_(value, 0.25 if index else 1.0)
    return {'model': model.state_dict(), 'average': average}


def _all(rank: int, world_size: int, folder: str) -> dict[str, Any]:
    saving = {'default_hooks': SAVING, 'custom_hooks': EMA}
    runner = _runner(f'{folder}/mixed', MIXED, BOTH, _gan(), **saving)
    found: dict[str, Any] = {'mixed': _trained(runner)}
    model: Any = runner.model
    inner = model.module
    found['placed'] = (
        type(model),
        type(inner.discriminator),
        all(map(is_dtensor, inner.generator.parameters())),
        any(map(is_dtensor, inner.discriminator.parameters())),
    )
    found['turned'] = _trained(_runner(f'{folder}/turned', TURNED, BOTH, _gan(), **saving))
    for source, strategy in (
        ('mixed', MIXED),
        ('mixed', TURNED),
        ('turned', {'type': 'DDPStrategy', 'model_wrapper': 'MMSeparateDistributedDataParallel'}),
    ):
        path = {'load_from': f'{folder}/{source}/iter_5.pth', 'resume': True}
        name = f'resumed_{sum(key.startswith("resumed") for key in found)}'
        runner = _runner(f'{folder}/{name}', strategy, BOTH, _gan(), **path, **saving)
        found[name] = _trained(runner)

    for name, parts in (('late', MIXED), ('late_turned', TURNED)):
        plain = {part: {'optimizer': SGD} for part in parts}
        runner = _runner(f'{folder}/{name}', parts, plain, _gan(Late), custom_hooks=EMA)
        found[name] = _trained(runner)
    found |= _more(folder)
    endless = {'train_cfg': {'by_epoch': False, 'max_iters': 20}, 'custom_hooks': [StopAfter()]}
    for name, parts in (('stopped', MIXED), ('stopped_turned', TURNED)):
        runner = _runner(f'{folder}/{name}', parts, JOINT, _gan(Critic), **endless)
        found[name] = _trained(runner)
    found['refused'] = _refused(folder)
    return found


def _more(folder: str) -> dict[str, Any]:
    recomputed = {'type': 'fsdp', 'blocks': ['Counted'], 'activation_checkpointing': True}
    parts = {'generator': recomputed, 'discriminator': 'ddp'}
    model: Any = _gan()
    counted = Counted()
    counted.load_state_dict(model.generator.state_dict())
    model.generator = nn.Sequential(counted)
    found: dict[str, Any] = {
        'recomputed': _trained(_runner(f'{folder}/recomputed', parts, BOTH, model))
    }
    found['calls'] = counted.calls
    amp = {'type': 'AmpOptimWrapper', 'dtype': 'bfloat16'}
    half = {name: {**amp, **wrapper} for name, wrapper in BOTH.items()}
    found['bf16'] = _trained(_runner(f'{folder}/bf16', MIXED, half, _gan()))
    graphs: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    arguments = {**config(f'{folder}/compiled', BOTH), 'model': _gan()}
    runner = FlexibleRunner(**arguments, strategy=MIXED, compile={'backend': backend})
    found['compiled'], found['graphs'] = _trained(runner), len(graphs)
    return found


def _refused(folder: str) -> list[str]:
    """Errors of one optimizer for sharded and whole tensors."""
    errors = []
    for number, wrapper in enumerate(
        (
            {'type': 'AmpOptimWrapper', 'dtype': 'float16', 'optimizer': SGD},
            {'optimizer': {**SGD, 'foreach': True}},
        )
    ):
        runner = _runner(f'{folder}/refused_{number}', MIXED, wrapper, _gan(Critic))
        try:
            runner.strategy.prepare(runner.model, optim_wrapper=wrapper)
        except ValueError as error:
            errors.append(str(error))
    return errors


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('separate')


@pytest.fixture(scope='module')
def ranks(folder: Path) -> list[dict[str, Any]]:
    return run_distributed(_all, 2, str(folder))


@cache
def _truth() -> dict[str, Any]:
    return gan_by_hand(SGD)


def _critic_by_hand() -> dict[str, Any]:
    """One optimizer; the second window ends after two batches."""
    model: Any = _gan(Critic)
    made = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    data = torch.utils.data.default_collate(samples())
    size = RANKS * BATCH
    for window in (range(4), range(4, STOP)):
        made.zero_grad()
        for index in window:
            part = {key: value[index * size :][:size] for key, value in data.items()}
            (model(**part, mode='loss')['loss'] / len(window)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        made.step()
    return {'model': model.state_dict()}


@pytest.mark.shows('sub-models', ['accumulation', 'resume'], 'works')
@pytest.mark.distributed
@pytest.mark.parametrize('name', ['mixed', 'turned', 'resumed_0', 'resumed_1', 'resumed_2'])
def test_it_trains_and_resumes_as_one_process_on_the_joined_batch(name: str, ranks: Any) -> None:
    for found in ranks:
        compare(found[name], _truth())


@pytest.mark.distributed
def test_each_sub_model_is_placed_by_its_own_strategy(ranks: Any) -> None:
    expected = (MMSeparateDistributedDataParallel, MMDistributedDataParallel, True, False)
    assert [found['placed'] for found in ranks] == [expected, expected]


@pytest.mark.shows('sub-models', ['EMA', 'another number of ranks'], 'works')
@pytest.mark.distributed
def test_the_file_of_a_gan_is_resumed_by_one_process(ranks: Any, folder: Path) -> None:
    found = _trained(
        _runner(
            str(folder / 'alone'),
            MIXED,
            BOTH,
            _gan(),
            launcher='none',
            train_dataloader=loader(RANKS * BATCH),
            load_from=str(folder / 'turned' / 'iter_5.pth'),
            resume=True,
            custom_hooks=EMA,
        )
    )
    compare(found, _truth())
    # The average over 20 steps is the same with all strategies.
    for rank in ranks:
        for name in ('mixed', 'turned'):
            compare({'model': rank[name]['average']}, {'model': found['average']})


@pytest.mark.shows('sub-models', 'clipping', 'works')
@pytest.mark.distributed
def test_a_joint_optimizer_clips_and_stops_inside_a_window(ranks: Any) -> None:
    for found in ranks:
        for name in ('stopped', 'stopped_turned'):
            compare(found[name], _critic_by_hand())


@pytest.mark.shows('sub-models', 'AMP in float16', 'refused for one optimizer of both kinds')
@pytest.mark.distributed
def test_an_optimizer_that_torch_cannot_run_for_both_kinds_is_refused(ranks: Any) -> None:
    for found in ranks:
        scaled, at_once = found['refused']
        assert 'An optimizer scales its loss' in scaled
        assert 'An optimizer is fused or foreach' in at_once


@pytest.mark.parametrize(
    ('parts', 'message'),
    [
        ({}, 'gives each sub-model its own'),
        ({'generator': 'fsdb'}, "strategy.'generator'. is .* got 'fsdb'.* Did you mean 'fsdp'"),
        ({'blocks': ['Block'], 'meta_init': True}, 'A strategy for the whole model is a dict with'),
        ({'generator': {'type': 'fsdp', 'meta_init': True}}, 'meta_init, which only FSDPStrategy'),
        ({'generator': {'type': 'fsdp', 'block': 3}}, "argument 'block'.* Did you mean 'blocks'"),
        ({'generator': {'type': 'fsdp', 'mesh': {'tensor': 2}}}, 'mesh with tensor ranks'),
    ],
    ids=['empty', 'name', 'no-type', 'whole-model', 'argument', 'tensor'],
)
def test_a_wrong_strategy_of_a_sub_model_is_explained(parts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_parts(parts)


def test_a_name_that_is_not_a_sub_model_is_explained() -> None:
    message = 'sub-models of Gan with parameters are: generator, discriminator. Did you mean'
    with pytest.raises(ValueError, match=message):
        find_parts(Gan(), read_parts({'generater': 'fsdp'}))


def test_sub_models_that_share_a_parameter_are_refused() -> None:
    model = Gan()
    model.discriminator.bias = nn.Parameter(torch.zeros(3))
    model.generator.bias = model.discriminator.bias
    message = r'generator and discriminator share a parameter \(generator\.bias is discriminator'
    with pytest.raises(ValueError, match=message):
        find_parts(model, read_parts(MIXED))


@pytest.mark.parametrize('wrapper', ['MMDistributedDataParallel', {'type': 'DataParallel'}])
def test_another_wrapper_of_the_whole_model_is_refused(wrapper: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='wraps the model in MMSeparateDistributedDataParallel'):
        SeparateStrategy(parts=MIXED, model_wrapper=wrapper, work_dir=str(tmp_path))


def test_the_door_of_strategies_takes_a_dict_of_sub_models(tmp_path: Path) -> None:
    cfg = Config({'model_wrapper_cfg': {'type': 'MMSeparateDistributedDataParallel'}})
    arguments = {'work_dir': str(tmp_path), 'env_kwargs': {'launcher': 'none'}}
    strategy = build_strategy(MIXED, cfg, arguments)
    assert isinstance(strategy, SeparateStrategy)
    model = Gan()
    assert strategy.wrap_model(model) is model  # one process needs no wrapper


@pytest.mark.distributed
@pytest.mark.shows('sub-models', 'activation checkpointing', 'works')
def test_a_sub_model_computes_its_activations_again(ranks: Any) -> None:
    for found in ranks:
        weights = found['recomputed']['model']
        names = {name.replace('generator.0.', 'generator.'): name for name in weights}
        compare({'model': {name: weights[names[name]] for name in names}}, _truth())
        # In the step of the discriminator there is no backward pass of the generator.
        assert found['calls'] == 3 * 20


@pytest.mark.distributed
@pytest.mark.shows('sub-models', 'AMP in bfloat16', 'works')
def test_sub_models_in_bfloat16_stay_near_to_float32(ranks: Any) -> None:
    for found in ranks:
        compare(found['bf16'], _truth(), atol=5e-2, rtol=5e-2)
        weights = found['bf16']['model']
        assert any(not torch.equal(weights[key], _truth()['model'][key]) for key in weights)


@pytest.mark.distributed
@pytest.mark.shows('sub-models', 'compile', 'works')
def test_each_sub_model_is_compiled(ranks: Any) -> None:
    for found in ranks:
        assert found['graphs'] >= 2
        compare(found['compiled'], _truth())


@pytest.mark.shows('sub-models', 'EMA', 'works')
@pytest.mark.distributed
@pytest.mark.parametrize('name', ['late', 'late_turned'])
def test_forward_passes_without_backward_leave_no_old_weights(name: str, ranks: Any) -> None:
    truth = _late_by_hand()
    for found in ranks:
        compare(found[name], truth)
        for key, value in truth['average'].items():
            torch.testing.assert_close(found[name]['average'][key], value, atol=1e-6, rtol=1e-6)
