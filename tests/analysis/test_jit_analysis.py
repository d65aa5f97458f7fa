"""Which module an operator counts for, and what an analysis tells of itself."""

import copy
import logging
import warnings
from collections import Counter, namedtuple

import pytest
import torch
from torch import nn

from mmengine.analysis import ActivationAnalyzer, FlopAnalyzer
from mmengine.analysis.jit_analysis import (
    JitModelAnalysis,
    Statistics,
    _get_scoped_trace_graph,
    _named_modules_with_dup,
    _named_modules_without_dup,
)
from mmengine.analysis.jit_handles import linear_flop_jit

# One call of a 4 -> 4 layer on two rows
CALL = 2 * 4 * 4


def quiet(analysis):
    return analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)


class Inner(nn.Module):
    """Calls a layer directly, one by way of its list, one by its forward, and one never."""

    def __init__(self):
        super().__init__()
        self.chain = nn.Sequential(nn.Linear(4, 4))
        self.listed = nn.ModuleList([nn.Linear(4, 4)])
        self.forwarded = nn.Linear(4, 4)
        self.idle = nn.Sequential(nn.Linear(4, 4))

    def forward(self, x):
        return self.forwarded.forward(self.chain[0](self.listed[0](x)))


class Outer(nn.Module):
    """Calls a part of its part under a second name."""

    def __init__(self):
        super().__init__()
        self.inner = Inner()
        self.short_cut = self.inner.chain

    def forward(self, x):
        return self.short_cut(self.inner(x)) + x


@pytest.fixture
def analyzer():
    return quiet(FlopAnalyzer(Outer(), torch.randn(2, 4)))


def test_operators_count_for_their_owner_and_what_contains_it(analyzer):
    assert analyzer.by_module() == {
        '': 4 * CALL,
        'inner': 4 * CALL,  # the call by way of short_cut is of a part of it
        'inner.chain': 2 * CALL,
        'inner.chain.0': 2 * CALL,
        'inner.listed': CALL,
        'inner.listed.0': CALL,
        'inner.forwarded': 0,
        'inner.idle': 0,
        'inner.idle.0': 0,
    }


def test_operators_count_for_their_callers_in_caller_mode(analyzer):
    by_module = analyzer.ancestor_mode('caller').by_module()
    assert by_module['inner'] == 3 * CALL  # not the call by way of short_cut
    assert by_module['inner.chain'] == CALL  # not the call of its entry
    assert by_module['inner.chain.0'] == 2 * CALL
    assert by_module['inner.listed'] == 0
    assert by_module[''] == 4 * CALL


def test_uncalled_modules_are_told(analyzer):
    uncalled = {'inner.forwarded', 'inner.idle', 'inner.idle.0'}
    assert analyzer.uncalled_modules() == uncalled
    assert analyzer.ancestor_mode('caller').uncalled_modules() == uncalled | {'inner.listed'}


def test_a_called_module_that_calculates_nothing_is_called():
    model = nn.Sequential(nn.Identity(), nn.Linear(4, 4))
    assert quiet(FlopAnalyzer(model, torch.randn(2, 4))).uncalled_modules() == set()


def test_any_name_of_a_shared_module_leads_to_its_first(analyzer):
    assert analyzer.canonical_module_name('short_cut.0') == 'inner.chain.0'
    assert analyzer.total('short_cut') == analyzer.total('inner.chain') == 2 * CALL
    assert 'short_cut' not in analyzer.by_module()


def test_a_shared_module_counts_once_a_call():
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, layer, layer)
    assert quiet(FlopAnalyzer(model, torch.randn(2, 4))).by_module() == {
        '': 3 * CALL,
        '0': 3 * CALL,
    }


def test_unknown_module_names_are_refused_with_the_nearest(analyzer):
    for method in (analyzer.total, analyzer.by_operator, analyzer.unsupported_ops):
        with pytest.raises(KeyError, match=r"no module 'inner.chian'.*'inner.chain'"):
            method('inner.chian')


def test_results_by_operator_are_those_of_the_module(analyzer):
    assert analyzer.by_operator() == Counter(linear=4 * CALL)
    assert analyzer.by_operator('inner.idle') == Counter()
    assert analyzer.by_module_and_operator()['inner.listed'] == Counter(linear=CALL)
    assert analyzer.unsupported_ops() == Counter({'aten::add': 1})
    assert analyzer.unsupported_ops('inner') == Counter()


def test_results_are_the_callers_to_change(analyzer):
    analyzer.by_operator()['linear'] = 0
    analyzer.by_module_and_operator()['']['linear'] = 0
    analyzer.unsupported_ops().clear()
    analyzer.uncalled_modules().clear()
    assert analyzer.total() == 4 * CALL
    assert analyzer.unsupported_ops()
    assert analyzer.uncalled_modules()


# Handles


def test_a_handle_may_give_a_number_or_counts_by_name(analyzer):
    analyzer.set_op_handle('aten::add', lambda inputs, outputs: 7)
    assert analyzer.by_operator() == {'linear': 4 * CALL, 'add': 7}
    assert analyzer.unsupported_ops() == Counter()
    analyzer.set_op_handle('aten::add', lambda inputs, outputs: Counter(one=1, two=2))
    assert analyzer.by_operator() == {'linear': 4 * CALL, 'one': 1, 'two': 2}


def test_none_as_a_handle_counts_nothing_and_reports_nothing(analyzer):
    analyzer.set_op_handle('aten::add', None, 'aten::linear', None)
    assert analyzer.total() == 0
    assert analyzer.unsupported_ops() == Counter()


def test_handles_may_be_named_arguments(analyzer):
    assert analyzer.set_op_handle(**{'aten::linear': lambda i, o: 1}).total() == 4


def test_handles_come_in_pairs_of_name_and_function(analyzer):
    with pytest.raises(TypeError, match='pairs'):
        analyzer.set_op_handle('aten::add')
    with pytest.raises(TypeError, match='function or None'):
        analyzer.set_op_handle('aten::add', 3)


def test_without_handles_everything_is_unsupported(analyzer):
    assert analyzer.clear_op_handles().total() == 0
    assert analyzer.unsupported_ops() == Counter({'aten::linear': 4, 'aten::add': 1})


def test_the_base_class_counts_what_it_is_told():
    analysis = JitModelAnalysis(nn.Linear(4, 3), torch.zeros(2, 4))
    assert analysis.set_op_handle('aten::linear', linear_flop_jit).total() == 24


def test_arithmetic_on_sizes_is_not_reported():
    class Reshape(nn.Module):
        def forward(self, x):
            return x.view(x.shape[0] * x.shape[1] // 2, 2)

    assert quiet(FlopAnalyzer(Reshape(), torch.randn(2, 4))).unsupported_ops() == Counter()


def test_work_whose_result_is_dropped_counts_too():
    class Wasteful(nn.Module):
        def forward(self, x):
            torch.mm(x, x.t())
            return x

    assert quiet(FlopAnalyzer(Wasteful(), torch.randn(2, 4))).total() == 2 * 4 * 2


# Inputs and outputs


Pair = namedtuple('Pair', 'left right')


class Flexible(nn.Module):
    """Takes and returns what no compiler would."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, first, second=None, flag=False):
        self.layer(first['x'][0] if isinstance(first, dict) else first)
        if flag:
            self.layer(second.left)
        return [object(), {'result': None}]


def test_inputs_and_outputs_may_be_anything():
    x = torch.randn(2, 4, requires_grad=True)
    assert quiet(FlopAnalyzer(Flexible(), x)).total() == CALL
    assert quiet(FlopAnalyzer(Flexible(), ({'x': [x]},))).total() == CALL
    assert quiet(FlopAnalyzer(Flexible(), (x, Pair(x, None), True))).total() == 2 * CALL


def test_a_tensor_with_gradient_from_outside_is_told():
    outside = nn.Parameter(torch.ones(4))

    class Leaning(nn.Module):
        def forward(self, x):
            return x * outside

    with pytest.raises(RuntimeError, match='Leaning calculates with a tensor that requires'):
        FlopAnalyzer(Leaning(), torch.randn(2, 4)).total()


def test_errors_of_the_model_pass_and_leave_it_whole():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(3, 3))
    with pytest.raises(RuntimeError, match='shapes cannot be multiplied'):
        FlopAnalyzer(model, torch.randn(2, 4)).total()
    assert model[0].weight.requires_grad
    assert not model[0]._forward_hooks
    assert quiet(FlopAnalyzer(model[0], torch.randn(2, 4))).total() == CALL


# What an analysis leaves behind


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    model[0].bias.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    random_state = torch.get_rng_state()
    quiet(FlopAnalyzer(model, torch.randn(2, 4, generator=torch.Generator()))).total()
    after = model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert model.training
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_backward_pass_may_be_waiting():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).eval()
    loss = model(torch.randn(2, 4)).sum()
    quiet(FlopAnalyzer(model, torch.randn(2, 4))).total()
    loss.backward()
    assert model[0].weight.grad is not None


def test_the_model_is_called_once_for_all_results():
    calls = []
    model = nn.Linear(4, 4)
    model.register_forward_hook(lambda *_: calls.append(1))
    analyzer = quiet(FlopAnalyzer(model, torch.randn(2, 4)))
    analyzer.total(), analyzer.by_module(), analyzer.uncalled_modules()
    assert len(calls) == 1


# Compiled modules


class Branching(nn.Module):
    """Has all that a compiled graph may hold: loops, branches, lists, functions, submodules."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.listed = nn.ModuleList([nn.Linear(4, 4), nn.ReLU()])
        self.rounds = 3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.listed:
            x = layer(x)
        for _ in range(self.rounds):
            if x.size(0) > 1:
                x = x + self.layer(x)
            else:
                x = self.layer(self.layer(x))
        left, right = torch.chunk(self.norm(x), 2, 1)
        return torch.cat([left, right], 1)


def compiled(kind: str) -> nn.Module:
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', r'`torch\.jit', DeprecationWarning)
        warnings.simplefilter('ignore', torch.jit.TracerWarning)
        if kind == 'scripted':
            return torch.jit.script(Branching())
        return torch.jit.trace(Branching(), torch.randn(2, 4))


@pytest.mark.parametrize('kind', ['scripted', 'traced'])
def test_compiled_modules_are_counted_like_others(kind):
    x = torch.randn(2, 4)
    plain = quiet(FlopAnalyzer(nn.Sequential(Branching(), nn.Linear(4, 4)), x))
    assert plain.by_operator() == {'linear': 5 * CALL, 'batch_norm': 5 * 8}
    model = nn.Sequential(compiled(kind), nn.Linear(4, 4))
    parts = dict(model.named_children())
    analyzer = quiet(FlopAnalyzer(model, x))
    assert analyzer.by_operator() == plain.by_operator()
    assert analyzer.by_module()['0.listed.0'] == CALL
    assert analyzer.by_module()['0.norm'] == 5 * 8
    assert dict(model.named_children()) == parts


def test_submodules_inside_loops_of_a_compiled_module_are_told_apart():
    analyzer = quiet(FlopAnalyzer(compiled('scripted'), torch.randn(2, 4)))
    assert analyzer.by_module()['layer'] == 3 * CALL
    one_row = quiet(FlopAnalyzer(compiled('scripted').eval(), torch.randn(1, 4)))
    assert one_row.by_module()['layer'] == 3 * CALL  # the other branch: twice a round, half each
    assert one_row.uncalled_modules() == set()


def test_a_compiled_model_keeps_its_statistics():
    model = compiled('scripted')
    quiet(FlopAnalyzer(model, torch.randn(2, 4))).total()
    assert model.norm.num_batches_tracked == 0


def test_a_compiled_function_is_reported_as_not_counted():
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', r'`torch\.jit', DeprecationWarning)

        @torch.jit.script
        def double(x):
            return x * 2

    class Calling(nn.Module):
        def forward(self, x):
            return double(x)

    analyzer = quiet(FlopAnalyzer(Calling(), torch.randn(2, 4)))
    assert analyzer.unsupported_ops() == Counter({'prim::CallFunction': 1})


@pytest.mark.parametrize('reentrant', [True, False])
def test_checkpointed_parts_are_counted(reentrant):
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return checkpoint(self.layer, x, use_reentrant=reentrant)

    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'None of the inputs have requires_grad')
        assert quiet(FlopAnalyzer(Checkpointed(), torch.randn(2, 4))).total() == CALL


def test_a_data_parallel_wrapper_is_looked_through():
    analyzer = quiet(FlopAnalyzer(nn.DataParallel(nn.Linear(4, 4)), torch.randn(2, 4)))
    assert analyzer.by_module() == {'': CALL, 'module': CALL}
    assert analyzer.uncalled_modules() == set()


# Settings


@pytest.mark.parametrize('method', ['ancestor_mode', 'tracer_warnings'])
def test_unknown_modes_are_refused(analyzer, method):
    with pytest.raises(ValueError, match=r"one of .*got 'loud'"):
        getattr(analyzer, method)('loud')


def test_settings_chain(analyzer):
    assert analyzer.ancestor_mode('owner') is analyzer
    assert analyzer.tracer_warnings('none') is analyzer
    assert analyzer.set_op_handle('aten::add', None) is analyzer
    assert analyzer.clear_op_handles() is analyzer


class Noisy(nn.Module):
    def forward(self, x):
        warnings.warn('of the model', UserWarning, stacklevel=1)
        return x if x.sum() > 0 else -x  # a branch on data, which the tracer warns of


@pytest.mark.parametrize(
    ('mode', 'expected'),
    [
        (None, [UserWarning]),
        ('all', [UserWarning, torch.jit.TracerWarning]),
        ('no_tracer_warning', [UserWarning]),
        ('none', []),
    ],
)
def test_tracer_warnings_pass_as_asked_for(mode, expected):
    analyzer = quiet(FlopAnalyzer(Noisy(), torch.randn(2, 4)))
    if mode:
        analyzer.tracer_warnings(mode)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        analyzer.total()
    assert [warning.category for warning in caught] == expected


@pytest.fixture
def logged(monkeypatch):
    messages = []
    monkeypatch.setattr(
        'mmengine.analysis.jit_analysis.print_log',
        lambda message, logger, level: messages.append((level, message)),
    )
    return messages


def test_what_is_not_counted_is_logged_once(logged):
    analyzer = FlopAnalyzer(Outer(), torch.randn(2, 4))
    analyzer.total(), analyzer.by_module()
    (first_level, first), (second_level, second) = logged
    assert first_level == second_level == logging.WARNING
    assert 'aten::add (1x)' in first
    # what is inside an uncalled module goes without saying
    assert 'inner.forwarded, inner.idle.' in second


def test_warnings_can_be_turned_off(logged):
    quiet(FlopAnalyzer(Outer(), torch.randn(2, 4))).total()
    assert logged == []


def test_a_copy_has_handles_and_settings_of_its_own(analyzer):
    analyzer.set_op_handle('aten::linear', lambda i, o: 1).ancestor_mode('caller')
    other = analyzer.copy(new_model=nn.Linear(3, 3), new_inputs=torch.randn(1, 3))
    assert type(other) is FlopAnalyzer
    assert other.total() == 1
    other.set_op_handle('aten::linear', lambda i, o: 2)
    assert (analyzer.total(), other.total()) == (4, 2)
    assert analyzer.copy().by_module() == analyzer.by_module()


# Parts


def test_modules_are_named_with_or_without_their_second_names():
    model = Outer()
    names = [name for name, _ in _named_modules_without_dup(model)]
    every = [name for name, _ in _named_modules_with_dup(model)]
    assert set(every) - set(names) == {'short_cut', 'short_cut.0'}
    assert [name for name, _ in _named_modules_with_dup(nn.ReLU(), 'a')] == ['a']


def test_the_graph_holds_the_operators_that_ran():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    names = {module: name for name, module in model.named_modules()}
    graph = _get_scoped_trace_graph(model, (torch.randn(2, 4),), names)
    assert graph.findNode('aten::linear').outputsSize() == 1
    assert graph.findNode('aten::relu') is not None


def test_statistics_hold_what_they_are_given():
    statistics = Statistics({'': Counter(a=1)}, {}, {'b'})
    assert (statistics.counts, statistics.uncalled_mods) == ({'': Counter(a=1)}, {'b'})


def test_both_analyzers_agree_on_what_was_called():
    model = Outer()
    pair = [quiet(cls(model, torch.randn(2, 4))) for cls in (FlopAnalyzer, ActivationAnalyzer)]
    assert pair[0].uncalled_modules() == pair[1].uncalled_modules()
    assert pair[1].total() == 4 * 8
