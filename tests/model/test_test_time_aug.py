"""Predicting views and merging them."""

import pytest
import torch
from torch import nn

from mmengine.model import BaseModel, BaseTTAModel
from mmengine.utils.errors import ArgumentError


class Describe(BaseModel):
    """Predicts what it was given."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return [
            f'{image}{sample}' for image, sample in zip(inputs, data_samples or '..', strict=False)
        ]


class Join(BaseTTAModel):
    def merge_preds(self, data_samples_list):
        return ['+'.join(views) for views in data_samples_list]


# Two views of two samples, a and b.
VIEWS = dict(inputs=[['a1', 'b1'], ['a2', 'b2']], data_samples=[['x', 'y'], ['x', 'y']])


def test_each_sample_gets_its_views_merged():
    assert Join(Describe()).test_step(VIEWS) == ['a1x+a2x', 'b1y+b2y']


def test_views_may_come_as_a_list_of_batches():
    views = [
        dict(inputs=['a1', 'b1'], data_samples=['x', 'y']),
        dict(inputs=['a2', 'b2'], data_samples=['x', 'y']),
    ]
    assert Join(Describe()).test_step(views) == ['a1x+a2x', 'b1y+b2y']


def test_views_may_come_as_a_tuple_of_lists():
    assert Join(Describe()).test_step((VIEWS['inputs'], VIEWS['data_samples'])) == [
        'a1x+a2x',
        'b1y+b2y',
    ]


def test_the_model_is_built_from_its_config():
    from mmengine.registry import MODELS

    MODELS.register_module(name='DescribeForTest', module=Describe, force=True)
    try:
        assert isinstance(Join(dict(type='DescribeForTest')).module, Describe)
    finally:
        MODELS._module_dict.pop('DescribeForTest')


def test_a_wrapper_around_the_model_is_taken_off():
    model = Describe()
    assert Join(nn.DataParallel(model)).module is model


def test_views_that_are_missing_for_a_key_are_told():
    with pytest.raises(ArgumentError, match=r"'inputs': 2, 'data_samples': 1"):
        Join(Describe()).test_step(dict(inputs=[['a'], ['b']], data_samples=[['x']]))


def test_a_model_that_cannot_predict_is_refused():
    with pytest.raises(ArgumentError, match=r'Linear has no test_step'):
        Join(nn.Linear(1, 1))


def test_something_else_than_a_model_is_refused():
    with pytest.raises(TypeError, match='got int'):
        Join(3)


def test_forward_is_not_for_use():
    with pytest.raises(NotImplementedError, match='test_step'):
        Join(Describe())(torch.ones(1))


def test_merging_has_to_be_implemented():
    with pytest.raises(TypeError, match='merge_preds'):
        BaseTTAModel(Describe())
