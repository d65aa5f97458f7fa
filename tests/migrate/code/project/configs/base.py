# How long, how fast.
optimizer = dict(type='SGD', lr=0.2, momentum=0.9, weight_decay=0.01)
optimizer_config = dict(type='CappedOptimizerHook', limit=1.3, grad_clip=dict(max_norm=0.5))
lr_config = None
runner = dict(type='EpochBasedRunner', max_epochs=3)
checkpoint_config = dict(interval=1)
log_config = dict(interval=2, hooks=[dict(type='TextLoggerHook')])
workflow = [('train', 1)]
load_from = None
resume_from = None
