model = dict(type='Plane', start=0.5)
data = dict(samples_per_gpu=3, workers_per_gpu=0, train=dict(type='Points', size=10))
optimizer = dict(type='SGD', lr=0.2, momentum=0.9)
optimizer_config = dict(grad_clip=dict(max_norm=0.4))
lr_config = dict(policy='CosineAnnealing', min_lr=0.01, warmup='exp', warmup_iters=3)
runner = dict(type='EpochBasedRunner', max_epochs=3)
checkpoint_config = dict(interval=2)
log_config = dict(interval=2, hooks=[dict(type='TextLoggerHook')])
custom_hooks = [dict(type='Notes')]
load_from = None
resume_from = None
workflow = [('train', 1)]
