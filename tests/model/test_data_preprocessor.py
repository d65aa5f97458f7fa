"""Casting batches, and ImgDataPreprocessor against numpy."""

from collections import OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest
import torch

from mmengine.config import ConfigDict
from mmengine.model import BaseDataPreprocessor, ImgDataPreprocessor
from mmengine.structures import BaseDataElement
from mmengine.utils.errors import ArgumentError

Pair = namedtuple('Pair', 'image label')


def on_meta():
    return BaseDataPreprocessor().to('meta')


def test_every_tensor_of_a_nested_batch_moves():
    batch = {
        'pair': Pair(torch.ones(1), 'cat'),
        'list': [torch.ones(1), (torch.ones(1), None)],
        'element': BaseDataElement(boxes=torch.ones(1)),
        'bytes': b'raw',
        'number': 3,
    }
    cast = on_meta()(batch)
    assert type(cast['pair']) is Pair
    assert cast['pair'].label == 'cat'
    moved = [cast['pair'].image, cast['list'][0], cast['list'][1][0], cast['element'].boxes]
    assert all(tensor.is_meta for tensor in moved)
    assert (cast['list'][1][1], cast['bytes'], cast['number']) == (None, b'raw', 3)


def test_a_tensor_that_is_there_already_is_passed_on_as_it_is():
    tensor = torch.ones(2)
    cast = BaseDataPreprocessor()({'a': tensor, 'b': [tensor], 'c': (tensor,)})
    assert cast['a'] is tensor
    assert cast['b'][0] is tensor
    assert cast['c'][0] is tensor


def test_changing_the_result_leaves_the_batch_of_the_dataloader_alone():
    batch = {'images': [torch.ones(1)], 'names': ['a']}
    cast = BaseDataPreprocessor()(batch)
    cast['images'].append(None)
    cast['more'] = 1
    assert list(batch) == ['images', 'names']
    assert len(batch['images']) == 1


@pytest.mark.parametrize(
    'mapping',
    [OrderedDict(a=torch.ones(1)), ConfigDict(a=torch.ones(1)), defaultdict(list, a=torch.ones(1))],
    ids=['OrderedDict', 'ConfigDict', 'defaultdict'],
)
def test_a_mapping_keeps_its_type(mapping):
    cast = on_meta()(mapping)
    assert type(cast) is type(mapping)
    assert cast['a'].is_meta


@pytest.mark.parametrize(
    'value', ['text', b'raw', None, 3, 2.5, True, np.ones(2), {1, 2}, range(3)], ids=repr
)
def test_what_holds_no_tensor_is_passed_on(value):
    assert on_meta().cast_data(value) is value


def test_a_subclass_of_tensor_moves_too():
    assert on_meta().cast_data(torch.nn.Parameter(torch.ones(1))).is_meta


def test_the_device_starts_as_the_cpu_and_follows_moves():
    preprocessor = BaseDataPreprocessor()
    assert preprocessor.device == torch.device('cpu')
    assert preprocessor.to('meta').device == torch.device('meta')


def test_an_accelerator_is_named_by_kind_and_index():
    from mmengine.model.base_model.data_preprocessor import accelerator

    assert accelerator('cuda') == torch.device('cuda')
    assert accelerator('cuda', 1) == torch.device('cuda:1')
    assert accelerator('cuda', 'cuda:2') == torch.device('cuda:2')


# -- images ---------------------------------------------------------------------------------------


def image(height, width, seed=0):
    return torch.from_numpy(
        np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8)
    )


def by_hand(images, mean, std, divisor, pad_value, reverse):
    height = -(-max(i.shape[1] for i in images) // divisor) * divisor
    width = -(-max(i.shape[2] for i in images) // divisor) * divisor
    batch = np.full((len(images), 3, height, width), pad_value, dtype=np.float32)
    for row, one in zip(batch, images, strict=True):
        pixels = one.numpy().astype(np.float32)
        if reverse:
            pixels = pixels[::-1]
        pixels = (pixels - np.float32(mean).reshape(-1, 1, 1)) / np.float32(std).reshape(-1, 1, 1)
        row[:, : one.shape[1], : one.shape[2]] = pixels
    return batch


@pytest.mark.parametrize(
    'sizes', [[(5, 7), (6, 4)], [(5, 7), (5, 7)], [(8, 8)]], ids=['different', 'same', 'no-padding']
)
@pytest.mark.parametrize('reverse', [True, False], ids=['reversed', 'as-is'])
def test_a_list_of_images_equals_numpy(sizes, reverse):
    images = [image(*size, seed=i) for i, size in enumerate(sizes)]
    mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    preprocessor = ImgDataPreprocessor(
        mean, std, pad_size_divisor=4, pad_value=7, bgr_to_rgb=reverse
    )
    batch = preprocessor(dict(inputs=images))['inputs']
    np.testing.assert_array_equal(batch.numpy(), by_hand(images, mean, std, 4, 7, reverse))


def test_a_batched_tensor_equals_numpy():
    images = [image(5, 7, seed=i) for i in range(2)]
    preprocessor = ImgDataPreprocessor(
        [1.0, 2.0, 3.0], [4.0, 5.0, 6.0], pad_size_divisor=8, pad_value=-1, rgb_to_bgr=True
    )
    batch = preprocessor(dict(inputs=torch.stack(images)))['inputs']
    np.testing.assert_array_equal(batch.numpy(), by_hand(images, [1, 2, 3], [4, 5, 6], 8, -1, True))


def test_without_mean_images_only_become_float():
    batch = ImgDataPreprocessor()(dict(inputs=[image(2, 2)]))['inputs']
    assert batch.dtype == torch.float32
    assert torch.equal(batch[0], image(2, 2).float())


def test_one_mean_serves_any_number_of_channels():
    batch = ImgDataPreprocessor(mean=[1], std=[2])(dict(inputs=[torch.full((5, 2, 2), 3.0)]))[
        'inputs'
    ]
    assert torch.equal(batch, torch.ones(1, 5, 2, 2))


@pytest.mark.parametrize(('mean', 'std'), [([1, 2, 3], [2]), ([1], [2, 3, 4])])
def test_grey_images_do_not_get_three_channels_by_three_values(mean, std):
    with pytest.raises(ArgumentError, match=r'have 3 values.*got 1 in a batch of shape'):
        ImgDataPreprocessor(mean, std)(dict(inputs=[torch.ones(1, 2, 2)]))


def test_values_are_checked_where_modules_have_no_storage():
    with torch.device('meta'):
        assert ImgDataPreprocessor([1], [2]).std.is_meta
        with pytest.raises(ArgumentError, match='std must be positive'):
            ImgDataPreprocessor([1], [0])


def test_other_entries_are_kept_and_data_samples_default_to_none():
    preprocessor = ImgDataPreprocessor()
    assert preprocessor(dict(inputs=[image(2, 2)], extra=1)).keys() == {
        'inputs',
        'extra',
        'data_samples',
    }
    assert preprocessor(dict(inputs=[image(2, 2)], data_samples=['x']))['data_samples'] == ['x']


def test_the_same_batch_can_be_preprocessed_twice():
    preprocessor = ImgDataPreprocessor([1.0], [2.0])
    data = dict(inputs=[torch.full((1, 2, 2), 3.0)])
    first, second = preprocessor(data, True)['inputs'], preprocessor(data, False)['inputs']
    assert torch.equal(first, second)
    assert torch.equal(data['inputs'][0], torch.full((1, 2, 2), 3.0))


def test_a_float_batch_that_needs_nothing_is_not_changed_in_place():
    images = torch.ones(1, 3, 2, 2)
    ImgDataPreprocessor([1, 1, 1], [2, 2, 2])(dict(inputs=images))
    assert torch.equal(images, torch.ones(1, 3, 2, 2))


def test_mean_and_std_are_no_part_of_the_checkpoint():
    assert list(ImgDataPreprocessor([1, 2, 3], [1, 1, 1]).state_dict()) == []


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(mean=[1, 2, 3]), 'Add std'),
        (dict(std=[1, 2, 3]), 'Add mean'),
        (dict(mean=[1, 2], std=[1, 2]), 'mean needs 3 values.*got 2'),
        (dict(mean=[1, 2, 3], std=[1, 2]), 'std needs 3 values.*got 2'),
        (dict(mean=[1, 2, 3], std=[1, 0, 1]), r'std must be positive.*got \[1, 0, 1\]'),
        (dict(mean=[1], std=[-2.0]), r'std must be positive.*got \[-2.0\]'),
        # Zero in float32, in which images are divided.
        (dict(mean=[1], std=[1e-50]), 'std must be positive'),
        (dict(mean=[1], std=[float('nan')]), 'std must be finite'),
        (dict(mean=[1], std=[float('inf')]), 'std must be finite'),
        (dict(mean=[float('nan')], std=[1]), 'mean must be finite'),
        (dict(bgr_to_rgb=True, rgb_to_bgr=True), 'both reverse'),
        (dict(pad_size_divisor=0), 'pad_size_divisor.*got 0'),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else '',
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ArgumentError, match=message):
        ImgDataPreprocessor(**settings)


@pytest.mark.parametrize(
    ('inputs', 'error', 'message'),
    [
        ([torch.ones(1, 2, 2)], ArgumentError, '3 values.*got 1 in a batch of shape'),
        (torch.ones(1, 1, 2, 2), ArgumentError, '3 values.*got 1 in a batch of shape'),
        ([torch.ones(2, 2)], ArgumentError, r'\(C, H, W\), got \(2, 2\)'),
        (torch.ones(3, 2, 2), ArgumentError, 'NCHW'),
        ([], ArgumentError, 'empty'),
        (['a.png'], TypeError, 'list of str'),
        ('a.png', TypeError, 'got str'),
    ],
    ids=['channels', 'channels-batch', 'no-channels', 'no-batch', 'empty', 'paths', 'path'],
)
def test_images_that_do_not_fit_are_refused(inputs, error, message):
    with pytest.raises(error, match=message):
        ImgDataPreprocessor([1, 2, 3], [1, 1, 1])(dict(inputs=inputs))


def test_grey_images_have_no_channels_to_reverse():
    with pytest.raises(ArgumentError, match=r'3 channels.*got 1'):
        ImgDataPreprocessor(bgr_to_rgb=True)(dict(inputs=[torch.ones(1, 2, 2)]))


def test_a_batch_without_inputs_is_told_its_keys():
    with pytest.raises(KeyError, match=r"'inputs'.*'img'"):
        ImgDataPreprocessor()(dict(img=[torch.ones(3, 2, 2)]))


def test_a_batch_that_is_no_dict_is_refused():
    with pytest.raises(TypeError, match='got list'):
        ImgDataPreprocessor()([torch.ones(3, 2, 2)])
