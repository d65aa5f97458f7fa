"""Metrics on one rank and on several, and the results they collect."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from mmengine.dataset import DefaultSampler
from mmengine.evaluator import BaseMetric, DumpResults, Evaluator
from mmengine.evaluator._transfer import fetch
from mmengine.evaluator.metric import _to_cpu
from mmengine.registry import METRICS
from mmengine.structures import BaseDataElement, InstanceData
from mmengine.testing._internal.distributed import run_distributed
from mmengine.utils.errors import ArgumentError


class Keep(BaseMetric):
    """Keeps the samples and gives them back, in the order in which they arrive."""

    default_prefix = 'keep'

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return {'order': list(results), 'n': len(results)}


class Broken(Keep):
    def compute_metrics(self, results):
        raise ZeroDivisionError(f'cannot divide {len(results)} by nothing')


class Wrong(Keep):
    def compute_metrics(self, results):
        return 0.5


class Unsendable(Keep):
    def compute_metrics(self, results):
        return {'f': lambda: None}


# One rank


def test_the_numbers_get_the_prefix():
    metric = Keep()
    metric.process(None, [3, 1])
    assert metric.evaluate(2) == {'keep/order': [3, 1], 'keep/n': 2}


def test_a_given_prefix_goes_before_the_default_one():
    metric = Keep(prefix='mine')
    metric.process(None, [3])
    assert metric.evaluate(1) == {'mine/order': [3], 'mine/n': 1}


def test_without_any_prefix_names_stay_bare():
    class Bare(Keep):
        default_prefix = None

    metric = Bare()
    metric.process(None, [3])
    assert metric.evaluate(1) == {'order': [3], 'n': 1}


def test_results_beyond_the_size_are_dropped():
    metric = Keep()
    metric.process(None, [1, 2, 3])
    assert metric.evaluate(2)['keep/order'] == [1, 2]


def test_an_evaluation_starts_the_next_one_afresh():
    metric = Keep()
    metric.process(None, [1])
    first = metric.evaluate(1)
    assert metric.results == []
    metric.process(None, [2])
    assert metric.evaluate(1)['keep/order'] == [2]
    assert first['keep/order'] == [1]


def test_a_failed_evaluation_starts_afresh_too():
    metric = Broken()
    metric.process(None, [1])
    with pytest.raises(ZeroDivisionError, match='cannot divide 1'):
        metric.evaluate(1)
    assert metric.results == []


def test_no_results_are_an_empty_list():
    assert Keep().evaluate(3)['keep/n'] == 0


def test_numbers_without_names_are_refused():
    metric = Wrong()
    metric.process(None, [1])
    with pytest.raises(TypeError, match=r'Wrong.compute_metrics must return a dict .* got float'):
        metric.evaluate(1)


def test_the_base_is_abstract():
    with pytest.raises(TypeError, match='abstract'):
        BaseMetric()


@pytest.mark.parametrize(
    'kwargs', [{'collect_device': 'tpu'}, {'collect_device': 'gpu', 'collect_dir': '/tmp'}]
)
def test_an_unknown_way_to_collect_is_refused(kwargs):
    with pytest.raises(ArgumentError, match='collect_d'):
        Keep(**kwargs)


def test_a_folder_to_collect_in_is_ignored_with_a_warning():
    class KeepInFolder(Keep):
        pass

    with pytest.warns(UserWarning, match='collect_dir of KeepInFolder is not used'):
        metric = KeepInFolder(collect_dir='somewhere')
    assert metric.collect_dir == 'somewhere'


def test_dataset_meta_is_kept():
    metric = Keep()
    assert metric.dataset_meta is None
    metric.dataset_meta = {'classes': ['cat']}
    assert metric.dataset_meta == {'classes': ['cat']}


# DumpResults


def test_dump_results_writes_the_predictions_in_order(tmp_path):
    path = tmp_path / 'new' / 'out.pkl'
    metric = METRICS.build({'type': 'DumpResults', 'out_file_path': str(path)})
    metric.process(None, [{'score': torch.tensor([1.0, 2.0])}, {'name': 'b'}])
    metric.process(None, [{'name': 'padding'}])
    assert metric.evaluate(2) == {}
    first, second = pickle.loads(path.read_bytes())
    assert first['score'].tolist() == [1.0, 2.0]
    assert second == {'name': 'b'}


def test_dump_results_does_not_write_the_batch_with_every_sample(tmp_path):
    batch = torch.zeros(100, 1000)  # 400 kB
    metric = DumpResults(str(tmp_path / 'out.pkl'))
    metric.process(None, [{'logits': row} for row in batch[:3]])
    metric.evaluate(3)
    # 3 rows of 4 kB
    assert (tmp_path / 'out.pkl').stat().st_size < 20_000


def test_dump_results_that_fail_leave_the_old_file(tmp_path):
    path = tmp_path / 'out.pkl'
    path.write_bytes(pickle.dumps('old'))
    metric = DumpResults(str(path))
    metric.process(None, [{'f': lambda: None}])
    with pytest.raises((AttributeError, pickle.PicklingError)):
        metric.evaluate(1)
    assert pickle.loads(path.read_bytes()) == 'old'
    assert [entry.name for entry in tmp_path.iterdir()] == ['out.pkl']


def test_dump_results_writes_pickle_only():
    assert DumpResults('a.pickle').out_file_path == 'a.pickle'
    with pytest.raises(ArgumentError, match=r"\.pkl or \.pickle; got 'a.json'"):
        DumpResults('a.json')


# Moving to host memory


def test_what_is_on_the_cpu_is_not_rebuilt():
    results = [{'a': (torch.ones(2), [BaseDataElement(x=torch.ones(1))])}, 3, 's', np.ones(2)]
    assert _to_cpu(results) is results


def test_fetched_tensors_are_equal_and_own_their_memory():
    tensors = [
        torch.arange(6.0).reshape(2, 3).t(),
        torch.tensor(7),
        torch.empty(0, 4),
        torch.tensor([True, False]),
        torch.ones(2, requires_grad=True) * 2,
        torch.eye(3).to_sparse(),
        torch.tensor(2.5),
    ]
    fetched = fetch(tensors)
    for before, after in zip(tensors, fetched, strict=True):
        assert torch.equal(before.detach().to_dense(), after.to_dense())
        assert (before.dtype, before.shape, before.layout) == (
            after.dtype,
            after.shape,
            after.layout,
        )
        assert not after.requires_grad
        if after.layout is torch.strided:
            assert after.untyped_storage().nbytes() == after.nbytes


def count_transfers(monkeypatch, tensors, bytes_per_transfer):
    monkeypatch.setattr('mmengine.evaluator._transfer._BYTES_PER_TRANSFER', bytes_per_transfer)
    transfers = []
    cat = torch.cat
    monkeypatch.setattr(torch, 'cat', lambda parts: transfers.append(len(parts)) or cat(parts))
    fetch(tensors)
    return transfers


def test_tensors_of_one_dtype_travel_together(monkeypatch):
    tensors = [torch.ones(2) if i % 2 else torch.tensor(i) for i in range(10)]
    assert count_transfers(monkeypatch, tensors, 2**20) == [5, 5]


def test_a_transfer_is_bounded_in_size(monkeypatch):
    # 8 bytes each, at most 20 together
    tensors = [torch.ones(2) for _ in range(5)]
    assert count_transfers(monkeypatch, tensors, 20) == [2, 2, 1]
    # one that is too large travels alone
    assert count_transfers(monkeypatch, [torch.ones(100), torch.ones(2)], 20) == [1, 1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_nested_results_on_a_device_arrive_on_the_host():
    boxes = torch.rand(3, 4, device='cuda')
    results = [
        {'boxes': boxes, 'scores': (boxes[:, 0], 1)},
        InstanceData(boxes=boxes, metainfo={'size': (1, 2)}),
    ]
    first, second = _to_cpu(results)
    assert torch.equal(first['boxes'], boxes.cpu())
    assert torch.equal(first['scores'][0], boxes[:, 0].cpu())
    assert first['scores'][1] == 1
    assert torch.equal(second.boxes, boxes.cpu())
    assert second.metainfo == {'size': (1, 2)}


def test_nested_results_are_rebuilt_around_what_was_moved():
    from mmengine.evaluator._transfer import to_cpu

    batch = torch.arange(12.0).reshape(3, 4)
    element = InstanceData(boxes=batch[:1], metainfo={'size': (1, 2)})
    results = [{'row': batch[0], 'pair': (batch[1], 's')}, element, {'whole': batch}]
    first, second, third = to_cpu(results, compact=True)
    assert first['row'].tolist() == [0, 1, 2, 3]
    assert first['row'].untyped_storage().nbytes() == 16
    assert first['pair'][0].tolist() == [4, 5, 6, 7]
    assert first['pair'][1] == 's'
    assert isinstance(second, InstanceData)
    assert second.boxes.tolist() == [[0, 1, 2, 3]]
    assert second.boxes.untyped_storage().nbytes() == 16
    assert second.metainfo == {'size': (1, 2)}
    assert element.boxes.untyped_storage().nbytes() == 48
    assert third['whole'] is batch


# Several ranks


def evaluate_share(rank, world_size, length, round_up, batch_size, collect_device):
    """Each rank predicts its share of ``length`` samples: ten times the index."""
    evaluator = Evaluator(Keep(collect_device=collect_device))
    indices = list(DefaultSampler(range(length), shuffle=False, seed=0, round_up=round_up))
    for start in range(0, len(indices), batch_size):
        batch = indices[start : start + batch_size]
        evaluator.process(data_samples=[torch.tensor(10 * index) for index in batch])
    values = evaluator.evaluate(length)
    return [int(value) for value in values['keep/order']], values['keep/n']


@pytest.mark.distributed
@pytest.mark.parametrize(
    ('length', 'round_up', 'batch_size', 'collect_device'),
    [(7, True, 2, 'cpu'), (7, False, 3, 'gpu'), (1, False, 2, 'cpu'), (1, True, 1, 'cpu')],
    ids=['padded', 'unpadded', 'one-rank-without', 'all-padding'],
)
def test_results_come_back_in_dataset_order_without_padding(
    length, round_up, batch_size, collect_device
):
    expected = ([10 * i for i in range(length)], length)
    assert run_distributed(evaluate_share, 2, length, round_up, batch_size, collect_device) == [
        expected,
        expected,
    ]


@pytest.mark.distributed
def test_three_ranks_share_ten_samples():
    expected = ([10 * i for i in range(10)], 10)
    assert run_distributed(evaluate_share, 3, 10, True, 2, 'cpu') == [expected] * 3


def evaluate_accuracy(rank, world_size):
    """A linear classifier on its share of 37 samples, and the same over all of them with numpy."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(37, 5, generator=generator)
    labels = torch.randint(3, (37,), generator=generator)
    model = nn.Linear(5, 3)
    with torch.no_grad():
        model.weight.copy_(torch.randn(3, 5, generator=generator))
        model.bias.zero_()

    class Accuracy(BaseMetric):
        def process(self, data_batch, data_samples):
            self.results += [sample['right'] for sample in data_samples]

        def compute_metrics(self, results):
            return {'accuracy': float(torch.stack(results).double().mean())}

    evaluator = Evaluator(Accuracy())
    for index in DefaultSampler(range(37), shuffle=True, seed=5):
        right = model(inputs[index]).argmax() == labels[index]
        evaluator.process(data_samples=[BaseDataElement(right=right)])
    scores = inputs.numpy() @ model.weight.detach().numpy().T
    return evaluator.evaluate(37)['accuracy'], float((scores.argmax(1) == labels.numpy()).mean())


@pytest.mark.distributed
def test_the_accuracy_of_two_ranks_is_that_of_numpy_over_the_whole_dataset():
    (first, expected), (second, _) = run_distributed(evaluate_accuracy, 2)
    assert first == second == expected


def evaluate_failing(rank, world_size, name):
    metric = {'broken': Broken, 'wrong': Wrong, 'unsendable': Unsendable}[name]()
    metric.process(None, [rank])
    try:
        metric.evaluate(2)
    except Exception as error:
        # The ranks go on together.
        assert metric.results == []
        fine = Keep()
        fine.process(None, [rank])
        return type(error).__name__, str(error), fine.evaluate(2)['keep/order']
    return None


@pytest.mark.distributed
def test_a_failure_on_rank_0_reaches_every_rank():
    first, second = run_distributed(evaluate_failing, 2, 'broken')
    assert first == ('ZeroDivisionError', 'cannot divide 2 by nothing', [0, 1])
    assert second[0] == 'RuntimeError'
    assert 'Broken failed on rank 0' in second[1]
    assert 'ZeroDivisionError: cannot divide 2 by nothing' in second[1]
    assert second[2] == [0, 1]


@pytest.mark.distributed
@pytest.mark.parametrize('name', ['wrong', 'unsendable'])
def test_numbers_that_cannot_be_shared_fail_on_every_rank(name):
    outcomes = run_distributed(evaluate_failing, 2, name)
    assert all(outcome is not None for outcome in outcomes)


def evaluate_unpicklable(rank, world_size):
    metric = Keep()
    metric.process(None, [(lambda: None) if rank == 1 else rank])
    with pytest.raises(RuntimeError, match='rank 1'):
        metric.evaluate(2)
    return True


@pytest.mark.distributed
def test_results_that_cannot_be_sent_fail_on_every_rank():
    assert run_distributed(evaluate_unpicklable, 2) == [True, True]


def dump_share(rank, world_size, path):
    metric = DumpResults(path)
    for index in DefaultSampler(range(5), shuffle=False, seed=0):
        metric.process(None, [{'index': index, 'rank': rank, 'row': torch.full((2,), index)}])
    return metric.evaluate(5)


@pytest.mark.distributed
def test_rank_0_writes_the_predictions_of_all_ranks(tmp_path):
    path = tmp_path / 'out.pkl'
    assert run_distributed(dump_share, 2, str(path)) == [{}, {}]
    written = pickle.loads(path.read_bytes())
    assert [(entry['index'], entry['rank']) for entry in written] == [
        (0, 0), (1, 1), (2, 0), (3, 1), (4, 0),
    ]  # fmt: skip
    assert written[3]['row'].tolist() == [3, 3]
    assert [entry.name for entry in tmp_path.iterdir()] == ['out.pkl']
