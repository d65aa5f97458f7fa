"""What a strategy builds, places, compiles, scales, saves and loads."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mmengine.logging import MessageHub, MMLogger
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import MODELS, STRATEGIES
from mmengine.strategy import BaseStrategy, DDPStrategy, SingleDeviceStrategy


class Net(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, x: torch.Tensor, mode: str = 'tensor') -> Any:
        prediction = self.linear(x)
        return {'loss': prediction.square().mean()} if mode == 'loss' else prediction


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(1, 1)
        self.two = nn.Linear(1, 1)


def _strategy(tmp_path: Path, kind: type[BaseStrategy] = SingleDeviceStrategy, **kwargs: Any):
    return kind(work_dir=str(tmp_path / 'work'), log_kwargs={'log_level': 'ERROR'}, **kwargs)


SGD = {'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}}


def test_names_places_and_facts_of_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    strategy = SingleDeviceStrategy(
        work_dir='a/b', experiment_name='exp', env_kwargs={'randomness': {'seed': 3}}
    )
    assert strategy.work_dir == str(tmp_path / 'a' / 'b')
    assert strategy.log_dir == str(tmp_path / 'a' / 'b' / strategy.timestamp)
    assert strategy.experiment_name == f'exp_{strategy.timestamp}'
    assert (strategy.launcher, strategy.distributed) == ('none', False)
    assert (strategy.rank, strategy.world_size, strategy.seed) == (0, 1, 3)
    assert strategy.randomness == {
        'seed': 3, 'diff_rank_seed': False, 'deterministic': False,
        'per_sample': True, 'restore_after_val': True,
    }  # fmt: skip


def test_a_run_without_a_name_is_called_by_its_timestamp(tmp_path):
    strategy = _strategy(tmp_path)
    assert strategy.experiment_name == strategy.timestamp


def test_the_logger_writes_to_the_folder_of_this_start(tmp_path):
    strategy = SingleDeviceStrategy(work_dir=str(tmp_path), log_kwargs={'log_level': 'INFO'})
    strategy.logger.info('a line')
    log = Path(strategy.log_dir, f'{strategy.timestamp}.log')
    assert 'a line' in log.read_text()
    assert strategy.logger is MMLogger.get_instance(strategy.experiment_name)


def test_another_logger_has_the_name_file_and_level_it_is_given(tmp_path):
    strategy = _strategy(tmp_path)
    logger = strategy.build_logger('WARNING', str(tmp_path / 'x.log'), name='x')
    logger.info('unseen')
    logger.warning('other')
    assert logger.instance_name == 'x'
    text = (tmp_path / 'x.log').read_text()
    assert 'other' in text
    assert 'unseen' not in text


@pytest.mark.parametrize('part', ['file', 'file/below'])
def test_a_work_dir_that_cannot_be_made_is_an_error_that_names_it(tmp_path, part):
    (tmp_path / 'file').touch()
    with pytest.raises(OSError, match='The work dir cannot be made') as caught:
        SingleDeviceStrategy(work_dir=str(tmp_path / part))
    assert caught.value.filename == str(tmp_path / part)


def test_a_work_dir_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'access', lambda path, mode: False)
    with pytest.raises(PermissionError, match=f'work dir {tmp_path} cannot be written'):
        SingleDeviceStrategy(work_dir=str(tmp_path))


def test_randomness_can_be_set_anew(tmp_path):
    strategy = _strategy(tmp_path, env_kwargs={'randomness': {'seed': 3}})
    first = torch.rand(2)
    strategy.set_randomness(3)
    assert torch.equal(torch.rand(2), first)
    strategy.set_randomness(4)
    assert strategy.seed == 4


def test_the_environment_tells_of_the_run(tmp_path):
    text = _strategy(tmp_path, env_kwargs={'cudnn_benchmark': False}).collect_env()
    for line in ('cudnn_benchmark: False', 'Distributed launcher: none', 'GPU number: 1'):
        assert line in text


def test_a_model_comes_from_its_config_or_as_it_is(tmp_path):
    strategy = _strategy(tmp_path)
    net = Net()
    assert strategy.build_model(net) is net
    MODELS.register_module(name='StrategyNet', module=Net, force=True)
    assert isinstance(strategy.build_model({'type': 'StrategyNet'}), Net)


def test_prepare_returns_the_model_alone_or_with_what_was_asked_for(tmp_path):
    strategy = _strategy(tmp_path)
    net = Net()
    assert strategy.prepare(net) is net
    assert strategy.model is net
    model, wrapper = strategy.prepare(net, optim_wrapper=SGD)
    assert model is net
    assert isinstance(wrapper, OptimWrapper)
    assert strategy.optim_wrapper is wrapper
    model, wrapper, schedulers = strategy.prepare(
        net,
        optim_wrapper=SGD,
        param_scheduler={'type': 'LinearLR', 'start_factor': 0.5, 'by_epoch': False},
        dispatch_kwargs={'max_iters': 11},
    )
    assert [scheduler.end for scheduler in schedulers] == [11]
    assert wrapper.get_lr() == {'lr': [0.05]}


def test_prepare_refuses_a_scheduler_without_optimizer(tmp_path):
    with pytest.raises(ValueError, match='pass optim_wrapper too'):
        _strategy(tmp_path).prepare(Net(), param_scheduler={'type': 'StepLR', 'step_size': 1})


def test_prepare_scales_rates_before_schedulers_are_built(tmp_path):
    strategy = _strategy(tmp_path, auto_scale_lr={'enable': True, 'base_batch_size': 16})
    _, wrapper, (scheduler,) = strategy.prepare(
        Net(),
        optim_wrapper=SGD,
        param_scheduler={'type': 'StepLR', 'step_size': 1},
        dispatch_kwargs={'train_micro_batch_size_per_gpu': 8},
    )
    assert wrapper.get_lr() == {'lr': [0.05]}
    assert scheduler.base_values == [0.05]


# torch's tracer warns of torch's own code.
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize(
    ('backend', 'clip_grad'), [('eager', None), ('aot_eager', None), ('eager', {'max_norm': 0.1})]
)
def test_a_compiled_step_gives_the_same_parameters(tmp_path, backend, clip_grad):
    strategy = _strategy(tmp_path)
    data = {'x': torch.ones(3, 2)}
    results, norms = [], []
    for compile in (False, {'backend': backend, 'target': 'train_step'}):
        torch.manual_seed(0)
        net = Net()
        plain_step = net.train_step
        config = {**SGD, 'clip_grad': clip_grad}
        model, wrapper = strategy.prepare(net, optim_wrapper=config, compile=compile)
        hub = wrapper.message_hub = MessageHub(f'compiled {len(results)}')
        for _ in range(3):
            model.train_step(data, wrapper)
        if clip_grad is not None:
            norms.append(hub.get_scalar('train/grad_norm').data[0])
        assert (model.train_step == plain_step) is not bool(compile)
        results.append(model.linear.weight.detach().clone())
    torch.testing.assert_close(results[1], results[0], rtol=1e-6, atol=1e-6)
    if clip_grad is not None:
        assert len(norms[0]) == 3
        np.testing.assert_allclose(norms[1], norms[0], rtol=1e-6)


def test_compile_takes_forward_unless_told_otherwise(tmp_path):
    strategy = _strategy(tmp_path)
    calls = []

    def backend(graph, inputs):
        calls.append(graph)
        return graph.forward

    net = strategy.compile_model(Net(), {'backend': backend})
    expected = net.linear(torch.ones(1, 2))
    torch.testing.assert_close(net(torch.ones(1, 2)), expected)
    assert len(calls) == 1


def test_compile_false_changes_nothing(tmp_path):
    net = Net()
    assert _strategy(tmp_path).compile_model(net, False) is net
    assert 'forward' not in vars(net)


def test_compile_refuses_a_method_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="Net has no method 'trainstep' to compile"):
        _strategy(tmp_path).compile_model(Net(), {'target': 'trainstep'})


class TestScalingRates:
    def test_half_the_batch_halves_every_rate(self, tmp_path):
        strategy = _strategy(tmp_path, auto_scale_lr={'enable': True, 'base_batch_size': 16})
        strategy.prepare(Net())
        wrapper = strategy.build_optim_wrapper({**SGD, 'paramwise_cfg': {'bias_lr_mult': 4.0}})
        assert wrapper.get_lr() == {'base_lr': [0.1], 'lr': [0.1, 0.4]}
        strategy.scale_lr(wrapper, 8)
        assert wrapper.get_lr() == {'base_lr': [0.05], 'lr': [0.05, 0.2]}

    def test_every_optimizer_of_several_is_scaled(self, tmp_path):
        strategy = _strategy(tmp_path, auto_scale_lr={'enable': True, 'base_batch_size': 4})
        net = Pair()
        wrappers = OptimWrapperDict(
            one=OptimWrapper(torch.optim.SGD(net.one.parameters(), lr=0.1)),
            two=OptimWrapper(torch.optim.Adam(net.two.parameters(), lr=0.3)),
        )
        strategy.scale_lr(wrappers, 8)
        assert wrappers.get_lr() == {'one.lr': [0.2], 'two.lr': [0.6]}

    @pytest.mark.parametrize('settings', [None, {}, {'base_batch_size': 16}, {'enable': False}])
    def test_nothing_is_scaled_unless_enabled(self, tmp_path, settings):
        strategy = _strategy(tmp_path, auto_scale_lr=settings)
        strategy.prepare(Net())
        wrapper = strategy.build_optim_wrapper(SGD)
        strategy.scale_lr(wrapper, 8)
        assert wrapper.get_lr() == {'lr': [0.1]}

    @pytest.mark.parametrize(
        ('settings', 'batch_size', 'message'),
        [
            ({'enable': True}, 8, 'needs a positive base_batch_size.*got None'),
            ({'enable': True, 'base_batch_size': 0}, 8, 'positive base_batch_size.*got 0'),
            ({'enable': True, 'base_batch_size': 16}, None, 'its dataloader has no'),
        ],
    )
    def test_an_unknown_batch_size_is_an_error(self, tmp_path, settings, batch_size, message):
        strategy = _strategy(tmp_path, auto_scale_lr=settings)
        strategy.prepare(Net())
        with pytest.raises(AssertionError, match=message):
            strategy.scale_lr(strategy.build_optim_wrapper(SGD), batch_size)


class TestState:
    def test_a_checkpoint_brings_model_optimizer_and_schedulers_back(self, tmp_path):
        def prepared():
            strategy = _strategy(tmp_path)
            torch.manual_seed(1)
            parts = strategy.prepare(
                Net(), optim_wrapper=SGD, param_scheduler=[{'type': 'ExponentialLR', 'gamma': 0.5}]
            )
            return strategy, *parts

        strategy, model, wrapper, (scheduler,) = prepared()
        model.train_step({'x': torch.ones(1, 2)}, wrapper)
        scheduler.step()
        path = str(tmp_path / 'a.pth')
        strategy.save_checkpoint(path, extra_ckpt={'meta': {'epoch': 1}, 'more': 2})

        other, model2, wrapper2, (scheduler2,) = prepared()
        checkpoint = other.resume(path)
        assert (checkpoint['meta'], checkpoint['more']) == ({'epoch': 1}, 2)
        for step in range(2):
            assert torch.equal(model2.linear.weight, model.linear.weight), step
            assert wrapper2.get_lr() == wrapper.get_lr() == {'lr': [0.05]}
            assert scheduler2.last_step == 1
            model.train_step({'x': torch.ones(1, 2)}, wrapper)
            model2.train_step({'x': torch.ones(1, 2)}, wrapper2)

    def test_parts_can_be_left_out_of_a_checkpoint_and_of_a_resume(self, tmp_path):
        strategy = _strategy(tmp_path)
        strategy.prepare(
            Net(), optim_wrapper=SGD, param_scheduler={'type': 'StepLR', 'step_size': 1}
        )
        for save_optimizer in (True, False):
            for save_schedulers in (True, False):
                path = str(tmp_path / 'a.pth')
                strategy.save_checkpoint(
                    path, save_optimizer=save_optimizer, save_param_scheduler=save_schedulers
                )
                saved = torch.load(path, weights_only=True)
                assert ('optimizer' in saved) is save_optimizer
                assert ('param_schedulers' in saved) is save_schedulers
        strategy.save_checkpoint(path)
        strategy.optim_wrapper.param_groups[0]['lr'] = 7.0
        strategy.resume(path, resume_optimizer=False, resume_param_scheduler=False)
        assert strategy.optim_wrapper.get_lr() == {'lr': [7.0]}

    def test_a_callback_may_change_what_is_written_and_what_is_loaded(self, tmp_path):
        strategy = _strategy(tmp_path)
        model = strategy.prepare(Net())
        path = str(tmp_path / 'a.pth')

        def write(checkpoint):
            checkpoint['state_dict'] = {
                key: torch.zeros_like(value) for key, value in checkpoint['state_dict'].items()
            }

        def read(checkpoint):
            checkpoint['state_dict']['linear.bias'] += 5.0

        strategy.save_checkpoint(path, callback=write)
        strategy.load_checkpoint(path, callback=read)
        assert model.linear.weight.tolist() == [[0.0, 0.0]]
        assert model.linear.bias.item() == 5.0

    def test_states_of_several_optimizers_and_their_schedulers_go_by_name(self, tmp_path):
        def prepared():
            strategy = _strategy(tmp_path)
            net = Pair()
            wrappers = OptimWrapperDict(
                one=OptimWrapper(torch.optim.SGD(net.one.parameters(), lr=0.1)),
                two=OptimWrapper(torch.optim.SGD(net.two.parameters(), lr=0.2)),
            )
            schedule = {'type': 'ExponentialLR', 'gamma': 0.5}
            strategy.prepare(
                net, optim_wrapper=wrappers, param_scheduler={'one': schedule, 'two': [schedule]}
            )
            return strategy

        strategy = prepared()
        for scheduler in strategy.param_schedulers['two']:
            scheduler.step()
        assert sorted(strategy.scheduler_state_dict()) == ['one', 'two']
        other = prepared()
        other.load_optim_state_dict(strategy.optim_state_dict())
        other.load_scheduler_state_dict(strategy.scheduler_state_dict())
        assert other.optim_wrapper.get_lr() == {'one.lr': [0.1], 'two.lr': [0.1]}
        assert other.param_schedulers['two'][0].last_step == 1

    def test_schedulers_that_do_not_match_are_counted(self, tmp_path):
        strategy = _strategy(tmp_path)
        step = {'type': 'StepLR', 'step_size': 1}
        strategy.prepare(Net(), optim_wrapper=SGD, param_scheduler=step)
        state = strategy.scheduler_state_dict()
        with pytest.raises(ValueError, match='has 2 parameter schedulers, this run has 1'):
            strategy.load_scheduler_state_dict(state * 2)
        with pytest.raises(
            ValueError, match=r"optimizers \['a'\], this run has schedulers for one optimizer"
        ):
            strategy.load_scheduler_state_dict({'a': state})

    def test_state_before_the_parts_are_there_says_what_to_prepare(self, tmp_path):
        strategy = _strategy(tmp_path)
        for act, message in [
            (strategy.model_state_dict, 'no model yet'),
            (lambda: strategy.load_model_state_dict({}), 'no model yet'),
            (strategy.optim_state_dict, 'no optimizer yet'),
            (lambda: strategy.load_optim_state_dict({}), 'no optimizer yet'),
            (lambda: strategy.build_optim_wrapper(SGD), 'Prepare the model before'),
        ]:
            with pytest.raises(RuntimeError, match=message):
                act()

    def test_load_or_resume_follows_its_arguments(self, tmp_path):
        strategy = _strategy(tmp_path)
        strategy.prepare(Net(), optim_wrapper=SGD)
        path = str(tmp_path / 'work' / 'epoch_1.pth')
        assert strategy.load_or_resume() is None
        assert strategy.load_or_resume(resume=True) is None
        strategy.save_checkpoint(path)
        (tmp_path / 'work' / 'last_checkpoint').write_text(path)
        for arguments in (
            {'resume': True},
            {'resume': 'auto'},
            {'resume': path},
            {'load_from': path, 'resume': True},
        ):
            strategy.optim_wrapper.param_groups[0]['lr'] = 7.0
            strategy.load_or_resume(**arguments)
            assert strategy.optim_wrapper.get_lr() == {'lr': [0.1]}, arguments
        strategy.optim_wrapper.param_groups[0]['lr'] = 7.0
        assert strategy.load_or_resume(load_from=path)['state_dict']
        assert strategy.optim_wrapper.get_lr() == {'lr': [7.0]}


class TestOneProcessUnderDDP:
    def test_the_model_stays_plain_and_a_warning_says_why(self, tmp_path, capsys):
        strategy = DDPStrategy(work_dir=str(tmp_path), sync_bn='torch')
        net = nn.Sequential(nn.BatchNorm1d(1))
        assert strategy.prepare(net) is net
        assert type(net[0]) is nn.BatchNorm1d
        assert 'found one process only' in capsys.readouterr().out

    def test_it_is_built_by_name(self, tmp_path):
        built = STRATEGIES.build(
            {'type': 'DDPStrategy', 'work_dir': str(tmp_path), 'log_kwargs': {'log_level': 'ERROR'}}
        )
        assert type(built) is DDPStrategy


def test_sync_batch_norm_becomes_plain_in_one_process(tmp_path):
    model = _strategy(tmp_path).prepare(nn.Sequential(nn.SyncBatchNorm(2)))
    assert model(torch.ones(2, 2, 3)).shape == (2, 2, 3)
