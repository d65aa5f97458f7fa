"""Handwritten digits: scikit-learn's 1,797 images of 8x8 pixels, a small CNN, its accuracy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS

VAL_PART = 0.2


@DATASETS.register_module()
class DigitsDataset(Dataset[dict[str, Any]]):
    """A part of the digits: every image is in exactly one of them, whatever the seed of a run.

    Args:
        split: 'train' (1,438 images) or 'val' (359).
    """

    metainfo = {'classes': tuple('0123456789')}

    def __init__(self, split: str) -> None:
        if split not in ('train', 'val'):
            raise ValueError(f"split is 'train' or 'val', got {split!r}.")
        images, labels = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(labels))
        num_val = int(len(labels) * VAL_PART)
        chosen = order[:num_val] if split == 'val' else order[num_val:]
        self.images = torch.from_numpy(images[chosen].reshape(-1, 1, 8, 8).astype(np.float32))
        self.labels = torch.from_numpy(labels[chosen])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {'inputs': self.images[index], 'labels': self.labels[index]}


@MODELS.register_module()
class DigitsNet(BaseModel):
    """Three convolutions and a linear layer, about 17,000 parameters.

    Args:
        width: Channels of the first convolution; the others have twice as many.
        data_preprocessor: As in :class:`mmengine.model.BaseModel`.
    """

    def __init__(self, width: int = 16, data_preprocessor: dict[str, Any] | None = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.layers = nn.Sequential(
            *_conv(1, width),
            *_conv(width, 2 * width),
            nn.MaxPool2d(2),
            *_conv(2 * width, 2 * width),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(2 * width * 4, 10),
        )

    def forward(
        self,
        inputs: Tensor,  # (N, 1, 8, 8)
        labels: list[Tensor] | None = None,
        data_samples: None = None,
        mode: str = 'tensor',
    ) -> Any:
        """The loss, a dict for each image ('predict'), or logits of shape (N, 10) ('tensor')."""
        logits = self.layers(inputs)
        if mode == 'tensor' or labels is None:
            return logits
        target = torch.stack(labels)
        if mode == 'loss':
            return {'loss': F.cross_entropy(logits, target)}
        digits = logits.argmax(dim=1)
        return [
            {'digit': digit, 'label': label} for digit, label in zip(digits, target, strict=True)
        ]


@METRICS.register_module()
class Accuracy(BaseMetric):
    """The part of the images whose digit was told right."""

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep for each image whether it was right."""
        self.results += [sample['digit'] == sample['label'] for sample in data_samples]

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """The mean over the whole dataset."""
        return {'accuracy': float(torch.stack(results).float().mean())}


def _conv(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]
