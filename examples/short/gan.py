"""Learn to draw points of a circle. Run it with `python examples/short/gan.py`."""

import torch
from torch import nn

from mmengine.model import GAN
from mmengine.runner import Runner

torch.manual_seed(0)
angles = 6.2832 * torch.rand(4096)
points = 2 * torch.stack([angles.cos(), angles.sin()], dim=1)
generator = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 2))
discriminator = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 1))
adam = dict(optimizer=dict(type='Adam', lr=2e-3, betas=(0.5, 0.9)))
runner = Runner(
    model=GAN(generator, discriminator, noise=8),
    work_dir='work_dirs/gan',
    train_dataloader=dict(dataset=points, batch_size=64, shuffle=True),
    train_cfg=dict(max_epochs=6),
    optim_wrapper=dict(generator=adam, discriminator=adam),
    val_dataloader=dict(dataset=points[:512], batch_size=256),
    val_cfg=dict(compute_loss=True),
    val_evaluator=[],
    randomness=dict(seed=0),
)
runner.train()
print('radius', generator(torch.randn(1000, 8)).norm(dim=1).mean().item())
