"""Sums over whole models, parameters, and the texts made of them."""

from collections import Counter

import pytest
import torch
from torch import nn

from mmengine.analysis import (
    ActivationAnalyzer,
    FlopAnalyzer,
    activation_count,
    flop_count,
    get_model_complexity_info,
    parameter_count,
    parameter_count_table,
)
from mmengine.analysis.print_helper import (
    _fastforward,
    _fill_missing_statistics,
    _format_size,
    _get_input_sizes,
    _get_single_child,
    _group_by_module,
    _indicate_uncalled_modules,
    _model_stats_str,
    _pretty_statistics,
    _remove_zero_statistics,
    _stats_table_format,
    _try_combine,
    complexity_stats_str,
    complexity_stats_table,
)


class Net(nn.Module):
    """A convolution, a chain that holds one layer, a tied layer, an idle one, and a parameter."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.conv = nn.Conv2d(1, 2, 3)
        self.chain = nn.Sequential(nn.Sequential(nn.Linear(8, 100)))
        self.tied = nn.Linear(8, 100, bias=False)
        self.tied.weight = self.chain[0][0].weight
        self.idle = nn.Linear(2, 2)
        self.act = nn.ReLU()

    def forward(self, x):
        features = self.conv(x).flatten(1)
        return self.act(self.chain(features)) + self.tied(features)


CONV = 2 * 2 * 9 * 2  # places x taps x channels out
LAYER = 8 * 100
FLOPS = CONV + 2 * LAYER
ACTS = 2 * 2 * 2 + 2 * 100
PARAMS = 3 + 2 * 9 + 2 + 8 * 100 + 100 + 4 + 2


def test_counts_come_in_giga_and_mega():
    flops, left_out = flop_count(Net(), (torch.randn(1, 1, 4, 4),))
    assert flops == pytest.approx({'conv': CONV / 1e9, 'linear': 2 * LAYER / 1e9})
    assert left_out == Counter({'aten::add': 1})
    assert flops['nothing'] == 0
    activations, left_out = activation_count(Net(), torch.randn(1, 1, 4, 4))
    assert activations == pytest.approx({'conv': 8 / 1e6, 'linear': 200 / 1e6})
    assert left_out == Counter({'aten::add': 1})


def test_counts_take_further_handles():
    ops = {'aten::add': lambda inputs, outputs: 5e9, 'aten::linear': None}
    flops, left_out = flop_count(Net(), torch.randn(1, 1, 4, 4), supported_ops=ops)
    assert flops == pytest.approx({'conv': CONV / 1e9, 'add': 5.0})
    assert left_out == Counter()


def test_parameters_count_under_their_first_name_and_all_above_it():
    counts = parameter_count(Net())
    assert counts == {
        '': PARAMS,
        'scale': 3,
        'conv': 20,
        'conv.weight': 18,
        'conv.bias': 2,
        'chain': 900,
        'chain.0': 900,
        'chain.0.0': 900,
        'chain.0.0.weight': 800,
        'chain.0.0.bias': 100,
        'idle': 6,
        'idle.weight': 4,
        'idle.bias': 2,
    }
    assert counts['tied.weight'] == 0


def test_parameter_table_shows_shapes_to_the_depth_asked_for():
    model = nn.ModuleDict({'a': nn.Linear(2, 3), 'b': nn.Sequential(nn.Linear(40, 50))})
    assert parameter_count_table(model, max_depth=2).splitlines() == [
        '   parameter count of ModuleDict   ',
        '+------------+--------------------+',
        '| name       | #elements or shape |',
        '+------------+--------------------+',
        '| model      | 2.059K             |',
        '|  a         |  9                 |',
        '|   a.weight |   (3, 2)           |',
        '|   a.bias   |   (3,)             |',
        '|  b         |  2.05K             |',
        '|   b.0      |   2.05K            |',
        '+------------+--------------------+',
    ]
    assert 'a.weight' not in parameter_count_table(model, max_depth=1)


# The summary


def test_summary_of_a_model():
    info = get_model_complexity_info(Net(), (1, 4, 4))
    assert (info['flops'], info['activations'], info['params']) == (FLOPS, ACTS, PARAMS)
    assert info['flops_str'] == '1.672K'
    assert info['activations_str'] == '0.208K'
    assert info['params_str'] == '0.929K'
    rows = [line.split('|')[1:-1] for line in info['out_table'].splitlines() if '|' in line]
    cells = [[cell[1:].rstrip() for cell in row] for row in rows]
    assert cells == [
        ['module', '#parameters or shape', '#flops', '#activations'],
        ['model', '0.929K', '1.672K', '0.208K'],
        [' scale', ' (3,)', '', ''],
        [' conv', ' 20', ' 72', ' 8'],
        ['  conv.weight', '  (2, 1, 3, 3)', '', ''],
        ['  conv.bias', '  (2,)', '', ''],
        [' chain.0.0', ' 0.9K', ' 0.8K', ' 100'],
        ['  chain.0.0.weight', '  (100, 8)', '', ''],
        ['  chain.0.0.bias', '  (100,)', '', ''],
        [' tied', '', ' 0.8K', ' 100'],
        [' idle', ' 6', '', ''],
        ['  idle.weight', '  (2, 2)', '', ''],
        ['  idle.bias', '  (2,)', '', ''],
    ]
    assert info['out_arch'].splitlines()[2:] == [
        'Net(',
        '  #params: 0.93K, #flops: 1.67K, #acts: 0.21K',
        '  (conv): Conv2d(',
        '    1, 2, kernel_size=(3, 3), stride=(1, 1)',
        '    #params: 20, #flops: 72, #acts: 8',
        '  )',
        '  (chain): Sequential(',
        '    #params: 0.9K, #flops: 0.8K, #acts: 100',
        '    (0): Sequential(',
        '      #params: 0.9K, #flops: 0.8K, #acts: 100',
        '      (0): Linear(',
        '        in_features=8, out_features=100, bias=True',
        '        #params: 0.9K, #flops: 0.8K, #acts: 100',
        '      )',
        '    )',
        '  )',
        '  (tied): Linear(',
        '    in_features=8, out_features=100, bias=False',
        '    #params: 0, #flops: 0.8K, #acts: 100',
        '  )',
        '  (idle): Linear(',
        '    in_features=2, out_features=2, bias=True',
        '    #params: 6, #flops: N/A, #acts: N/A',
        '  )',
        '  (act): ReLU()',
        ')',
    ]


def test_summary_leaves_out_what_is_not_asked_for():
    info = get_model_complexity_info(nn.Linear(4, 2), (4,), show_table=False, show_arch=False)
    assert info == {
        'flops': 8,
        'flops_str': '8',
        'activations': 2,
        'activations_str': '2',
        'params': 10,
        'params_str': '10',
        'out_table': '',
        'out_arch': '',
    }


class Adder(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(4, 2), nn.Linear(3, 2)

    def forward(self, left, right):
        return self.left(left) + self.right(right)


@pytest.mark.parametrize(
    'arguments',
    [
        pytest.param({'input_shape': ((4,), (3,))}, id='shapes'),
        pytest.param({'inputs': (torch.zeros(1, 4), torch.zeros(1, 3))}, id='tensors'),
    ],
)
def test_summary_of_a_model_of_several_inputs(arguments):
    assert get_model_complexity_info(Adder(), **arguments)['flops'] == 4 * 2 + 3 * 2


def test_random_inputs_are_of_the_dtype_of_the_model():
    assert get_model_complexity_info(nn.Linear(4, 2).double(), (4,))['flops'] == 8
    assert get_model_complexity_info(nn.ReLU(), (4,))['flops'] == 0


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({}, 'got neither'),
        ({'input_shape': (4,), 'inputs': torch.zeros(1, 4)}, 'got both'),
        ({'input_shape': [4]}, r'input_shape is a tuple of numbers.*got \[4\]'),
        ({'input_shape': ((4,), 3)}, 'input_shape is a tuple'),
    ],
)
def test_summary_needs_one_kind_of_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        get_model_complexity_info(nn.Linear(4, 2), **arguments)


# Texts of analyses


def test_table_of_one_analysis_without_shapes():
    flops = FlopAnalyzer(Net(), torch.randn(1, 1, 4, 4))
    table = complexity_stats_table(flops, max_depth=1, show_param_shapes=False)
    assert table.splitlines() == [
        '+------------+-------------+--------+',
        '| module     | #parameters | #flops |',
        '+------------+-------------+--------+',
        '| model      | 0.929K      | 1.672K |',
        '|  conv      |  20         |  72    |',
        '|  chain.0.0 |  0.9K       |  0.8K  |',
        '|  tied      |             |  0.8K  |',
        '|  idle      |  6          |        |',
        '+------------+-------------+--------+',
    ]


def test_tree_of_one_analysis_has_no_activations():
    flops = FlopAnalyzer(nn.Sequential(nn.Linear(4, 2)), torch.randn(1, 4))
    assert complexity_stats_str(flops).splitlines() == [
        'Sequential(',
        '  #params: 10, #flops: 8',
        '  (0): Linear(',
        '    in_features=4, out_features=2, bias=True',
        '    #params: 10, #flops: 8',
        '  )',
        ')',
    ]


def test_analyses_sum_over_a_model():
    x = torch.randn(1, 1, 4, 4)
    assert FlopAnalyzer(Net(), x).total() == FLOPS
    assert ActivationAnalyzer(Net(), x).total() == ACTS


# Parts


@pytest.mark.parametrize(
    ('number', 'text'),
    [
        (0, '0'),
        (100, '100'),
        (101, '0.101K'),
        (1500, '1.5K'),
        (12345, '12.345K'),
        (100_001, '0.1M'),
        (1.5e9, '1.5G'),
        (2e12, '2T'),
        (3e15, '3P'),
        (1e20, '100000P'),
        (-5000, '-5K'),
        (0.5, '0.5'),
    ],
)
def test_numbers_are_shortened_by_units_of_thousand(number, text):
    assert _format_size(number) == text


def test_digits_and_zeros_of_short_numbers():
    assert _format_size(12345, 2) == '12.35K'
    assert _format_size(12345, 0) == '12K'
    assert _format_size(0, hide_zero=True) == ''


def test_statistics_are_turned_round_and_filled():
    model = nn.Sequential(nn.ReLU())
    by_stat = {'f': {'': 1}, 'g': {'0': 2}}
    filled = _fill_missing_statistics(model, by_stat)
    assert filled == {'f': {'': 1, '0': 0}, 'g': {'': 0, '0': 2}}
    assert _group_by_module(filled) == {'': {'f': 1, 'g': 0}, '0': {'f': 0, 'g': 2}}


def test_statistics_become_texts():
    statistics = {'': {'f': 12345, 'g': 0, 'h': 'N/A'}}
    assert _pretty_statistics(statistics, 1, True) == {'': {'f': '12.3K', 'g': '', 'h': 'N/A'}}


def test_uncalled_modules_are_marked():
    statistics = {'a': {'f': 0, 'g': 0}, 'b': {'f': 1}}
    assert _indicate_uncalled_modules(statistics, 'f', {'a'}) is statistics
    assert statistics == {'a': {'f': 'N/A', 'g': 0}, 'b': {'f': 1}}


def test_modules_of_zeros_are_left_out():
    statistics = {'': {'f': 0}, 'a': {'f': 0}, 'a.b': {'f': 1}, 'c': {'f': 0}, 'c.d': {'f': 0}}
    assert list(_remove_zero_statistics(statistics)) == ['', 'a.b']
    assert list(_remove_zero_statistics(statistics, force_keep={'c.d'})) == ['', 'a.b', 'c.d']
    kept = _remove_zero_statistics(statistics, {'c.d'}, require_trivial_children=True)
    assert list(kept) == ['', 'a', 'a.b', 'c', 'c.d']


def test_input_sizes_keep_their_nesting():
    assert _get_input_sizes([torch.zeros(2, 3), [torch.zeros(1)], 3]) == [[2, 3], [[1]], None]


def test_single_children_are_found():
    names = dict.fromkeys(['', 'a', 'a.b', 'a.b.c', 'a.b.d'])
    assert [_get_single_child(name, names) for name in ('', 'a', 'a.b', 'a.b.c')] == [
        'a', 'a.b', None, None,
    ]  # fmt: skip


def test_equal_statistics_are_combined():
    assert _try_combine({'f': '1', 'g': ''}, {'f': '1', 'g': '2'}) == {'f': '1', 'g': '2'}
    assert _try_combine({'f': '1'}, {'f': '2'}) is None
    assert _try_combine({'f': '1'}, {'g': '1'}) is None


def test_chains_of_equal_modules_are_followed():
    statistics = {'': {'f': '2'}, 'a': {'f': '2'}, 'a.b': {'f': '2'}, 'a.b.c': {'f': '1'}}
    assert _fastforward('', statistics) == ('a.b', {'f': '2'})
    assert _fastforward('a.b.c', statistics) == ('a.b.c', {'f': '1'})


def test_tables_take_their_columns_from_the_statistics():
    statistics = {'': {'f': '3'}, 'a': {'f': '1'}, 'b': {'f': '2', 'g': '4'}, 'b.c': {'f': '1'}}
    assert _stats_table_format(statistics, max_depth=1).splitlines()[3:-1] == [
        '| model  | 3  |    |',
        '|  a     |  1 |    |',
        '|  b     |  2 |  4 |',
    ]
    assert _stats_table_format(statistics, 1, ['g']).splitlines()[1] == '| module | g  |'


def test_models_are_printed_with_their_statistics():
    model = nn.Sequential(nn.ReLU(), nn.Identity())
    assert _model_stats_str(model, {'': {'f': '1'}, '1': {'f': '2', 'g': '3'}}).splitlines() == [
        'Sequential(',
        '  f: 1',
        '  (0): ReLU()',
        '  (1): Identity(f: 2, g: 3)',
        ')',
    ]
    assert _model_stats_str(model, {}) == repr(model)
