"""The data and the network: replace each by yours."""

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

CLASSES = ('disc', 'square', 'cross')


class Shapes(Dataset[dict[str, Tensor]]):
    """Noisy drawings of 16 x 16 pixels, each of one shape."""

    metainfo = {'classes': CLASSES}

    def __init__(self, size: int, seed: int) -> None:
        self.samples = [self._draw(seed * 1_000_003 + number, number) for number in range(size)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.samples[index]

    def _draw(self, seed: int, number: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        label = number % len(CLASSES)
        centre = torch.rand(2, generator=generator) * 4 + 6
        y, x = torch.arange(16)[:, None] - centre[0], torch.arange(16) - centre[1]
        near, far = torch.minimum(x.abs(), y.abs()), torch.maximum(x.abs(), y.abs())
        drawn = ((x**2 + y**2) < 16, far < 3.5, (near < 1.5) & (far < 5))[label]
        noise = 0.3 * torch.randn(16, 16, generator=generator)
        return {'inputs': (drawn + noise)[None], 'labels': torch.tensor(label)}


class Network(nn.Module):
    """A small convolutional network."""

    def __init__(self, width: int = 16, num_classes: int = len(CLASSES)) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(8 * width, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.backbone(inputs))
