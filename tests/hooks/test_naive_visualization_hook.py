"""What reaches the visualizer from a test."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mmengine.hooks import NaiveVisualizationHook


class _Visualizer:
    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []

    def add_datasample(self, name: str, image: np.ndarray, **kwargs: Any) -> None:
        self.shown.append({'name': name, 'image': image, **kwargs})


def _show(
    batch: Any, samples: list[Any], *, bgr_to_rgb: bool = False, **settings: Any
) -> list[Any]:
    from torch import nn

    model = nn.Module()
    model.data_preprocessor = nn.Module()
    model.data_preprocessor._channel_conversion = bgr_to_rgb
    runner = SimpleNamespace(visualizer=_Visualizer(), model=model)
    hook = NaiveVisualizationHook(**settings)
    hook.before_test(runner)
    for batch_idx in range(2):
        hook.after_test_iter(runner, batch_idx, data_batch=batch, outputs=samples)
    return runner.visualizer.shown


def _image(height: int = 4, width: int = 6) -> torch.Tensor:
    return torch.arange(3 * height * width, dtype=torch.uint8).reshape(3, height, width)


def test_an_image_comes_as_rows_of_pixels_under_its_files_name():
    sample = SimpleNamespace(img_path='data/cats/3.png')
    shown = _show({'inputs': [_image()]}, [sample], draw_gt=False)
    assert [one['name'] for one in shown] == ['3.png', '3.png']
    np.testing.assert_array_equal(shown[0]['image'], _image().permute(1, 2, 0).numpy())
    assert shown[0]['image'].dtype == np.uint8
    assert shown[0]['data_sample'] is sample
    assert (shown[0]['draw_gt'], shown[0]['draw_pred']) == (False, True)
    assert [one['step'] for one in shown] == [0, 1]


def test_padding_is_cut_off_and_the_first_size_comes_back():
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    image[:, :4, :6] = 100
    sample = SimpleNamespace(img_shape=(4, 6), ori_shape=(8, 12))
    shown = _show({'inputs': image[None]}, [sample])
    assert shown[0]['image'].shape == (8, 12, 3)
    assert (shown[0]['image'] == 100).all()
    assert shown[0]['name'] == 'test_0'


def test_channels_are_reversed_when_the_model_does_so():
    shown = _show({'inputs': [_image()]}, [SimpleNamespace()], bgr_to_rgb=True)
    np.testing.assert_array_equal(shown[0]['image'], _image().flip(0).permute(1, 2, 0).numpy())


def test_floats_and_grey_images_become_bytes():
    grey = torch.tensor([[[0.0, 0.5], [1.0, 0.25]]])
    shown = _show([[grey], None], [SimpleNamespace()])
    np.testing.assert_array_equal(shown[0]['image'][..., 2], [[0, 128], [255, 64]])


def test_only_every_other_batch_is_shown():
    shown = _show({'inputs': [_image()]}, [SimpleNamespace()], interval=2)
    assert [one['step'] for one in shown] == [1]


def test_a_batch_without_images_is_an_error():
    with pytest.raises(ValueError, match='finds no images'):
        _show({'x': 1}, [SimpleNamespace()])


def test_it_works_in_a_test_of_a_run(make_run):
    from torch.utils.data import DataLoader

    from mmengine.evaluator import Evaluator
    from mmengine.model import BaseModel

    class Model(BaseModel):
        def forward(self, inputs: Any, mode: str) -> Any:
            return [SimpleNamespace(img_path=f'{index}.png') for index in range(len(inputs))]

    loader = DataLoader([{'inputs': _image()} for _ in range(4)], batch_size=2)
    runner = make_run(
        [{'type': 'NaiveVisualizationHook'}], model=Model(), test_dataloader=loader, test_cfg={},
        test_evaluator=Evaluator([]),
    )  # fmt: skip
    runner.visualizer = _Visualizer()
    runner.visualizer.close = lambda: None
    runner.test()
    assert [one['name'] for one in runner.visualizer.shown] == ['0.png', '1.png'] * 2
    assert [one['step'] for one in runner.visualizer.shown] == [0, 1, 2, 3]
