"""Building, initialising and wrapping a model in one process."""

import pytest
import torch
from torch import nn

from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.model._build import build_model, convert_model_sync_bn, init_model_weights, wrap_model
from mmengine.model.utils import _BatchNormXd


class Net(BaseModel):
    def __init__(self):
        super().__init__(init_cfg=dict(type='Constant', val=2, layer='Linear'))
        self.linear = nn.Linear(1, 1)

    def forward(self, inputs, mode='tensor'):
        return inputs


def test_a_module_is_a_model_already():
    model = Net()
    assert build_model(model) is model


def test_a_config_is_built():
    assert type(build_model(dict(type='BaseDataPreprocessor'))).__name__ == 'BaseDataPreprocessor'


def test_something_else_is_refused():
    with pytest.raises(TypeError, match="got the text 'ResNet'"):
        build_model('ResNet')


def test_initial_weights_reach_the_model_inside_its_wrapper():
    model = Net()
    init_model_weights(nn.DataParallel(model))
    assert model.linear.weight.item() == 2.0


def test_a_model_without_init_weights_is_left_alone():
    linear = nn.Linear(1, 1)
    before = linear.weight.clone()
    init_model_weights(linear)
    assert torch.equal(linear.weight, before)


def test_one_process_needs_no_wrapper():
    model = Net()
    assert wrap_model(model) is model


def test_a_distributed_wrapper_is_left_out_in_one_process_with_a_warning(monkeypatch):
    from mmengine.logging import MMLogger

    records = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'handle', records.append)
    model = Net()
    for cfg in (
        'MMSeparateDistributedDataParallel',
        dict(type='MMSeparateDistributedDataParallel'),
        MMDistributedDataParallel,
    ):
        assert wrap_model(model, cfg) is model
    assert 'one process only' in records[0].getMessage()


def test_a_wrapper_of_another_kind_is_used_in_one_process():
    model = Net()
    wrapped = wrap_model(model, dict(type='DataParallel', dim=1))
    assert isinstance(wrapped, nn.DataParallel)
    assert wrapped.module is model


def test_a_wrapped_model_is_not_wrapped_again():
    wrapped = nn.DataParallel(Net())
    assert wrap_model(wrapped, 'DataParallel') is wrapped


def test_the_model_is_moved_first():
    assert wrap_model(Net(), device='meta').linear.weight.is_meta


def test_an_unknown_wrapper_is_named():
    with pytest.raises(KeyError, match='MMDistributedDataParallel'):
        wrap_model(Net(), 'MMDistributedDataParalel')


def test_a_wrapper_config_of_another_kind_is_refused():
    with pytest.raises(TypeError, match='got int'):
        wrap_model(Net(), 3)


def test_in_one_process_synchronised_layers_become_plain():
    model = nn.Sequential(nn.SyncBatchNorm(2))
    assert type(convert_model_sync_bn(model, 'torch')[0]) is _BatchNormXd
