"""Go on from the weights of pretrain.py: few samples, and a lower learning rate for the backbone.

Train with `mmengine train config.py`, after `mmengine train pretrain.py`.
"""

_base_ = './pretrain.py'

load_from = 'work_dirs/pretrain/epoch_3.pth'

train_dataloader = dict(dataset=dict(size=96, seed=3))
train_cfg = dict(max_epochs=4)

optim_wrapper = dict(
    optimizer=dict(lr=1e-3),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1, save_best='accuracy'))
