"""A run resumed with other schedules has the values of an unbroken run with these schedules."""

import io
import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as theirs

from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.optim import scheduler as ours
from mmengine.optim.scheduler._build import build_param_schedulers
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.strategy._schedule_resume import restore_schedulers
from mmengine.strategy._schedule_steps import advance_schedulers

EPOCH_LENGTH = 5
SHORT, LONG = 3, 8
CLOSE = {'rel': 1e-12, 'abs': 1e-15}
LOGGER = logging.getLogger('test_schedule_resume')


def _optimizer(lrs: Any = (0.1, 0.3), kind: Any = torch.optim.SGD, **options: Any) -> Any:
    groups = [{'params': [nn.Parameter(torch.zeros(1))], 'lr': lr} for lr in lrs]
    return kind(groups, **({'momentum': 0.9} if kind is torch.optim.SGD else {}), **options)


def _build(config: Any, optimizer: Any, epochs: int) -> Any:
    return build_param_schedulers(
        config,
        optimizer,
        epoch_length=EPOCH_LENGTH,
        max_epochs=epochs,
        max_iters=epochs * EPOCH_LENGTH,
    )


def _flat(schedulers: Any) -> list[Any]:
    lists = schedulers.values() if isinstance(schedulers, dict) else [schedulers]
    return [scheduler for each in lists for scheduler in each]


def _train(
    optimizers: list[Any], schedulers: Any, first: int, last: int, key: str = 'lr'
) -> list[list[Any]]:
    """The values of all groups in iterations ``first`` to ``last``, as ParamSchedulerHook steps."""
    values = []
    for iteration in range(first, last):
        values.append([group[key] for each in optimizers for group in each.param_groups])
        for scheduler in _flat(schedulers):
            if not scheduler.by_epoch:
                scheduler.step()
        if (iteration + 1) % EPOCH_LENGTH == 0:
            for scheduler in _flat(schedulers):
                if scheduler.by_epoch:
                    scheduler.step()
    return values


def _through_a_file(value: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def _saved(optimizer: Any, schedulers: list[Any]) -> Any:
    return _through_a_file(
        [optimizer.state_dict(), [scheduler.state_dict() for scheduler in schedulers]]
    )


def _resumed(
    saved: Any, config: Any, stopped: int, epochs: int = LONG, *, optimizer: Any = None, **more: Any
) -> tuple[Any, Any]:
    optimizer = optimizer or _optimizer()
    schedulers = _build(config, optimizer, epochs)
    optimizer.load_state_dict(saved[0])
    position = {'epoch': stopped // EPOCH_LENGTH, 'iteration': stopped, **more}
    position.setdefault('epoch_length', EPOCH_LENGTH)
    position.setdefault('logger', LOGGER)
    restore_schedulers(schedulers, saved[1], **position)
    return optimizer, schedulers


# For each class: its config (without the unit), and torch's scheduler over ``steps`` steps.
FOLLOWING: dict[str, tuple[dict[str, Any], Callable[[Any, int], Any]]] = {
    'ConstantLR': ({'factor': 0.25}, lambda o, n: theirs.ConstantLR(o, 0.25, total_iters=n - 1)),
    'LinearLR': (
        {'start_factor': 0.1},
        lambda o, n: theirs.LinearLR(o, start_factor=0.1, total_iters=n - 1),
    ),
    'CosineAnnealingLR': (
        {'eta_min': 0.01},
        lambda o, n: theirs.CosineAnnealingLR(o, T_max=n, eta_min=0.01),
    ),
    'PolyLR': (
        {'power': 0.9},
        lambda o, n: theirs.PolynomialLR(o, power=0.9, total_iters=n - 1),
    ),
    'OneCycleLR': (
        {'eta_max': 1.0},
        lambda o, n: theirs.OneCycleLR(o, max_lr=1.0, total_steps=n, cycle_momentum=False),
    ),
    'ExponentialLR': ({'gamma': 0.9}, lambda o, n: theirs.ExponentialLR(o, gamma=0.9)),
    'StepLR': (
        {'step_size': 2, 'gamma': 0.5},
        lambda o, n: theirs.StepLR(o, step_size=2 * n // LONG, gamma=0.5),
    ),
    'MultiStepLR': (
        {'milestones': [1, 3, 6], 'gamma': 0.5},
        lambda o, n: theirs.MultiStepLR(
            o, milestones=[1 * n // LONG, 3 * n // LONG, 6 * n // LONG], gamma=0.5
        ),
    ),
}  # fmt: skip
UNITS = {
    'epochs': {'by_epoch': True},
    'iterations': {'by_epoch': False},
    'converted': {'by_epoch': True, 'convert_to_iter_based': True},
}


def _by_torch(make: Any, unit: str) -> list[list[float]]:
    """The learning rates of a run of ``LONG`` epochs, in every iteration."""
    steps = LONG if unit == 'epochs' else LONG * EPOCH_LENGTH
    optimizer = _optimizer()
    scheduler = make(optimizer, steps)
    values = []
    for step in range(steps):
        rates = [group['lr'] for group in optimizer.param_groups]
        values += [rates] * (EPOCH_LENGTH if unit == 'epochs' else 1)
        optimizer.step()
        if step < steps - 1:
            scheduler.step()
    return values


def _in_unit(config: dict[str, Any], unit: str) -> dict[str, Any]:
    """The config with its counts of epochs in iterations, where that is the unit."""
    if unit != 'iterations':
        return {**config, **UNITS[unit]}
    scaled = dict(config)
    for name in ('step_size', 'milestones'):
        if isinstance(config.get(name), list):
            scaled[name] = [count * EPOCH_LENGTH for count in config[name]]
        elif name in config:
            scaled[name] = config[name] * EPOCH_LENGTH
    return {**scaled, **UNITS[unit]}


@pytest.mark.parametrize('stopped', [2 * EPOCH_LENGTH, SHORT * EPOCH_LENGTH, 7])
@pytest.mark.parametrize('unit', UNITS)
@pytest.mark.parametrize('kind', FOLLOWING)
def test_a_longer_run_goes_on_as_torch_does_over_the_whole_length(kind, unit, stopped):
    options, make = FOLLOWING[kind]
    config = _in_unit({'type': kind, **options}, unit)
    short = _optimizer()
    schedulers = _build(config, short, SHORT)
    _train([short], schedulers, 0, stopped)
    optimizer, schedulers = _resumed(_saved(short, schedulers), config, stopped)
    rates = _train([optimizer], schedulers, stopped, LONG * EPOCH_LENGTH)
    expected = _by_torch(make, unit)[stopped:]
    assert len(rates) == len(expected)
    for now, then in zip(rates, expected, strict=True):
        assert now == pytest.approx(then, **CLOSE)


@pytest.mark.parametrize('unit', UNITS)
def test_new_periods_follow_torch_s_warm_restarts(unit):
    factor = 1 if unit != 'iterations' else EPOCH_LENGTH

    def config(*periods: int) -> dict[str, Any]:
        scaled = [period * factor for period in periods]
        weights = [1] * len(periods)
        kind = {'type': 'CosineRestartLR', 'periods': scaled, 'restart_weights': weights}
        return {**kind, 'eta_min': 0.01, **UNITS[unit]}

    def restarts(optimizer: Any, steps: int) -> Any:
        return theirs.CosineAnnealingWarmRestarts(optimizer, T_0=steps // 8, T_mult=2, eta_min=0.01)

    stopped = SHORT * EPOCH_LENGTH
    short = _optimizer()
    schedulers = _build(config(1, 2), short, SHORT)
    _train([short], schedulers, 0, stopped)
    optimizer, schedulers = _resumed(_saved(short, schedulers), config(1, 2, 4, 8), stopped)
    rates = _train([optimizer], schedulers, stopped, LONG * EPOCH_LENGTH)
    for now, then in zip(rates, _by_torch(restarts, unit)[stopped:], strict=True):
        assert now == pytest.approx(then, **CLOSE)


@pytest.mark.parametrize('kind', FOLLOWING)
@pytest.mark.parametrize('stopped', [5, 7, 15])
def test_an_unchanged_schedule_is_resumed_to_the_bit_whatever_the_groups_hold(kind, stopped):
    config = {'type': kind, **FOLLOWING[kind][0], 'by_epoch': True}
    whole = _optimizer()
    schedulers = _build(config, whole, LONG)
    _train([whole], schedulers, 0, stopped)
    whole.param_groups[0]['lr'] *= 0.7  # by hand, in mid-run
    saved = _saved(whole, schedulers)
    expected = _train([whole], schedulers, stopped, LONG * EPOCH_LENGTH)
    optimizer, resumed = _resumed(saved, config, stopped)
    assert _train([optimizer], resumed, stopped, LONG * EPOCH_LENGTH) == expected
    assert [each.state_dict() for each in resumed] == [each.state_dict() for each in schedulers]


WARM_UP = {'type': 'LinearLR', 'start_factor': 0.1, 'end': 8, 'by_epoch': False}
CHAINS = {
    'warm-up, then cosine by epochs': [
        WARM_UP, {'type': 'CosineAnnealingLR', 'eta_min': 0.01, 'by_epoch': True},
    ],
    'warm-up, then cosine by iterations': [
        WARM_UP, {'type': 'CosineAnnealingLR', 'begin': 8, 'by_epoch': False},
    ],
    'warm-up, then one cycle, both converted': [
        {**WARM_UP, 'end': 2, 'by_epoch': True, 'convert_to_iter_based': True},
        {'type': 'OneCycleLR', 'eta_max': 1, 'begin': 2, 'convert_to_iter_based': True},
    ],
    'two that overlap': [
        {'type': 'PolyLR', 'eta_min': 0.02, 'by_epoch': False},
        {'type': 'MultiStepLR', 'milestones': [1, 4], 'by_epoch': True},
    ],
    'learning rate and momentum': [
        {'type': 'PolyLR', 'by_epoch': True},
        {'type': 'LinearMomentum', 'start_factor': 0.5, 'by_epoch': False},
    ],
}  # fmt: skip


@pytest.mark.parametrize('stopped', [0, 4, 7, 10, 15])
@pytest.mark.parametrize('chain', CHAINS)
def test_schedules_of_one_parameter_step_anew_together(chain, stopped):
    config = CHAINS[chain]
    whole = _optimizer()
    unbroken = _build(config, whole, LONG)
    _train([whole], unbroken, 0, stopped)
    short = _optimizer()
    schedulers = _build(config, short, SHORT)
    _train([short], schedulers, 0, stopped)
    optimizer, resumed = _resumed(_saved(short, schedulers), config, stopped)
    for key in ('lr', 'momentum'):
        assert [group[key] for group in optimizer.param_groups] == [
            group[key] for group in whole.param_groups
        ]
    end = LONG * EPOCH_LENGTH
    expected = _train([whole], unbroken, stopped, end)
    assert _train([optimizer], resumed, stopped, end) == expected  # the same steps, the same bits
    assert [each.state_dict() for each in resumed] == [each.state_dict() for each in unbroken]


def test_epochs_without_a_known_length_are_spread_over_the_iterations():
    config = CHAINS['two that overlap']
    stopped = 10
    whole = _optimizer()
    _train([whole], _build(config, whole, LONG), 0, stopped)
    short = _optimizer()
    schedulers = _build(config, short, SHORT)
    _train([short], schedulers, 0, stopped)
    optimizer, _ = _resumed(_saved(short, schedulers), config, stopped, epoch_length=None)
    for group, expected in zip(optimizer.param_groups, whole.param_groups, strict=True):
        assert group['lr'] == pytest.approx(expected['lr'], **CLOSE)


def test_without_a_position_the_states_tell_it():
    config = [WARM_UP, {'type': 'CosineAnnealingLR', 'by_epoch': True}]
    whole, short = _optimizer(), _optimizer()
    unbroken, schedulers = _build(config, whole, LONG), _build(config, short, SHORT)
    for optimizer, each in ((whole, unbroken), (short, schedulers)):
        _train([optimizer], each, 0, 10)
    saved = _saved(short, schedulers)
    optimizer, _ = _resumed(saved, config, 10, epoch=None, iteration=None)
    assert [group['lr'] for group in optimizer.param_groups] == [
        group['lr'] for group in whole.param_groups
    ]


@pytest.mark.parametrize(
    ('now', 'factor'),
    [
        ({'type': 'StepLR', 'step_size': 2, 'gamma': 0.5}, 0.5**2),
        ({'type': 'StepLR', 'step_size': 4, 'gamma': 0.1}, 0.1),
        ({'type': 'ExponentialLR', 'gamma': 0.1}, 0.1**4),
        ({'type': 'MultiStepLR', 'milestones': [1, 2, 3], 'gamma': 0.5}, 0.5**3),
        ({'type': 'StepLR', 'step_size': 2, 'gamma': 0.1, 'begin': 1}, 0.1),
    ],
    ids=['factor', 'steps', 'another class', 'a third class', 'begin'],
)
def test_a_schedule_that_the_user_has_changed_is_followed_from_now_on(now, factor, caplog):
    then = {'type': 'StepLR', 'step_size': 2, 'gamma': 0.1}
    optimizer = _optimizer()
    schedulers = _build(then, optimizer, LONG)
    _train([optimizer], schedulers, 0, 20)
    with caplog.at_level(logging.INFO, logger=LOGGER.name):
        optimizer, _ = _resumed(_saved(optimizer, schedulers), now, 20)
    rates = [group['lr'] for group in optimizer.param_groups]
    assert rates == pytest.approx([0.1 * factor, 0.3 * factor])
    assert 'of this run; the checkpoint has' in caplog.text


def test_another_parameter_is_left_to_the_checkpoint():
    def config(power: float) -> list[dict[str, Any]]:
        momentum = {'type': 'LinearMomentum', 'start_factor': 0.5, 'end': 9, 'by_epoch': False}
        return [{'type': 'PolyLR', 'power': power, 'by_epoch': True}, momentum]

    optimizer = _optimizer()
    schedulers = _build(config(1.0), optimizer, LONG)
    _train([optimizer], schedulers, 0, 10)
    for group in optimizer.param_groups:
        group['lr'] = group['momentum'] = 0.25  # by hand
    optimizer, _ = _resumed(_saved(optimizer, schedulers), config(2.0), 10)
    assert [group['momentum'] for group in optimizer.param_groups] == [0.25, 0.25]
    # (1 - 2 / 7) squared.
    rates = [group['lr'] for group in optimizer.param_groups]
    assert rates == pytest.approx([0.1 * (5 / 7) ** 2, 0.3 * (5 / 7) ** 2])


def test_betas_of_adam_step_anew():
    config = {'type': 'LinearMomentum', 'start_factor': 0.5, 'by_epoch': True}
    adam = {'kind': torch.optim.Adam, 'betas': (0.9, 0.99)}
    short = _optimizer(**adam)
    schedulers = _build(config, short, SHORT)
    _train([short], schedulers, 0, 15)
    optimizer, _ = _resumed(_saved(short, schedulers), config, 15, optimizer=_optimizer(**adam))
    # From 0.45 to 0.9 in 7 steps, of which 3 are done.
    for group in optimizer.param_groups:
        assert group['betas'] == pytest.approx((0.45 + 0.45 * 3 / 7, 0.99))
        assert group['momentum'] == group['betas'][0]


def test_learning_rates_in_tensors_stay_tensors():
    config = {'type': 'CosineAnnealingLR', 'by_epoch': True}
    lrs = (torch.tensor(0.1), torch.tensor(0.3))
    short = _optimizer(lrs, torch.optim.AdamW)
    schedulers = _build(config, short, SHORT)
    _train([short], schedulers, 0, 15)
    again = _optimizer((torch.tensor(0.1), torch.tensor(0.3)), torch.optim.AdamW)
    optimizer, _ = _resumed(_saved(short, schedulers), config, 15, optimizer=again)
    share = _by_torch(lambda o, n: theirs.CosineAnnealingLR(o, T_max=n), 'epochs')[15]
    for group, rate in zip(optimizer.param_groups, share, strict=True):
        assert isinstance(group['lr'], torch.Tensor)
        assert group['lr'].item() == pytest.approx(rate, rel=1e-6)


class TestSeveralOptimizers:
    CONFIG = {
        'one': {'type': 'PolyLR', 'by_epoch': True},
        'two': [WARM_UP, {'type': 'CosineAnnealingLR', 'by_epoch': True}],
    }

    @staticmethod
    def _wrappers() -> OptimWrapperDict:
        return OptimWrapperDict(
            one=OptimWrapper(_optimizer()), two=OptimWrapper(_optimizer((1.0,)))
        )

    def _run(self, config: Any, epochs: int, last: int) -> tuple[Any, Any]:
        wrappers = self._wrappers()
        schedulers = _build(config, wrappers, epochs)
        _train(list(dict(wrappers.items()).values()), schedulers, 0, last)
        return wrappers, schedulers

    @pytest.mark.parametrize('config', [CONFIG, CONFIG['two']], ids=['by name', 'for all'])
    def test_each_goes_on_as_in_an_unbroken_run(self, config):
        whole, unbroken = self._run(config, LONG, 15)
        short, schedulers = self._run(config, SHORT, 15)
        states = {
            name: [each.state_dict() for each in of_one] for name, of_one in schedulers.items()
        }
        saved = _through_a_file([short.state_dict(), states])
        wrappers = self._wrappers()
        wrappers, resumed = _resumed(saved, config, 15, optimizer=wrappers)
        end = LONG * EPOCH_LENGTH
        expected = _train(list(dict(whole.items()).values()), unbroken, 15, end)
        assert _train(list(dict(wrappers.items()).values()), resumed, 15, end) == expected

    def test_other_names_or_numbers_are_refused(self):
        _, schedulers = self._run(self.CONFIG, LONG, 0)
        position = {'epoch': 0, 'iteration': 0, 'logger': LOGGER}
        states = {name: [one.state_dict() for one in each] for name, each in schedulers.items()}
        with pytest.raises(
            ValueError, match=r"optimizers \['one'\], this run has schedulers for .*'one', 'two'"
        ):
            restore_schedulers(schedulers, {'one': states['one']}, **position)
        with pytest.raises(ValueError, match=r"has 1 parameter .*this run has 2 for .*'two'"):
            restore_schedulers(schedulers, {**states, 'two': states['one']}, **position)
        with pytest.raises(
            ValueError, match='for one optimizer, this run has schedulers for optimizers'
        ):
            restore_schedulers(schedulers, states['one'], **position)


PLATEAU = {'type': 'ReduceOnPlateauLR', 'monitor': 'loss', 'patience': 1, 'factor': 0.5}


class TestMetrics:
    """Schedules that learn from validations."""

    def _after_losses(self, config: Any, losses: list[float], epochs: int) -> Any:
        optimizer = _optimizer()
        schedulers = _build(config, optimizer, epochs)
        for epoch, loss in enumerate(losses):
            _train([optimizer], schedulers, epoch * EPOCH_LENGTH, (epoch + 1) * EPOCH_LENGTH)
            for scheduler in schedulers:
                if scheduler.need_val_args:
                    scheduler.step({'loss': loss, 'acc': loss})
        return optimizer, schedulers

    def test_their_learned_state_stays_and_their_settings_are_those_of_the_run(self):
        # One bad validation so far, and patience 1 lets it pass; the next one reduces.
        optimizer, schedulers = self._after_losses(PLATEAU, [1.0, 2.0], SHORT)
        now = {**PLATEAU, 'factor': 0.1, 'min_value': 0.02}
        optimizer, resumed = _resumed(_saved(optimizer, schedulers), now, 10)
        plateau = resumed[0]
        assert (plateau.best, plateau.num_bad_epochs, plateau.last_step) == (1.0, 1, 1)
        assert (plateau.factor, plateau.min_values, plateau.end) == (0.1, [0.02, 0.02], LONG)
        plateau.step({'loss': 2.0})
        rates = [group['lr'] for group in optimizer.param_groups]
        assert rates == pytest.approx([0.02, 0.03])

    def test_a_longer_run_goes_on_as_torch_s(self):
        losses = [1.0, 2.0, 2.0, 2.0, 0.5, 0.6, 0.7, 0.8]
        # Its window ends before the validation after the last epoch: one epoch more than are run.
        optimizer, schedulers = self._after_losses(PLATEAU, losses[:3], SHORT + 1)
        optimizer, resumed = _resumed(_saved(optimizer, schedulers), PLATEAU, 15)
        torchs = _optimizer()
        plateau = theirs.ReduceLROnPlateau(torchs, factor=0.5, patience=1)
        for epoch, loss in enumerate(losses):
            plateau.step(loss)
            if epoch >= 3:
                start = epoch * EPOCH_LENGTH
                _train([optimizer], resumed, start, start + EPOCH_LENGTH)
                resumed[0].step({'loss': loss})
            if epoch >= 2:
                assert [group['lr'] for group in optimizer.param_groups] == [
                    group['lr'] for group in torchs.param_groups
                ]

    @pytest.mark.parametrize('change', [{'monitor': 'acc'}, {'rule': 'greater'}])
    def test_what_was_learned_of_another_metric_is_dropped(self, change):
        optimizer, schedulers = self._after_losses(PLATEAU, [1.0, 2.0], SHORT)
        _, resumed = _resumed(_saved(optimizer, schedulers), {**PLATEAU, **change}, 10)
        assert resumed[0].best == (-1 if 'rule' in change else 1) * float('inf')
        assert resumed[0].num_bad_epochs == 0

    def test_a_reduction_so_far_stays_when_another_schedule_steps_anew(self):
        config = [{'type': 'LinearLR', 'start_factor': 0.25, 'by_epoch': True}, PLATEAU]
        losses = [1.0, 2.0, 2.0, 2.0, 2.0]
        whole, unbroken = self._after_losses(config, losses, LONG)
        short, schedulers = self._after_losses(config, losses[:3], SHORT + 1)
        assert short.param_groups[0]['lr'] == pytest.approx(0.05)  # one reduction by a half
        optimizer, resumed = _resumed(_saved(short, schedulers), config, 15)
        # Three of the seven steps from 0.25 to 1.
        assert optimizer.param_groups[0]['lr'] == pytest.approx(0.05 * (0.25 + 0.75 * 3 / 7))
        for start, loss in ((15, 2.0), (20, 2.0)):
            _train([optimizer], resumed, start, start + EPOCH_LENGTH)
            resumed[1].step({'loss': loss})
        assert [group['lr'] for group in optimizer.param_groups] == pytest.approx(
            [group['lr'] for group in whole.param_groups]
        )
        assert unbroken[1].state_dict().keys() == resumed[1].state_dict().keys()


class TestSchedulesOfProjects:
    def test_attributes_of_ones_own_come_from_steps_or_from_the_checkpoint(self):
        @PARAM_SCHEDULERS.register_module(name='ToyOwnSchedule', force=True)
        class Own(ours.LinearLR):
            def __init__(self, optimizer, *args, end, **kwargs):
                self.calls = 0
                self.note = 'none'
                self.half = end // 2
                super().__init__(optimizer, *args, end=end, **kwargs)
                self.late_half = end // 2
                self.late_note = []

            def step(self):
                self.calls += 1
                super().step()

        config = {'type': 'ToyOwnSchedule', 'start_factor': 0.5, 'by_epoch': True}
        optimizer = _optimizer()
        schedulers = _build(config, optimizer, SHORT)
        schedulers[0].note = 'learned'
        schedulers[0].late_note.append('late')
        schedulers[0].added = [1, 2]
        _train([optimizer], schedulers, 0, 15)
        _, resumed = _resumed(_saved(optimizer, schedulers), config, 15)
        own = resumed[0]
        assert own.calls == 4  # when built, and three epochs
        assert (own.note, own.late_note, own.added) == ('learned', ['late'], [1, 2])
        assert (own.half, own.late_half, own.end) == (LONG // 2, LONG // 2, LONG)

        _, same = _resumed(_saved(optimizer, schedulers), config, 15, epochs=SHORT)
        assert vars(same[0])['note'] == 'learned'
        assert same[0].state_dict() == schedulers[0].state_dict()

    def test_a_scheduler_of_another_kind_loads_its_state(self):
        class Foreign:
            by_epoch = True

            def __init__(self):
                self.count = 0

            def state_dict(self):
                return {'count': self.count}

            def load_state_dict(self, state):
                self.count = state['count']

        foreign = Foreign()
        restore_schedulers([foreign], [{'count': 7}], epoch=1, iteration=5, logger=LOGGER)
        assert foreign.count == 7


class TestStatesOfOtherEngines:
    """Without ``_learned``: what a constructor takes is a setting, the rest is progress."""

    @staticmethod
    def _older(saved: Any) -> Any:
        states = [{key: each[key] for key in each if key != '_learned'} for each in saved[1]]
        return [saved[0], states]

    @pytest.mark.parametrize('kind', FOLLOWING)
    def test_a_longer_run_follows_its_length(self, kind):
        config = {'type': kind, **FOLLOWING[kind][0], 'by_epoch': True}
        short, whole = _optimizer(), _optimizer()
        schedulers, unbroken = _build(config, short, SHORT), _build(config, whole, LONG)
        _train([short], schedulers, 0, 15)
        _train([whole], unbroken, 0, 15)
        optimizer, resumed = _resumed(self._older(_saved(short, schedulers)), config, 15)
        assert [each.state_dict() for each in resumed] == [each.state_dict() for each in unbroken]
        assert [group['lr'] for group in optimizer.param_groups] == [
            group['lr'] for group in whole.param_groups
        ]

    def test_an_unchanged_one_loads_its_state_and_keeps_what_was_added(self):
        optimizer = _optimizer()
        schedulers = _build({'type': 'PolyLR', 'by_epoch': True}, optimizer, SHORT)
        schedulers[0].added = 'mine'
        _train([optimizer], schedulers, 0, 10)
        saved = self._older(_saved(optimizer, schedulers))
        for epochs in (SHORT, LONG):
            config = {'type': 'PolyLR', 'by_epoch': True}
            _, resumed = _resumed(saved, config, 10, epochs=epochs)
            assert resumed[0].added == 'mine'
            assert resumed[0].end == epochs


class TestWhatIsTold:
    def _text(self, caplog: Any, config: Any, stopped: int = 15, lrs: Any = (0.1, 0.3)) -> str:
        short = _optimizer()
        schedulers = _build(config, short, SHORT)
        _train([short], schedulers, 0, stopped)
        saved = _saved(short, schedulers)
        limits = {'max_epochs': LONG, 'max_iters': LONG * EPOCH_LENGTH}
        with caplog.at_level(logging.WARNING, logger=LOGGER.name):
            _resumed(saved, config, stopped, optimizer=_optimizer(lrs), **limits)
        return str(caplog.text)

    def test_an_end_before_that_of_the_training(self, caplog):
        text = self._text(caplog, {'type': 'PolyLR', 'end': SHORT, 'by_epoch': True})
        assert "PolyLR has end=3, so 'lr' keeps its value after epoch 3" in text
        assert 'training continues to epoch 8' in text

    def test_a_cosine_that_rises_again(self, caplog):
        text = self._text(caplog, {'type': 'CosineAnnealingLR', 'T_max': 3, 'by_epoch': True})
        assert (
            "T_max=3, so 'lr' rises again after epoch 3, but training continues to epoch 8" in text
        )

    @pytest.mark.parametrize('chain', CHAINS)
    def test_nothing_of_schedules_that_reach_the_end(self, caplog, chain):
        assert self._text(caplog, CHAINS[chain]) == ''

    @pytest.mark.parametrize('end', [None, 20], ids=['another end', 'the same end'])
    def test_other_initial_values(self, caplog, end):
        config = {'type': 'StepLR', 'step_size': 9, 'by_epoch': True}
        config |= {} if end is None else {'end': end}
        text = self._text(caplog, config, lrs=(0.2, 0.3))
        assert 'start from 0.1, 0.3 in the checkpoint and from 0.2, 0.3 in this run' in text
        assert 'They continue with the values of this run' in text


def test_advancing_uses_the_length_of_an_epoch_in_mid_epoch():
    config = CHAINS['two that overlap']
    whole, fresh = _optimizer(), _optimizer()
    _train([whole], _build(config, whole, LONG), 0, 9)
    advance_schedulers(_build(config, fresh, LONG), 1, 9, EPOCH_LENGTH)
    assert [group['lr'] for group in fresh.param_groups] == [
        group['lr'] for group in whole.param_groups
    ]
