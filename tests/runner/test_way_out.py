"""A run that fails leaves through one path, whatever fails and wherever."""

import copy
from typing import Any

import pytest
import torch
from runner_toy import Error, Line, Net, toy_runner

from mmengine.hooks import EMAHook, Hook
from mmengine.model import BaseTTAModel
from mmengine.registry import MODELS
from mmengine.runner import Runner

TRAIN_POINTS = [
    'before_run', 'before_train', 'before_train_epoch', 'before_train_iter', 'after_train_iter',
    'after_train_epoch', 'before_val', 'before_val_epoch', 'before_val_iter', 'after_val_iter',
    'after_val_epoch', 'after_val', 'before_save_checkpoint', 'after_train',
]  # fmt: skip
TEST_POINTS = [
    'before_test', 'before_test_epoch', 'before_test_iter', 'after_test_iter', 'after_test_epoch',
    'after_test',
]  # fmt: skip


class Boom(Exception):
    pass


class FailsAt(Hook):
    """Raises once at a point."""

    def __init__(self, point: str, error: BaseException, priority: str = 'NORMAL') -> None:
        self.priority = priority
        self.error: BaseException | None = error
        setattr(self, point, self._fail)
        self.point = point

    def _overrides(self, name: str) -> bool:
        return name == self.point

    def _fail(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error


class Witness(Hook):
    """Notes its way out."""

    def __init__(self, priority: str) -> None:
        self.priority = priority
        self.calls: list[str] = []

    def on_exception(self, runner: Runner, error: BaseException) -> None:
        self.calls.append(f'on_exception {type(error).__name__}')

    def after_run(self, runner: Runner) -> None:
        self.calls.append('after_run')


def _witnesses() -> tuple[Witness, Witness]:
    return Witness('HIGHEST'), Witness('LOWEST')


def _with_hooks(tmp_path: Any, *hooks: Any, **changes: Any) -> Runner:
    settings = {
        'custom_hooks': list(hooks),
        'default_hooks': {
            'logger': {'type': 'LoggerHook'},
            'checkpoint': {'type': 'CheckpointHook'},
        },
        'log_level': 'CRITICAL',
        **changes,
    }
    return toy_runner(tmp_path, **settings)


@pytest.mark.parametrize('kind', [Boom, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize('point', [*TRAIN_POINTS, *TEST_POINTS])
def test_from_each_point_each_hook_gets_both_calls_once(tmp_path, point, kind):
    first, last = _witnesses()
    hook = FailsAt(point, kind('here'))
    runner = _with_hooks(tmp_path, first, hook, last)
    with pytest.raises(kind, match='here'):
        runner.test() if point in TEST_POINTS else runner.train()
    expected = [f'on_exception {kind.__name__}', 'after_run']
    assert first.calls == last.calls == expected
    assert runner.message_hub.get_info('loop_stage') is None
    assert runner.state.stage is None


def test_a_failure_of_after_run_calls_no_after_run_twice(tmp_path):
    first, last = _witnesses()
    runner = _with_hooks(tmp_path, first, FailsAt('after_run', Boom('late')), last)
    with pytest.raises(Boom, match='late'):
        runner.train()
    assert first.calls == ['after_run', 'on_exception Boom']
    assert last.calls == ['on_exception Boom', 'after_run']


@pytest.mark.parametrize('point', ['on_exception', 'after_run'])
@pytest.mark.parametrize('further', [Boom('closing'), SystemExit('closing')], ids=repr)
def test_a_hook_that_fails_on_the_way_out_hides_nothing(tmp_path, point, further):
    first, last = _witnesses()
    runner = _with_hooks(
        tmp_path, first, FailsAt(point, further), last,
        FailsAt('after_train_iter', ZeroDivisionError('the cause')),
    )  # fmt: skip
    with pytest.raises(ZeroDivisionError, match='the cause'):
        runner.train()
    assert first.calls == last.calls == ['on_exception ZeroDivisionError', 'after_run']


@pytest.mark.parametrize(
    'place', ['model', 'metric', 'dataset', 'val_dataset', 'optimizer', 'loop']
)
def test_from_each_part_of_a_run_too(tmp_path, place, monkeypatch):
    first, last = _witnesses()
    runner = _with_hooks(tmp_path, first, last)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise Boom(place)

    if place == 'model':
        monkeypatch.setattr(Net, 'forward', fail)
    elif place == 'metric':
        monkeypatch.setattr(Error, 'compute_metrics', fail)
    elif place == 'dataset':
        monkeypatch.setattr(Line, '__getitem__', fail)
    elif place == 'val_dataset':
        monkeypatch.setattr(runner.val_dataloader, 'collate_fn', fail)
    elif place == 'optimizer':
        monkeypatch.setattr(torch.optim.SGD, 'step', fail)
    else:
        monkeypatch.setattr(runner.train_loop, 'run', fail)
    with pytest.raises(Boom, match=place):
        runner.train()
    assert first.calls == last.calls == ['on_exception Boom', 'after_run']


@pytest.mark.parametrize('point', ['before_val_iter', 'after_val_iter', 'after_val_epoch'])
def test_raw_weights_are_back_and_the_run_goes_on_as_if_nothing_had_been(tmp_path, point):
    def run(name: str, *hooks: Any) -> Runner:
        return _with_hooks(tmp_path / name, EMAHook(momentum=0.5), *hooks)

    straight = run('straight')
    straight.train()
    broken = run('broken', FailsAt(point, Boom('val'), priority='VERY_HIGH'))
    with pytest.raises(Boom):
        broken.train()
    raw = broken.hooks
    ema = next(hook for hook in raw if isinstance(hook, EMAHook))
    assert not ema._is_swapped
    broken.train()
    assert torch.equal(broken.model.linear.weight, straight.model.linear.weight)
    assert broken.iter == straight.iter == 8


@pytest.mark.parametrize('counts', [1, 3])
@pytest.mark.parametrize('point', ['before_train_iter', 'after_train_epoch'])
def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path, point, counts):
    optim = {
        'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9},
        'accumulative_counts': counts,
    }
    straight = toy_runner(tmp_path / 'straight', optim_wrapper=optim)
    straight.train()
    broken = _with_hooks(
        tmp_path / 'broken', FailsAt(point, KeyboardInterrupt()), optim_wrapper=copy.deepcopy(optim)
    )
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    broken.train()
    assert torch.equal(broken.model.linear.weight, straight.model.linear.weight)


def test_a_validation_after_a_failed_training_changes_no_schedule_and_saves_nothing(tmp_path):
    plateau = {'type': 'ReduceOnPlateauLR', 'monitor': 'toy/error', 'patience': 0, 'factor': 0.1,
               'rule': 'greater'}  # fmt: skip
    runner = _with_hooks(
        tmp_path,
        FailsAt('after_train_iter', Boom('here'), priority='LOWEST'),
        param_scheduler=plateau,
        default_hooks={'checkpoint': {'type': 'CheckpointHook', 'save_best': 'toy/error',
                                      'rule': 'less'}},
    )  # fmt: skip
    with pytest.raises(Boom):
        runner.train()
    runner.state.position.iter = 1
    for _ in range(3):
        runner.val()
    assert runner.optim_wrapper.get_lr() == {'lr': [0.1]}
    assert not list(tmp_path.glob('*.pth'))


def test_a_test_within_training_leaves_the_training_what_it_is(tmp_path):
    stages = []

    class TestsToo(Hook):
        def after_train_epoch(self, runner: Runner) -> None:
            runner.test()
            stages.append(runner.state.stage)

    runner = _with_hooks(tmp_path, TestsToo())
    runner.train()
    assert stages == ['train', 'train']


def test_a_failing_test_within_training_leaves_once(tmp_path):
    first, last = _witnesses()

    class TestsToo(Hook):
        def after_train_epoch(self, runner: Runner) -> None:
            runner.test()

    runner = _with_hooks(
        tmp_path, first, TestsToo(), last, FailsAt('before_test_iter', Boom('inner'))
    )
    with pytest.raises(Boom, match='inner'):
        runner.train()
    assert first.calls == last.calls == ['on_exception Boom', 'after_run']


def test_the_model_is_unwrapped_after_a_test_with_views_that_fails(tmp_path):
    @MODELS.register_module(name='WayOutTTA', force=True)
    class Merge(BaseTTAModel):
        def merge_preds(self, data_samples_list: Any) -> Any:
            raise Boom('merge')

    runner = _with_hooks(
        tmp_path, {'type': 'PrepareTTAHook', 'tta_cfg': {'type': 'WayOutTTA'}},
        FailsAt('before_test_epoch', Boom('tta')),
    )  # fmt: skip
    model = runner.model
    with pytest.raises(Boom):
        runner.test()
    assert runner.model is model
    assert runner.val()['toy/error'] > 0


@pytest.mark.parametrize('fails', [True, False])
def test_trackers_are_closed_once_and_as_failed_where_the_run_failed(tmp_path, fails):
    from mmengine.visualization import BaseVisBackend, Visualizer

    calls: list[str] = []

    class Tracker(BaseVisBackend):
        @property
        def experiment(self) -> Any:
            return self

        def _init_env(self) -> None:
            pass

        def mark_failed(self, error: BaseException) -> None:
            calls.append(type(error).__name__)

        def close(self) -> None:
            calls.append('close')

    visualizer = Visualizer(vis_backends=[Tracker(str(tmp_path))], save_dir=str(tmp_path))
    hooks = [FailsAt('after_val_iter', Boom('here'))] if fails else []
    runner = _with_hooks(tmp_path, *hooks, visualizer=visualizer)
    if fails:
        with pytest.raises(Boom):
            runner.train()
    else:
        runner.train()
    assert calls == (['Boom', 'close'] if fails else ['close'])
