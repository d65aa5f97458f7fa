"""After a resume with a changed config, curves are those of torch's schedulers with that config."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as theirs

from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.strategy import SingleDeviceStrategy
from mmengine.strategy._resume_request import parse_resume
from mmengine.strategy._state import ResumedPosition

EPOCH_LENGTH = 4
THEN, NOW = 6, 9  # epochs
CLOSE = {'rel': 1e-9, 'abs': 1e-12}
Torch = Callable[[Any, int], Any]

# For each class: its config then, its config now (counts in epochs), and the scheduler of torch
# over a whole run of n steps with the config of now; ``k`` steps are an epoch.
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], Callable[[Any, int, int], Any]]] = {
    'ConstantLR': (
        {'factor': 0.5, 'end': 4},
        {'factor': 0.25, 'end': 8},
        lambda o, n, k: theirs.ConstantLR(o, 0.25, total_iters=8 * k - 1),
    ),
    'LinearLR': (
        {'start_factor': 0.5, 'end': 4},
        {'start_factor': 0.1, 'end_factor': 0.9, 'end': 8},
        lambda o, n, k: theirs.LinearLR(o, 0.1, 0.9, total_iters=8 * k - 1),
    ),
    'CosineAnnealingLR': (
        {'T_max': 6, 'eta_min': 0.0},
        {'T_max': 9, 'eta_min': 0.02},
        lambda o, n, k: theirs.CosineAnnealingLR(o, 9 * k, eta_min=0.02),
    ),
    'PolyLR': (
        {'power': 1.0, 'end': 6},
        {'power': 0.5, 'end': 9},
        lambda o, n, k: theirs.PolynomialLR(o, total_iters=9 * k - 1, power=0.5),
    ),
    'OneCycleLR': (
        {'eta_max': 0.5},
        {'eta_max': 1.0, 'pct_start': 0.4},
        lambda o, n, k: theirs.OneCycleLR(
            o, max_lr=1.0, total_steps=n, pct_start=0.4, cycle_momentum=False
        ),
    ),
    'ExponentialLR': (
        {'gamma': 0.9},
        {'gamma': 0.95},
        lambda o, n, k: theirs.ExponentialLR(o, gamma=0.95),
    ),
    'StepLR': (
        {'step_size': 2, 'gamma': 0.1},
        {'step_size': 3, 'gamma': 0.5},
        lambda o, n, k: theirs.StepLR(o, step_size=3 * k, gamma=0.5),
    ),
    'MultiStepLR': (
        {'milestones': [2, 5], 'gamma': 0.1},
        {'milestones': [1, 3, 7], 'gamma': 0.5},
        lambda o, n, k: theirs.MultiStepLR(o, milestones=[k, 3 * k, 7 * k], gamma=0.5),
    ),
    'CosineRestartLR': (
        {'periods': [2, 4], 'restart_weights': [1, 1], 'eta_min': 0.0},
        {'periods': [3, 6], 'restart_weights': [1, 1], 'eta_min': 0.01},
        lambda o, n, k: theirs.CosineAnnealingWarmRestarts(o, T_0=3 * k, T_mult=2, eta_min=0.01),
    ),
}  # fmt: skip
COUNTS = ('begin', 'end', 'T_max', 'step_size', 'milestones', 'periods', 'total_steps')
UNITS = ('epochs', 'iterations', 'converted')


def _config(kind: str, options: dict[str, Any], unit: str) -> dict[str, Any]:
    config = {'type': kind, **copy.deepcopy(options), 'by_epoch': unit != 'iterations'}
    if unit == 'converted':
        config['convert_to_iter_based'] = True
    for name in COUNTS if unit == 'iterations' else ():
        if isinstance(config.get(name), list):
            config[name] = [count * EPOCH_LENGTH for count in config[name]]
        elif name in config:
            config[name] *= EPOCH_LENGTH
    return config


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(1, 1, bias=False)
        self.two = nn.Linear(1, 1, bias=False)


def _strategy(
    work_dir: Any,
    config: Any,
    epochs: int,
    lrs: tuple[float, float] = (0.1, 0.3),
    resume: Any = True,
) -> SingleDeviceStrategy:
    strategy = SingleDeviceStrategy(work_dir=str(work_dir), log_kwargs={'log_level': 'ERROR'})
    model = Pair()
    groups = [
        {'params': [part.weight], 'lr': lr}
        for part, lr in zip((model.one, model.two), lrs, strict=True)
    ]
    strategy.prepare(
        model,
        optim_wrapper=OptimWrapper(torch.optim.SGD(groups, momentum=0.9)),
        dispatch_kwargs={},
    )
    strategy.state.built_options()
    strategy.prepare(
        strategy.model,
        optim_wrapper=strategy.optim_wrapper,
        param_scheduler=copy.deepcopy(config),
        dispatch_kwargs={
            'epoch_length': EPOCH_LENGTH,
            'max_epochs': epochs,
            'max_iters': epochs * EPOCH_LENGTH,
        },
    )
    strategy.state.resume_request = parse_resume(resume)
    return strategy


def _train(strategy: SingleDeviceStrategy, first: int, last: int, key: str = 'lr') -> Any:
    """The values of both groups in iterations ``first`` to ``last``."""
    values = []
    for iteration in range(first, last):
        values.append([group[key] for group in strategy.optim_wrapper.optimizer.param_groups])
        for scheduler in strategy.param_schedulers:
            if not scheduler.by_epoch or (iteration + 1) % EPOCH_LENGTH == 0:
                scheduler.step()
    return values


def _save(strategy: SingleDeviceStrategy, path: Any, iteration: int) -> str:
    meta = {
        'epoch': iteration // EPOCH_LENGTH,
        'iter': iteration,
        'optimizer_options': strategy.state.built_options(),
    }
    strategy.save_checkpoint(str(path), extra_ckpt={'meta': meta})
    return str(path)


def _resumed(
    tmp_path: Any, then: Any, now: Any, stopped: int, epochs: int = NOW,
    lrs_now: tuple[float, float] = (0.1, 0.3), resume: Any = True,
) -> SingleDeviceStrategy:  # fmt: skip
    before = _strategy(tmp_path / 'then', then, THEN)
    _train(before, 0, stopped)
    path = _save(before, tmp_path / 'stopped.pth', stopped)
    after = _strategy(tmp_path / 'now', now, epochs, lrs_now, resume)
    after.resume(path, map_location='cpu')
    return after


def _by_torch(
    make: Callable[[Any, int, int], Any], unit: str, lrs: tuple[float, float] = (0.1, 0.3)
) -> list[list[float]]:
    """The learning rates of torch in every iteration of a run of ``NOW`` epochs."""
    steps = NOW if unit == 'epochs' else NOW * EPOCH_LENGTH
    params = [nn.Parameter(torch.zeros(1)) for _ in lrs]
    groups = [{'params': [param], 'lr': lr} for param, lr in zip(params, lrs, strict=True)]
    optimizer = torch.optim.SGD(groups)
    scheduler = make(optimizer, steps, 1 if unit == 'epochs' else EPOCH_LENGTH)
    values = []
    for step in range(steps):
        values += [[group['lr'] for group in optimizer.param_groups]] * (
            EPOCH_LENGTH if unit == 'epochs' else 1
        )
        optimizer.step()
        if step < steps - 1:
            scheduler.step()
    return values


def _assert_close(found: Any, expected: Any) -> None:
    assert len(found) == len(expected)
    for now, then in zip(found, expected, strict=True):
        assert now == pytest.approx(then, **CLOSE)


@pytest.mark.parametrize('stopped', [3, 8, 18, THEN * EPOCH_LENGTH])
@pytest.mark.parametrize('unit', UNITS)
@pytest.mark.parametrize('kind', CHANGES)
def test_changed_settings_give_the_curve_of_an_unbroken_run(tmp_path, kind, unit, stopped):
    then, now, make = CHANGES[kind]
    strategy = _resumed(tmp_path, [_config(kind, then, unit)], [_config(kind, now, unit)], stopped)
    found = _train(strategy, stopped, NOW * EPOCH_LENGTH)
    _assert_close(found, _by_torch(make, unit)[stopped:])


@pytest.mark.parametrize('unit', UNITS)
@pytest.mark.parametrize('kind', [kind for kind in CHANGES if kind != 'OneCycleLR'])
def test_changed_learning_rates_give_the_curve_of_an_unbroken_run(tmp_path, kind, unit):
    _, settings, make = CHANGES[kind]
    config, stopped, lrs = [_config(kind, settings, unit)], 10, (0.01, 0.3)
    strategy = _resumed(tmp_path, config, config, stopped, lrs_now=lrs)
    found = _train(strategy, stopped, NOW * EPOCH_LENGTH)
    _assert_close(found, _by_torch(make, unit, lrs)[stopped:])


@pytest.mark.parametrize('unit', UNITS)
@pytest.mark.parametrize('pair', [('StepLR', 'CosineAnnealingLR'), ('PolyLR', 'MultiStepLR')])
def test_another_class_gives_the_curve_of_an_unbroken_run(tmp_path, pair, unit):
    then = [_config(pair[0], CHANGES[pair[0]][0], unit)]
    now = [_config(pair[1], CHANGES[pair[1]][1], unit)]
    found = _train(_resumed(tmp_path, then, now, 10), 10, NOW * EPOCH_LENGTH)
    _assert_close(found, _by_torch(CHANGES[pair[1]][2], unit)[10:])


WARM_UP = {'type': 'LinearLR', 'start_factor': 0.1, 'end': 6, 'by_epoch': False}


def _warm_up_and_steps(optimizer: Any, steps: int, length: int) -> Any:
    return theirs.ChainedScheduler(
        [
            theirs.LinearLR(optimizer, 0.1, total_iters=5),
            theirs.MultiStepLR(optimizer, [3 * length, 7 * length], gamma=0.1),
        ]
    )


@pytest.mark.parametrize('stopped', [3, 8, 16, 24])
@pytest.mark.parametrize('convert', [False, True], ids=['epochs', 'converted'])
@pytest.mark.parametrize(
    'then',
    [
        [{'type': 'MultiStepLR', 'milestones': [3], 'by_epoch': True}],
        [WARM_UP, {'type': 'MultiStepLR', 'milestones': [2, 5], 'by_epoch': True}],
        [WARM_UP],
        [],
    ],
    ids=['a warm-up is added', 'milestones are changed', 'steps are added', 'both are added'],
)
def test_chained_schedules_give_the_curve_of_an_unbroken_run(tmp_path, then, convert, stopped):
    steps = {'type': 'MultiStepLR', 'milestones': [3, 7], 'by_epoch': True}
    now = [WARM_UP, {**steps, 'convert_to_iter_based': convert}]
    strategy = _resumed(tmp_path, then, now, stopped)
    found = _train(strategy, stopped, NOW * EPOCH_LENGTH)
    _assert_close(found, _by_torch(_warm_up_and_steps, 'iterations')[stopped:])


def test_a_removed_schedule_leaves_the_learning_rate_of_the_config(tmp_path):
    then = [{'type': 'StepLR', 'step_size': 1, 'by_epoch': True}]
    strategy = _resumed(tmp_path, then, [], 8)
    assert _train(strategy, 8, 9) == [[0.1, 0.3]]


TORCH_KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    'StepLR': ({'step_size': 2}, {'step_size': 3, 'gamma': 0.5}),
    'CosineAnnealingWarmRestarts': ({'T_0': 3}, {'T_0': 2, 'T_mult': 2}),
    'OneCycleLR': (
        {'max_lr': 0.5, 'total_steps': 60},
        {'max_lr': 1.0, 'total_steps': 50, 'cycle_momentum': False},
    ),
    'CyclicLR': (
        {'base_lr': 0.1, 'max_lr': 0.5, 'cycle_momentum': False},
        {'base_lr': 0.01, 'max_lr': 0.7, 'step_size_up': 7, 'cycle_momentum': False},
    ),
}


@pytest.mark.parametrize('kind', TORCH_KINDS)
def test_schedulers_of_torch_follow_the_config_too(tmp_path, kind):
    then, now = (
        [{'type': f'torch.optim.lr_scheduler.{kind}', 'by_epoch': False, **options}]
        for options in TORCH_KINDS[kind]
    )
    if kind == 'OneCycleLR':
        then[0]['cycle_momentum'] = False
    found = _train(_resumed(tmp_path, then, now, 10), 10, NOW * EPOCH_LENGTH)
    expected = _by_torch(
        lambda o, n, k: getattr(theirs, kind)(o, **TORCH_KINDS[kind][1]), 'iterations'
    )
    _assert_close(found, expected[10:])


class TestWhatWins:
    """``resume=dict(schedule=..., optimizer=...)``."""

    THEN = [{'type': 'StepLR', 'step_size': 2, 'gamma': 0.1, 'by_epoch': True}]
    NOW = [{'type': 'StepLR', 'step_size': 2, 'gamma': 0.5, 'by_epoch': True}]

    def _lr(self, tmp_path: Any, now: Any, lr: float, **resume: Any) -> float:
        """The first learning rate after 4 of the epochs of 2 steps, from 0.1 then and lr now."""
        strategy = _resumed(tmp_path, self.THEN, now, 16, lrs_now=(lr, 0.3), resume=resume)
        found = _train(strategy, 16, 24)
        assert found[4][0] == found[0][0]  # the fifth epoch changes nothing
        return float(found[0][0])

    @pytest.mark.parametrize(
        ('lr', 'resume', 'expected'),
        [
            (0.1, {}, 0.1 * 0.5**2),
            (1.0, {}, 1.0 * 0.5**2),
            (1.0, {'schedule': 'config', 'optimizer': 'config'}, 1.0 * 0.5**2),
            (1.0, {'optimizer': 'checkpoint'}, 0.1 * 0.5**2),
            (1.0, {'schedule': 'checkpoint'}, 0.1 * 0.1**2),
            (1.0, {'schedule': 'checkpoint', 'optimizer': 'checkpoint'}, 0.1 * 0.1**2),
        ],
    )
    def test_a_changed_schedule_and_learning_rate(self, tmp_path, lr, resume, expected):
        assert self._lr(tmp_path, self.NOW, lr, **resume) == pytest.approx(expected)

    @pytest.mark.parametrize(
        ('resume', 'factor'), [({}, 0.7), ({'schedule': 'config'}, 1), ({'optimizer': 'config'}, 1)]
    )
    def test_a_learning_rate_that_was_changed_by_hand(self, tmp_path, resume, factor):
        before = _strategy(tmp_path / 'then', self.THEN, THEN)
        _train(before, 0, 16)
        before.optim_wrapper.param_groups[0]['lr'] *= 0.7
        path = _save(before, tmp_path / 'stopped.pth', 16)
        after = _strategy(tmp_path / 'now', self.THEN, THEN, resume=resume)
        after.resume(path, map_location='cpu')
        if resume == {'optimizer': 'config'}:
            factor = 0.7  # the schedule has not changed, and it decides about the learning rate
        assert _train(after, 16, 17)[0][0] == pytest.approx(0.1 * 0.1**2 * factor)

    @pytest.mark.parametrize(('source', 'lr'), [('config', 1.0), ('checkpoint', 0.1), (None, 1.0)])
    def test_a_schedule_that_is_added_starts_from_the_option_that_wins(self, tmp_path, source, lr):
        resume = {'optimizer': source}
        strategy = _resumed(tmp_path, [], self.NOW, 16, lrs_now=(1.0, 0.3), resume=resume)
        assert _train(strategy, 16, 17)[0][0] == pytest.approx(lr * 0.5**2)

    def test_another_class_cannot_continue_the_schedule_of_the_checkpoint(self, tmp_path):
        now = [{'type': 'CosineAnnealingLR', 'T_max': 9}]
        with pytest.raises(ValueError, match="another schedule of 'lr' than the CosineAnnealingLR"):
            self._lr(tmp_path, now, 0.1, schedule='checkpoint')

    def test_a_run_without_schedules_cannot_continue_those_of_the_checkpoint(self, tmp_path):
        with pytest.raises(ValueError, match='has 1 parameter schedulers, this run has 0'):
            self._lr(tmp_path, [], 0.1, schedule='checkpoint')


PLATEAU = {'type': 'ReduceOnPlateauLR', 'monitor': 'loss', 'patience': 0, 'factor': 0.5}


class TestLearnedFromMetrics:
    def _stopped(self, tmp_path: Any, config: Any) -> str:
        before = _strategy(tmp_path / 'then', config, THEN)
        for loss in (1.0, 2.0, 2.0):  # two reductions by a half
            for scheduler in before.param_schedulers:
                scheduler.step()
                if scheduler.need_val_args:
                    scheduler.step({'loss': loss})
        return _save(before, tmp_path / 'stopped.pth', 12)

    @pytest.mark.parametrize('resume', [{}, {'schedule': 'config', 'optimizer': 'config'}])
    def test_reductions_so_far_scale_a_changed_learning_rate(self, tmp_path, resume):
        path = self._stopped(tmp_path, [PLATEAU])
        after = _strategy(tmp_path / 'now', [PLATEAU], NOW, (0.8, 0.3), resume)
        after.resume(path, map_location='cpu')
        plateau = after.param_schedulers[0]
        assert _train(after, 12, 13)[0] == pytest.approx([0.8 / 4, 0.3 / 4])
        plateau.step({'loss': 3.0})
        assert _train(after, 13, 14)[0] == pytest.approx([0.8 / 8, 0.3 / 8])
        assert plateau.best == 1.0

    def test_a_plateau_that_is_added_has_learned_nothing(self, tmp_path):
        before = _strategy(tmp_path / 'then', [], THEN)
        path = _save(before, tmp_path / 'stopped.pth', 12)
        after = _strategy(tmp_path / 'now', [PLATEAU], NOW)
        after.resume(path, map_location='cpu')
        assert after.param_schedulers[0].best == float('inf')
        assert _train(after, 12, 13) == [[0.1, 0.3]]

    def test_a_plateau_that_is_removed_takes_its_reductions_along(self, tmp_path):
        path = self._stopped(tmp_path, [PLATEAU])
        after = _strategy(tmp_path / 'now', [], NOW)
        after.resume(path, map_location='cpu')
        assert _train(after, 12, 13) == [[0.1, 0.3]]

    def test_torch_s_plateau_keeps_what_it_learned_and_has_the_settings_of_the_config(
        self, tmp_path
    ):
        kind = 'torch.optim.lr_scheduler.ReduceLROnPlateau'
        then, now = (
            [{'type': kind, 'patience': 0, 'factor': factor, 'by_epoch': True}]
            for factor in (0.5, 0.1)
        )
        path = self._stopped(tmp_path, then)
        after = _strategy(tmp_path / 'now', now, NOW)
        after.resume(path, map_location='cpu')
        assert after.param_schedulers[0].scheduler.best == 1.0
        after.param_schedulers[0].step({'loss': 3.0})
        assert _train(after, 12, 13)[0] == pytest.approx([0.1 / 4 / 10, 0.3 / 4 / 10])


def test_momentum_and_betas_follow_the_config(tmp_path):
    then = [{'type': 'LinearMomentum', 'start_factor': 0.5, 'end': 9, 'by_epoch': False}]
    now = [{'type': 'LinearMomentum', 'start_factor': 0.1, 'end': 11, 'by_epoch': False}]
    after = _resumed(tmp_path, then, now, 4)
    # From 0.09 to 0.9 in 10 steps, of which 4 are done.
    assert _train(after, 4, 5, 'momentum')[0] == pytest.approx([0.09 + 0.81 * 4 / 10] * 2)


def test_several_optimizers_follow_the_config_each(tmp_path):
    def strategy(folder: str, lr: float, schedules: Any) -> SingleDeviceStrategy:
        made = SingleDeviceStrategy(
            work_dir=str(tmp_path / folder), log_kwargs={'log_level': 'ERROR'}
        )
        model = Pair()
        wrappers = OptimWrapperDict(
            one=OptimWrapper(torch.optim.SGD(model.one.parameters(), lr=lr)),
            two=OptimWrapper(torch.optim.Adam(model.two.parameters(), lr=0.3)),
        )
        lengths = {'epoch_length': EPOCH_LENGTH, 'max_epochs': NOW, 'max_iters': 36}
        made.prepare(model, optim_wrapper=wrappers)
        made.prepare(
            model, optim_wrapper=wrappers, param_scheduler=schedules, dispatch_kwargs=lengths
        )
        return made

    steps = {'type': 'StepLR', 'step_size': 1, 'gamma': 0.5}
    before = strategy('then', 0.1, {'one': steps})
    for _ in range(2):
        before.param_schedulers['one'][0].step()
    path = _save(before, tmp_path / 'a.pth', 8)
    after = strategy('now', 1.0, {'one': steps, 'two': {**steps, 'gamma': 0.1}})
    after.resume(path, map_location='cpu')
    rates = after.optim_wrapper.get_lr()
    assert rates['one.lr'] == [pytest.approx(1.0 * 0.5**2)]
    assert rates['two.lr'] == [pytest.approx(0.3 * 0.1**2)]


def test_the_position_in_iterations_is_counted_in_batches_of_the_run(tmp_path):
    config = [{'type': 'CosineAnnealingLR', 'by_epoch': False}]
    before = _strategy(tmp_path / 'then', config, NOW)
    _train(before, 0, 8)
    path = _save(before, tmp_path / 'stopped.pth', 8)
    after = _strategy(tmp_path / 'now', config, NOW)
    # Half as many samples a batch.
    after.state.resumed_position = ResumedPosition(16, True, True, None)
    after.resume(path, map_location='cpu')
    expected = _by_torch(lambda o, n, k: theirs.CosineAnnealingLR(o, n), 'iterations')
    _assert_close(_train(after, 16, 36), expected[16:])


def test_without_the_state_of_the_optimizer_schedules_step_from_the_start(tmp_path):
    config = [{'type': 'ExponentialLR', 'gamma': 0.5, 'by_epoch': True}]
    before = _strategy(tmp_path / 'then', config, NOW)
    _train(before, 0, 8)
    path = _save(before, tmp_path / 'stopped.pth', 8)
    after = _strategy(tmp_path / 'now', config, NOW)
    after.resume(path, map_location='cpu', resume_optimizer=False)
    assert _train(after, 8, 9)[0] == pytest.approx([0.1 / 4, 0.3 / 4])
