"""Train with `mmengine train config.py`."""

from project import Network, Shapes

randomness = dict(seed=0)

# A Classifier trains any module that returns a score for each class, with the cross entropy.
model = dict(type='Classifier', module=dict(type=Network, width=16))

train_dataloader = dict(dataset=dict(type=Shapes, size=960, seed=1), batch_size=32, shuffle=True)
val_dataloader = dict(dataset=dict(type=Shapes, size=240, seed=2), batch_size=64)
val_evaluator = 'accuracy'
test_dataloader, test_evaluator = val_dataloader, val_evaluator

train_cfg = dict(max_epochs=5)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=3e-3))
param_scheduler = dict(type='CosineAnnealingLR', convert_to_iter_based=True)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1, save_best='accuracy'))
