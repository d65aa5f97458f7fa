"""Train with `mmengine train config.py`."""

from project import RadiusError, circle, mlp

randomness = dict(seed=0)

model = dict(
    type='GAN',
    generator=dict(type=mlp, widths=(8, 64, 64, 2)),
    discriminator=dict(type=mlp, widths=(2, 64, 64, 1)),
    noise=8,
)

train_dataloader = dict(dataset=dict(type=circle, size=4096, seed=1), batch_size=128, shuffle=True)
val_dataloader = dict(dataset=dict(type=circle, size=1024, seed=2), batch_size=256)
val_evaluator = dict(type=RadiusError)
test_dataloader, test_evaluator = val_dataloader, val_evaluator

train_cfg = dict(max_epochs=8)
val_cfg = dict()
test_cfg = dict()

adam = dict(type='Adam', lr=1e-3, betas=(0.5, 0.99))
optim_wrapper = dict(generator=dict(optimizer=adam), discriminator=dict(optimizer=adam))
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1, save_best='radius_error', rule='less'))
