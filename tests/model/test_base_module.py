"""The order in which init_weights goes through a tree of modules."""

import copy
import logging

import pytest
import torch
from torch import nn

from mmengine.logging import MMLogger
from mmengine.model import BaseModule, ModuleDict, ModuleList, Sequential


@pytest.fixture
def messages(monkeypatch):
    """What the current logger shows."""
    records = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'handle', records.append)
    return records


def constant(value, **kwargs):
    return dict(type='Constant', val=value, bias=value, layer='Linear', **kwargs)


class Part(BaseModule):
    def __init__(self, init_cfg=None, calls=None):
        super().__init__(init_cfg)
        self.linear = nn.Linear(1, 1)
        self._calls = calls

    def init_weights(self):
        if self._calls is not None:
            self._calls.append(self)
        super().init_weights()


class ByHand(BaseModule):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(1))

    def init_weights(self):
        nn.init.constant_(self.scale, 77)


class Whole(BaseModule):
    def __init__(self, init_cfg=None, first=None, second=None, calls=None):
        super().__init__(init_cfg)
        self.second = Part(second, calls)
        self.first = Part(first, calls)
        self.raw = nn.Linear(1, 1)
        self.by_hand = ByHand()
        for parameter in self.parameters():
            nn.init.constant_(parameter, -9)

    def weights(self):
        named = {'first': self.first.linear, 'second': self.second.linear, 'raw': self.raw}
        return {name: linear.weight.item() for name, linear in named.items()} | {
            'by_hand': self.by_hand.scale.item()
        }


def initialised(**kwargs):
    model = Whole(**kwargs)
    model.init_weights()
    return model.weights()


@pytest.fixture
def checkpoint(tmp_path):
    model = Whole()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 33)
    torch.save(model.state_dict(), tmp_path / 'whole.pth')
    return str(tmp_path / 'whole.pth')


def test_without_a_config_only_what_children_do_by_hand_happens():
    assert initialised() == {'first': -9, 'second': -9, 'raw': -9, 'by_hand': 77}


def test_the_config_of_the_parent_reaches_into_its_children():
    assert initialised(init_cfg=constant(1)) == {'first': 1, 'second': 1, 'raw': 1, 'by_hand': 77}


def test_the_config_of_a_child_wins_over_its_parents():
    assert initialised(init_cfg=constant(1), first=constant(2)) == {
        'first': 2,
        'second': 1,
        'raw': 1,
        'by_hand': 77,
    }


def test_an_override_of_the_parent_loses_against_the_childs_own_config():
    override = dict(type='Constant', val=5, name='first')
    assert initialised(init_cfg=constant(1, override=override))['first'] == 5
    assert initialised(init_cfg=constant(1, override=override), first=constant(3))['first'] == 3


def test_pretrained_weights_of_the_parent_win_over_everything(checkpoint):
    pretrained = dict(type='Pretrained', checkpoint=checkpoint)
    loaded = {'first': 33, 'second': 33, 'raw': 33, 'by_hand': 33}
    assert initialised(init_cfg=pretrained, first=constant(2)) == loaded
    assert initialised(init_cfg=[pretrained, constant(1)], first=constant(2)) == loaded


def test_pretrained_weights_of_a_child_stay_with_it(checkpoint):
    pretrained = dict(type='Pretrained', checkpoint=checkpoint, prefix='first')
    assert initialised(init_cfg=constant(1), first=pretrained) == {
        'first': 33,
        'second': 1,
        'raw': 1,
        'by_hand': 77,
    }


def test_children_are_initialised_in_the_order_of_their_definition():
    calls = []
    model = Whole(calls=calls)
    model.init_weights()
    assert calls == [model.second, model.first]


def test_is_init_tells_who_went_through():
    model = Whole()
    assert not model.is_init
    model.init_weights()
    assert model.is_init
    assert model.first.is_init
    # It never calls init_weights of BaseModule.
    assert not model.by_hand.is_init


def test_a_second_call_warns_and_changes_nothing(messages):
    model = Part(constant(1))
    model.init_weights()
    nn.init.constant_(model.linear.weight, 4)
    messages.clear()
    model.init_weights()
    assert model.linear.weight.item() == 4
    assert messages[0].levelno == logging.WARNING
    assert 'init_weights of Part was called again' in messages[0].getMessage()


def test_is_init_set_by_hand_keeps_the_weights():
    model = Part(constant(1))
    nn.init.constant_(model.linear.weight, 4)
    model.is_init = True
    model.init_weights()
    assert model.linear.weight.item() == 4


def test_the_config_is_a_copy():
    cfg = constant(1)
    model = Part(cfg)
    cfg['val'] = 2
    assert model.init_cfg['val'] == 1


def test_the_console_gets_a_line_an_initialiser(messages):
    Whole(init_cfg=constant(1)).init_weights()
    (record,) = messages
    assert record.getMessage().splitlines() == [
        'Initial weights of Whole:',
        '  6 x ConstantInit: val=1, bias=1',
        '  1 x set by init_weights of ByHand',
    ]


def test_a_log_file_gets_a_line_a_parameter(tmp_path, monkeypatch):
    logger = MMLogger('init_log_test', log_file=str(tmp_path / 'run.log'))
    monkeypatch.setattr(MMLogger, 'get_current_instance', classmethod(lambda cls: logger))
    Part(constant(1)).init_weights()
    logger.close()
    (log_file,) = tmp_path.rglob('*.log')
    text = log_file.read_text()
    assert '  linear.weight (1, 1): ConstantInit: val=1, bias=1' in text
    assert '  linear.bias (1,): ConstantInit: val=1, bias=1' in text


def test_a_failing_initialiser_leaves_no_record_behind():
    model = Part(dict(type='Constant', val=1, override=dict(name='nothing')))
    with pytest.raises(RuntimeError):
        model.init_weights()
    assert not hasattr(model.linear, '_params_init_info')


def test_repr_shows_the_config():
    assert repr(Part(constant(1))).endswith(
        "init_cfg={'type': 'Constant', 'val': 1, 'bias': 1, 'layer': 'Linear'}"
    )
    assert 'init_cfg' not in repr(Part())


@pytest.mark.parametrize(
    'container',
    [
        Sequential(Part(), nn.Linear(1, 1), init_cfg=constant(2)),
        ModuleList([Part(), nn.Linear(1, 1)], init_cfg=constant(2)),
        ModuleDict(dict(a=Part(), b=nn.Linear(1, 1)), init_cfg=constant(2)),
    ],
    ids=['Sequential', 'ModuleList', 'ModuleDict'],
)
def test_a_container_initialises_what_it_holds(container):
    container.init_weights()
    assert {p.item() for p in container.parameters()} == {2.0}
    assert len(container) == 2


def test_containers_work_as_torchs_do():
    sequential = Sequential(nn.Linear(1, 1), nn.ReLU())
    assert isinstance(sequential, nn.Sequential)
    assert isinstance(sequential[:1], Sequential)
    modules = ModuleList()
    modules.append(nn.Linear(1, 1))
    assert len(modules) == 1


def test_a_module_can_be_copied_and_initialised_apart():
    model = Part(constant(1))
    twin = copy.deepcopy(model)
    twin.init_weights()
    assert twin.is_init
    assert not model.is_init
