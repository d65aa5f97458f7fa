"""Train with `mmengine train config.py`."""

from project import GAN, Circle, RadiusError

randomness = dict(seed=0)

model = dict(type=GAN)

train_dataloader = dict(
    batch_size=128,
    collate_fn=dict(type='default_collate'),
    dataset=dict(type=Circle, size=4096, seed=1),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=256,
    collate_fn=dict(type='default_collate'),
    dataset=dict(type=Circle, size=1024, seed=2),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = dict(type=RadiusError)
test_dataloader, test_evaluator = val_dataloader, val_evaluator

train_cfg = dict(by_epoch=True, max_epochs=8, val_interval=1)
val_cfg = dict()
test_cfg = dict()

adam = dict(type='Adam', lr=1e-3, betas=(0.5, 0.99))
# On several ranks each network has its own DDP, because the training step calls them one by one.
model_wrapper_cfg = dict(type='MMSeparateDistributedDataParallel')
optim_wrapper = dict(
    generator=dict(optimizer=adam),
    discriminator=dict(optimizer=adam),
)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1, save_best='radius_error', rule='less'))
