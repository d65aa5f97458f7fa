"""Models, data and an inferencer that tests of ``mmengine predict`` and ``export`` name."""

import torch
from torch import nn

from mmengine.infer import BaseInferencer
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.structures import BaseDataElement


class Points(torch.utils.data.Dataset):
    """Six points (i, -i), and a number that no model needs for its output."""

    metainfo = {'classes': ('a', 'b')}

    def __init__(self, pipeline=(), length=6):
        self.size = length

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        point = torch.tensor([float(index), -float(index)])
        return {'inputs': point, 'labels': torch.tensor(index)}


class Pairs(Points):
    """The same as pairs."""

    def __getitem__(self, index):
        return tuple(super().__getitem__(index).values())


class Affine(BaseModel):
    """``scale * x + 1``, with ``scale`` as its only weight."""

    def __init__(self, data_preprocessor=None):
        super().__init__(data_preprocessor)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, inputs, labels=None, mode='tensor'):
        output = self.scale * inputs + 1
        return self.predicted(output) if mode == 'predict' else output

    def predicted(self, output):
        return [{'point': one} for one in output]


class Halving(BaseDataPreprocessor):
    """Divides the inputs by two."""

    def forward(self, data, training=False):
        data = self.cast_data(data)
        return {**data, 'inputs': data['inputs'] / 2}


class Passing(BaseDataPreprocessor):
    """Changes nothing."""


class StackingHalves(BaseDataPreprocessor):
    """Makes one batch of a list, and half of each number."""

    def forward(self, data, training=False):
        data = self.cast_data(data)
        inputs = data['inputs']
        stacked = torch.stack(inputs) if isinstance(inputs, list) else inputs
        return {**data, 'inputs': stacked / 2}


class Masked(Affine):
    """Its output depends on an optional mask, which has no effect where it is all ones."""

    def forward(self, inputs, labels=None, mask=None, mode='tensor'):
        output = super().forward(inputs)
        return output if mask is None else output * mask


class MaskedPoints(Points):
    def __getitem__(self, index):
        return {**super().__getitem__(index), 'mask': torch.ones(2)}


class TwoParts(Affine):
    """Calls a part by keyword, and returns a dict."""

    def __init__(self):
        super().__init__()
        self.part = Part()
        self.idle = nn.Linear(2, 2)

    def forward(self, inputs, labels=None, mode='tensor'):
        return {'sum': self.part(inputs, factor=self.scale), 'inputs': inputs + 1}


class Part(nn.Module):
    def forward(self, x, factor):
        return (x * factor).sum(dim=1)


class Branching(Affine):
    """Decides by the values of a tensor."""

    def forward(self, inputs, labels=None, mode='tensor'):
        if inputs.sum() > 0:
            return inputs * self.scale
        return inputs - self.scale


class Positive(Affine):
    """Returns rows by their values. It takes labels, which it does not use."""

    def forward(self, inputs, labels, mode='tensor'):
        return inputs[inputs[:, 0] > 0]


class FixedBatch(Affine):
    """Works for batches of two alone once it is captured."""

    def forward(self, inputs, labels=None, mode='tensor'):
        rows = [one * self.scale for one in inputs]
        return torch.stack(rows)


class Mixing(Affine):
    """Takes pairs of the precision of its weight."""

    def forward(self, inputs, labels=None, mode='tensor'):
        output = inputs @ (self.scale * torch.eye(2))
        return self.predicted(output) if mode == 'predict' else output


class Failing(Affine):
    """Has a mistake in its code."""

    def predicted(self, output):
        return 1 / 0


class OnlyThree(Affine):
    """Works for batches of three alone."""

    def forward(self, inputs, labels=None, mode='tensor'):
        return super().forward(inputs.view(3, -1))


class Images(Points):
    """Six images of 4 x 6 pixels, and masks of that size."""

    def __getitem__(self, index):
        image = torch.arange(24.0).view(1, 4, 6) + index
        return {'inputs': image, 'mask': image[0] > 3}


class Blurred(Affine):
    """Means over windows of two pixels, whatever the size of the images."""

    def forward(self, inputs, mask=None, mode='tensor'):
        return self.scale * nn.functional.avg_pool2d(inputs, (1, 2))


class Masking(Affine):
    """Needs a mask of the size of the images."""

    def forward(self, inputs, mask, mode='tensor'):
        return self.scale * inputs * mask[:, None]


class Rows(Affine):
    """Its steps depend on the number of rows."""

    def forward(self, inputs, mask=None, mode='tensor'):
        return self.scale * sum(inputs[:, 0, row] for row in range(inputs.shape[2]))


class FixedSize(Affine):
    """A weight for each pixel."""

    def forward(self, inputs, mask=None, mode='tensor'):
        return self.scale * inputs * torch.arange(24.0).view(4, 6)


class Exporting(Affine):
    """Computes something else while it is captured."""

    def forward(self, inputs, labels=None, mode='tensor'):
        output = super().forward(inputs)
        return output + 0.5 if torch.compiler.is_compiling() else output


class Noisy(Affine):
    """Draws random numbers."""

    def forward(self, inputs, labels=None, mode='tensor'):
        return super().forward(inputs + torch.randn(inputs.shape[0], 2), mode=mode)


class Counting(Affine):
    """Remembers how often it was called."""

    calls = 0

    def forward(self, inputs, labels=None, mode='tensor'):
        self.calls += 1
        return super().forward(inputs) + self.calls


class OfElements(Affine):
    """Returns data elements."""

    def forward(self, inputs, labels=None, mode='tensor'):
        return BaseDataElement(output=super().forward(inputs))


class Total(Affine):
    """Returns one number for a whole batch."""

    def predicted(self, output):
        return output.sum()


class Columns(Affine):
    """Returns a dict of batches."""

    def predicted(self, output):
        return {'point': output, 'first': output[:, 0]}


class Bare(nn.Module):
    """Not written for this engine."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, inputs):
        return self.scale * inputs


class ReadNumber:
    """A transform: the number in the name of a file."""

    def __init__(self, key='img_path'):
        self.key = key

    def __call__(self, sample):
        number = float(sample[self.key].rpartition('/')[2].partition('.')[0])
        return {'inputs': torch.tensor([number, 0.0])}


class NameReader(BaseInferencer):
    """Reads the length of the name of a file."""

    def _init_pipeline(self, cfg):
        return lambda path: {'inputs': torch.tensor([float(len(path)), 0.0])}

    def visualize(self, inputs, preds, show=False, **kwargs):
        return None

    def postprocess(self, preds, visualization, return_datasample=False, **kwargs):
        return {'predictions': [float(one['point'][0]) for one in preds]}
