"""Models and data as MMCV 1.x asked for them, with numbers that leave no room for rounding.

Coordinates are fractions of 128, exact in float16, and no sum has more than two terms: results do
not hang on the order in which a processor adds.
"""

import math

import torch
from torch import nn

BATCH_SIZE = 2
NUM_BATCHES = 5
SIZE = NUM_BATCHES * BATCH_SIZE - 1


class Points(torch.utils.data.Dataset):
    """Points of a plane; the last batch holds one less."""

    def __init__(self, size=SIZE, offset=0, test_mode=False):
        self.samples = [
            dict(
                x=torch.tensor([(37 * i % 101 - 50) / 128]),
                y=torch.tensor([(53 * i % 89 - 40) / 128]),
            )
            for i in range(offset, offset + size)
        ]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]

    def evaluate(self, results, logger=None, **kwargs):
        return scores(results, [sample['y'] for sample in self.samples])


def scores(predictions, targets):
    """Metrics of a validation: one to be large, one to be small."""
    errors = [abs(float(p) - float(y)) for p, y in zip(predictions, targets, strict=True)]
    mean = math.fsum(errors) / len(errors)
    return dict(acc=1 / (1 + mean), loss_abs=mean)


class Line(nn.Module):
    """A line through points."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([0.25]))
        self.shift = nn.Parameter(torch.tensor([-0.5]))

    def predict(self, x):
        return x * self.slope + self.shift

    def forward(self, x, y, return_loss=True):
        prediction = self.predict(x)
        if not return_loss:
            return prediction
        loss = (prediction - y).square().mean()
        log_vars = dict(loss=loss.item(), abs=(prediction - y).abs().mean().item())
        return dict(loss=loss, log_vars=log_vars, num_samples=len(x))

    def train_step(self, data, optimizer, **kwargs):
        return self(**data)

    def val_step(self, data, *args, **kwargs):
        return self(**data)


class LinearLine(Line):
    """A line by an operation that autocast runs in half precision."""

    # By this name MMCV knows models that can train in it.
    fp16_enabled = False

    def predict(self, x):
        return nn.functional.linear(x, self.slope[:, None], self.shift)


class NormedLine(Line):
    """A line over normalised coordinates: a model with buffers."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(1, momentum=0.25)

    def predict(self, x):
        # A batch of one cannot be normalised by itself.
        if self.training and len(x) == 1:
            return super().predict(x)
        return super().predict(self.norm(x))


class TwoLines(nn.Module):
    """Two models in one, each with an optimizer that it steps itself."""

    def __init__(self):
        super().__init__()
        self.a, self.b = Line(), Line()

    def train_step(self, data, optimizer, **kwargs):
        log_vars = {}
        for name, sign in (('a', 1), ('b', -1)):
            outputs = getattr(self, name)(data['x'], sign * data['y'])
            optimizer[name].zero_grad()
            outputs['loss'].backward()
            optimizer[name].step()
            log_vars[f'loss_{name}'] = outputs['loss'].item()
        return dict(log_vars=log_vars, num_samples=len(data['x']))


MODELS = {model.__name__: model for model in (Line, LinearLine, NormedLine, TwoLines)}
