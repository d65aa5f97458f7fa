"""What subclasses in known projects call, override or read beside the documented names.

``data/names_of_subclasses.json`` has the names with their parameters (null for what is not called).
"""

import importlib
import inspect
import json
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mmengine.config import DictAction
from mmengine.hooks import CheckpointHook, Hook, IterTimerHook
from mmengine.logging import MMLogger
from mmengine.model import (
    BaseModel,
    BaseModule,
    ExponentialMovingAverage,
    MomentumAnnealingEMA,
    StochasticWeightAverage,
    update_init_info,
)
from mmengine.optim import CosineAnnealingLR, CosineAnnealingMomentum
from mmengine.optim.scheduler import CosineRestartLR
from mmengine.registry import Registry
from mmengine.runner import LogProcessor, Runner
from mmengine.utils.errors import ArgumentError
from mmengine.visualization import TensorboardVisBackend, Visualizer

NAMES: dict[str, list[str] | None] = json.loads(
    (Path(__file__).parent / 'data' / 'names_of_subclasses.json').read_text()
)


@pytest.mark.parametrize('path', NAMES)
def test_the_name_is_there_with_its_parameters(path: str) -> None:
    module, cls, name = path.rsplit('.', 2)
    found = getattr(getattr(importlib.import_module(module), cls), name)
    parameters = NAMES[path]
    if parameters is not None:
        assert list(inspect.signature(found).parameters) == parameters


class Toy(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Any = None, mode: str = 'tensor', **kwargs: Any) -> Any:
        return {'loss': self.weight.sum()} if mode == 'loss' else [1]


class Count:
    """A metric by its methods."""

    prefix = None

    def process(self, data_batch: Any, data_samples: Any) -> None:
        pass

    def evaluate(self, size: int) -> dict[str, float]:
        return {'n': float(size)}


def as_x(batch: list[int]) -> dict[str, Any]:
    return {'x': batch}


def make_runner(tmp_path: Path, **changes: Any) -> Runner:
    loader = {'dataset': [0] * 4, 'batch_size': 1, 'collate_fn': as_x}
    arguments: dict[str, Any] = {
        'model': Toy(),
        'work_dir': str(tmp_path),
        'log_level': 'ERROR',
        'train_dataloader': loader,
        'train_cfg': {'by_epoch': True, 'max_epochs': 1},
        'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 0.1}},
        'default_hooks': {'checkpoint': None, 'logger': None},
    }
    return Runner(**{**arguments, **changes})


# -- Registry


def plain_function() -> None: ...


def test_register_module_by_function_takes_one_name_or_several() -> None:
    shapes = Registry('shape', scope='test')
    shapes._register_module(plain_function, ['a', 'b'])
    shapes._register_module(module=nn.Linear)
    shapes._register_module(plain_function, 'c', force=False)
    assert set(shapes.module_dict) == {'a', 'b', 'c', 'Linear'}
    with pytest.raises(KeyError, match="'a'"):
        shapes._register_module(nn.Linear, 'a')
    shapes._register_module(nn.Linear, 'a', force=True)
    assert shapes.get('a') is nn.Linear
    with pytest.raises(TypeError, match='Only classes and functions'):
        shapes._register_module(3)  # type: ignore[arg-type]


def test_a_registry_that_overrides_it_is_asked_about_every_registration() -> None:
    asked: list[Any] = []

    class Noting(Registry):
        def _register_module(self, module: Any, module_name: Any = None, force: Any = False) -> Any:
            asked.append((module, module_name, force))
            super()._register_module(module, module_name, force)

    shapes = Noting('shape', scope='test')
    shapes.register_module(module=nn.Linear)
    shapes.register_module(name=['a', 'b'], force=True)(nn.Linear)
    assert asked == [(nn.Linear, None, False), (nn.Linear, ['a', 'b'], True)]


# -- IterTimerHook


def test_a_timer_that_overrides_after_iter_alone_reads_what_the_rest_has_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = SimpleNamespace(s=1000.0)
    monkeypatch.setattr('mmengine.hooks.iter_timer_hook.time', lambda: now.s)
    seen: list[tuple[Any, ...]] = []

    class Own(IterTimerHook):
        def _after_iter(self, runner: Any, batch_idx: int, *args: Any, **kwargs: Any) -> None:
            now.s += 2.0
            mode = kwargs.get('mode', 'train')
            seen.append((mode, self.start_iter, self.time_sec_tot, now.s - self.t))
            super()._after_iter(runner, batch_idx, *args, **kwargs)

    loader = {'dataset': [0] * 2, 'batch_size': 1, 'collate_fn': as_x}
    runner = make_runner(
        tmp_path,
        default_hooks={'timer': Own(), 'checkpoint': None, 'logger': None},
        val_dataloader=loader,
        val_cfg={},
        val_evaluator=Count(),
    )
    runner.train()
    # An iteration takes 2 s; those of a validation are no part of the training's.
    expected = [('train', 0, 2.0 * done, 2.0) for done in range(4)]
    assert seen == [*expected, ('val', 0, 8.0, 2.0), ('val', 0, 8.0, 2.0)]


# -- LogProcessor


def test_an_overridden_length_is_the_number_after_the_slash(tmp_path: Path) -> None:
    class Total(LogProcessor):
        def _get_dataloader_size(self, runner: Any, mode: str) -> int:
            loop = self._get_cur_loop(runner, mode)
            assert loop is runner.train_loop
            return 70 + super()._get_dataloader_size(runner, mode)

    lines = []

    class Look(Hook):
        def after_train_iter(self, runner: Any, batch_idx: int, *args: Any, **kw: Any) -> None:
            lines.append(runner.log_processor.get_log_after_iter(runner, batch_idx, 'train')[1])

    make_runner(tmp_path, log_processor=Total(), custom_hooks=[Look()]).train()
    assert [line.split()[1] for line in lines] == ['[1][', '[1][', '[1][', '[1][']
    assert [line.split()[2] for line in lines] == [f'{i}/74]' for i in (1, 2, 3, 4)]


def test_an_overridden_loop_gives_the_length_too(tmp_path: Path) -> None:
    class Other(LogProcessor):
        def _get_cur_loop(self, runner: Any, mode: str) -> Any:
            return SimpleNamespace(dataloader=range(9))

    runner = make_runner(tmp_path, log_processor=Other())
    runner.train()
    assert '[4/9]' in runner.log_processor.get_log_after_iter(runner, 3, 'train')[1]


@pytest.mark.parametrize('by_epoch', [True, False])
def test_tags_of_validation_and_test_iterations_tell_the_position(
    tmp_path: Path, by_epoch: bool
) -> None:
    tags: dict[str, list[dict[str, Any]]] = defaultdict(list)

    class Look(Hook):
        def _after_iter(
            self, runner: Any, batch_idx: int, *args: Any, mode: str, **kw: Any
        ) -> None:
            tag = runner.log_processor.get_log_after_iter(runner, batch_idx, mode)[0]
            tags[mode].append({key: tag[key] for key in ('epoch', 'iter') if key in tag})

    loader = {'dataset': [0] * 2, 'batch_size': 1, 'collate_fn': as_x}
    evaluation: dict[str, Any] = {}
    for stage in ('val', 'test'):
        evaluation[f'{stage}_dataloader'] = loader
        evaluation[f'{stage}_cfg'] = {}
        evaluation[f'{stage}_evaluator'] = Count()
    length = {'max_epochs': 2} if by_epoch else {'max_iters': 4, 'val_interval': 2}
    runner = make_runner(
        tmp_path,
        train_cfg={'by_epoch': by_epoch, **length},
        train_dataloader=loader,
        custom_hooks=[Look()],
        log_processor={'by_epoch': by_epoch},
        **evaluation,
    )
    runner.train()
    runner.test()
    # Recorded from mmengine 0.10.7 on this run: the iteration is the one that would come next.
    if by_epoch:
        assert tags['val'] == [{'epoch': e, 'iter': i} for e, i in ((1, 3), (1, 3), (2, 5), (2, 5))]
    else:
        assert tags['val'] == [{'iter': i} for i in (3, 3, 5, 5)]
    assert tags['test'] == [{'iter': 5}] * 2


# -- BaseModule


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    logger = MMLogger.get_instance('init', log_level='INFO')
    monkeypatch.setattr(logger, 'info', lines.append)
    return lines


def test_init_weights_that_fills_its_own_record_and_dumps_it(logged: list[str]) -> None:
    class Own(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(1, 1)

        def init_weights(self) -> None:
            self._params_init_info = defaultdict(dict)
            for parameter in self.parameters():
                self._params_init_info[parameter].update(
                    init_info='mine', tmp_mean_value=parameter.data.mean()
                )
            nn.init.constant_(self.linear.bias, 3.0)
            update_init_info(self, 'later')
            super()._dump_init_info()

        def forward(self) -> None: ...

    own = Own()
    own.init_weights()
    info = {name: own._params_init_info[p]['init_info'] for name, p in own.named_parameters()}
    # What did not change since the record was filled keeps its words.
    assert info == {'linear.weight': 'mine', 'linear.bias': 'later'}
    assert '1 x mine' in logged[0]
    assert '1 x later' in logged[0]


def test_the_record_is_there_while_init_weights_runs_and_its_dump_may_be_overridden() -> None:
    seen: dict[str, Any] = {}

    class Own(BaseModule):
        def __init__(self) -> None:
            super().__init__({'type': 'Constant', 'layer': 'Linear', 'val': 1.0})
            self.linear = nn.Linear(2, 1)

        def _dump_init_info(self) -> None:
            seen.update(self._params_init_info[self.linear.weight])

    own = Own()
    own.init_weights()
    assert seen['init_info'] == 'ConstantInit: val=1.0, bias=0'
    assert seen['tmp_mean_value'] == torch.tensor(1.0)
    assert not hasattr(own, '_params_init_info')


class Encoder(BaseModule):
    def __init__(self) -> None:
        super().__init__({'type': 'Constant', 'layer': 'Linear', 'val': 1.0})
        self.linear = nn.Linear(1, 1)
        self.position = nn.Parameter(torch.zeros(4))

    def init_weights(self) -> None:
        super().init_weights()
        nn.init.constant_(self.position, 2.0)


@pytest.mark.parametrize('flag', ['is_init', '_is_init'])
def test_a_child_that_says_it_is_initialised_keeps_its_weights(flag: str) -> None:
    model = BaseModule()
    model.loaded, model.other = Encoder(), Encoder()
    for parameter in model.loaded.parameters():
        parameter.data.fill_(7.0)
    setattr(model.loaded, flag, True)
    model.init_weights()
    assert all((parameter == 7).all() for parameter in model.loaded.parameters())
    assert (model.other.linear.weight.item(), model.other.position[0].item()) == (1.0, 2.0)


def test_so_does_a_child_of_a_custom_class() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.full((1,), 7.0))
            self.is_init = True

        def init_weights(self) -> None:
            self.weight.data.zero_()

    model = BaseModule()
    model.plain = Plain()
    model.init_weights()
    assert model.plain.weight.item() == 7.0


# -- Visualizer and its backends


@pytest.mark.parametrize(
    ('points', 'expected'),
    [
        ([[0, 0]], True),
        ([[1, 1], [19, 9]], True),
        # Recorded from mmengine 0.10.7: the right and the lower border are outside.
        ([[20, 9]], False),
        ([[19, 10]], False),
        ([[-1, 0]], False),
        ([[[1, 1], [2, 2]], [[3, 3], [25, 9]]], False),
    ],
)
def test_whether_points_lie_inside_the_image(points: Any, expected: bool) -> None:
    pytest.importorskip('matplotlib')
    visualizer = Visualizer(image=np.zeros((10, 20, 3), np.uint8))
    assert visualizer._is_posion_valid(np.array(points)) is expected


def test_drawing_asks_whether_points_lie_inside() -> None:
    pytest.importorskip('matplotlib')
    asked: list[Any] = []

    class Own(Visualizer):
        def _is_posion_valid(self, position: np.ndarray) -> bool:
            asked.append(position.shape)
            return True

    visualizer = Own(image=np.zeros((10, 20, 3), np.uint8))
    visualizer.draw_lines(np.array([[-5, 90]]), np.array([[0, 3]]))  # a warning otherwise
    assert asked == [(1, 2, 2)]


def test_a_visualizer_opens_its_window_by_hand() -> None:
    matplotlib = pytest.importorskip('matplotlib')
    assert matplotlib.get_backend() == 'agg'
    visualizer = Visualizer(image=np.zeros((10, 20, 3), np.uint8))
    assert not hasattr(visualizer, 'manager')
    visualizer._init_manager('cat')
    figure = visualizer.manager.canvas.figure
    figure.add_subplot().imshow(np.zeros((4, 4)))
    visualizer.manager.canvas.draw()
    assert len(figure.axes) == 1
    visualizer.close()
    assert not hasattr(visualizer, 'manager')


def test_show_opens_its_window_through_the_method(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('matplotlib')
    opened: list[str] = []

    class Own(Visualizer):
        def _init_manager(self, win_name: str) -> None:
            opened.append(win_name)
            super()._init_manager(win_name)

    visualizer = Own(image=np.zeros((10, 20, 3), np.uint8))
    visualizer.show(win_name='a')
    visualizer.show(win_name='b')
    assert opened == ['a']


def test_the_tensorboard_backend_has_its_writer_once_it_is_used(tmp_path: Path) -> None:
    pytest.importorskip('tensorboard')
    backend = TensorboardVisBackend(str(tmp_path))
    assert not hasattr(backend, '_tensorboard')
    assert backend.experiment is backend._tensorboard
    assert type(backend._tensorboard).__name__ == 'SummaryWriter'
    backend.close()


# -- DictAction


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        # Recorded from mmengine 0.10.7.
        ('1', 1),
        ('[1,2]', [1, 2]),
        ('(1,2)', (1, 2)),
        ('1,2', [1, 2]),
        ('[(1,2),[a,b],c]', [(1, 2), ['a', 'b'], 'c']),
        ('[]', []),
        ('(a)', ('a',)),
        ("['a','b']", ['a', 'b']),
        ('[1, 2.5,true,None]', [1, 2.5, True, None]),
        ('((1,2),3)', ((1, 2), 3)),
        ('a]', 'a]'),
    ],
)
def test_the_parser_of_option_values_is_a_static_method(text: str, expected: Any) -> None:
    assert DictAction._parse_iterable(text) == expected


def test_brackets_that_do_not_match_are_an_assertion_error_too() -> None:
    with pytest.raises(AssertionError):
        DictAction._parse_iterable('[1,2')
    with pytest.raises(ArgumentError):
        DictAction._parse_iterable('[1,2')


def test_an_action_that_overrides_the_parser_is_asked() -> None:
    import argparse

    class Upper(DictAction):
        @staticmethod
        def _parse_iterable(val: str) -> str:
            return val.upper()

    parser = argparse.ArgumentParser()
    parser.add_argument('--options', nargs='+', action=Upper)
    assert parser.parse_args(['--options', 'a=x,y']).options == {'a': 'X,Y'}


# -- schedules


def halve(self: Any, base_value: float) -> float:
    return base_value / 2


@pytest.mark.parametrize(
    ('schedule', 'name', 'arguments'),
    [
        (CosineAnnealingLR, 'lr', {'T_max': 4}),
        (CosineAnnealingLR, 'lr', {'T_max': 4, 'eta_min_ratio': 0.01}),
        (CosineAnnealingMomentum, 'momentum', {'T_max': 4}),
        (CosineRestartLR, 'lr', {'periods': [8], 'restart_weights': [1]}),
    ],
)
def test_a_cosine_schedule_asks_for_the_lowest_value_of_each_group(
    schedule: Any, name: str, arguments: dict[str, Any]
) -> None:
    groups = [{'params': [nn.Parameter(torch.zeros(1))], 'lr': lr} for lr in (0.8, 0.4)]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.6)
    first = [group[name] for group in optimizer.param_groups]
    own = type('Own', (schedule,), {'_get_eta_min': halve})(optimizer, **arguments)
    optimizer.step()
    for _ in range(4):
        own.step()
    # Half way to the floor after half a period of a restart, at the floor after T_max.
    share = 0.75 if schedule is CosineRestartLR else 0.5
    reached = [group[name] for group in optimizer.param_groups]
    assert reached == pytest.approx([value * share for value in first])


# -- averaged models


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(2)
        self.linear = nn.Linear(1, 1)
        self.register_buffer('low', torch.zeros(2, dtype=torch.half))
        self.register_buffer('unsaved', torch.ones(1), persistent=False)


PARAMETERS = ['bn.weight', 'bn.bias', 'linear.weight', 'linear.bias']
FLOAT_STATE = [*PARAMETERS, 'bn.running_mean', 'bn.running_var', 'low']


@pytest.mark.parametrize(('update_buffers', 'names'), [(False, PARAMETERS), (True, FLOAT_STATE)])
@pytest.mark.parametrize(
    'kind', [ExponentialMovingAverage, MomentumAnnealingEMA, StochasticWeightAverage]
)
def test_avg_func_alone_is_asked_for_every_parameter_and_buffer(
    kind: Any, update_buffers: bool, names: list[str]
) -> None:
    asked = []

    class Own(kind):
        def avg_func(self, averaged_param: Any, source_param: Any, steps: Any) -> None:
            asked.append((id(averaged_param), int(steps)))
            averaged_param.copy_(source_param * 2)

    model = Mixed()
    average = Own(model, update_buffers=update_buffers)
    average.update_parameters(model)
    assert asked == []  # the first update copies
    model.linear.weight.data.fill_(3.0)
    average.update_parameters(model)
    tensors = {**dict(average.module.named_parameters()), **dict(average.module.named_buffers())}
    by_id = {id(tensor): name for name, tensor in tensors.items()}
    names_asked = {by_id[key] for key, _ in asked}
    assert names_asked - {'unsaved'} == set(names)
    assert {steps for _, steps in asked} == {1}
    assert average.module.linear.weight.item() == 6.0


def test_avg_func_set_on_an_instance_is_asked() -> None:
    model = nn.Linear(1, 1)
    average = ExponentialMovingAverage(model)
    average.avg_func = lambda averaged, source, steps: averaged.copy_(source + 1)
    average.update_parameters(model)
    average.update_parameters(model)
    assert average.module.weight.item() == pytest.approx(model.weight.item() + 1)


@pytest.mark.parametrize('update_buffers', [False, True])
def test_the_averaged_parameters_by_name(update_buffers: bool) -> None:
    class Own(ExponentialMovingAverage):
        def update_parameters(self, model: nn.Module) -> None:
            source = model.state_dict()
            for name, averaged in self.avg_parameters.items():
                averaged.data.copy_(source[name] * 2)

    model = Mixed()
    average = Own(model, update_buffers=update_buffers)
    # Recorded from mmengine 0.10.7 but for the order: parameters, or the state.
    counted = ['bn.num_batches_tracked'] if update_buffers else []
    expected = {*(FLOAT_STATE if update_buffers else PARAMETERS), *counted}
    assert set(average.avg_parameters) == expected
    average.update_parameters(model)
    assert average.module.linear.weight.item() == 2 * model.linear.weight.item()
    assert average.avg_parameters is average.avg_parameters  # nothing is looked up in an update


def test_the_averaged_parameters_follow_moves_and_loads() -> None:
    average = ExponentialMovingAverage(nn.BatchNorm1d(2), update_buffers=True)
    assert average.avg_parameters['running_mean'].dtype == torch.float32
    average.to(torch.float64)
    assert average.avg_parameters['running_mean'].dtype == torch.float64
    state = {name: tensor + 1 for name, tensor in average.state_dict().items()}
    average.load_state_dict(state, assign=True)
    held = average.avg_parameters['running_mean']
    assert held.data_ptr() == average.module.running_mean.data_ptr()


@pytest.mark.parametrize(
    ('make', 'errors'),
    [
        (lambda: CheckpointHook(save_best=3), (TypeError, AssertionError)),
        (lambda: CheckpointHook(save_best='acc', rule='zz'), (KeyError, ValueError)),
    ],
    ids=['save_best', 'rule'],
)
def test_wrong_arguments_raise_what_the_api_raised_too(make: Any, errors: tuple[type, ...]) -> None:
    for error in errors:
        with pytest.raises(error):
            make()
