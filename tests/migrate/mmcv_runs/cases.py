"""The cases: legacy configs by name, each as a change of one."""

import copy
import math

from mmcv_runs.toys import BATCH_SIZE, NUM_BATCHES, SIZE

MAX_EPOCHS, MAX_ITERS = 3, 13
WORK_DIR = '<work_dir>'

BASE = dict(
    model=dict(type='Line'),
    data=dict(
        samples_per_gpu=BATCH_SIZE,
        workers_per_gpu=0,
        train=dict(type='Points'),
        train_dataloader=dict(shuffle=False),
    ),
    optimizer=dict(type='SGD', lr=0.2, momentum=0.9, weight_decay=0.01),
    optimizer_config=dict(grad_clip=None),
    lr_config=dict(policy='fixed'),
    checkpoint_config=None,
)
_RUNNERS = dict(
    epochs=dict(type='EpochBasedRunner', max_epochs=MAX_EPOCHS),
    iters=dict(type='IterBasedRunner', max_iters=MAX_ITERS),
)
_VALIDATED = {**BASE['data'], 'val': dict(type='Points', size=5, offset=20)}


def num_batches(config):
    """Iterations of an epoch."""
    return math.ceil(config['data']['train'].get('size', SIZE) / BATCH_SIZE)


def _case(runner, **changes):
    return {**BASE, 'runner': _RUNNERS[runner], **changes}


# Learning rates and momenta. Steps and periods are in epochs.

POLICIES = {
    'fixed': dict(policy='fixed'),
    'step': dict(policy='step', step=[1, 2]),
    'step-every': dict(policy='step', step=1, gamma=0.5, min_lr=0.06),
    'exp': dict(policy='exp', gamma=0.7),
    'poly': dict(policy='poly', power=0.9),
    'poly-floor': dict(policy='poly', power=2, min_lr=1e-3),
    'inv': dict(policy='inv', gamma=0.3, power=0.75),
    'cosine': dict(policy='CosineAnnealing', min_lr=0),
    'cosine-floor': dict(policy='CosineAnnealing', min_lr_ratio=0.01),
    'flat-cosine': dict(policy='FlatCosineAnnealing', start_percent=0.4, min_lr=1e-3),
    'restart': dict(policy='CosineRestart', periods=[1, 2], restart_weights=[1, 0.5], min_lr=0.0),
    'linear': dict(policy='LinearAnnealing', min_lr_ratio=0.1),
    'cyclic': dict(policy='cyclic', target_ratio=(4, 0.1), cyclic_times=2, step_ratio_up=0.4),
    # Too short a cycle to rise
    'cyclic-fall': dict(
        policy='cyclic', target_ratio=(4, 0.1), cyclic_times=2, step_ratio_up=0.1, gamma=0.5
    ),
    'one-cycle': dict(policy='OneCycle', max_lr=0.4, pct_start=0.4),
    'one-cycle-phases': dict(
        policy='OneCycle', max_lr=0.3, three_phase=True, anneal_strategy='linear'
    ),
}
WARMUPS = {
    'none': {},
    'linear': dict(warmup='linear', warmup_iters=4, warmup_ratio=0.1),
    'constant': dict(warmup='constant', warmup_iters=3, warmup_ratio=0.25),
    'exp': dict(warmup='exp', warmup_iters=6, warmup_ratio=0.01),
    'linear-epochs': dict(warmup='linear', warmup_iters=1, warmup_ratio=0.1, warmup_by_epoch=True),
}
COUNTS_ITERATIONS = ('cyclic', 'OneCycle')
MOMENTA = {
    'step': dict(policy='step', step=[1, 2], gamma=0.8, min_momentum=0.5),
    'cosine': dict(policy='CosineAnnealing', min_momentum_ratio=0.3),
    'linear': dict(policy='LinearAnnealing', min_momentum=0.4),
    'cyclic': dict(policy='cyclic', target_ratio=(0.85 / 0.95, 1), step_ratio_up=0.4),
    'one-cycle': dict(policy='OneCycle', base_momentum=0.8, max_momentum=0.95),
    'cosine-warm': dict(
        policy='CosineAnnealing', min_momentum=0.2, warmup='linear', warmup_iters=4,
        warmup_ratio=0.9,
    ),
}  # fmt: skip


def in_iterations(policy):
    """The same policy, its counts of epochs as iterations."""
    scaled = {**policy, 'by_epoch': False}
    for key in ('step', 'periods'):
        value = scaled.get(key)
        if isinstance(value, list):
            scaled[key] = [NUM_BATCHES * one for one in value]
        elif value is not None:
            scaled[key] = NUM_BATCHES * value
    return scaled


def _schedules():
    for name, policy in POLICIES.items():
        for warm, warmup in WARMUPS.items():
            lr_config = {**policy, **warmup}
            if policy['policy'] not in COUNTS_ITERATIONS or warm == 'none':
                yield f'epochs/{name}/{warm}', _case('epochs', lr_config=lr_config)
            if warm in ('none', 'linear', 'exp'):
                by_iter = {**in_iterations(policy), **warmup}
                yield f'iters/{name}/{warm}', _case('iters', lr_config=by_iter)
        by_iter = in_iterations(policy)
        if policy['policy'] not in COUNTS_ITERATIONS:
            yield f'epochs/{name}/by-iter', _case('epochs', lr_config=by_iter)
    never = dict(policy='step', step=[1, 2], by_epoch=True)
    yield 'iters/step/by-epoch', _case('iters', lr_config=never)
    for name, policy in MOMENTA.items():
        yield f'epochs/momentum/{name}', _case('epochs', momentum_config=policy)
        by_iter = in_iterations(policy)
        yield f'iters/momentum/{name}', _case('iters', momentum_config=by_iter)
        # Without by_epoch; a runner of iterations gives it a default for learning rates alone.
        yield f'iters/momentum/{name}-default', _case('iters', momentum_config=policy)
    adam = dict(type='AdamW', lr=0.05, betas=(0.9, 0.99), weight_decay=0.1)
    both = dict(
        optimizer=adam,
        lr_config=dict(policy='cyclic', target_ratio=(5, 0.01)),
        momentum_config=dict(policy='cyclic', target_ratio=(0.9, 1)),
    )
    yield 'epochs/momentum/adam', _case('epochs', **both)
    yield 'iters/momentum/adam', _case('iters', **both)
    groups = dict(custom_keys=dict(shift=dict(lr_mult=0.25, decay_mult=0.0)))
    for runner in _RUNNERS:
        policy = POLICIES['poly-floor'] | WARMUPS['linear']
        yield (
            f'{runner}/groups/poly-floor',
            _case(
                runner,
                optimizer={**BASE['optimizer'], 'paramwise_cfg': groups},
                lr_config=policy if runner == 'epochs' else in_iterations(policy),
            ),
        )


# How gradients become steps

CLIPPINGS = {
    'norm': dict(max_norm=0.3),
    'norm-1': dict(max_norm=0.2, norm_type=1),
    'norm-inf': dict(max_norm=0.1, norm_type='inf'),
}
_ACCUMULATE = 'GradientCumulativeOptimizerHook'
_HALF, _ACCUMULATE_HALF = 'Fp16OptimizerHook', 'GradientCumulativeFp16OptimizerHook'
OPTIMIZER_HOOKS = {
    **{f'clip-{name}': dict(grad_clip=clip) for name, clip in CLIPPINGS.items()},
    **{
        f'accumulate-{count}': dict(type=_ACCUMULATE, cumulative_iters=count)
        for count in (2, 3, 4, 7, 20)
    },
    'accumulate-clip': dict(type=_ACCUMULATE, cumulative_iters=4, grad_clip=dict(max_norm=0.1)),
}
_DYNAMIC = dict(init_scale=2.0**15, growth_interval=3)
HALF_PRECISION = {
    'default': dict(optimizer_config=dict(type=_HALF)),
    'number': dict(optimizer_config=dict(type=_HALF, loss_scale=64.0)),
    'dynamic': dict(optimizer_config=dict(type=_HALF, loss_scale='dynamic')),
    'dict': dict(optimizer_config=dict(type=_HALF, loss_scale=_DYNAMIC)),
    'fp16-dict': dict(fp16=dict(loss_scale=_DYNAMIC)),
    'fp16-dynamic-clip': dict(
        fp16=dict(loss_scale='dynamic'), optimizer_config=dict(grad_clip=dict(max_norm=0.3))
    ),
    'fp16-number': dict(fp16=dict(loss_scale=128.0)),
    'fp16-empty': dict(fp16=dict(), optimizer_config=dict(type=_HALF)),
    'accumulate': dict(
        optimizer_config=dict(type=_ACCUMULATE_HALF, cumulative_iters=3, loss_scale=256.0)
    ),
    'accumulate-dynamic': dict(
        optimizer_config=dict(type=_ACCUMULATE_HALF, cumulative_iters=2, loss_scale=_DYNAMIC)
    ),
    'accumulate-clip': dict(
        optimizer_config=dict(
            type=_ACCUMULATE_HALF, cumulative_iters=4, loss_scale='dynamic',
            grad_clip=dict(max_norm=0.3),
        )
    ),
}  # fmt: skip


def _steps():
    hook = OPTIMIZER_HOOKS['accumulate-3']
    for name, policy in POLICIES.items():
        warmup = WARMUPS['none' if policy['policy'] in COUNTS_ITERATIONS else 'linear']
        case = _case('epochs', lr_config=policy | warmup, optimizer_config=hook)
        yield f'epochs/{name}/accumulate', case
        by_iter = in_iterations(policy) | WARMUPS['linear']
        yield f'iters/{name}/accumulate', _case('iters', lr_config=by_iter, optimizer_config=hook)
    for runner in _RUNNERS:
        for name, hook in OPTIMIZER_HOOKS.items():
            yield f'{runner}/optimizer/{name}', _case(runner, optimizer_config=hook)
        for name, changes in HALF_PRECISION.items():
            model = dict(type='LinearLine')
            yield f'{runner}/half/{name}', _case(runner, model=model, **changes)
        yield (
            f'{runner}/half/validated',
            _case(
                runner,
                model=dict(type='LinearLine'),
                data=_VALIDATED,
                evaluation=dict(interval=1),
                **HALF_PRECISION['number'],
            ),
        )
        warm = POLICIES['poly-floor'] | WARMUPS['linear']
        yield (
            f'{runner}/half/warm-up',
            _case(
                runner,
                model=dict(type='LinearLine'),
                lr_config=warm if runner == 'epochs' else in_iterations(warm),
                fp16=dict(loss_scale=_DYNAMIC),
            ),
        )
        yield (
            f'{runner}/optimizer/warm-up-accumulate',
            _case(
                runner,
                lr_config=warm if runner == 'epochs' else in_iterations(warm),
                optimizer_config=OPTIMIZER_HOOKS['accumulate-clip'],
            ),
        )
    sgd = BASE['optimizer']
    yield (
        'epochs/optimizer/two',
        _case(
            'epochs',
            model=dict(type='TwoLines'),
            optimizer=dict(a=sgd, b=dict(type='Adam', lr=0.1)),
            optimizer_config=None,
            lr_config=dict(policy='step', step=[1, 2]),
        ),
    )
    yield (
        'iters/optimizer/two',
        _case(
            'iters',
            model=dict(type='TwoLines'),
            optimizer=dict(a=sgd, b=sgd),
            optimizer_config=None,
            lr_config=dict(policy='poly', power=0.9, min_lr=1e-3, by_epoch=False),
        ),
    )


# Averaged weights

AVERAGES = {
    'plain': dict(momentum=0.25),
    'default': {},
    'warm-up': dict(momentum=0.75, warm_up=3),
    'interval': dict(momentum=0.25, interval=3),
    'interval-warm-up': dict(momentum=0.5, warm_up=7, interval=2),
}


def _averages():
    for runner, model in (('epochs', 'Line'), ('iters', 'Line'), ('epochs', 'NormedLine')):
        for name, options in AVERAGES.items():
            for priority in ('NORMAL', 'ABOVE_NORMAL') if name == 'plain' else ('ABOVE_NORMAL',):
                label = name if priority == 'ABOVE_NORMAL' else f'{name}-later'
                hook = dict(type='EMAHook', priority=priority, **options)
                by_epoch = runner == 'epochs'
                yield (
                    f'{runner}/ema/{model}-{label}',
                    _case(
                        runner,
                        model=dict(type=model),
                        data=_VALIDATED,
                        custom_hooks=[hook],
                        checkpoint_config=dict(interval=1 if by_epoch else 4),
                        evaluation=dict(interval=1 if by_epoch else 5),
                    ),
                )


# Checkpoints, validations, logs

CHECKPOINTS = {
    'interval': dict(interval=2),
    'keep': dict(interval=1, max_keep_ckpts=2),
    'not-last': dict(interval=2, save_last=False),
    'keep-not-last': dict(interval=2, save_last=False, max_keep_ckpts=1),
    'name': dict(interval=1, filename_tmpl='weights_{}.pth'),
    'no-optimizer': dict(interval=3, save_optimizer=False),
    'out-dir': dict(interval=2, out_dir=f'{WORK_DIR}/elsewhere'),
    'none': dict(interval=-1),
}
EVALUATIONS = {
    'interval': dict(interval=2),
    'start': dict(interval=1, start=2),
    'start-interval': dict(interval=2, start=1),
    'best': dict(interval=1, save_best='acc'),
    'best-less': dict(interval=1, save_best='loss_abs'),
    'best-auto': dict(interval=1, save_best='auto'),
    'best-rule': dict(interval=1, save_best='acc', rule='less'),
    'best-keys': dict(interval=1, save_best='loss_abs', greater_keys=['loss_abs']),
    'best-less-keys': dict(interval=1, save_best='acc', less_keys=['acc']),
}
LOGS = {
    'three': dict(interval=3),
    'ten': dict(interval=10),
    'two-all': dict(interval=2, hooks=[dict(type='TextLoggerHook', ignore_last=False)]),
    'three-all': dict(interval=3, hooks=[dict(type='TextLoggerHook', ignore_last=False)]),
    'own-interval': dict(interval=5, hooks=[dict(type='TextLoggerHook', interval=2)]),
    'clip': dict(interval=2),
    'accumulate-clip': dict(interval=5),
}


def _files_and_logs():
    for name, config in CHECKPOINTS.items():
        yield f'epochs/checkpoint/{name}', _case('epochs', checkpoint_config=config)
        longer = {**config, 'interval': max(3 * config['interval'], -1)}
        yield f'iters/checkpoint/{name}', _case('iters', checkpoint_config=longer)
    by_iter = dict(interval=4, by_epoch=False)
    yield 'epochs/checkpoint/by-iter', _case('epochs', checkpoint_config=by_iter)
    yield 'iters/checkpoint/asked-by-iter', _case('iters', checkpoint_config=by_iter)
    by_epoch = dict(interval=2, by_epoch=True)
    yield 'iters/checkpoint/by-epoch', _case('iters', checkpoint_config=by_epoch)
    for name, config in EVALUATIONS.items():
        checkpoint = dict(interval=1, max_keep_ckpts=1)
        case = _case('epochs', data=_VALIDATED, checkpoint_config=checkpoint, evaluation=config)
        yield f'epochs/evaluation/{name}', case
        longer = {key: 3 * v if key in ('interval', 'start') else v for key, v in config.items()}
        case = _case('iters', data=_VALIDATED, checkpoint_config=None, evaluation=longer)
        yield f'iters/evaluation/{name}', case
    for runner, name, times in (
        ('epochs', 'by-iter', dict(interval=NUM_BATCHES, by_epoch=False)),
        ('iters', 'by-epoch', dict(interval=1, by_epoch=True)),
    ):
        yield f'{runner}/evaluation/{name}', _case(runner, data=_VALIDATED, evaluation=times)
    for name, config in LOGS.items():
        config = {'hooks': [dict(type='TextLoggerHook')], **config}
        warm = POLICIES['exp'] | WARMUPS['linear']
        changes = {}
        if 'clip' in name:
            changes['optimizer_config'] = dict(
                grad_clip=dict(max_norm=0.3),
                **dict(type=_ACCUMULATE, cumulative_iters=3) if 'accumulate' in name else {},
            )
        for runner in _RUNNERS:
            lr_config = warm if runner == 'epochs' else in_iterations(warm)
            case = _case(runner, log_config=config, lr_config=lr_config, **changes)
            yield f'{runner}/log/{name}', case
    for runner in _RUNNERS:
        changes = dict(
            data=_VALIDATED, evaluation=dict(interval=1 if runner == 'epochs' else 5),
            log_config=dict(interval=4, hooks=[dict(type='TextLoggerHook')]),
        )  # fmt: skip
        yield f'{runner}/log/validated', _case(runner, **changes)
    for runner in _RUNNERS:
        turns = [('train', 1), ('val', 1)]
        yield f'{runner}/workflow/grouped', _case(runner, workflow=[('train', 2)])
        yield f'{runner}/workflow/val', _case(runner, data=_VALIDATED, workflow=turns)


# Runs to be stopped and resumed

RESUMABLE = {
    'step-warm': dict(lr_config=POLICIES['step'] | WARMUPS['linear']),
    'poly-floor-warm': dict(lr_config=POLICIES['poly-floor'] | WARMUPS['exp']),
    'cyclic': dict(lr_config=POLICIES['cyclic'], momentum_config=MOMENTA['cyclic']),
    'one-cycle': dict(lr_config=POLICIES['one-cycle'], momentum_config=MOMENTA['one-cycle']),
    'half': dict(model=dict(type='LinearLine'), **HALF_PRECISION['fp16-dict']),
    'adam': dict(optimizer=dict(type='Adam', lr=0.05)),
}


def _resumable():
    for name, changes in RESUMABLE.items():
        saved = dict(checkpoint_config=dict(interval=1))
        yield f'epochs/resume/{name}', _case('epochs', **saved, **changes)
        changes = {
            key: in_iterations(value) if 'policy' in value else value
            for key, value in changes.items()
        }
        saved = dict(checkpoint_config=dict(interval=7))
        yield f'iters/resume/{name}', _case('iters', **saved, **changes)
    (two,) = (case for name, case in _steps() if name == 'epochs/optimizer/two')
    yield 'epochs/resume/two', {**two, 'checkpoint_config': dict(interval=1)}


# Two processes

DISTRIBUTED = {
    'plain': {},
    'accumulate': dict(optimizer_config=dict(type=_ACCUMULATE, cumulative_iters=2)),
    'accumulate-clip': dict(optimizer_config=OPTIMIZER_HOOKS['accumulate-clip']),
    'warm-up': dict(lr_config=dict(policy='exp', gamma=0.7, **WARMUPS['linear'])),
    'evaluation': dict(data=_VALIDATED, evaluation=dict(interval=1, save_best='acc')),
    'norm': dict(model=dict(type='NormedLine'), find_unused_parameters=True),
    'norm-evaluation': dict(
        model=dict(type='NormedLine'),
        find_unused_parameters=True,
        data=_VALIDATED,
        evaluation=dict(interval=1),
    ),
    'half': dict(model=dict(type='LinearLine'), **HALF_PRECISION['fp16-dict']),
    'half-accumulate': dict(model=dict(type='LinearLine'), **HALF_PRECISION['accumulate-dynamic']),
    'ema': dict(custom_hooks=[dict(type='EMAHook', momentum=0.25, priority='ABOVE_NORMAL')]),
}


RUNS = dict([*_schedules(), *_steps(), *_averages(), *_files_and_logs(), *_resumable()])
PARALLEL_RUNS = {
    f'{runner}/ddp/{name}': _case(runner, **changes)
    for runner in _RUNNERS
    for name, changes in DISTRIBUTED.items()
}

# Of these runs a checkpoint is kept.
STOPPED = {
    name: 'epoch_1.pth' if name.startswith('epochs') else 'iter_7.pth'
    for name in RUNS
    if '/resume/' in name
}
STOPPED |= {
    name: 'epoch_2.pth' if name.startswith('epochs') else 'iter_8.pth'
    for name in RUNS
    # Of an iteration run whose EMAHook comes later, a checkpoint lacks the last averaging.
    if name.endswith(('ema/Line-plain', 'ema/Line-interval-warm-up'))
    or name == 'epochs/ema/Line-plain-later'
}


def in_folder(config, work_dir):
    """A config of its own, its folders within ``work_dir``."""
    if isinstance(config, dict):
        return {key: in_folder(value, work_dir) for key, value in config.items()}
    if isinstance(config, str):
        return config.replace(WORK_DIR, str(work_dir))
    return copy.deepcopy(config)


def file_of(name):
    """Under what name the checkpoint of a stopped run is kept."""
    return f'{name.replace("/", "-")}-{STOPPED[name]}'
