"""State dicts under plain names, through wrappers at any depth."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from mmengine._checkpoint.state_dict import get_state_dict, load_state_dict, weights_to_cpu


class Versioned(nn.Module):
    """Remembers the version that its state was saved with."""

    _version = 3

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.seen: int | None = None

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args):
        self.seen = local_metadata.get('version')
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


def _net() -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            stem=nn.Conv2d(1, 2, 1),
            norm=nn.BatchNorm2d(2),
            head=nn.Sequential(nn.Linear(2, 3), Versioned()),
        )
    )


def _wrap_nothing(net: nn.Sequential) -> nn.Module:
    return net


def _wrap_root(net: nn.Sequential) -> nn.Module:
    return nn.DataParallel(net)


def _wrap_inside(net: nn.Sequential) -> nn.Module:
    net.head[1] = nn.DataParallel(net.head[1])
    net.stem = nn.DataParallel(net.stem)
    return net


def _wrap_everywhere(net: nn.Sequential) -> nn.Module:
    net.head[0] = nn.DataParallel(nn.DataParallel(net.head[0]))
    net.head = nn.DataParallel(net.head)
    return nn.DataParallel(net)


WRAPPINGS = [_wrap_nothing, _wrap_root, _wrap_inside, _wrap_everywhere]


@pytest.mark.parametrize('wrap', WRAPPINGS)
def test_keys_and_values_are_those_of_the_unwrapped_model(wrap):
    plain = _net()
    expected = OrderedDict((key, value.clone()) for key, value in plain.state_dict().items())
    state = get_state_dict(wrap(plain))
    assert list(state) == list(expected)
    assert all(torch.equal(state[key], expected[key]) for key in expected)


@pytest.mark.parametrize('wrap', WRAPPINGS)
def test_versions_of_modules_are_those_of_the_unwrapped_model(wrap):
    expected = _net().state_dict()._metadata
    assert get_state_dict(wrap(_net()))._metadata == expected


@pytest.mark.parametrize('load_into', WRAPPINGS)
@pytest.mark.parametrize('saved_from', WRAPPINGS)
def test_a_state_loads_strictly_whatever_was_and_is_wrapped(saved_from, load_into):
    source = _net()
    state = get_state_dict(saved_from(source))
    target = _net()
    inner = target.head[1]
    wrapped = load_into(target)
    load_state_dict(wrapped, state, strict=True)
    loaded = get_state_dict(wrapped)
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    assert inner.seen == 3


def test_a_wrapped_root_gets_its_own_version():
    wrapped = nn.DataParallel(Versioned())
    load_state_dict(wrapped, get_state_dict(Versioned()), strict=True)
    assert wrapped.module.seen == 3


def test_a_user_module_called_module_is_no_wrapper():
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(1, 1)

    holder = Holder()
    assert list(get_state_dict(holder)) == ['module.weight', 'module.bias']
    load_state_dict(nn.DataParallel(Holder()), get_state_dict(holder), strict=True)


def test_prefix_and_destination_are_as_in_torch():
    net = nn.Linear(1, 1)
    there = OrderedDict(other=torch.zeros(1))
    state = get_state_dict(nn.DataParallel(net), destination=there, prefix='a.')
    assert state is there
    assert list(state) == ['other', 'a.weight', 'a.bias']


def test_keep_vars_keeps_parameters_attached():
    net = nn.Linear(1, 1)
    assert get_state_dict(nn.DataParallel(net), keep_vars=True)['weight'] is net.weight
    assert not get_state_dict(net)['weight'].requires_grad


def test_hooks_of_the_module_see_the_load():
    calls = []
    net = nn.DataParallel(nn.Linear(1, 1))
    net.module.register_load_state_dict_pre_hook(lambda *args: calls.append('before'))
    net.module.register_load_state_dict_post_hook(lambda *args: calls.append('after'))
    load_state_dict(net, get_state_dict(net))
    assert calls == ['before', 'after']


def test_a_load_hook_that_renames_keys_works_inside_a_wrapper():
    class Renamed(nn.Linear):
        def _load_from_state_dict(self, state_dict, prefix, *args):
            if prefix + 'w' in state_dict:
                state_dict[prefix + 'weight'] = state_dict.pop(prefix + 'w')
            super()._load_from_state_dict(state_dict, prefix, *args)

    net = nn.Sequential(nn.DataParallel(Renamed(1, 1)))
    load_state_dict(net, {'0.w': torch.full((1, 1), 5.0), '0.bias': torch.zeros(1)}, strict=True)
    assert net[0].module.weight.item() == 5.0


def test_an_error_of_a_load_hook_is_not_taken_for_a_mismatch():
    net = nn.Linear(1, 1)

    def fail(*args):
        raise RuntimeError('from the hook')

    net.register_load_state_dict_pre_hook(fail)
    with pytest.raises(RuntimeError, match='from the hook'):
        load_state_dict(net, {})


def test_what_fits_is_loaded_although_something_else_does_not():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    before = net[1].weight.clone()
    state = {'0.weight': torch.full((2, 2), 7.0), '1.weight': torch.zeros(3, 3)}
    load_state_dict(net, state, logger='silent')
    assert torch.equal(net[0].weight, torch.full((2, 2), 7.0))
    assert torch.equal(net[1].weight, before)


def test_the_summary_groups_by_kind_and_module(capsys):
    net = nn.Sequential(OrderedDict(a=nn.Linear(2, 2), b=nn.BatchNorm1d(2), c=nn.Linear(2, 1)))
    state = net.state_dict()
    state['a.weight'] = torch.zeros(3, 2)
    for name in ('c.weight', 'c.bias', 'b.num_batches_tracked'):
        del state[name]
    state['d.scale'] = torch.zeros(1)
    load_state_dict(nn.DataParallel(net), state)
    text = capsys.readouterr().out
    assert (
        'of another shape, skipped (1): \n    a.weight: [3, 2] in the file, [2, 2] in the' in text
    )
    assert 'missing in the file (1): \n    c.{weight, bias}' in text
    assert 'unexpected in the file (1): \n    d.scale' in text
    assert 'num_batches_tracked' not in text


def test_the_summary_of_a_large_mismatch_is_short():
    net = nn.ModuleList(nn.Linear(1, 1) for _ in range(100))
    with pytest.raises(RuntimeError) as caught:
        load_state_dict(net, {}, strict=True)
    text = str(caught.value)
    assert len(text.splitlines()) < 15
    assert 'missing in the file (100)' in text
    assert '... and 92 more' in text


@pytest.mark.parametrize(
    'change',
    [
        lambda state: state.pop('bias'),
        lambda state: state.update(extra=torch.zeros(1)),
        lambda state: state.update(bias=torch.zeros(9)),
    ],
    ids=['missing', 'unexpected', 'shape'],
)
def test_strict_loading_raises_what_does_not_fit(change):
    net = nn.Linear(1, 1)
    state = net.state_dict()
    change(state)
    with pytest.raises(RuntimeError, match='do not match exactly'):
        load_state_dict(net, state, strict=True)


def test_a_state_that_fits_says_nothing(capsys):
    net = nn.Linear(1, 1)
    load_state_dict(net, net.state_dict())
    assert capsys.readouterr().out == ''


def test_what_is_no_mapping_is_refused():
    with pytest.raises(TypeError, match='maps names to tensors; got list'):
        load_state_dict(nn.Linear(1, 1), [1])


def test_a_copy_on_the_cpu_shares_tensors_and_keeps_versions():
    state = _net().state_dict()
    state['note'] = 'text'
    on_cpu = weights_to_cpu(state)
    assert list(on_cpu) == list(state)
    assert on_cpu['stem.weight'].data_ptr() == state['stem.weight'].data_ptr()
    assert on_cpu['note'] == 'text'
    assert on_cpu._metadata == state._metadata
