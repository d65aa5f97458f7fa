"""Every way to make a Runner, and that each makes the same run."""

import copy
from pathlib import Path

import pytest
import torch
from runner_toy import (
    NO_TEST,
    NO_TRAINING,
    NO_VALIDATION,
    Error,
    Line,
    Net,
    parameters,
    toy_config,
    toy_runner,
    trained_by_hand,
)
from torch.utils.data import DataLoader

from mmengine.config import Config, ConfigDict
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import BaseDataPreprocessor
from mmengine.optim import OptimWrapper, StepLR
from mmengine.registry import DATA_SAMPLERS, MODELS, RUNNERS, DefaultScope
from mmengine.runner import EpochBasedTrainLoop, LogProcessor, Runner, ValLoop
from mmengine.visualization import Visualizer

IN_ORDER = [(0, 1), (2, 3), (4, 5), (6, 7)]
TWO_EPOCHS = trained_by_hand(IN_ORDER * 2)


def _from_objects(work_dir: Path) -> Runner:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(Line(), batch_size=2)
    return Runner(
        model,
        str(work_dir),
        train_dataloader=loader,
        train_cfg={'by_epoch': True, 'max_epochs': 2},
        optim_wrapper=OptimWrapper(optimizer),
        param_scheduler=StepLR(optimizer, step_size=100),
        val_dataloader=loader,
        val_cfg={},
        val_evaluator=Evaluator(Error()),
        default_hooks={'checkpoint': None, 'logger': None},
        log_level='ERROR',
    )


def _written(folder: Path) -> Path:
    lines = [f'{key} = {value!r}' for key, value in toy_config(folder).items()]
    (folder / 'exp.py').write_text('\n'.join(['# A comment worth keeping', *lines]))
    return folder / 'exp.py'


def _from_config_file(work_dir: Path) -> Runner:
    return Runner.from_cfg(Config.fromfile(_written(work_dir)))


def _from_lazy_config_file(work_dir: Path) -> Runner:
    config = toy_config(work_dir)
    for name in ('model', 'train_dataloader', 'val_dataloader', 'test_dataloader'):
        del config[name]
    (work_dir / 'lazy.py').write_text(
        'from mmengine.config import read_base\n'
        'from mmengine.dataset import DefaultSampler\n'
        'from runner_toy import Line, Net\n'
        'model = dict(type=Net)\n'
        'train_dataloader = dict(dataset=dict(type=Line, length=8), batch_size=2,\n'
        '    sampler=dict(type=DefaultSampler, shuffle=False))\n'
        'val_dataloader = test_dataloader = train_dataloader\n'
        + '\n'.join(f'{key} = {value!r}' for key, value in config.items())
    )
    return Runner.from_cfg(Config.fromfile(work_dir / 'lazy.py', lazy_import=True))


MAKERS = {
    'configs': lambda work_dir: toy_runner(work_dir),
    'objects': _from_objects,
    'from_cfg with a dict': lambda work_dir: Runner.from_cfg(toy_config(work_dir)),
    'from_cfg with a Config': lambda work_dir: Runner.from_cfg(Config(toy_config(work_dir))),
    'from_cfg with a file': _from_config_file,
    'from_cfg with a lazy file': _from_lazy_config_file,
    'the registry': lambda work_dir: RUNNERS.build({'type': 'Runner', **toy_config(work_dir)}),
    'the registry with a Config': lambda work_dir: RUNNERS.build(
        Config({'runner_type': 'Runner', **toy_config(work_dir)})
    ),
}


@pytest.mark.parametrize('make', MAKERS.values(), ids=MAKERS.keys())
def test_it_trains_as_worked_out_by_hand(tmp_path, make):
    runner = make(tmp_path)
    model = runner.train()
    assert model is runner.model
    assert parameters(model) == pytest.approx(TWO_EPOCHS, abs=1e-6)
    assert (runner.epoch, runner.iter, runner.max_epochs, runner.max_iters) == (2, 8, 2, 8)


def test_training_by_iterations_goes_over_the_data_again_and_again(tmp_path):
    runner = toy_runner(tmp_path, train_cfg={'by_epoch': False, 'max_iters': 6})
    assert parameters(runner.train()) == pytest.approx(
        trained_by_hand([*IN_ORDER, *IN_ORDER[:2]]), abs=1e-6
    )
    assert (runner.epoch, runner.iter, runner.max_epochs, runner.max_iters) == (1, 6, 1, 6)


def test_validation_and_test_return_their_metrics(tmp_path):
    runner = toy_runner(tmp_path)
    # |0.5 x - (2 x + 1)| = 1.5 x + 1, and x is 0.35 on average.
    assert runner.val() == {'toy/error': pytest.approx(1.525)}
    assert runner.test() == {'toy/error': pytest.approx(1.525)}


@pytest.mark.parametrize('stage', ['val', 'test'])
def test_one_stage_alone_is_enough(tmp_path, stage):
    other = NO_TEST if stage == 'val' else NO_VALIDATION
    runner = toy_runner(tmp_path, **NO_TRAINING, **other)
    assert getattr(runner, stage)() == {'toy/error': pytest.approx(1.525)}
    assert runner.train_loop is None
    assert runner.train_dataloader is None
    assert (runner.epoch, runner.iter, runner.max_epochs, runner.max_iters) == (0, 0, 1, 1)
    assert (runner.val_begin, runner.val_interval) == (1, 1)


def test_training_alone_is_enough(tmp_path):
    runner = toy_runner(tmp_path, **NO_VALIDATION, **NO_TEST)
    assert parameters(runner.train()) == pytest.approx(TWO_EPOCHS, abs=1e-6)
    assert (runner.val_loop, runner.val_dataloader, runner.val_evaluator) == (None, None, None)
    assert (runner.test_loop, runner.test_dataloader, runner.test_evaluator) == (None, None, None)


def test_training_validates_with_the_weights_of_the_moment(tmp_path):
    runner = toy_runner(tmp_path)
    runner.train()
    history = runner.message_hub.get_scalar('val/toy/error').data[0]
    expected = []
    for epochs in (1, 2):
        weight, bias = trained_by_hand(IN_ORDER * epochs)
        errors = [abs(weight * i / 10 + bias - (2 * i / 10 + 1)) for i in range(8)]
        expected.append(sum(errors) / 8)
    assert history.tolist() == pytest.approx(expected, abs=1e-5)


def test_training_twice_does_nothing_more(tmp_path):
    runner = toy_runner(tmp_path, auto_scale_lr={'enable': True, 'base_batch_size': 4})
    runner.train()
    before = parameters(runner.model)
    runner.train()
    assert parameters(runner.model) == before
    assert runner.optim_wrapper.get_lr() == {'lr': [0.05]}


def test_the_loops_and_their_parts_are_built_on_demand(tmp_path):
    runner = toy_runner(tmp_path)
    assert runner.epoch == 0
    assert isinstance(runner._train_loop, dict)  # asking for the position does not load the data
    assert isinstance(runner.train_loop, EpochBasedTrainLoop)
    assert runner.train_loop is runner.train_loop
    assert isinstance(runner.val_loop, ValLoop)
    assert runner.train_dataloader is runner.train_loop.dataloader
    assert runner.val_evaluator is runner.val_loop.evaluator
    assert isinstance(runner.test_evaluator.metrics[0], Error)


def test_names_places_and_facts(tmp_path):
    runner = toy_runner(tmp_path / 'w', experiment_name='exp', randomness={'seed': 4})
    assert runner.work_dir == str(tmp_path / 'w')
    assert runner.log_dir == str(tmp_path / 'w' / runner.timestamp)
    assert runner.experiment_name == f'exp_{runner.timestamp}'
    assert runner.model_name == 'Net'
    assert (runner.launcher, runner.distributed, runner.rank, runner.world_size) == (
        'none', False, 0, 1,
    )  # fmt: skip
    assert (runner.seed, runner.deterministic) == (4, False)
    assert runner.message_hub is MessageHub.get_instance(runner.experiment_name)
    assert runner.logger is MMLogger.get_instance(runner.experiment_name)
    assert runner.visualizer is Visualizer.get_instance(runner.experiment_name)
    assert runner.default_scope is DefaultScope.get_current_instance()


def test_a_config_file_names_the_run_and_its_copy(tmp_path):
    runner = _from_config_file(tmp_path)
    assert runner.experiment_name == f'exp_{runner.timestamp}'
    assert Config.fromfile(tmp_path / 'exp.py').model == {'type': 'ToyNet'}


def test_a_config_without_file_is_written_under_the_timestamp(tmp_path):
    runner = Runner.from_cfg(toy_config(tmp_path))
    assert Config.fromfile(tmp_path / f'{runner.timestamp}.py').work_dir == str(tmp_path)


def test_runs_of_one_second_share_nothing(tmp_path):
    first, second = (toy_runner(tmp_path) for _ in range(2))
    assert first.timestamp != second.timestamp
    first.train()
    assert 'train/loss' not in second.message_hub.log_scalars
    assert first.logger is not second.logger


@MODELS.register_module(name='ToyRandomNet')
class RandomNet(Net):
    """Starts anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.linear.reset_parameters()


def test_the_seed_of_the_run_decides_the_weights(tmp_path):
    def start(seed):
        model = {'type': 'ToyRandomNet'}
        return parameters(toy_runner(tmp_path, model=model, randomness={'seed': seed}).model)

    assert start(1) == start(1)
    assert start(1) != start(2)


def test_deterministic_kernels_are_asked_for(tmp_path):
    runner = toy_runner(tmp_path, randomness={'seed': 0, 'deterministic': True})
    assert runner.deterministic
    assert torch.are_deterministic_algorithms_enabled()


def test_the_configs_that_are_given_stay_as_they_are(tmp_path):
    config = toy_config(
        tmp_path,
        data_preprocessor={'type': 'BaseDataPreprocessor'},
        custom_hooks=[{'type': 'ToyRecorder', 'priority': 'LOW'}],
        param_scheduler={'type': 'StepLR', 'step_size': 1},
        default_hooks={'timer': {'type': 'IterTimerHook', 'priority': 3}},
        log_processor={'by_epoch': True},
        visualizer={'type': 'Visualizer', 'vis_backends': [{'type': 'LocalVisBackend'}]},
    )
    before = copy.deepcopy(config)
    runner = Runner(**config)
    runner.train()
    runner.test()
    assert config == before

    whole = Config(config)
    runner = Runner.from_cfg(whole)
    runner.train()
    assert whole.to_dict() == before
    runner.cfg.model.type = 'changed'
    assert whole.model.type == 'ToyNet'


def test_from_cfg_keeps_entries_it_does_not_know(tmp_path):
    runner = Runner.from_cfg(Config(dict(toy_config(tmp_path), dataset_type='COCO')))
    assert runner.cfg.dataset_type == 'COCO'


def test_from_cfg_takes_none_as_not_given(tmp_path):
    empty = dict.fromkeys(
        ['env_cfg', 'randomness', 'resume', 'launcher', 'default_scope', 'cfg', 'custom_hooks']
    )
    runner = Runner.from_cfg(toy_config(tmp_path, **empty))
    assert runner.launcher == 'none'
    assert parameters(runner.train()) == pytest.approx(TWO_EPOCHS, abs=1e-6)


@pytest.mark.parametrize('missing', ['model', 'work_dir'])
def test_from_cfg_names_what_is_missing(tmp_path, missing):
    with pytest.raises(KeyError, match=f'no {missing}'):
        Runner.from_cfg({**toy_config(tmp_path), missing: None})


def test_from_cfg_makes_the_subclass_it_is_called_on(tmp_path):
    class Mine(Runner):
        def __init__(self, *args, extra=0, **kwargs):
            super().__init__(*args, **kwargs)
            self.extra = extra

    runner = Mine.from_cfg(toy_config(tmp_path, extra=3))
    assert type(runner) is Mine
    assert runner.extra == 3


@pytest.mark.parametrize('kind', [dict, ConfigDict, Config])
def test_cfg_may_be_a_dict_or_a_config(tmp_path, kind):
    runner = toy_runner(tmp_path, cfg=kind(a=1) if kind is not Config else Config(dict(a=1)))
    assert runner.cfg.a == 1


def test_cfg_of_another_kind_is_refused(tmp_path):
    with pytest.raises(TypeError, match='cfg is a Config, a dict or None, got list'):
        toy_runner(tmp_path, cfg=[1])


class TestDataPreprocessor:
    def test_it_goes_into_the_config_of_the_model(self, tmp_path):
        runner = toy_runner(
            tmp_path, data_preprocessor={'type': 'BaseDataPreprocessor', 'non_blocking': True}
        )
        assert type(runner.model.data_preprocessor) is BaseDataPreprocessor
        assert runner.model.data_preprocessor._non_blocking

    def test_an_object_is_taken(self, tmp_path):
        preprocessor = BaseDataPreprocessor()
        runner = toy_runner(tmp_path, data_preprocessor=preprocessor)
        assert isinstance(runner.model.data_preprocessor, BaseDataPreprocessor)

    def test_the_one_of_the_model_comes_first(self, tmp_path):
        own = {'type': 'BaseDataPreprocessor', 'non_blocking': True}
        runner = toy_runner(
            tmp_path,
            model={'type': 'ToyNet', 'data_preprocessor': own},
            data_preprocessor={'type': 'BaseDataPreprocessor'},
        )
        assert runner.model.data_preprocessor._non_blocking

    def test_it_is_left_out_with_a_warning_when_the_model_is_finished(self, tmp_path, capsys):
        toy_runner(
            tmp_path,
            model=Net(),
            data_preprocessor={'type': 'BaseDataPreprocessor'},
            log_level='WARNING',
        )
        assert 'data_preprocessor is left out: the model is a finished Net' in (
            capsys.readouterr().out
        )


class TestBuilders:
    """The public ``build_*``: a config becomes the part, the part stays itself."""

    def test_parts_that_are_built_are_returned_as_they_are(self, tmp_path):
        runner = toy_runner(tmp_path)
        for build, part in [
            (runner.build_model, Net()),
            (runner.build_dataloader, DataLoader(Line())),
            (runner.build_evaluator, Evaluator(Error())),
            (runner.build_log_processor, LogProcessor()),
            (runner.build_visualizer, Visualizer.get_instance('v')),
            (runner.build_train_loop, runner.train_loop),
            (runner.build_val_loop, runner.val_loop),
            (runner.build_test_loop, runner.test_loop),
            (runner.build_optim_wrapper, OptimWrapper(torch.optim.SGD(Net().parameters(), 0.1))),
        ]:
            assert build(part) is part

    @pytest.mark.parametrize(
        ('name', 'message'),
        [
            ('build_visualizer', 'A visualizer is a Visualizer, a dict or None, got int'),
            ('build_log_processor', 'A log processor is a LogProcessor or a dict, got int'),
            ('build_message_hub', 'message_hub is a dict or None, got int'),
            ('build_dataloader', 'A dataloader is a DataLoader or a dict, got int'),
            ('build_train_loop', 'A loop is a loop object or a dict, got int'),
            ('build_val_loop', 'A loop is a loop object or a dict, got int'),
            ('build_model', 'got 3'),
            ('build_evaluator', 'int has no process'),
            ('build_optim_wrapper', 'int'),
        ],
    )
    def test_another_kind_is_refused_by_name(self, tmp_path, name, message):
        with pytest.raises(TypeError, match=message):
            getattr(toy_runner(tmp_path), name)(3)

    def test_a_message_hub_of_another_name(self, tmp_path):
        hub = toy_runner(tmp_path).build_message_hub({'name': 'other'})
        assert hub is MessageHub.get_instance('other')

    def test_a_visualizer_with_its_config(self, tmp_path):
        visualizer = toy_runner(tmp_path).build_visualizer({'name': 'mine', 'vis_backends': None})
        assert visualizer.instance_name == 'mine'

    def test_schedulers_end_with_the_training(self, tmp_path):
        runner = toy_runner(tmp_path)
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        by_epoch, by_iter, converted = runner.build_param_scheduler(
            [
                {'type': 'LinearLR', 'start_factor': 0.5},
                {'type': 'LinearLR', 'start_factor': 0.5, 'by_epoch': False},
                {'type': 'CosineAnnealingLR', 'T_max': 2, 'convert_to_iter_based': True},
            ]
        )
        assert (by_epoch.end, by_iter.end, converted.end) == (2, 8, 8)

    def test_schedulers_before_their_optimizer_are_an_error(self, tmp_path):
        with pytest.raises(RuntimeError, match='call build_optim_wrapper first'):
            toy_runner(tmp_path).build_param_scheduler({'type': 'StepLR', 'step_size': 1})


class TestScalingRates:
    def test_batch_2_at_base_4_halves_the_rate(self, tmp_path):
        runner = toy_runner(tmp_path, auto_scale_lr={'enable': True, 'base_batch_size': 4})
        assert parameters(runner.train()) == pytest.approx(
            trained_by_hand(IN_ORDER * 2, lr=0.05), abs=1e-6
        )

    def test_the_size_comes_from_a_batch_sampler_too(self, tmp_path):
        loader = toy_config(tmp_path)['train_dataloader']
        batches = {
            'type': 'BatchSampler',
            'batch_size': loader.pop('batch_size'),
            'drop_last': True,
        }
        runner = toy_runner(
            tmp_path,
            train_dataloader={**loader, 'batch_sampler': batches},
            auto_scale_lr={'enable': True, 'base_batch_size': 4},
        )
        DATA_SAMPLERS.register_module(module=torch.utils.data.BatchSampler, force=True)
        runner.train()
        assert runner.optim_wrapper.get_lr() == {'lr': [0.05]}

    def test_it_is_too_late_when_schedulers_are_built(self, tmp_path):
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        runner = toy_runner(
            tmp_path,
            model=model,
            optim_wrapper=OptimWrapper(optimizer),
            param_scheduler=[StepLR(optimizer, step_size=1)],
            auto_scale_lr={'enable': True, 'base_batch_size': 4},
        )
        with pytest.raises(RuntimeError, match='scaled before schedulers are built'):
            runner.train()

    def test_disabled_settings_change_nothing(self, tmp_path):
        runner = toy_runner(tmp_path, auto_scale_lr={'enable': False, 'base_batch_size': 4})
        runner.train()
        assert runner.optim_wrapper.get_lr() == {'lr': [0.1]}


def test_an_environment_setting_that_means_nothing_is_named(tmp_path, capsys):
    toy_runner(tmp_path, env_cfg={'cudn_benchmark': True, 'dist_cfg': {'backend': 'gloo'}})
    assert "env_cfg has 'cudn_benchmark', which has no meaning. Did you mean" in (
        capsys.readouterr().out
    )


def test_the_environment_can_be_set_up_again(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'benchmark', False)
    toy_runner(tmp_path).setup_env({'cudnn_benchmark': True})
    assert torch.backends.cudnn.benchmark


def test_seeds_can_be_set_again(tmp_path):
    runner = toy_runner(tmp_path)
    runner.set_randomness(11)
    first = torch.rand(1)
    torch.manual_seed(11)
    assert torch.equal(torch.rand(1), first)
    assert runner.seed == 11


@pytest.mark.filterwarnings('ignore')  # torch's tracer warns of torch's own code
def test_a_compiled_run_gives_the_same_parameters(tmp_path):
    runner = toy_runner(tmp_path, cfg={'compile': {'backend': 'eager'}}, **NO_VALIDATION)
    assert parameters(runner.train()) == pytest.approx(TWO_EPOCHS, abs=1e-6)


def test_a_sampler_of_torch_is_taken(tmp_path):
    data = Line()
    loader = DataLoader(data, batch_size=2, sampler=DefaultSampler(data, shuffle=False))
    runner = toy_runner(tmp_path, train_dataloader=loader)
    assert parameters(runner.train()) == pytest.approx(TWO_EPOCHS, abs=1e-6)


def test_a_config_that_lies_in_the_work_dir_is_not_written_over(tmp_path):
    config = Config.fromfile(_written(tmp_path))
    before = (tmp_path / 'exp.py').read_text()
    Runner.from_cfg(config)
    assert (tmp_path / 'exp.py').read_text() == before
    Runner.from_cfg(Config({**config, 'work_dir': str(tmp_path / 'w')}, filename=config.filename))
    assert Config.fromfile(tmp_path / 'w' / 'exp.py').model == {'type': 'ToyNet'}
