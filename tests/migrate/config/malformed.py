"""Trees of configs that are wrong in every way, each from a seed."""

from __future__ import annotations

import copy
import random

LEGACY = dict(
    runner=dict(type='EpochBasedRunner', max_epochs=4),
    model=dict(type='M', head=dict(type='H')),
    train_cfg=dict(b=1),
    test_cfg=dict(c=1),
    optimizer=dict(type='SGD', lr=0.1, paramwise_cfg=dict(custom_keys={}), constructor='C'),
    optimizer_config=dict(type='OptimizerHook', grad_clip=dict(max_norm=1), update_interval=2),
    fp16=dict(loss_scale=dict(mode='dynamic', scale_factor=2.0)),
    lr_config=dict(policy='step', step=[1, 2]),
    momentum_config=dict(policy='cyclic', target_ratio=(0.9, 1), step_ratio_up=0.4),
    evaluation=dict(
        interval=1, metric='bbox', save_best='auto', rule='less', start=2, by_epoch=True,
        dynamic_intervals=[(1, 2)], type='EvalHook',
    ),
    checkpoint_config=dict(interval=1, by_epoch=True, max_keep_ckpts=2, meta=dict()),
    log_config=dict(
        interval=5, hooks=[dict(type='TextLoggerHook', by_epoch=False), dict(type='PaviLoggerHook')]
    ),
    custom_hooks=[dict(type='EMAHook', momentum=1e-3, warm_up=100), dict(type='MyHook')],
    workflow=[('train', 1)],
    dist_params=dict(backend='nccl'),
    cudnn_benchmark=True,
    opencv_num_threads=0,
    find_unused_parameters=True,
    load_from='a',
    resume_from='b',
    seed=1,
    gpu_ids=[0],
    auto_scale_lr=dict(enable=True, base_batch_size=16),
    data=dict(
        samples_per_gpu=2, workers_per_gpu=2, persistent_workers=True,
        train=dict(
            type='CocoDataset', ann_file=['a', 'b'], img_prefix='x', classes=('a',),
            pipeline=[
                dict(type='Resize', img_scale=[(1, 2), (3, 4)], multiscale_mode='value'),
                dict(type='RandomFlip', flip_ratio=0.5),
                dict(type='Normalize', mean=[1.0], std=[1.0], to_rgb=True),
                dict(type='Pad', size_divisor=32, size=(1, 2)),
                dict(
                    type='MultiScaleFlipAug', img_scale=[(1, 2)], flip=True,
                    transforms=[dict(type='Resize'), dict(type='Collect', keys=['img'])],
                ),
                dict(type='AutoAugment', policies=[[dict(type='RandomFlip')]]),
            ],
        ),
        val=dict(type='RepeatDataset', times=2, dataset=dict(type='CocoDataset')),
        test=[dict(type='ADE20KDataset', img_dir='a', ann_dir='b', split=['a'])],
        train_dataloader=dict(samples_per_gpu=3, shuffle=False),
        val_dataloader=dict(sampler=dict(type='X'), foo=1),
    ),
    train_pipeline=[dict(type='Resize', img_scale=(1, 2))],
)  # fmt: skip
POLICIES = [
    dict(policy='fixed'), dict(policy='exp', gamma=0.9), dict(policy='inv', gamma=0.1),
    dict(policy='poly', power=0.9, by_epoch=False), dict(policy='OneCycle', max_lr=0.1),
    dict(policy='CosineAnnealing', min_lr=0), dict(policy='cyclic', target_ratio=(10, 1e-4)),
    dict(policy='CosineRestart', periods=[2, 2], restart_weights=[1, 1], min_lr=0),
    dict(policy='step', step=2, warmup='linear', warmup_iters=3, warmup_ratio=0.1),
    dict(policy='YOLOX', num_last_epochs=1, min_lr_ratio=0.1, warmup='exp', warmup_iters=1),
    dict(policy='Reduce', val_metric='m', mode='min'), dict(policy='unknown'), dict(policy=3),
]  # fmt: skip
MODERN = dict(
    optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD')),
    param_scheduler=[dict(type='StepLR')],
    train_dataloader=dict(batch_size=1),
    val_evaluator=dict(type='A'),
    default_hooks=dict(),
    optimizers=dict(a=dict(type='SGD', lr=1.0)),
)
WRONG = [
    None, True, -1, 0, 2.5, float('nan'), float('inf'), 'x', '', [], [1], [[1]], (), (1, 2), {},
    {'type': 1}, {'type': 'X'}, {1: 2}, [{}], [{'type': 3}], [None], {'a': {'b': []}}, 10**30,
    b'x', {'_delete_': True}, {'type': None}, [('train',)], [()], {1}, 1j,
]  # fmt: skip
STATEMENTS = [
    'for i in range(3):\n    x = i', 'raise ValueError("no")', '1 / 0', 'def f():\n    return 1',
    'del data', "data['train']['x'] = 1", 'a = (', '\tb = 1', 'x = {{_base_.y}}', 'exit()',
    'import not_there', 'lr_config.update(step=[3])', "optimizer['lr'] *= 2", 'y = undefined',
    'data = dict(data, samples_per_gpu=9)',
]  # fmt: skip
BASES = ['c0.py', ['c0.py'], 'missing.py', 3, None, '../../x.py', ['c0.py', 'gone.py'], {}, '']
ODDITIES = {
    'latin.py': b'optimizer = dict(type="S\xe9")\n',
    'nul.py': b'a = 1\0\n',
    'bad.json': b'{',
    'list.json': b'[]',
    'legacy.json': b'{"optimizer": {"type": "SGD"}, "total_epochs": 3}',
    'bad.yaml': b'a: [',
    'code.yaml': b'a: !!python/object/apply:os.system ["true"]',
    'loop_a.py': b"_base_ = './loop_b.py'\n",
    'loop_b.py': b"_base_ = './loop_a.py'\n",
}


def files(seed: int) -> dict[str, bytes]:
    """The files of one tree, by name."""
    chance = random.Random(seed)
    written = {'c0.py': _text(chance, _config(chance)).encode()}
    if chance.random() < 0.6:
        base = f'_base_ = {chance.choice(BASES)!r}\n' if chance.random() < 0.9 else ''
        written['c1.py'] = (base + _text(chance, _config(chance))).encode()
    for name in chance.sample(list(ODDITIES), chance.choice([0, 0, 0, 1, 2])):
        written[name] = ODDITIES[name]
    return written


def _config(chance: random.Random) -> dict:
    config = {key: copy.deepcopy(value) for key, value in LEGACY.items() if chance.random() < 0.75}
    if chance.random() < 0.6:
        config['lr_config'] = dict(chance.choice(POLICIES))
    for _ in range(chance.choice([0, 1, 1, 2, 3])):
        if config:
            _spoil(chance, config)
    if chance.random() < 0.07:
        for key in chance.sample(list(MODERN), chance.randint(1, 3)):
            config[key] = copy.deepcopy(MODERN[key])
    return config


def _spoil(chance: random.Random, config: dict) -> None:
    """Change, drop or add one value anywhere in ``config``."""
    path = chance.choice(list(_paths(config)))
    holder = config
    for step in path[:-1]:
        holder = holder[step]
    way = chance.random()
    if way < 0.6:
        holder[path[-1]] = copy.deepcopy(chance.choice(WRONG))
    elif way < 0.8:
        del holder[path[-1]]
    elif isinstance(holder, dict):
        key = chance.choice(['extra', 'typ', 'interval', 'dataset', 'datasets', 'pipeline'])
        holder[key] = copy.deepcopy(chance.choice(WRONG))


def _paths(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from _paths(item, (*path, key))


def _text(chance: random.Random, config: dict) -> str:
    lines = [f'{key} = {value!r}' for key, value in config.items()]
    if chance.random() < 0.12:
        lines.insert(chance.randint(0, len(lines)), chance.choice(STATEMENTS))
    header = "nan, inf = float('nan'), float('inf')\n" if chance.random() < 0.95 else ''
    return header + '\n'.join(lines) + '\n'
