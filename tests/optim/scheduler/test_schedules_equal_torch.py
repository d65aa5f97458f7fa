"""Every schedule that torch has too gives torch's numbers."""

import pytest
import torch
from torch.optim import lr_scheduler as theirs

from mmengine.optim import scheduler as ours

STEPS = 30
CLOSE = {'rel': 1e-12, 'abs': 1e-15}

CASES = {
    'constant': (
        lambda o, **k: ours.ConstantLR(o, factor=0.25, end=6, **k),
        lambda o: theirs.ConstantLR(o, factor=0.25, total_iters=5),
    ),
    'linear up': (
        lambda o, **k: ours.LinearLR(o, start_factor=0.1, end=6, **k),
        lambda o: theirs.LinearLR(o, start_factor=0.1, total_iters=5),
    ),
    'linear down': (
        lambda o, **k: ours.LinearLR(o, start_factor=1.0, end_factor=0.2, end=12, **k),
        lambda o: theirs.LinearLR(o, start_factor=1.0, end_factor=0.2, total_iters=11),
    ),
    'exponential': (
        lambda o, **k: ours.ExponentialLR(o, gamma=0.9, **k),
        lambda o: theirs.ExponentialLR(o, gamma=0.9),
    ),
    'step': (
        lambda o, **k: ours.StepLR(o, step_size=4, gamma=0.3, **k),
        lambda o: theirs.StepLR(o, step_size=4, gamma=0.3),
    ),
    'milestones, one of them twice': (
        lambda o, **k: ours.MultiStepLR(o, milestones=[3, 3, 11], gamma=0.5, **k),
        lambda o: theirs.MultiStepLR(o, milestones=[3, 3, 11], gamma=0.5),
    ),
    'polynomial': (
        lambda o, **k: ours.PolyLR(o, power=0.9, end=21, **k),
        lambda o: theirs.PolynomialLR(o, power=0.9, total_iters=20),
    ),
    'cosine': (
        lambda o, **k: ours.CosineAnnealingLR(o, T_max=29, eta_min=1e-3, **k),
        lambda o: theirs.CosineAnnealingLR(o, T_max=29, eta_min=1e-3),
    ),
    'cosine that comes up again': (
        lambda o, **k: ours.CosineAnnealingLR(o, T_max=7, **k),
        lambda o: theirs.CosineAnnealingLR(o, T_max=7),
    ),
    'cosine of one step': (
        lambda o, **k: ours.CosineAnnealingLR(o, T_max=1, eta_min=0.01, **k),
        lambda o: theirs.CosineAnnealingLR(o, T_max=1, eta_min=0.01),
    ),
    'cosine with restarts': (
        lambda o, **k: ours.CosineRestartLR(
            o, periods=[5, 10, 20], restart_weights=[1, 1, 1], eta_min=0.02, **k
        ),
        lambda o: theirs.CosineAnnealingWarmRestarts(o, T_0=5, T_mult=2, eta_min=0.02),
    ),
    'one cycle': (
        lambda o, **k: ours.OneCycleLR(o, eta_max=1.0, total_steps=STEPS, **k),
        lambda o: theirs.OneCycleLR(o, max_lr=1.0, total_steps=STEPS, cycle_momentum=False),
    ),
    'one cycle, linear in three phases': (
        lambda o, **k: ours.OneCycleLR(
            o, eta_max=1.0, total_steps=STEPS, three_phase=True, anneal_strategy='linear', **k
        ),
        lambda o: theirs.OneCycleLR(
            o,
            max_lr=1.0,
            total_steps=STEPS,
            three_phase=True,
            anneal_strategy='linear',
            cycle_momentum=False,
        ),
    ),
    'one cycle with other factors': (
        lambda o, **k: ours.OneCycleLR(
            o, eta_max=0.5, end=STEPS, pct_start=0.2, div_factor=10, final_div_factor=100, **k
        ),
        lambda o: theirs.OneCycleLR(
            o,
            max_lr=0.5,
            total_steps=STEPS,
            pct_start=0.2,
            div_factor=10,
            final_div_factor=100,
            cycle_momentum=False,
        ),
    ),
}


@pytest.mark.parametrize('by_epoch', [True, False], ids=['epochs', 'iterations'])
@pytest.mark.parametrize('case', CASES)
def test_schedule_equals_torch(case, by_epoch, make_optimizer, record):
    build_ours, build_theirs = CASES[case]
    mine, reference = make_optimizer([0.1, 0.25]), make_optimizer([0.1, 0.25])
    got = record(mine, [build_ours(mine, by_epoch=by_epoch)], STEPS)
    # torch counts the step after the last iteration too; a one-cycle has no value there.
    expected = record(reference, [build_theirs(reference)], STEPS)
    for step, (values, references) in enumerate(zip(got, expected, strict=True)):
        assert values == pytest.approx(references, **CLOSE), f'at step {step}'


def test_overlapping_schedules_multiply_as_a_chained_scheduler_does(make_optimizer, record):
    mine, reference = make_optimizer([0.1, 0.3]), make_optimizer([0.1, 0.3])
    got = record(
        mine,
        [ours.LinearLR(mine, start_factor=0.1, end=6), ours.ExponentialLR(mine, gamma=0.95)],
        20,
    )
    chain = theirs.ChainedScheduler(
        [
            theirs.LinearLR(reference, start_factor=0.1, total_iters=5),
            theirs.ExponentialLR(reference, gamma=0.95),
        ],
        optimizer=reference,
    )
    for values, references in zip(got, record(reference, [chain], 20), strict=True):
        assert values == pytest.approx(references, **CLOSE)


@pytest.mark.parametrize('mode', ['less', 'greater'])
@pytest.mark.parametrize('threshold_rule', ['rel', 'abs'])
def test_plateau_equals_torch_over_a_noisy_metric(mode, threshold_rule, make_optimizer):
    mine, reference = make_optimizer([0.1, 0.3]), make_optimizer([0.1, 0.3])
    shared = {'factor': 0.5, 'patience': 2, 'threshold': 0.01, 'cooldown': 2, 'eps': 1e-6}
    schedule = ours.ReduceOnPlateauLR(
        mine,
        monitor='m',
        rule=mode,
        threshold_rule=threshold_rule,
        min_value=[0.002, 0.01],
        **shared,
    )
    twin = theirs.ReduceLROnPlateau(
        reference,
        mode={'less': 'min', 'greater': 'max'}[mode],
        threshold_mode=threshold_rule,
        min_lr=[0.002, 0.01],
        **shared,
    )
    noise = torch.rand(80, generator=torch.Generator().manual_seed(0)).tolist()
    for step in range(80):
        metric = 1.0 / (step + 1) + 0.1 * noise[step]
        metric = metric if mode == 'less' else -metric
        schedule.step({'m': metric})
        twin.step(metric)
        got = [group['lr'] for group in mine.param_groups]
        assert got == pytest.approx([group['lr'] for group in reference.param_groups], **CLOSE)
    assert got[0] < 0.1
