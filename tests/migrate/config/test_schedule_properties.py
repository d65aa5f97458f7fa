"""Any legal schedule converts, and follows the legacy curve within a millionth at every iteration.

Every policy is drawn with every warm-up on both kinds of runner, counting epochs and iterations,
for epochs of any length, told or not; momenta likewise.
"""

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mmengine.migrate._config.notes import Notes
from mmengine.migrate._config.report.check import TOLERANCE
from mmengine.migrate._config.schedules.conversion import Length, convert_schedule
from mmengine.migrate._config.schedules.curves import compare, converted_curve
from mmengine.migrate._config.schedules.mmcv_account import LegacyRun, legacy_values
from mmengine.migrate._schedule.policies import MOMENTUM_POLICIES, POLICIES
from mmengine.utils.errors import ArgumentError

EPOCH_LENGTHS = st.sampled_from([1, 2, 7, 13])
RATIOS = st.floats(0.0005, 1.0)


def floors(name='lr'):
    absolute = st.sampled_from([0, 0.0, 1e-6, 1e-3])
    return st.one_of(
        st.builds(lambda v: {f'min_{name}': v}, absolute),
        st.builds(lambda v: {f'min_{name}_ratio': v}, st.sampled_from([0.0, 0.01, 0.5])),
    )


def steps(total):
    several = st.lists(st.integers(1, total), min_size=1, max_size=4)
    return st.one_of(st.integers(1, total), several, several.map(sorted))


@st.composite
def options_of(draw, policy, total):
    """The arguments of a policy of the learning rate over ``total`` of what it counts."""
    if policy == 'Fixed':
        return {}
    if policy == 'Step':
        more = [{}, {'gamma': 0.5}, {'gamma': 0.3, 'min_lr': 1e-3}, {'gamma': 1.5}]
        return {'step': draw(steps(total)), **draw(st.sampled_from(more))}
    if policy == 'Exp':
        return {'gamma': draw(st.floats(0.8, 1.0))}
    if policy == 'Poly':
        floor = draw(st.sampled_from([{}, {'min_lr': 0}, {'min_lr': 1e-4}]))
        return {'power': draw(st.floats(0.3, 3.0)), **floor}
    if policy == 'Inv':
        return {'gamma': draw(st.floats(0.01, 1.0)), 'power': draw(st.floats(0.3, 2.0))}
    if policy in ('CosineAnnealing', 'LinearAnnealing', 'StepFixCosineAnnealing'):
        return draw(floors())
    if policy == 'FlatCosineAnnealing':
        return {'start_percent': draw(st.floats(0.0, 0.9)), **draw(floors())}
    if policy == 'CosineRestart':
        periods = [draw(st.integers(1, total)), total]
        weights = [draw(st.sampled_from([1, 0.7])), draw(st.sampled_from([1, 0.5]))]
        return {'periods': periods, 'restart_weights': weights, **draw(floors())}
    if policy == 'Cyclic':
        return draw(cycle(total))
    if policy == 'OneCycle':
        return draw(one_cycle())
    if policy == 'CosineAnnealingCooldown':
        time = draw(st.integers(0, total - 1))
        return {'cool_down_time': time, 'cool_down_ratio': draw(RATIOS), **draw(floors())}
    if policy == 'Linear':
        options = {'start': draw(st.integers(0, total // 2)), 'interval': draw(st.integers(1, 2))}
        return {'target_lr': draw(st.sampled_from([0, 1e-4])), **options}
    assert policy == 'YOLOX'
    return {'num_last_epochs': draw(st.integers(0, 2)), **draw(floors())}


@st.composite
def cycle(draw, total):
    top, bottom = draw(st.floats(2, 10)), draw(st.floats(1e-4, 0.5))
    options = {'target_ratio': draw(st.sampled_from([(top, bottom), (top,), top]))}
    options |= {'cyclic_times': draw(st.integers(1, min(3, total)))}
    options |= {'step_ratio_up': draw(st.floats(0.1, 0.9))}
    options |= {'gamma': draw(st.sampled_from([1, 0.5]))}
    return options | draw(annealing())


@st.composite
def one_cycle(draw):
    options = {'max_lr': draw(st.floats(0.01, 1.0)), 'pct_start': draw(st.floats(0.2, 0.45))}
    options |= {'three_phase': draw(st.booleans()), 'div_factor': draw(st.sampled_from([5, 25]))}
    return options | draw(annealing())


def annealing():
    return st.sampled_from([{}, {'anneal_strategy': 'cos'}, {'anneal_strategy': 'linear'}])


@st.composite
def momentum_options_of(draw, policy, total):
    if policy == 'Fixed':
        return {}
    if policy == 'Step':
        more = [{}, {'gamma': 0.9}, {'gamma': 0.8, 'min_momentum': 0.3}]
        return {'step': draw(steps(total)), **draw(st.sampled_from(more))}
    if policy in ('CosineAnnealing', 'LinearAnnealing'):
        return draw(floors('momentum'))
    if policy == 'Cyclic':
        low = draw(st.floats(0.5, 0.95))
        return {'target_ratio': (low, 1), 'cyclic_times': draw(st.integers(1, min(3, total)))}
    assert policy == 'OneCycle'
    options = {'base_momentum': draw(st.floats(0.6, 0.85)), 'pct_start': draw(st.floats(0.2, 0.45))}
    return options | {'three_phase': draw(st.booleans())} | draw(annealing())


@st.composite
def schedules(draw, policy, on_epochs, warmup, of_momentum=False):
    """A config, the length of the run as the config tells it, and the length of an epoch."""
    epoch_length = draw(EPOCH_LENGTHS)
    length = Length(
        on_epochs,
        draw(st.integers(4, 12) if on_epochs else st.integers(20, 90)),
        draw(st.sampled_from([None, epoch_length])),
    )
    config = {'policy': draw(st.sampled_from([policy, policy.lower()]))}
    if config['policy'].title() != policy:
        config['policy'] = policy
    by_epoch = on_epochs and policy not in ('Cyclic', 'OneCycle')
    if draw(st.booleans()):
        # MMCV takes these two by iterations alone.
        by_epoch = policy not in ('Cyclic', 'OneCycle') and on_epochs and draw(st.booleans())
        config['by_epoch'] = by_epoch
    total = length.total if by_epoch or not on_epochs else length.total * epoch_length
    options = momentum_options_of if of_momentum else options_of
    config |= draw(options(policy, total))
    if warmup is not None:
        config |= {'warmup': warmup, 'warmup_iters': draw(st.integers(1, 30))}
        config |= {'warmup_ratio': draw(RATIOS)}
        if on_epochs and draw(st.booleans()):
            config |= {'warmup_by_epoch': True, 'warmup_iters': draw(st.integers(1, 3))}
    return config, length, epoch_length


def follows(drawn, bases, *, of_momentum=False):
    config, length, epoch_length = drawn
    run = length.run(epoch_length)
    legacy_run = LegacyRun(length.by_epoch, length.total, epoch_length)
    try:
        legacy = legacy_values(config, bases, legacy_run, of_momentum=of_momentum)
    except ArithmeticError:
        # MMCV divides by zero: a cycle without iterations, a fall without any left.
        assume(False)
    assume(all(isinstance(value, float | int) for values in legacy for value in values))
    notes = Notes()
    try:
        converted = convert_schedule(config, length, notes, of_momentum=of_momentum)
    except ArgumentError as error:
        if 'iters-per-epoch' not in str(error):
            raise
        assume(False)
    curve = converted_curve(
        converted,
        bases,
        run,
        by_epoch=length.by_epoch,
        param_name='momentum' if of_momentum else 'lr',
    )
    return compare(legacy, curve).largest < TOLERANCE


OWN_WARMUPS = {'YOLOX': ['exp'], 'StepFixCosineAnnealing': [None, 'linear']}
ALL = [
    (policy, on_epochs, warmup)
    for policy in POLICIES
    for on_epochs in (True, False)
    for warmup in OWN_WARMUPS.get(policy, [None, 'linear', 'constant', 'exp'])
]
ALL_MOMENTA = [
    (policy, on_epochs, warmup)
    for policy in MOMENTUM_POLICIES
    for on_epochs in (True, False)
    for warmup in (None, 'linear', 'constant', 'exp')
]


def label(case):
    policy, on_epochs, warmup = case
    return f'{policy}-{"epochs" if on_epochs else "iters"}-{warmup or "cold"}'


quick = settings(
    max_examples=10,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)


@pytest.mark.parametrize('case', ALL, ids=label)
@quick
@given(st.data())
def test_the_converted_rate_is_the_legacy_rate(case, data):
    assert follows(data.draw(schedules(*case)), [0.1, 0.02])


@pytest.mark.parametrize('case', ALL_MOMENTA, ids=label)
@quick
@given(st.data())
def test_the_converted_momentum_is_the_legacy_momentum(case, data):
    drawn = data.draw(schedules(*case, of_momentum=True))
    assert follows(drawn, [0.9, 0.95], of_momentum=True)
