"""Legacy configs drawn at random: combinations that nobody thought of.

What is drawn is recorded with what came of it, so that tests do not hang on the generator. There
are no validations: the rounding of half precision, averaged weights and logs make them differ, as
the cases made by hand show one by one.
"""

import random

from mmcv_runs.cases import BASE, CLIPPINGS, COUNTS_ITERATIONS, MOMENTA, POLICIES, in_iterations
from mmcv_runs.toys import BATCH_SIZE

NUM_CASES = 60
_OPTIMIZERS = (
    BASE['optimizer'],
    dict(type='SGD', lr=0.1, momentum=0.8, nesterov=True),
    dict(type='Adam', lr=0.02),
    dict(type='AdamW', lr=0.05, betas=(0.8, 0.99), weight_decay=0.1),
    dict(
        **BASE['optimizer'],
        paramwise_cfg=dict(custom_keys=dict(shift=dict(lr_mult=0.25, decay_mult=0.0))),
    ),
)
_FLOORS = (dict(min_lr=0), dict(min_lr=1e-3), dict(min_lr_ratio=0.1), dict(min_lr_ratio=0))


def random_config(seed):
    """A legal config; the same for the same ``seed``."""
    draw = random.Random(seed)
    by_epoch = draw.random() < 0.5
    batches = draw.randint(2, 7)
    total = draw.randint(1, 5) if by_epoch else draw.randint(3, 21)
    iterations = total * batches if by_epoch else total
    size = BATCH_SIZE * batches - draw.randint(0, 1)
    train = dict(type='Points', size=size, offset=draw.randint(0, 40))
    config = dict(
        BASE,
        runner=dict(type='EpochBasedRunner', max_epochs=total)
        if by_epoch
        else dict(type='IterBasedRunner', max_iters=total),
        data=dict(BASE['data'], train=train),
        optimizer=draw.choice(_OPTIMIZERS),
    )
    length = (by_epoch, total, iterations)
    config['lr_config'] = _lr_config(draw, *length) | _warmup(draw, *length)
    if draw.random() < 0.3:
        momentum = draw.choice(list(MOMENTA.values()))
        config['momentum_config'] = momentum if by_epoch else in_iterations(momentum)
    config |= _steps(draw)
    if draw.random() < 0.3:
        config['custom_hooks'] = [
            dict(
                type='EMAHook',
                momentum=draw.choice([0.0002, 0.1, 0.5, 0.9]),
                warm_up=draw.choice([1, 5, 100]),
                interval=draw.choice([1, 1, 2, 5]),
                priority=draw.choice(['NORMAL', 49, 'ABOVE_NORMAL']),
            )
        ]
    if draw.random() < 0.5:
        config['checkpoint_config'] = dict(
            interval=draw.randint(1, 4), save_last=draw.random() < 0.7
        )
    if draw.random() < 0.3:
        config['workflow'] = [('train', draw.randint(1, 3))]
    return config


def _lr_config(draw, by_epoch, total, iterations):
    policy = dict(draw.choice(list(POLICIES.values())))
    name = policy['policy']
    counts_epochs = by_epoch and name not in COUNTS_ITERATIONS
    if counts_epochs and draw.random() < 0.3:
        policy['by_epoch'] = counts_epochs = False
    elif not by_epoch and name not in COUNTS_ITERATIONS:
        policy['by_epoch'] = False
    length = total if counts_epochs else iterations
    if 'step' in policy:
        steps = sorted(draw.sample(range(1, max(length, 2) + 2), min(2, length)))
        policy['step'] = draw.choice([steps, draw.randint(1, length)])
        policy['gamma'] = draw.choice([0.1, 0.5, 0.9])
    elif 'periods' in policy:
        first = draw.randint(1, max(length - 1, 1))
        policy['periods'] = [first, length - first + draw.randint(1, 3)]
    elif name == 'poly':
        policy |= dict(power=draw.choice([0.5, 0.9, 1, 2]), min_lr=draw.choice([0, 1e-3]))
    elif name == 'cyclic':
        policy |= dict(
            cyclic_times=draw.choice([1, 2]),
            step_ratio_up=draw.choice([0.1, 0.4, 0.6]),
            anneal_strategy=draw.choice(['cos', 'linear']),
            gamma=draw.choice([1, 0.5]),
            target_ratio=draw.choice([(4, 0.1), (10, 1e-4), 3.0]),
        )
    elif name.endswith('Annealing'):
        floorless = {key: value for key, value in policy.items() if not key.startswith('min_lr')}
        policy = floorless | draw.choice(_FLOORS)
    return policy


def _warmup(draw, by_epoch, total, iterations):
    if draw.random() < 0.4:
        return {}
    warmup = dict(
        warmup=draw.choice(['linear', 'constant', 'exp']),
        warmup_ratio=draw.choice([0.001, 0.1, 0.5, 1.0]),
    )
    if by_epoch and draw.random() < 0.3:
        return dict(warmup, warmup_by_epoch=True, warmup_iters=draw.randint(1, total))
    return dict(warmup, warmup_iters=draw.randint(1, iterations + 2))


def _steps(draw):
    clip = draw.choice([None, None, *CLIPPINGS.values()])
    kind = draw.choice(['', 'GradientCumulative'])
    accumulation = dict(cumulative_iters=draw.randint(1, 9)) if kind else {}
    if draw.random() < 0.5:
        hook = dict(type=f'{kind}OptimizerHook', grad_clip=clip, **accumulation)
        return dict(optimizer_config=hook)
    scale = draw.choice([
        512.0, 64.0, 'dynamic',
        dict(init_scale=2.0 ** draw.randint(10, 17), growth_interval=draw.randint(1, 4)),
        dict(init_scale=2.0**20, backoff_factor=0.25, growth_factor=4.0, growth_interval=2),
    ])  # fmt: skip
    model = dict(type='LinearLine')
    if not kind and draw.random() < 0.5:
        return dict(model=model, fp16=dict(loss_scale=scale), optimizer_config=dict(grad_clip=clip))
    hook = dict(type=f'{kind}Fp16OptimizerHook', grad_clip=clip, loss_scale=scale, **accumulation)
    return dict(model=model, optimizer_config=hook)
