"""Train the weights to begin with: `mmengine train pretrain.py`. You may have a file of them."""

randomness = dict(seed=0)

model = dict(type='project.Classifier', width=16)

train_dataloader = dict(
    batch_size=32,
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='project.Shapes', size=960, seed=1),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=64,
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='project.Shapes', size=240, seed=2),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = dict(type='project.Accuracy')
test_dataloader, test_evaluator = val_dataloader, val_evaluator

train_cfg = dict(by_epoch=True, max_epochs=3, val_interval=1)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=3e-3))
