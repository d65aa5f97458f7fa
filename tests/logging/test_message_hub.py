"""The hub: what may be left in it, and what checkpoints take out of it."""

import copy
import logging
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from mmengine.logging import HistoryBuffer, MessageHub, MMLogger


@pytest.fixture
def hub():
    return MessageHub('test')


def _saved_and_loaded(state, tmp_path):
    torch.save(state, tmp_path / 'state.pth')
    return torch.load(tmp_path / 'state.pth', weights_only=True)


def test_scalars_are_kept_in_order_with_their_counts(hub):
    hub.update_scalar('loss', 1.0)
    hub.update_scalar('loss', torch.tensor([3.0], requires_grad=True), count=3)
    hub.update_scalar('loss', np.array([5]), count=np.int64(2))
    values, counts = hub.get_scalar('loss').data
    assert values.tolist() == [1, 3, 5]
    assert counts.tolist() == [1, 3, 2]


def test_appended_numbers_keep_their_place_among_weighted_values_and_tensors(hub):
    hub.append_number('time', 1.0)
    hub.update_scalar('time', torch.tensor(2.0), count=3)
    hub.append_number('time', 4.0)
    assert [column.tolist() for column in hub.get_scalar('time').data] == [[1, 2, 4], [1, 3, 1]]
    hub.append_number('time', 5.0)
    assert hub.get_scalar('time').current() == 5
    assert hub.state_dict()['resumed_keys'] == {'time': True}


def test_update_scalars_takes_plain_values_and_values_with_a_count(hub):
    hub.update_scalars({'a': 1, 'b': {'value': 2.5, 'count': 4}, 'c': {'value': torch.tensor(7)}})
    assert hub.get_scalar('a').current() == 1
    assert [array.tolist() for array in hub.get_scalar('b').data] == [[2.5], [4]]
    assert [array.tolist() for array in hub.get_scalar('c').data] == [[7], [1]]


def test_update_scalars_wants_a_value_in_each_dict(hub):
    with pytest.raises(AssertionError, match="'b' needs a 'value'"):
        hub.update_scalars({'b': {'count': 4}})


@pytest.mark.parametrize('method', ['update_scalars', 'update_info_dict'])
def test_updates_of_many_want_a_dict(hub, method):
    with pytest.raises(AssertionError, match='must be a dict, got list'):
        getattr(hub, method)(['a', 1])


def test_a_rejected_first_value_leaves_no_scalar_behind(hub):
    with pytest.raises(TypeError):
        hub.update_scalar('loss', 'high')
    assert 'loss' not in hub.log_scalars
    assert hub.state_dict()['resumed_keys'] == {}


def test_whether_a_key_is_resumed_cannot_change(hub):
    hub.update_scalar('loss', 1.0)
    with pytest.raises(AssertionError, match="'loss' was first updated with resumed=True"):
        hub.update_scalar('loss', 1.0, resumed=False)
    hub.update_info('note', 1, resumed=False)
    with pytest.raises(AssertionError, match="'note' was first updated with resumed=False"):
        hub.update_info('note', 1)
    assert len(hub.get_scalar('loss').data[0]) == 1


def test_an_unknown_scalar_names_the_near_one(hub):
    hub.update_scalar('train/loss', 1.0)
    with pytest.raises(KeyError, match="Did you mean 'train/loss'"):
        hub.get_scalar('train/los')


def test_info_is_the_object_itself_and_can_be_popped(hub):
    value = [1]
    hub.update_info('list', value)
    assert hub.get_info('list') is value
    assert hub.pop_info('list') is value
    assert hub.get_info('list') is None
    assert hub.get_info('list', 'fallback') == 'fallback'
    assert hub.pop_info('list', 3) == 3


def test_update_info_dict_replaces(hub):
    hub.update_info('iter', 1)
    hub.update_info_dict({'iter': 2, 'epoch': 1})
    assert hub.runtime_info == {'iter': 2, 'epoch': 1}


def test_read_scalars_reads_the_named_ones(hub):
    hub.update_scalar('a', torch.tensor(1.0))
    hub.update_scalar('b', torch.tensor(2.0))
    hub.read_scalars(['a'])
    assert not hub.get_scalar('a')._pending_values
    assert hub.get_scalar('b')._pending_values
    hub.read_scalars()
    assert not hub.get_scalar('b')._pending_values


def test_constructor_checks_what_it_is_given():
    with pytest.raises(AssertionError, match=r"log_scalars\['a'\] must be a HistoryBuffer"):
        MessageHub('test', log_scalars={'a': 1})
    with pytest.raises(AssertionError, match="resumed_keys names 'a'"):
        MessageHub('test', resumed_keys={'a': True})
    hub = MessageHub('test', {'a': HistoryBuffer([1], [1])}, {'b': 2}, {'a': True, 'b': False})
    assert list(hub.state_dict()['log_scalars']) == ['a']


def test_there_is_a_current_instance_without_creating_one(monkeypatch):
    monkeypatch.setattr(MessageHub, '_instance_dict', {})
    hub = MessageHub.get_current_instance()
    assert hub.instance_name == 'mmengine'
    assert MessageHub.get_instance('mmengine') is hub
    newer = MessageHub.get_instance('newer')
    assert MessageHub.get_current_instance() is newer


def test_state_dict_opens_with_weights_only_and_restores_everything(hub, tmp_path):
    hub.update_scalar('loss', 0.1)
    hub.update_scalar('loss', torch.tensor(float('nan')), count=2)
    infos = {
        'iter': 3,
        'lr': np.float32(0.5),
        'cfg': 'a = 1\n',
        'nested': {'list': [1, (2.5, None)], 'set': {4}, 'ordered': OrderedDict(a=1)},
        'array': np.arange(6, dtype=np.int32).reshape(2, 3),
        'tensor': torch.arange(3),
    }
    hub.update_info_dict(infos)

    twin = MessageHub('twin')
    twin.load_state_dict(_saved_and_loaded(hub.state_dict(), tmp_path))

    values, counts = twin.get_scalar('loss').data
    np.testing.assert_array_equal(values, [0.1, float('nan')])
    assert counts.tolist() == [1, 2]
    array, tensor = twin.pop_info('array'), twin.pop_info('tensor')
    assert isinstance(array, np.ndarray)
    assert array.dtype == np.int32
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tensor.tolist() == [0, 1, 2]
    assert twin.runtime_info == {key: infos[key] for key in ('iter', 'lr', 'cfg', 'nested')}
    assert list(twin.state_dict()['resumed_keys']) == ['loss', 'iter', 'lr', 'cfg', 'nested']


def test_keys_that_are_not_resumed_are_not_saved(hub):
    hub.update_scalar('time', 1.0, resumed=False)
    hub.update_info('eta', 1, resumed=False)
    assert hub.state_dict() == {'log_scalars': {}, 'runtime_info': {}, 'resumed_keys': {}}


def test_state_dict_is_a_copy(hub):
    hub.update_info('list', [1])
    hub.update_scalar('loss', 1.0)
    state = hub.state_dict()
    hub.get_info('list').append(2)
    hub.update_scalar('loss', 2.0)
    assert state['runtime_info']['list'] == [1]
    assert state['log_scalars']['loss']['log_history'].tolist() == [1]


def test_information_without_a_plain_form_is_left_out_with_a_warning(hub, monkeypatch, capsys):
    monkeypatch.setattr(MMLogger, '_instance_dict', {})
    hub.update_info_dict({'path': Path('a'), 'iter': 1})
    state = hub.state_dict()
    assert state['runtime_info'] == {'iter': 1}
    assert list(state['resumed_keys']) == ['iter']
    assert "'path' is not saved" in capsys.readouterr().out


def test_loading_replaces_saved_keys_and_leaves_others(hub):
    hub.update_scalar('loss', 1.0)
    hub.update_info('iter', 5)
    other = MessageHub('other')
    other.update_scalar('loss', 9.0)
    other.update_scalar('mine', 2.0)
    other.update_info('mine_too', 3)
    other.load_state_dict(hub.state_dict())
    assert other.get_scalar('loss').data[0].tolist() == [1]
    assert other.get_scalar('mine').current() == 2
    assert other.runtime_info == {'mine_too': 3, 'iter': 5}
    other.update_scalar('loss', 2.0)
    assert hub.get_scalar('loss').data[0].tolist() == [1]


def test_what_describes_this_start_is_saved_but_not_replaced_by_loading(hub):
    hub.update_info('experiment_name', 'first')
    hub.update_info('loop_stage', 'train')
    hub.update_info('iter', 5)
    other = MessageHub('other')
    other.keep_on_load('experiment_name', 'loop_stage')
    other.update_info('experiment_name', 'second')
    other.load_state_dict(hub.state_dict())
    assert other.runtime_info == {'experiment_name': 'second', 'iter': 5}
    assert other.state_dict()['runtime_info'] == {'experiment_name': 'second', 'iter': 5}


def test_another_hub_can_be_loaded(hub):
    hub.update_scalar('time', 1.0, resumed=False)
    twin = MessageHub('twin')
    twin.load_state_dict(hub)
    twin.update_scalar('time', 2.0, resumed=False)
    assert twin.get_scalar('time').data[0].tolist() == [1, 2]
    assert hub.get_scalar('time').data[0].tolist() == [1]


def test_history_objects_of_old_checkpoints_are_taken(hub):
    old = {
        'log_scalars': {'loss': HistoryBuffer([1.0, 2.0], [1, 1]), 'odd': 'text'},
        'runtime_info': {'iter': 2},
        'resumed_keys': {'loss': True, 'odd': True, 'iter': True, 'gone': False},
    }
    with _captured_warnings() as warned:
        hub.load_state_dict(old)
    assert hub.get_scalar('loss').mean() == 1.5
    assert list(hub.log_scalars) == ['loss']
    assert ["'odd'" in text for text in warned] == [True]
    hub.update_scalar('gone', 1.0, resumed=True)


class _captured_warnings(logging.Handler):
    def __init__(self):
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record):
        self.texts.append(record.getMessage())

    def __enter__(self):
        self.logger = MMLogger.get_current_instance()
        self.logger.addHandler(self)
        return self.texts

    def __exit__(self, *_):
        self.logger.removeHandler(self)


def test_bad_states_are_rejected(hub):
    with pytest.raises(AssertionError, match='missing: runtime_info, resumed_keys'):
        hub.load_state_dict({'log_scalars': {}})
    with pytest.raises(TypeError, match='got list'):
        hub.load_state_dict([])


def test_a_deep_copy_is_independent(hub):
    hub.update_scalar('loss', torch.tensor(1.0))
    twin = copy.deepcopy(hub)
    twin.update_scalar('loss', 2.0)
    assert hub.get_scalar('loss').data[0].tolist() == [1]
    assert twin.get_scalar('loss').data[0].tolist() == [1, 2]
