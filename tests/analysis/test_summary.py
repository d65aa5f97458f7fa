"""summary: numbers by hand, and a model that it leaves as it was."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmengine.analysis import summary
from mmengine.model import BaseModel
from mmengine.utils.errors import ArgumentError

IMAGES = torch.zeros(2, 3, 8, 8)


def convnet() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
        nn.Dropout(), nn.Linear(4 * 8 * 8, 5),
    )  # fmt: skip


class Classifier(BaseModel):
    """As the engine calls it: by mode, with samples."""

    def __init__(self, preprocessor: Any = None) -> None:
        super().__init__(preprocessor)
        self.body = convnet()

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        scores = self.body(inputs)
        if mode == 'loss':
            return {'loss': scores.mean() + self.body[5](self.body[3](self.body[0](inputs))).mean()}
        return scores


class Tied(nn.Module):
    """One layer is called twice, another has its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.again = self.layer
        self.tied = nn.Linear(3, 3, bias=False)
        self.tied.weight = self.layer.weight
        self.unused = nn.Linear(3, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.tied(self.again(self.layer(x)))


def test_numbers_are_those_by_hand() -> None:
    model = convnet()
    model[0].weight.requires_grad_(False)
    found = summary(model, IMAGES)
    conv, linear = 4 * 3 * 9 + 4, 256 * 5 + 5
    assert found.parameters == sum(each.numel() for each in model.parameters())
    assert found.parameters == conv + (4 + 4) + linear
    assert (found.frozen, found.trainable) == (4 * 27, found.parameters - 4 * 27)
    assert found.buffers == 4 + 4 + 1
    assert found.parameter_bytes == 4 * found.parameters
    by_name = {layer.name: layer for layer in found.layers}
    # Multiply-adds: outputs times the size of the sum behind each.
    assert by_name['0'].flops == (2 * 4 * 8 * 8) * 27
    assert by_name['5'].flops == (2 * 5) * 256
    # Batch norm normalises each number, then scales and shifts it: two multiplications.
    assert by_name['1'].flops == 2 * (2 * 4 * 8 * 8)
    assert found.flops == sum(by_name[name].flops for name in '015')
    assert (by_name['0'].inputs, by_name['0'].outputs) == ([(2, 3, 8, 8)], [(2, 4, 8, 8)])
    assert by_name[''].outputs == [(2, 5)]
    assert by_name['0'].frozen == 4 * 27


def test_shared_modules_and_weights_count_once() -> None:
    found = summary(Tied(), torch.zeros(5, 3))
    assert found.parameters == 9 + 3 + 21 + 7
    by_name = {layer.name: layer for layer in found.layers}
    assert list(by_name) == ['', 'layer', 'tied', 'unused']
    assert by_name['layer'].calls == 2
    assert by_name['layer'].flops == 2 * 5 * 9
    assert (by_name['layer'].repeated, by_name['tied'].repeated) == (0, 9)
    assert by_name['unused'].outputs is None
    text = str(found)
    assert 'layer (Linear) x2' in text
    assert '9 (shared)' in text
    assert 'not called' in text


@pytest.mark.parametrize(
    'batch',
    [
        IMAGES,
        {'inputs': IMAGES},
        {'inputs': IMAGES, 'data_samples': [object(), object()]},
        [IMAGES, [1, 2]],
        (IMAGES, None),
    ],
    ids=['tensor', 'dict', 'with samples', 'list', 'tuple'],
)
def test_any_form_of_a_batch(batch: Any) -> None:
    found = summary(Classifier(), batch)
    assert found.layers[0].outputs == [(2, 5)]
    assert found.flops == summary(convnet(), IMAGES).flops


def test_a_batch_of_the_engine_goes_through_the_preprocessor() -> None:
    preprocessor = dict(type='ImgDataPreprocessor', pad_size_divisor=8)
    images = [torch.zeros(3, 5, 8), torch.zeros(3, 8, 6)]
    found = summary(Classifier(preprocessor), {'inputs': images, 'data_samples': [1, 2]})
    assert found.layers[0].inputs == [(2, 3, 8, 8)]


def test_arguments_of_a_plain_module_by_position_and_by_name() -> None:
    model = nn.Bilinear(2, 3, 4)
    left, right = torch.zeros(6, 2), torch.zeros(6, 3)
    assert summary(model, (left, right)).layers[0].outputs == [(6, 4)]
    assert summary(model, {'input1': left, 'input2': right}).layers[0].outputs == [(6, 4)]


def test_mode_is_passed_to_forward() -> None:
    model = Classifier()
    linear = next(one for one in summary(model, IMAGES, mode='loss').layers if one.name == 'body.5')
    assert linear.calls == 2


def test_nothing_of_the_model_changes() -> None:
    model = Classifier()
    model.train()
    model.body[1].eval()
    model(IMAGES, mode='loss')['loss'].backward()
    before = copy.deepcopy(
        (model.state_dict(), [each.grad for each in model.parameters()], torch.get_rng_state())
    )
    batch = {'inputs': torch.rand(2, 3, 8, 8)}
    torch.set_rng_state(before[2])
    summary(model, batch, mode='loss')
    assert all(torch.equal(value, before[0][name]) for name, value in model.state_dict().items())
    for parameter, grad in zip(model.parameters(), before[1], strict=True):
        assert torch.equal(parameter.grad, grad)
        assert parameter.requires_grad
    assert torch.equal(torch.get_rng_state(), before[2])
    assert model.training
    assert not model.body[1].training
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(('depth', 'names'), [(0, []), (1, ['body']), (2, ['body', 'Conv2d'])])
def test_depth_says_what_is_printed(depth: int, names: list[str]) -> None:
    found = summary(Classifier(), IMAGES, depth=depth)
    text = str(found)
    assert [name for name in ('body', 'Conv2d') if name in text] == names
    assert len(found.layers) == 9  # all of them: with the preprocessor, the body and its six
    assert found.total_line in text.replace('\n', ' ')


def test_rich_prints_it_as_a_table() -> None:
    from rich.console import Console

    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(summary(convnet(), IMAGES))
    lines = capture.get().splitlines()
    heading = next(line for line in lines if 'parameters' in line)
    assert heading.split() == ['layer', 'input', 'output', 'parameters', 'FLOPs']
    row = next(line for line in lines if '5 (Linear)' in line)
    assert row.split()[-4:] == ['2x256', '2x5', '1,285', '2,560']


def test_wrong_values_are_refused() -> None:
    with pytest.raises(ArgumentError, match='depth is a number of levels'):
        summary(convnet(), IMAGES, depth=-1)
    with pytest.raises(ArgumentError, match='mode is one of'):
        summary(convnet(), IMAGES, mode='train')
    with pytest.raises(ArgumentError, match='weight has no shape yet'):
        summary(nn.LazyLinear(3), IMAGES)
