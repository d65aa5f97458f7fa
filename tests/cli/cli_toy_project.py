"""What the configs of these tests name: a model with one weight that learns y = 2 x."""

import torch
from torch import nn
from torch.nn import functional as F

from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS


@DATASETS.register_module()
class ToyPairs(torch.utils.data.Dataset):
    """Eight pairs (x, 2 x)."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        x = torch.tensor([index / 8])
        return {'inputs': x, 'target': 2 * x}


@MODELS.register_module()
class ToyLine(BaseModel):
    """A line through the origin."""

    def __init__(self, slope=0.5, bug=False):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([float(slope)]))
        self.bug = bug

    def forward(self, inputs, target=None, mode='tensor'):
        outputs = torch.stack(inputs) * self.weight
        if self.bug:
            return outputs.nonexistent
        if mode == 'loss':
            return {'loss': F.mse_loss(outputs, torch.stack(target))}
        return [{'y': y} for y in outputs] if mode == 'predict' else outputs


@MODELS.register_module()
class ToyWithoutMode(ToyLine):
    """Its forward cannot be told what to compute."""

    def forward(self, inputs, target=None):
        return torch.stack(inputs)


@MODELS.register_module()
class ToyWithoutTensor(ToyLine):
    """Its loss is a number."""

    def forward(self, inputs, target=None, mode='tensor'):
        return {'loss': 1.0}


@MODELS.register_module()
class ToyInfinite(ToyLine):
    """Its loss is infinite from the start."""

    def forward(self, inputs, target=None, mode='tensor'):
        return {'loss_far': self.weight.sum() * float('inf')}


@METRICS.register_module()
class ToyWeight(BaseMetric):
    """The prediction for x = 7 / 8, divided by it: the slope of the model."""

    def process(self, data_batch, data_samples):
        self.results += [sample['y'] for sample in data_samples]

    def compute_metrics(self, results):
        return {'slope': float(results[-1]) / (7 / 8), 'count': len(results)}
