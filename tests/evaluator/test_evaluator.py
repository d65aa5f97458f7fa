"""Several metrics over one dataset, and finding a number among theirs."""

import copy
import pickle
from types import MappingProxyType

import pytest
import torch

from mmengine.config import ConfigDict
from mmengine.evaluator import BaseMetric, DumpResults, Evaluator, get_metric_value
from mmengine.registry import EVALUATOR
from mmengine.structures import BaseDataElement
from mmengine.testing._internal.distributed import run_distributed
from mmengine.utils.errors import ArgumentError


class Recorder(BaseMetric):
    """Records what it is shown, and counts samples."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = []

    def process(self, data_batch, data_samples):
        self.seen.append((data_batch, data_samples))
        self.results += data_samples

    def compute_metrics(self, results):
        return {'n': len(results)}


# Building


def test_metrics_come_as_object_config_or_list_of_both(tmp_path):
    config = {'type': 'DumpResults', 'out_file_path': str(tmp_path / 'a.pkl')}
    assert [type(m) for m in Evaluator(config).metrics] == [DumpResults]
    assert [type(m) for m in Evaluator(ConfigDict(config)).metrics] == [DumpResults]
    assert [type(m) for m in Evaluator(Recorder()).metrics] == [Recorder]
    assert [type(m) for m in Evaluator([Recorder(), config]).metrics] == [Recorder, DumpResults]
    assert [type(m) for m in Evaluator((Recorder(),)).metrics] == [Recorder]


def test_the_evaluator_is_built_from_a_config():
    evaluator = EVALUATOR.build({'type': 'Evaluator', 'metrics': [Recorder()]})
    assert isinstance(evaluator, Evaluator)


@pytest.mark.parametrize('metrics', [3, [3], None, [object()]])
def test_what_is_no_metric_is_refused(metrics):
    with pytest.raises(TypeError, match=r'A metric must be a config .* has no process'):
        Evaluator(metrics)


def test_no_metrics_give_no_numbers():
    evaluator = Evaluator([])
    evaluator.process(data_samples=[1])
    assert evaluator.evaluate(1) == {}


@pytest.mark.parametrize('send', [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_a_copy_goes_on_where_it_was(send):
    evaluator = Evaluator(Recorder(prefix='a'))
    evaluator.process([1, 2])
    sent = send(evaluator)
    sent.process([3])
    assert sent.evaluate(3) == {'a/n': 3}
    assert evaluator.evaluate(2) == {'a/n': 2}


# Processing


def test_every_metric_sees_samples_and_batch():
    metrics = [Recorder(prefix='a'), Recorder(prefix='b')]
    evaluator = Evaluator(metrics)
    evaluator.process(data_samples=({'x': 1}, 2), data_batch='batch')
    assert [metric.seen for metric in metrics] == [[('batch', [{'x': 1}, 2])]] * 2


def test_data_elements_become_dicts_all_the_way_down():
    metric = Recorder()
    inner = BaseDataElement(scores=torch.ones(1))
    Evaluator(metric).process([BaseDataElement(metainfo={'id': 7}, pred=inner)])
    assert metric.seen == [(None, [{'id': 7, 'pred': {'scores': torch.ones(1)}}])]


@pytest.mark.parametrize(
    'sample',
    [BaseDataElement(), {'pred': 1, 'score': 2}, MappingProxyType({'pred': 1}), 'cat', b'cat', 3.5],
    ids=lambda sample: type(sample).__name__,
)
@pytest.mark.parametrize('method', ['process', 'offline_evaluate'])
def test_a_single_sample_in_place_of_a_list_is_refused(sample, method):
    metric = Recorder()
    with pytest.raises(TypeError, match=f'single {type(sample).__name__}'):
        getattr(Evaluator(metric), method)(sample)
    assert metric.seen == []


def test_inputs_of_offline_evaluation_come_as_one_entry_for_each_sample():
    with pytest.raises(TypeError, match=r"data must be.* a single dict with the keys \['a', 'b'\]"):
        Evaluator(Recorder()).offline_evaluate([1, 2], {'a': 1, 'b': 2})


@pytest.mark.parametrize('wrap', [tuple, iter, torch.tensor], ids=['tuple', 'iterator', 'tensor'])
def test_samples_may_come_in_any_sequence(wrap):
    metric = Recorder()
    Evaluator(metric).process(wrap([1, 2]))
    assert metric.seen == [(None, [1, 2])]


def test_facts_about_the_dataset_reach_every_metric():
    evaluator = Evaluator([Recorder(), Recorder()])
    assert evaluator.dataset_meta is None
    evaluator.dataset_meta = {'classes': ['cat']}
    assert [metric.dataset_meta for metric in evaluator.metrics] == [{'classes': ['cat']}] * 2
    assert evaluator.dataset_meta == {'classes': ['cat']}


# Evaluating


def test_the_numbers_of_all_metrics_come_in_one_dict():
    evaluator = Evaluator([Recorder(prefix='a'), Recorder(prefix='b')])
    evaluator.process([1, 2, 3])
    assert evaluator.evaluate(2) == {'a/n': 2, 'b/n': 2}


def test_one_name_from_two_metrics_is_refused_naming_both():
    class Other(Recorder):
        pass

    evaluator = Evaluator([Recorder(prefix='a'), Other(prefix='a')])
    evaluator.process([1])
    with pytest.raises(
        ArgumentError, match=r"'a/n' from Recorder\(prefix='a'\) and Other\(prefix='a'\)"
    ):
        evaluator.evaluate(1)
    assert [metric.results for metric in evaluator.metrics] == [[], []]


def clash_on_ranks(rank, world_size):
    evaluator = Evaluator([Recorder(), Recorder()])
    evaluator.process([rank])
    with pytest.raises(ArgumentError, match="'n' from Recorder"):
        evaluator.evaluate(2)
    return True


@pytest.mark.distributed
def test_a_name_from_two_metrics_is_refused_on_every_rank():
    assert run_distributed(clash_on_ranks, 2) == [True, True]


# Offline


@pytest.mark.parametrize('wrap', [list, iter], ids=['lists', 'iterators'])
def test_offline_evaluation_goes_through_in_chunks(wrap):
    metric = Recorder(prefix='a')
    numbers = Evaluator(metric).offline_evaluate(wrap([1, 2, 3]), wrap('xyz'), chunk_size=2)
    assert numbers == {'a/n': 3}
    assert metric.seen == [(['x', 'y'], [1, 2]), (['z'], [3])]


def test_offline_evaluation_needs_no_inputs():
    metric = Recorder()
    assert Evaluator(metric).offline_evaluate([1, 2]) == {'n': 2}
    assert metric.seen == [(None, [1]), (None, [2])]


@pytest.mark.parametrize('wrap', [list, iter], ids=['lists', 'iterators'])
@pytest.mark.parametrize('data', ['x', 'xyz'], ids=['fewer', 'more'])
def test_offline_evaluation_needs_an_input_for_each_prediction(wrap, data):
    with pytest.raises(ArgumentError, match='data'):
        Evaluator(Recorder()).offline_evaluate(wrap([1, 2]), wrap(data))


def test_a_chunk_has_at_least_one_sample():
    with pytest.raises(ArgumentError, match='chunk_size must be 1 or more, got 0'):
        Evaluator(Recorder()).offline_evaluate([1], chunk_size=0)


# Finding a number


@pytest.mark.parametrize(
    ('indicator', 'metrics', 'expected'),
    [
        ('acc', {'toy/acc': 1, 'toy/n': 2}, 1),
        ('toy/acc', {'toy/acc': 1, 'acc': 3}, 1),
        ('acc', {'a/b/acc': 4}, 4),
        ('acc', {'acc': 5, 'toy/f1': 1}, 5),
    ],
)
def test_a_number_is_found_by_full_or_short_name(indicator, metrics, expected):
    assert get_metric_value(indicator, metrics) == expected


def test_a_short_name_of_two_numbers_is_refused_naming_them():
    with pytest.raises(ArgumentError, match=r"'acc' could mean .*\['a/acc', 'b/acc'\]"):
        get_metric_value('acc', {'a/acc': 1, 'b/acc': 2})


@pytest.mark.parametrize('indicator', ['toy/ac', 'accc'])
def test_an_unknown_name_gets_the_nearest(indicator):
    with pytest.raises(ArgumentError, match=r"there are \['toy/acc'\]. Did you mean"):
        get_metric_value(indicator, {'toy/acc': 1})
