"""Train the weights to begin with: `mmengine train pretrain.py`. You may have a file of them."""

randomness = dict(seed=0)

model = dict(type='Classifier', module=dict(type='project.Network', width=16))

train_dataloader = dict(
    dataset=dict(type='project.Shapes', size=960, seed=1), batch_size=32, shuffle=True
)
val_dataloader = dict(dataset=dict(type='project.Shapes', size=240, seed=2), batch_size=64)
val_evaluator = 'accuracy'
test_dataloader, test_evaluator = val_dataloader, val_evaluator

train_cfg = dict(max_epochs=3)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=3e-3))
