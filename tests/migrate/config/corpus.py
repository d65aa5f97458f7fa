"""Legacy configs of every kind, made of interchangeable parts."""

from __future__ import annotations

import itertools

RUNNERS = {
    'epochs': "runner = dict(type='EpochBasedRunner', max_epochs=12)",
    'iters': "runner = dict(type='IterBasedRunner', max_iters=3000)",
    'total': 'total_epochs = 12',
    'dynamic': "runner = dict(type='DynamicIterBasedRunner', max_iters=3000, is_dynamic_ddp=False)",
}
# Of each: the config as an epoch runner has it, and with the counts of an iteration runner.
POLICIES = {
    'step': ("policy='step', step=[8, 11]", "policy='Step', step=[2000, 2700]"),
    'step-int': ("policy='Step', step=4, gamma=0.5", "policy='step', step=900, gamma=0.5"),
    'step-min': (
        "policy='step', step=[3, 6], min_lr=1e-3", "policy='step', step=[900, 1800], min_lr=1e-3",
    ),
    'poly': ("policy='poly', power=0.9", "policy='poly', power=0.9"),
    'poly-min': ("policy='poly', power=0.9, min_lr=1e-4",) * 2,
    'cosine': ("policy='CosineAnnealing', min_lr=0",) * 2,
    'cosine-ratio': ("policy='CosineAnnealing', min_lr_ratio=1e-2",) * 2,
    'fixed': ("policy='fixed'",) * 2,
    'exp': ("policy='exp', gamma=0.9", "policy='exp', gamma=0.999"),
    'inv': ("policy='inv', gamma=0.1, power=0.75",) * 2,
    'flat': ("policy='FlatCosineAnnealing', start_percent=0.7, min_lr_ratio=0.1",) * 2,
    'linear-annealing': ("policy='LinearAnnealing', min_lr_ratio=0.01",) * 2,
    'restart': (
        "policy='CosineRestart', periods=[4, 8], restart_weights=[1, 0.5], min_lr=1e-6",
        "policy='CosineRestart', periods=[1000, 2000], restart_weights=[1, 0.5], min_lr=1e-6",
    ),
    'cyclic': ("policy='cyclic', target_ratio=(10, 1e-4), cyclic_times=1, step_ratio_up=0.4",) * 2,
    'one-cycle': ("policy='OneCycle', max_lr=0.1",) * 2,
    'cooldown': (
        "policy='CosineAnnealingCooldown', min_lr=1e-5, cool_down_time=2",
        "policy='CosineAnnealingCooldown', min_lr=1e-5, cool_down_time=200, by_epoch=False",
    ),
    'linear': ("policy='Linear', target_lr=0, start=6", "policy='Linear', target_lr=0, start=900"),
    'yolox': (
        "policy='YOLOX', num_last_epochs=2, min_lr_ratio=0.05, by_epoch=False, warmup='exp', "
        'warmup_by_epoch=True, warmup_ratio=1, warmup_iters=1',
        None,
    ),
    'step-fix': (
        "policy='StepFixCosineAnnealing', min_lr=0.0, by_epoch=False",
        "policy='StepFixCosineAnnealing', min_lr=0.0, by_epoch=False",
    ),
}  # fmt: skip
WARMUPS = {
    'cold': '',
    'linear': ", warmup='linear', warmup_iters=500, warmup_ratio=0.001",
    'constant': ", warmup='constant', warmup_iters=100, warmup_ratio=1.0 / 3",
    'exp': ", warmup='exp', warmup_iters=200, warmup_ratio=0.1",
    'epochs': ", warmup='linear', warmup_iters=2, warmup_ratio=0.1, warmup_by_epoch=True",
}
OPTIMIZERS = (
    "optimizer = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)",
    "optimizer = dict(type='AdamW', lr=1e-3,\n"
    "    paramwise_cfg=dict(custom_keys={'head': dict(lr_mult=10.)}))",
    "optimizer = dict(backbone=dict(type='SGD', lr=0.01), head=dict(type='Adam', lr=1e-3))",
    "optimizers = dict(head=dict(type='Adam', lr=1e-3, betas=(0.5, 0.999)))",
    "optimizer = dict(type='SGD', lr=0.02,\n"
    '    paramwise_options=dict(norm_decay_mult=0., bias_lr_mult=2.))',
)
OPTIMIZER_CONFIGS = (
    'optimizer_config = dict(grad_clip=None)',
    'optimizer_config = dict(grad_clip=dict(max_norm=35, norm_type=2))',
    "optimizer_config = dict(type='GradientCumulativeOptimizerHook', cumulative_iters=4)",
    "optimizer_config = dict(type='Fp16OptimizerHook')\nfp16 = dict()",
    "optimizer_config = dict()\nfp16 = dict(loss_scale='dynamic')",
    "optimizer_config = dict(type='DistOptimizerHook', update_interval=2, use_fp16=False)",
    'optimizer_config = None\nfp16 = dict(loss_scale=dict(init_scale=512.))',
)
HOOKS = (
    '',
    "custom_hooks = [dict(type='EMAHook', momentum=0.0002, priority=49)]",
    "custom_hooks = [dict(type='ExpMomentumEMAHook', total_iter=20, priority='ABOVE_NORMAL')]",
)
EVALUATIONS = (
    "evaluation = dict(interval=1, metric='acc')",
    "evaluation = dict(interval=2, metric='acc', save_best='auto', rule='greater', start=4)",
    "evaluation = dict(interval=1, metrics=['acc'], save_best='acc', dynamic_intervals=[(10, 1)])",
    "evaluation = dict(interval=1, metric='acc', pre_eval=True, gpu_collect=True)",
)
DATA = (
    'data = dict(samples_per_gpu=2, workers_per_gpu=0, train=train, val=val, test=val)',
    'data = dict(videos_per_gpu=2, workers_per_gpu=0, train=train, val=val,\n'
    '            val_dataloader=dict(videos_per_gpu=1))',
    'data = dict(samples_per_gpu=2, workers_per_gpu=0,\n'
    "            train=dict(type='RepeatDataset', times=3, dataset=train), val=val)",
    'data = dict(samples_per_gpu=2, workers_per_gpu=0, train=[train, train], val=val)\n'
    "for split in (data['val'],):\n    split['size'] = 4",
)
_REST = """\
# A model that learns nothing
norm = dict(type='BN')  # everywhere
model = dict(
    type='CorpusModel',
    width=4,  # channels
    norm=norm)
train_cfg = dict(assigner=dict(threshold=0.5))
test_cfg = dict(mode='whole')
train = dict(type='CorpusDataset', size=6)
val = dict(type='CorpusDataset', size=2)
checkpoint_config = dict(interval=1, max_keep_ckpts=3)
log_config = dict(
    interval=50, hooks=[dict(type='TextLoggerHook'), dict(type='TensorboardLoggerHook')])
dist_params = dict(backend='gloo')
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]
cudnn_benchmark = False
mp_start_method = 'fork'
opencv_num_threads = 0
find_unused_parameters = True
"""


def configs() -> dict[str, str]:
    """Texts of legacy configs by name: every policy with every warm-up on both kinds of runner."""
    texts = {}
    wheel = (itertools.cycle(x) for x in (OPTIMIZERS, OPTIMIZER_CONFIGS, HOOKS, EVALUATIONS, DATA))
    parts = list(wheel)
    runner_names = {
        True: itertools.cycle(('epochs', 'total')),
        False: itertools.cycle(('iters', 'dynamic')),
    }
    for (policy, forms), warm, by_epoch in itertools.product(
        POLICIES.items(), WARMUPS, (True, False)
    ):
        form = forms[0 if by_epoch else 1]
        if form is None or (policy == 'yolox' and warm != 'cold'):
            continue
        if policy == 'step-fix' and warm not in ('cold', 'linear'):
            continue
        if warm == 'epochs' and (policy == 'one-cycle' or not by_epoch):
            continue
        runner = next(runner_names[by_epoch])
        lines = [next(part) for part in parts]
        schedule = f'lr_config = dict({form}{WARMUPS[warm]})'
        texts[f'{policy}-{warm}-{runner}'] = '\n'.join(
            [_REST, *lines, schedule, RUNNERS[runner], '']
        )
    return texts
