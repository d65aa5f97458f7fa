"""A model, data and hooks that the scripts here share: text for MMCV 1.x, and migrated."""

import torch
from mmcv.runner import HOOKS, Hook
from torch import nn

SEEN = []


class Plane(nn.Module):
    """Two slopes and a shift."""

    def __init__(self, start=0.25):
        super().__init__()
        self.slopes = nn.Parameter(torch.tensor([start, -start]))
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, x, y, return_loss=True):
        height = (x * self.slopes).sum(1) + self.shift
        if not return_loss:
            return height
        loss = (height - y).square().mean()
        return dict(loss=loss, log_vars=dict(loss=loss.item()), num_samples=len(x))

    def train_step(self, data, optimizer, **kwargs):
        return self(**data)

    def val_step(self, data, optimizer=None, **kwargs):
        return self(**data, return_loss=False)


class Points(torch.utils.data.Dataset):
    """Points whose coordinates are fractions of 64."""

    def __init__(self, size=10, offset=0):
        self.size, self.offset = size, offset

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        i = index + self.offset
        x = [(23 * i % 61 - 30) / 64, (31 * i % 47 - 20) / 64]
        return dict(x=torch.tensor(x), y=torch.tensor((17 * i % 53 - 25) / 64))


@HOOKS.register_module()
class Notes(Hook):
    """Notes the learning rate, the loss and the size of each batch."""

    def before_run(self, runner):
        SEEN.clear()

    def after_train_iter(self, runner):
        rate = runner.current_lr()[0]
        loss = runner.outputs['log_vars']['loss']
        SEEN.append([runner.iter, rate, float(loss), runner.outputs['num_samples']])


def outcome(model):
    """What there is to compare."""
    state = {name: value.tolist() for name, value in model.state_dict().items()}
    return dict(parameters=state, seen=[list(one) for one in SEEN])
