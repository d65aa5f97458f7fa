"""A model, its data and its optimizer for what is run under MMCV 1.x and here."""

import torch
from torch import nn


class Line(nn.Module):
    """A line through points, as MMCV 1.x asked of a model."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([0.25]))
        self.shift = nn.Parameter(torch.tensor([-0.5]))

    def forward(self, x, y, return_loss=True):
        prediction = x * self.slope + self.shift
        if not return_loss:
            return prediction
        loss = (prediction - y).square().mean()
        log_vars = dict(loss=loss.item(), abs=(prediction - y).abs().mean().item())
        return dict(loss=loss, log_vars=log_vars, num_samples=len(x))

    def train_step(self, data, optimizer, **kwargs):
        return self(**data)

    def val_step(self, data, optimizer=None, **kwargs):
        return self(**data, return_loss=False)


def samples():
    """Nine points whose coordinates are fractions of 128, exact in float32."""
    return [
        dict(
            x=torch.tensor([(37 * i % 101 - 50) / 128]),
            y=torch.tensor([(53 * i % 89 - 40) / 128]),
        )
        for i in range(9)
    ]


def loader():
    """Five batches; no sum has more than two terms, so that the order of adding is one."""
    return torch.utils.data.DataLoader(samples(), batch_size=2)


def sgd(module):
    return torch.optim.SGD(module.parameters(), lr=0.2, momentum=0.9, weight_decay=0.01)
