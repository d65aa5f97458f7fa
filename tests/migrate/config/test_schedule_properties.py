"""Any legal schedule converts, and follows the legacy curve within a millionth."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mmengine.migrate.config.curves import compare, converted_curve, legacy_curve
from mmengine.migrate.config.notes import Notes
from mmengine.migrate.config.schedules import Length, convert_schedule, parse_schedule

EPOCH_LENGTH = 7
ratios = st.floats(0.0005, 1.0)
floors = st.one_of(
    st.builds(lambda v: dict(min_lr=v), st.sampled_from([0, 0.0, 1e-6, 1e-3])),
    st.builds(lambda v: dict(min_lr_ratio=v), st.sampled_from([0.0, 0.01, 0.5])),
)


@st.composite
def policies(draw, total):
    kind = draw(
        st.sampled_from(
            ['step', 'exp', 'poly', 'inv', 'fixed', 'CosineAnnealing', 'FlatCosineAnnealing',
             'CosineRestart', 'LinearAnnealing', 'cyclic', 'OneCycle', 'Linear']
        )
    )  # fmt: skip
    options = {'policy': kind}
    if kind == 'step':
        steps = st.lists(st.integers(1, total), min_size=1, max_size=4)
        options['step'] = draw(st.one_of(st.integers(1, total), steps))
        options |= draw(st.sampled_from([{}, {'gamma': 0.5}, {'gamma': 0.3, 'min_lr': 1e-3}]))
    elif kind == 'exp':
        options['gamma'] = draw(st.floats(0.8, 1.0))
    elif kind == 'poly':
        options |= {'power': draw(st.floats(0.3, 3.0)), 'min_lr': draw(st.sampled_from([0, 1e-4]))}
    elif kind == 'inv':
        options |= {'gamma': draw(st.floats(0.01, 1.0)), 'power': draw(st.floats(0.3, 2.0))}
    elif kind == 'FlatCosineAnnealing':
        options |= {'start_percent': draw(st.floats(0.0, 0.9)), **draw(floors)}
    elif kind == 'CosineRestart':
        first = draw(st.integers(1, total))
        weights = [1, draw(st.sampled_from([1, 0.5]))]
        options |= {'periods': [first, total], 'restart_weights': weights, **draw(floors)}
    elif kind in ('CosineAnnealing', 'LinearAnnealing'):
        options |= draw(floors)
    elif kind == 'cyclic':
        options['step_ratio_up'] = draw(st.floats(0.1, 0.9))
        options['target_ratio'] = (draw(st.floats(2, 10)), draw(st.floats(1e-4, 0.5)))
    elif kind == 'OneCycle':
        options |= {'max_lr': draw(st.floats(0.01, 1.0)), 'pct_start': draw(st.floats(0.2, 0.6))}
    elif kind == 'Linear':
        options |= {'target_lr': draw(st.sampled_from([0, 1e-4])), 'start': draw(st.integers(0, 2))}
    return options


@st.composite
def schedules(draw):
    by_epoch = draw(st.booleans())
    total = draw(st.integers(4, 12)) if by_epoch else draw(st.integers(20, 90))
    config = draw(policies(total))
    counts_iterations = config['policy'] in ('cyclic', 'OneCycle')
    if not by_epoch:
        config['by_epoch'] = False
    elif not counts_iterations and draw(st.booleans()):
        config['by_epoch'] = draw(st.booleans())
        if not config['by_epoch'] and config['policy'] == 'CosineRestart':
            config['periods'] = [period * EPOCH_LENGTH for period in config['periods']]
    if draw(st.booleans()):
        config |= {'warmup': draw(st.sampled_from(['linear', 'constant', 'exp']))}
        config |= {'warmup_iters': draw(st.integers(1, 30)), 'warmup_ratio': draw(ratios)}
        if by_epoch and draw(st.booleans()):
            config |= {'warmup_by_epoch': True, 'warmup_iters': draw(st.integers(1, 3))}
    known = EPOCH_LENGTH if draw(st.booleans()) else None
    return config, Length(by_epoch, total, known)


@settings(max_examples=250, deadline=None)
@given(schedules())
def test_the_converted_curve_is_the_legacy_curve(drawn):
    config, length = drawn
    run = length.run(EPOCH_LENGTH)
    bases = [0.1, 0.02]
    schedule = parse_schedule(config, length)
    converted = convert_schedule(config, length, Notes())
    legacy = legacy_curve(schedule, bases, run)
    curve = converted_curve(converted, bases, run, by_epoch=length.by_epoch)
    assert compare(legacy, curve).largest < 1e-6
