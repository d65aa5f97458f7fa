"""Samples that raise: named by default; with on_bad_sample='skip' replaced, counted and listed."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bad_sample_run import Photos, make
from rank_processes import RankProcesses
from torch.utils.data import DataLoader, IterableDataset, SubsetRandomSampler

from mmengine.dataset._bad_samples import BadSamplesError
from mmengine.dataset._sample_order import bad_samples_of, begin_pass, number_samples
from mmengine.evaluator import BaseMetric
from mmengine.runner import Runner
from mmengine.utils.errors import ArgumentError

SCRIPT = Path(__file__).with_name('bad_sample_run.py')
ROOT = SCRIPT.parents[2]
LIMIT_S = 120.0
SKIP = {'bad': [7, 8], 'on_bad_sample': 'skip'}


def _trained(work_dir: Path, **settings: Any) -> list[list[list[int]]]:
    """Index and draw of each sample of each batch."""
    runner = make(str(work_dir), settings)
    runner.train()
    return runner.model.seen


def _listed(work_dir: Path, name: str = 'bad_samples.jsonl') -> list[dict[str, Any]]:
    rows = []
    for file in sorted(work_dir.glob(f'*/{name}')):
        rows += [json.loads(line) for line in file.read_text().splitlines()]
    return rows


def _log(work_dir: Path) -> str:
    return ''.join(file.read_text() for file in sorted(work_dir.glob('*/*.log')))


WORKERS = pytest.mark.parametrize(
    'workers',
    [
        {},
        {'workers': 2},
        {'workers': 2, 'persistent': True},
        # Once: a worker that is spawned imports torch anew, which takes seconds.
        {'workers': 1, 'method': 'spawn', 'persistent': True},
        {'workers': 2, 'method': 'forkserver'},
    ],
    ids=['no-worker', 'workers', 'persistent', 'spawn', 'forkserver'],
)


@WORKERS
def test_by_default_the_error_names_dataset_index_and_path(tmp_path, workers):
    with pytest.raises(OSError) as caught:
        _trained(tmp_path, bad=[7], **workers)
    text = ''.join(traceback.format_exception(caught.value))
    assert "Raised while loading the sample with index 7 of Photos, path 'photos/7.jpg'." in text
    assert _listed(tmp_path) == []


@WORKERS
def test_a_bad_sample_is_replaced_counted_and_listed_whatever_loads_it(tmp_path, workers):
    good = _trained(tmp_path / 'good')
    seen = _trained(tmp_path / 'bad', **SKIP, **workers)
    rows = _listed(tmp_path / 'bad')
    # Each of the 12 samples comes once an epoch: index 7 and 8 are met twice in two epochs.
    assert sorted(row['index'] for row in rows) == [7, 7, 8, 8]
    for row in rows:
        assert row['stage'] == 'training'
        assert row['path'] == f'photos/{row["index"]}.jpg'
        assert row['error'] == f'OSError: truncated image {row["index"]}'
        batch, place = divmod(row['pass'] * 12 + row['position'], 3)
        assert good[batch][place][0] == row['index']
        # The sample in its place is loaded in the random state of the place.
        assert seen[batch][place] == [row['replaced_by'], good[batch][place][1]]
        good[batch][place] = seen[batch][place]
    assert seen == good  # nothing else has changed
    log = _log(tmp_path / 'bad')
    assert log.count('A sample of the training could not be loaded: index 7 (photos/7.jpg)') == 2
    assert log.count('2 samples of this training could not be loaded, and others took') == 2
    assert '(4 since the run was started)' in log


@pytest.mark.parametrize('workers', [{}, {'workers': 2}], ids=['no-worker', 'workers'])
@pytest.mark.parametrize('length', [{}, {'iters': 8}], ids=['epochs', 'iters'])
def test_a_resumed_run_has_the_samples_of_the_unbroken_one_and_lists_each_once(
    tmp_path, workers, length
):
    expected = _trained(tmp_path / 'unbroken', **SKIP, **workers, **length)
    work_dir = tmp_path / 'broken'
    stopped = make(str(work_dir), {**SKIP, **workers, **length, 'stop_after': 3})
    with pytest.raises(SystemExit):
        stopped.train()
    first = stopped.model.seen
    rest = _trained(work_dir, **SKIP, **workers, **length, resume=True, batch_size=3)
    assert first + rest == expected
    keys = ('pass', 'position', 'index', 'replaced_by')
    assert sorted(tuple(row[key] for key in keys) for row in _listed(work_dir)) == sorted(
        tuple(row[key] for key in keys) for row in _listed(tmp_path / 'unbroken')
    )


def test_what_takes_the_place_does_not_depend_on_the_batch_size(tmp_path):
    three = _trained(tmp_path / 'three', **SKIP)
    four = _trained(tmp_path / 'four', **SKIP, batch_size=4)
    assert np.concatenate(three).tolist() == np.concatenate(four).tolist()


@pytest.mark.parametrize('workers', [{}, {'workers': 2}], ids=['no-worker', 'workers'])
def test_too_many_in_a_row_end_the_run_and_are_listed(tmp_path, workers):
    settings = {'bad': list(range(12)), 'on_bad_sample': {'policy': 'skip', 'give_up_after': 3}}
    with pytest.raises(BadSamplesError, match=r'3 samples in a row .*give_up_after=3') as caught:
        _trained(tmp_path, **settings, **workers)
    assert str(caught.value).count('OSError: truncated image') >= 3
    rows = _listed(tmp_path)
    assert [row['position'] for row in rows][:3] == [0, 0, 0]
    assert [row['replaced_by'] for row in rows] == [None] * len(rows)


def test_without_a_random_state_for_each_sample_bad_ones_are_replaced_too(tmp_path):
    seen = _trained(tmp_path, **SKIP, randomness={'per_sample': False})
    assert not {7, 8} & {index for batch in seen for index, _ in batch}
    assert [len(batch) for batch in seen] == [3] * 8
    # Index 7 and 8 are met once an epoch; a sample drawn in their place may be bad too.
    assert len({(row['pass'], row['position']) for row in _listed(tmp_path)}) == 4


class _AtOnce(Photos):
    def __getitems__(self, indices: list[int]) -> list[torch.Tensor]:
        return [self[index] for index in indices]


def _loader(dataset: Any, **options: Any) -> DataLoader:
    config = {'dataset': dataset, 'batch_size': 3, 'collate_fn': {'type': 'default_collate'}}
    return Runner.build_dataloader({**config, 'on_bad_sample': 'skip', **options}, seed=1)


def test_a_dataset_that_reads_whole_batches_is_asked_for_single_samples():
    loader = _loader(_AtOnce(12, [4]))
    number_samples(loader, 5)
    begin_pass(loader, 0, 0)
    indices = [int(index) for batch in loader for index in batch[:, 0]]
    (row,) = bad_samples_of(loader).take()
    assert (row.index, row.position) == (4, 4)
    assert indices == [0, 1, 2, 3, row.replaced_by, *range(5, 12)]
    with pytest.raises(OSError) as caught:
        plain = _loader(_AtOnce(12, [4]), on_bad_sample='raise')
        number_samples(plain, 5)
        list(plain)
    text = ''.join(traceback.format_exception(caught.value))
    assert 'by __getitems__ of _AtOnce for the samples with the indices [3, 4, 5]' in text


def test_a_sampler_of_a_part_of_the_data_never_gets_a_sample_of_the_rest():
    torch.manual_seed(0)
    part = [0, 2, 4, 6, 8, 10]
    loader = _loader(Photos(12, [2, 6]), sampler=SubsetRandomSampler(part))
    for _ in range(20):
        indices = [int(index) for batch in loader for index in batch[:, 0]]
        assert set(indices) <= {0, 4, 8, 10}
        assert len(indices) == 6
    alone = _loader(Photos(12, [2]), sampler=SubsetRandomSampler([2]))
    with pytest.raises(BadSamplesError, match='its batch has no other sample'):
        list(alone)


def test_a_record_that_is_broken_does_not_hide_the_error():
    class Broken(Photos):
        def get_data_info(self, index: int) -> dict[str, Any]:
            raise ValueError('no record')

    loader = _loader(Broken(4, [1]), on_bad_sample='raise')
    number_samples(loader, 1)
    with pytest.raises(OSError) as caught:
        list(loader)
    text = ''.join(traceback.format_exception(caught.value))
    assert 'index 1 of Broken, path unknown (ValueError in get_data_info)' in text


class _Stream(IterableDataset):
    def __iter__(self) -> Any:
        yield torch.zeros(1)
        raise OSError('gone')


def test_a_stream_says_where_it_raised_and_cannot_skip():
    with pytest.raises(ArgumentError, match='_Stream is a stream'):
        _loader(_Stream())
    loader = _loader(_Stream(), on_bad_sample='raise', batch_size=1)
    number_samples(loader, 1)
    with pytest.raises(OSError) as caught:
        list(loader)
    text = ''.join(traceback.format_exception(caught.value))
    assert 'Raised by _Stream after it had given 1 samples here.' in text


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        ('skipp', "Did you mean 'skip'"),
        ({'policy': 'skip', 'give_up_afer': 3}, "Did you mean 'give_up_after'"),
        ({'policy': 'skip', 'give_up_after': 0}, 'positive integer, got 0'),
        (3, 'got int'),
    ],
)
def test_a_wrong_setting_is_refused(value, message):
    with pytest.raises(ArgumentError, match=message):
        _loader(Photos(2, []), on_bad_sample=value)


class _Count(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += list(data_samples)

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return {'count': float(len(results))}


class _Echo(torch.nn.Module):
    def test_step(self, data: Any) -> Any:
        return list(data)


def test_a_test_lists_its_bad_samples_and_says_what_its_metrics_count(tmp_path):
    loader = {
        'dataset': Photos(6, [2]),
        'batch_size': 2,
        'collate_fn': {'type': 'default_collate'},
        'on_bad_sample': 'skip',
    }
    runner = Runner(
        _Echo(), str(tmp_path), test_dataloader=loader, test_cfg={}, test_evaluator=_Count()
    )
    assert runner.test() == {'count': 6.0}
    rows = _listed(tmp_path)
    assert {(row['stage'], row['index'], row['position']) for row in rows} == {('test', 2, 2)}
    assert rows[-1]['replaced_by'] != 2
    assert 'The metrics count the samples in their place.' in _log(tmp_path)


def test_a_run_that_skips_nothing_has_no_part_for_it(tmp_path):
    runner = make(str(tmp_path), {})
    assert not any('BadSamples' in type(hook).__name__ for hook in runner.hooks)


@pytest.mark.distributed
@pytest.mark.parametrize('workers', [0, 2])
def test_two_ranks_replace_as_one_does_and_list_together(tmp_path, workers):
    alone = _trained(tmp_path / 'alone', **SKIP, batch_size=6, workers=workers)
    outputs = _ranks(tmp_path / 'ranks', **SKIP, batch_size=3, workers=workers)
    seen = [json.loads(text.split('SEEN ')[1]) for text in outputs]
    # Rank r has every second sample of the order, from r on.
    together = [
        [of_rank[batch][place] for place in range(3) for of_rank in seen] for batch in range(4)
    ]
    assert together == alone
    rows = _listed(tmp_path / 'ranks')
    assert sorted(row['index'] for row in rows) == [7, 7, 8, 8]
    assert {row['rank'] for row in rows} == {row['position'] % 2 for row in rows}
    keys = ('pass', 'position', 'index', 'replaced_by')
    assert [[row[key] for key in keys] for row in rows] == [
        [row[key] for key in keys] for row in _listed(tmp_path / 'alone')
    ]


@pytest.mark.distributed
def test_a_bad_sample_of_one_rank_ends_both_by_default(tmp_path):
    outputs = _ranks(tmp_path, fails=True, bad=[7], batch_size=3)
    for text in outputs:
        assert 'OSError: truncated image 7' in text
        assert 'index 7 of Photos' in text or sys.version_info < (3, 11)


def _ranks(work_dir: Path, fails: bool = False, **settings: Any) -> list[str]:
    with RankProcesses(SCRIPT, work_dir, 2, settings, LIMIT_S) as ranks:
        codes = [process.wait(LIMIT_S) for process in ranks.processes]
    outputs = [output.read_text() for output in ranks.outputs]
    assert codes == [int(fails)] * 2, outputs
    return outputs
