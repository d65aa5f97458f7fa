"""A generator and a discriminator that are trained in turn on every batch of points."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.utils.data import Dataset

from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel

NOISE = 8


class Circle(Dataset[dict[str, Tensor]]):
    """Points of the plane near a circle of radius 2."""

    def __init__(self, size: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        angle = torch.rand(size, generator=generator) * 2 * torch.pi
        points = 2 * torch.stack([angle.cos(), angle.sin()], dim=1)
        self.points = points + 0.05 * torch.randn(size, 2, generator=generator)

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {'inputs': self.points[index]}


def mlp(*widths: int) -> nn.Module:
    layers = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


class GAN(BaseModel):
    """Each network has an optimizer, of the same name in ``optim_wrapper``."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = mlp(NOISE, 64, 64, 2)
        self.discriminator = mlp(2, 64, 64, 1)

    def make(self, inputs: Tensor) -> Tensor:
        return self.generator(torch.randn(inputs.shape[0], NOISE, device=inputs.device))

    def forward(self, inputs: Tensor, mode: str = 'tensor'):
        made = self.make(inputs)
        return list(made) if mode == 'predict' else made

    def train_step(self, data, optim_wrapper) -> dict[str, Tensor]:
        real = self.data_preprocessor(data, True)['inputs']
        with optim_wrapper['discriminator'].optim_context(self.discriminator):
            with torch.no_grad():
                made = self.make(real)
            scores_made, scores_real = self.discriminator(made), self.discriminator(real)
            loss_d = (softplus(scores_made) + softplus(-scores_real)).mean()
        optim_wrapper['discriminator'].update_params(loss_d)

        self.discriminator.requires_grad_(False)  # it rests while the generator learns
        with optim_wrapper['generator'].optim_context(self.generator):
            loss_g = softplus(-self.discriminator(self.make(real))).mean()
        optim_wrapper['generator'].update_params(loss_g)
        self.discriminator.requires_grad_(True)
        return {'loss_d': loss_d.detach(), 'loss_g': loss_g.detach()}


class RadiusError(BaseMetric):
    """The mean distance of the made points from the circle."""

    def process(self, data_batch, data_samples) -> None:
        self.results += [(point.norm() - 2).abs() for point in data_samples]

    def compute_metrics(self, results) -> dict[str, float]:
        return {'radius_error': float(torch.stack(results).mean())}
