"""FlexibleRunner is the same run, told its strategy."""

import pytest
from runner_toy import NO_VALIDATION, parameters, toy_config, toy_runner, trained_by_hand

from mmengine.registry import RUNNERS
from mmengine.runner import FlexibleRunner, Runner
from mmengine.strategy import DDPStrategy, SingleDeviceStrategy

EXPECTED = trained_by_hand([(0, 1), (2, 3), (4, 5), (6, 7)] * 2)


def _flexible(tmp_path, **changes) -> FlexibleRunner:
    return FlexibleRunner(**toy_config(tmp_path, **changes))


def _object(tmp_path):
    return SingleDeviceStrategy(work_dir=str(tmp_path / 'own'), log_kwargs={'log_level': 'ERROR'})


@pytest.mark.parametrize(
    ('strategy', 'kind'),
    [
        (None, SingleDeviceStrategy),
        ({'type': 'SingleDeviceStrategy'}, SingleDeviceStrategy),
        ({'type': 'DDPStrategy', 'sync_bn': 'torch'}, DDPStrategy),
        ({'type': DDPStrategy}, DDPStrategy),
    ],
    ids=['none', 'single', 'ddp by name', 'ddp by class'],
)
def test_a_strategy_config_trains_and_evaluates_alike(tmp_path, strategy, kind):
    runner = _flexible(tmp_path, strategy=strategy)
    assert type(runner.strategy) is kind
    assert parameters(runner.train()) == pytest.approx(EXPECTED, abs=1e-6)
    plain = toy_runner(tmp_path)
    plain.train()
    assert runner.val() == plain.val()
    assert runner.test() == plain.test()


def test_a_finished_strategy_brings_its_own_folder(tmp_path):
    strategy = _object(tmp_path)
    runner = _flexible(tmp_path / 'other', strategy=strategy)
    assert runner.strategy is strategy
    assert runner.work_dir == str(tmp_path / 'own')
    assert runner.logger is strategy.logger
    assert parameters(runner.train()) == pytest.approx(EXPECTED, abs=1e-6)


def test_a_strategy_keeps_its_own_scaling_of_rates(tmp_path):
    strategy = SingleDeviceStrategy(
        work_dir=str(tmp_path),
        log_kwargs={'log_level': 'ERROR'},
        auto_scale_lr={'enable': True, 'base_batch_size': 4},
    )
    runner = _flexible(tmp_path, strategy=strategy)
    runner.train()
    assert runner.optim_wrapper.get_lr() == {'lr': [0.05]}


@pytest.mark.parametrize('strategy', [['SingleDeviceStrategy'], 3])
def test_another_kind_of_strategy_is_refused(tmp_path, strategy):
    with pytest.raises(TypeError, match=r'A strategy is a BaseStrategy, a dict or a name, got'):
        _flexible(tmp_path, strategy=strategy)


def test_from_cfg_and_the_registry_pass_strategy_and_compile_on(tmp_path):
    config = toy_config(tmp_path, strategy={'type': 'DDPStrategy'}, compile=False)
    for runner in (
        FlexibleRunner.from_cfg(config),
        RUNNERS.build({'runner_type': 'FlexibleRunner', **config}),
    ):
        assert type(runner) is FlexibleRunner
        assert type(runner.strategy) is DDPStrategy


def test_it_is_a_runner_whose_logger_shows_on_the_class(tmp_path):
    assert issubclass(FlexibleRunner, Runner)
    assert isinstance(FlexibleRunner.logger, property)


def test_only_the_model_is_required(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = FlexibleRunner({'type': 'ToyNet'}, log_level='ERROR')
    assert runner.work_dir == str(tmp_path / 'work_dirs')
    assert runner.launcher == 'none'


def test_no_launcher_is_worked_out_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    with pytest.raises(KeyError, match='RANK is not set'):
        _flexible(tmp_path)


@pytest.mark.filterwarnings('ignore')  # torch's tracer warns of torch's own code
def test_compile_is_an_argument(tmp_path):
    calls = []

    def backend(graph, inputs):
        calls.append(graph)
        return graph.forward

    runner = _flexible(tmp_path, compile={'backend': backend}, **NO_VALIDATION)
    assert parameters(runner.train()) == pytest.approx(EXPECTED, abs=1e-6)
    assert calls


def test_a_strategy_can_be_built_beside_the_run(tmp_path):
    runner = _flexible(tmp_path)
    other = runner.build_strategy({'type': 'SingleDeviceStrategy'}, experiment_name='other')
    assert other.experiment_name.startswith('other_')
    assert other.work_dir == runner.work_dir
