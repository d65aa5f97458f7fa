"""Classify handwritten digits. Run it with `python examples/short/classifier.py`."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset, random_split

from mmengine.model import Classifier
from mmengine.runner import Runner

images, labels = load_digits(return_X_y=True)
images = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
data = TensorDataset(images, torch.tensor(labels))
train, val = random_split(data, [0.8, 0.2], torch.Generator().manual_seed(0))
network = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10),
)  # fmt: skip

runner = Runner(
    model=Classifier(network),
    work_dir='work_dirs/classifier',
    train_dataloader=dict(dataset=train, batch_size=64, shuffle=True),
    train_cfg=dict(max_epochs=3),
    optim_wrapper=dict(optimizer=dict(type='AdamW', lr=3e-3)),
    param_scheduler=dict(type='CosineAnnealingLR'),
    val_dataloader=dict(dataset=val, batch_size=256),
    val_cfg=dict(),
    val_evaluator='accuracy',
    default_hooks=dict(checkpoint=dict(save_best='accuracy')),
    randomness=dict(seed=0),
)
runner.train()
