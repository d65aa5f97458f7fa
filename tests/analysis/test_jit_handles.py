"""Counts of operators, against numbers worked out by hand and against torch's own counter."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmengine.analysis import ActivationAnalyzer, FlopAnalyzer
from mmengine.analysis.jit_handles import (
    conv_flop_count,
    elementwise_flop_counter,
    generic_activation_jit,
    get_shape,
    norm_flop_counter,
)


class Call(nn.Module):
    """A function as a model."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def flops_of(function, *inputs: Tensor) -> dict:
    model = function if isinstance(function, nn.Module) else Call(function)
    analyzer = FlopAnalyzer(model, inputs)
    analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return dict(analyzer.by_operator())


def activations_of(function, *inputs: Tensor) -> dict:
    model = function if isinstance(function, nn.Module) else Call(function)
    analyzer = ActivationAnalyzer(model, inputs)
    analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return dict(analyzer.by_operator())


def torch_counts(function, *inputs: Tensor) -> int:
    """Multiply-adds as torch counts them while the function runs, without tracing."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        function(*inputs)
    return counter.get_total_flops() // 2  # torch counts multiplication and addition apart


R = torch.randn
# oneDNN runs an LSTM in single precision in one piece, for which torch counts nothing.
SEQUENCE = R(7, 2, 3).double()


@pytest.mark.parametrize(
    ('layer', 'inputs', 'by_hand'),
    [
        pytest.param(nn.Linear(3, 5), (R(2, 7, 3),), 2 * 7 * 3 * 5, id='linear'),
        # batch x places out x taps x channels in of the group x channels out
        pytest.param(nn.Conv1d(4, 6, 3, groups=2), (R(2, 4, 10),), 2 * 8 * 3 * 2 * 6, id='conv1d'),
        pytest.param(nn.Conv2d(4, 6, 3), (R(2, 4, 9, 8),), 2 * 7 * 6 * 9 * 4 * 6, id='conv2d'),
        pytest.param(
            nn.Conv2d(4, 6, 3, stride=2, padding=1), (R(1, 4, 8, 8),), 16 * 9 * 4 * 6, id='stride'
        ),
        pytest.param(
            nn.Conv2d(4, 6, 3, padding='same'), (R(2, 4, 8, 8),), 2 * 64 * 9 * 4 * 6, id='same'
        ),
        pytest.param(nn.Conv2d(4, 4, 3, groups=4), (R(1, 4, 8, 8),), 36 * 9 * 4, id='depthwise'),
        pytest.param(nn.Conv3d(4, 6, 3), (R(2, 4, 5, 5, 5),), 2 * 27 * 27 * 4 * 6, id='conv3d'),
        # places in, for the transposed ones
        pytest.param(
            nn.ConvTranspose1d(4, 6, 3, groups=2), (R(2, 4, 10),), 2 * 10 * 3 * 2 * 6, id='conv1d_t'
        ),
        pytest.param(
            nn.ConvTranspose2d(4, 6, 3, stride=2),
            (R(2, 4, 8, 8),),
            2 * 64 * 9 * 4 * 6,
            id='conv2d_t',
        ),
        pytest.param(
            nn.ConvTranspose3d(2, 3, 2), (R(1, 2, 3, 3, 3),), 27 * 8 * 2 * 3, id='conv3d_t'
        ),
        pytest.param(torch.mm, (R(3, 4), R(4, 5)), 3 * 4 * 5, id='mm'),
        pytest.param(torch.bmm, (R(2, 3, 4), R(2, 4, 5)), 2 * 3 * 4 * 5, id='bmm'),
        pytest.param(torch.addmm, (R(5), R(3, 4), R(4, 5)), 3 * 4 * 5, id='addmm'),
        pytest.param(
            torch.baddbmm, (R(2, 3, 5), R(2, 3, 4), R(2, 4, 5)), 2 * 3 * 4 * 5, id='baddbmm'
        ),
        pytest.param(torch.matmul, (R(2, 3, 4), R(4, 5)), 2 * 3 * 4 * 5, id='matmul_3d_2d'),
        pytest.param(
            torch.matmul, (R(2, 1, 3, 4), R(7, 4, 5)), 2 * 7 * 3 * 4 * 5, id='matmul_broadcast'
        ),
        pytest.param(torch.einsum, ('ij,jk->ik', R(2, 3), R(3, 4)), 2 * 3 * 4, id='einsum_mm'),
        pytest.param(
            torch.einsum,
            ('nhqd,nhkd->nhqk', R(2, 3, 4, 5), R(2, 3, 6, 5)),
            2 * 3 * 4 * 6 * 5,
            id='einsum_attention',
        ),
        pytest.param(
            torch.einsum,
            ('ij,jk,kl->il', R(2, 3), R(3, 4), R(4, 5)),
            2 * 3 * 4 + 2 * 4 * 5,
            id='einsum_chain',
        ),
        pytest.param(
            torch.einsum, ('...ij,jk', R(2, 7, 3, 4), R(4, 5)), 2 * 7 * 3 * 4 * 5, id='einsum_dots'
        ),
        # queries x keys x their width, then weights x values
        pytest.param(
            F.scaled_dot_product_attention,
            (R(2, 3, 4, 5), R(2, 3, 6, 5), R(2, 3, 6, 7)),
            2 * 3 * 4 * 6 * (5 + 7),
            id='attention',
        ),
        # rows of the sequence x four gates x (input + state)
        pytest.param(nn.LSTM(3, 5).double(), (SEQUENCE,), 14 * 4 * 5 * (3 + 5), id='lstm'),
        pytest.param(
            nn.LSTM(3, 5, num_layers=2, bidirectional=True).double(),
            (SEQUENCE,),
            14 * 2 * 4 * 5 * ((3 + 5) + (10 + 5)),
            id='lstm_two_layers_two_ways',
        ),
        pytest.param(nn.GRU(3, 5, batch_first=True), (R(2, 7, 3),), 14 * 3 * 5 * 8, id='gru'),
        pytest.param(nn.RNN(3, 5), (R(7, 2, 3),), 14 * 5 * 8, id='rnn'),
        pytest.param(nn.LSTMCell(3, 5), (R(2, 3),), 2 * 4 * 5 * 8, id='lstm_cell'),
    ],
)
def test_multiply_adds_are_those_by_hand_and_those_torch_counts(layer, inputs, by_hand):
    if layer is torch.einsum:
        equation, *inputs = inputs

        def layer(*operands):
            return torch.einsum(equation, *operands)

    assert sum(flops_of(layer, *inputs).values()) == by_hand
    assert torch_counts(layer, *inputs) == by_hand


def test_projected_lstm_counts_the_projection():
    layer = nn.LSTM(3, 5, proj_size=2).double()
    # the state that goes round is the projected one
    assert flops_of(layer, SEQUENCE) == {'lstm': 14 * (20 * (3 + 2) + 5 * 2)}


def test_packed_sequence_counts_only_the_steps_there_are():
    def layer(x):
        packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([4, 2]))
        return lstm(packed)[0].data

    lstm = nn.LSTM(3, 5).requires_grad_(False)
    assert flops_of(layer, R(4, 2, 3)) == {'lstm': 6 * 4 * 5 * 8}


@pytest.mark.parametrize('training', [True, False])
def test_attention_layers_are_counted_in_both_modes(training):
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).train(training)
    linear = 3 * 8 * 8 + 8 * 8 + 2 * 8 * 16  # of one token
    expected = {
        'linear': 2 * 4 * linear,
        'scaled_dot_product_attention': 2 * 2 * 4 * 4 * (4 + 4),
        'layer_norm': 2 * 5 * 2 * 4 * 8,
    }
    assert flops_of(layer, R(2, 4, 8)) == expected
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize(
    ('function', 'inputs', 'expected'),
    [
        pytest.param(torch.mv, (R(3, 4), R(4)), {'mv': 12}, id='mv'),
        pytest.param(torch.dot, (R(4), R(4)), {'dot': 4}, id='dot'),
        pytest.param(torch.matmul, (R(4), R(4, 5)), {'matmul': 20}, id='vector_matmul'),
        pytest.param(torch.addmv, (R(3), R(3, 4), R(4)), {'addmv': 12}, id='addmv'),
        pytest.param(torch.outer, (R(3), R(4)), {'outer': 12}, id='outer'),
        pytest.param(
            torch.addbmm, (R(3, 5), R(2, 3, 4), R(2, 4, 5)), {'addbmm': 2 * 60}, id='addbmm'
        ),
        pytest.param(lambda x: torch.einsum('ii->i', x), (R(3, 3),), {'einsum': 0}, id='diagonal'),
        # x^T W for each of 5 features is 3 * 4 products, times y 4 more
        pytest.param(
            nn.Bilinear(3, 4, 5), (R(2, 3), R(2, 4)), {'bilinear': 2 * 5 * 16}, id='bilinear'
        ),
    ],
)
def test_vector_products_are_counted(function, inputs, expected):
    assert flops_of(function, *inputs) == expected


@pytest.mark.parametrize(
    ('layer', 'training', 'per_element'),
    [
        pytest.param(nn.BatchNorm2d(4), True, 5, id='batch_norm'),
        pytest.param(nn.BatchNorm2d(4), False, 2, id='batch_norm_eval'),
        pytest.param(nn.BatchNorm2d(4, affine=False), True, 4, id='batch_norm_plain'),
        pytest.param(nn.BatchNorm2d(4, affine=False), False, 1, id='batch_norm_plain_eval'),
        pytest.param(nn.LayerNorm(3), True, 5, id='layer_norm'),
        pytest.param(nn.LayerNorm(3, elementwise_affine=False), False, 4, id='layer_norm_plain'),
        pytest.param(nn.GroupNorm(2, 4), False, 5, id='group_norm'),
        pytest.param(nn.GroupNorm(2, 4, affine=False), True, 4, id='group_norm_plain'),
        pytest.param(nn.InstanceNorm2d(4), False, 4, id='instance_norm'),
        pytest.param(
            nn.InstanceNorm2d(4, affine=True, track_running_stats=True), False, 2, id='tracked'
        ),
        pytest.param(nn.RMSNorm(3), True, 3, id='rms_norm'),
    ],
)
def test_norms_cost_a_few_operations_an_element(layer, training, per_element):
    counts = flops_of(layer.train(training), R(2, 4, 3, 3))
    assert sum(counts.values()) == per_element * 2 * 4 * 3 * 3


@pytest.mark.parametrize(
    ('mode', 'shape', 'terms'),
    [
        ('nearest', (1, 2, 4), 1),
        ('nearest', (1, 2, 4, 4), 1),
        ('nearest-exact', (1, 2, 4, 4), 1),
        ('nearest', (1, 2, 4, 4, 4), 1),
        ('linear', (1, 2, 4), 2),
        ('bilinear', (1, 2, 4, 4), 4),
        ('trilinear', (1, 2, 4, 4, 4), 8),
        ('bicubic', (1, 2, 4, 4), 16),
    ],
)
def test_interpolation_costs_as_many_terms_an_output_as_it_has_corners(mode, shape, terms):
    outputs = 2 * 8 ** (len(shape) - 2)
    counts = flops_of(nn.Upsample(scale_factor=2, mode=mode), R(shape))
    assert sum(counts.values()) == terms * outputs


@pytest.mark.parametrize(('mode', 'terms'), [('bilinear', 4), ('nearest', 1), ('bicubic', 16)])
def test_grid_sampling_costs_as_many_terms_an_output_as_it_has_corners(mode, terms):
    def sample(x, grid):
        return F.grid_sample(x, grid, mode=mode, align_corners=False)

    assert flops_of(sample, R(1, 2, 4, 4), R(1, 3, 3, 2)) == {'grid_sampler': terms * 2 * 9}


@pytest.mark.parametrize('dims', [1, 2, 3])
def test_adaptive_pooling_adds_up_its_input(dims):
    pool = getattr(nn, f'AdaptiveAvgPool{dims}d')(2)
    assert flops_of(pool, R(1, 3, *[4] * dims)) == {f'adaptive_avg_pool{dims}d': 3 * 4**dims}


@pytest.mark.parametrize(
    ('function', 'inputs', 'expected'),
    [
        pytest.param(nn.Linear(3, 5), (R(2, 7, 3),), {'linear': 70}, id='linear'),
        pytest.param(nn.Conv2d(4, 6, 3), (R(2, 4, 5, 5),), {'conv': 2 * 6 * 9}, id='conv'),
        pytest.param(torch.bmm, (R(2, 3, 4), R(2, 4, 5)), {'bmm': 30}, id='bmm'),
        pytest.param(nn.LSTM(3, 5), (R(7, 2, 3),), {'lstm': 70}, id='lstm'),
        pytest.param(nn.BatchNorm1d(3), (R(2, 3),), {}, id='norms_are_none'),
    ],
)
def test_activations_are_the_outputs_of_products(function, inputs, expected):
    assert activations_of(function, *inputs) == expected


def test_conv_flop_count_works_on_shapes():
    assert conv_flop_count((2, 4, 9), (6, 2, 3), (2, 6, 7)) == 2 * 6 * 2 * 3 * 7
    assert conv_flop_count((2, 4, 9), (4, 3, 3), (2, 6, 11), transposed=True) == 2 * 4 * 3 * 3 * 9


def handled(handle, function=torch.add):
    """What a handle gives for adding a row of 3 to a 2 x 3 matrix."""
    analyzer = FlopAnalyzer(Call(function), (R(2, 3), R(3)))
    return dict(analyzer.set_op_handle('aten::add', handle).by_operator())


def test_elementwise_counter_scales_first_input_and_first_output():
    assert handled(elementwise_flop_counter(2, 3)) == {'add': 2 * 6 + 3 * 6}
    assert handled(elementwise_flop_counter()) == {'add': 6}
    assert handled(elementwise_flop_counter(0.5)) == {'add': 3.0}


def test_norm_counter_looks_for_the_weight_where_it_is_told():
    assert handled(norm_flop_counter(1)) == {'add': 5 * 6}  # the row of 3 stands for a weight
    assert handled(norm_flop_counter(2)) == {'add': 4 * 6}  # a number is none


def test_generic_activation_counts_under_the_name_it_is_given():
    assert handled(generic_activation_jit()) == {'add': 6}
    assert handled(generic_activation_jit('sum')) == {'sum': 6}


def test_get_shape_is_none_for_what_is_no_tensor():
    seen = []
    handled(lambda inputs, outputs: seen.extend(map(get_shape, [*inputs, *outputs])) or 0)
    assert seen == [[2, 3], [3], None, [2, 3]]  # tensors, the factor alpha, and the sum
