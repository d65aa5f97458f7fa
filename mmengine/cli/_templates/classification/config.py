"""Train with `mmengine train config.py`."""

from project import Accuracy, Classifier, Shapes

randomness = dict(seed=0)

model = dict(type=Classifier, width=16)

train_dataloader = dict(
    batch_size=32,
    collate_fn=dict(type='default_collate'),
    dataset=dict(type=Shapes, size=960, seed=1),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=64,
    collate_fn=dict(type='default_collate'),
    dataset=dict(type=Shapes, size=240, seed=2),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = dict(type=Accuracy)
test_dataloader, test_evaluator = val_dataloader, val_evaluator

train_cfg = dict(by_epoch=True, max_epochs=5, val_interval=1)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=3e-3))
param_scheduler = dict(type='CosineAnnealingLR', convert_to_iter_based=True)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1, save_best='accuracy', rule='greater'))
