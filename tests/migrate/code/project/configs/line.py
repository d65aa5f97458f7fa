_base_ = './base.py'

model = dict(
    type='LineNet',
    slope=0.25,
    loss_square=dict(type='SquareLoss', loss_weight=2.0),
    loss_abs=dict(type='AbsLoss'),
)
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=0,
    train=dict(type='Points', ann_file='numbers.json'),
    test=dict(type='Points', ann_file='numbers.json'),
)
custom_hooks = [
    dict(
        type='StairsLrUpdaterHook',
        length=4,
        by_epoch=False,
        warmup='linear',
        warmup_iters=3,
        warmup_ratio=0.1,
        priority='VERY_HIGH',
    ),
    dict(type='ClampHook', interval=2, limit=0.6, priority='LOW'),
    dict(type='NoteHook'),
]
