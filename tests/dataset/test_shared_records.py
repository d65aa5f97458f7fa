"""Workers share the serialised records of a dataset, whatever starts them, and leave nothing."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

from mmengine.dataset import BaseDataset, ConcatDataset, pseudo_collate

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    not Path('/proc/self/smaps_rollup').exists(), reason='proportional set sizes of Linux'
)


class Numbers(BaseDataset):
    def load_data_list(self) -> list[dict[str, Any]]:
        return [{'number': number, 'text': 'x' * 100} for number in range(50)]


def _shared_mappings() -> int:
    return Path('/proc/self/smaps').read_text().count('memfd:mmengine')


class Looking(Numbers):
    """Its samples say how often the process maps shared memory, and whether it can be written."""

    def __getitem__(self, index: int) -> Any:
        return (
            self.get_data_info(index)['number'],
            _shared_mappings(),
            self.data_bytes.flags.writeable,
        )


def _loaded(dataset: Any, method: str, workers: int = 1) -> list[Any]:
    loader = DataLoader(
        dataset,
        batch_size=5,
        num_workers=workers,
        multiprocessing_context=method,
        collate_fn=list,
    )
    return [sample for batch in loader for sample in batch]


# A worker that is spawned imports torch anew, which takes seconds; the server of forks has it.
@pytest.mark.parametrize(('method', 'workers'), [('spawn', 1), ('forkserver', 2)])
def test_started_workers_read_the_records_of_their_parent(method, workers):
    dataset = Looking()
    before = dataset.data_bytes
    samples = _loaded(dataset, method, workers)
    assert [number for number, _, _ in samples] == list(range(50))
    assert all(mapped == 1 and not writable for _, mapped, writable in samples)
    # The parent has moved its records into the same memory, once.
    assert _shared_mappings() >= 1
    moved = dataset.data_bytes
    assert moved is not before
    assert np.array_equal(moved, before)
    assert _loaded(dataset, method, workers) == samples
    assert dataset.data_bytes is moved


def test_datasets_in_others_are_shared_too():
    samples = _loaded(ConcatDataset([Looking(), Looking()]), 'forkserver')
    assert [number for number, _, _ in samples] == [*range(50), *range(50)]
    assert all(mapped == 2 for _, mapped, _ in samples)


def test_a_subset_and_a_copy_of_shared_records_are_separate():
    dataset = Numbers()
    first = next(iter(DataLoader(dataset, 1, num_workers=1, multiprocessing_context='forkserver',
                                 collate_fn=pseudo_collate)))  # fmt: skip
    assert int(first['number'][0]) == 0
    subset = dataset.get_subset([3, 4])
    assert [subset[index]['number'] for index in range(2)] == [3, 4]
    for other in (copy.deepcopy(dataset), pickle.loads(pickle.dumps(dataset))):
        assert [other[index]['number'] for index in range(50)] == list(range(50))
        assert '_shared_records' not in vars(other)
        other.get_subset_(2)
    dataset.get_subset_([7])
    assert _numbers(dataset) == _numbers_of_workers(dataset) == [7]


def _numbers(dataset: Any) -> list[int]:
    return [dataset[index]['number'] for index in range(len(dataset))]


def _numbers_of_workers(dataset: Any) -> list[int]:
    return [sample['number'] for sample in _loaded(dataset, 'forkserver')]


@pytest.mark.parametrize('settings', [{'serialize_data': False}, {'indices': []}])
def test_records_that_are_not_serialised_or_empty_load_as_before(settings):
    dataset = Numbers(**settings)
    assert _numbers_of_workers(dataset) == _numbers(dataset)


def test_the_memory_of_all_processes_is_that_of_one_copy():
    sys.path.insert(0, str(ROOT / 'benchmarks'))
    try:
        from annotation_memory import copies
    finally:
        sys.path.remove(str(ROOT / 'benchmarks'))
    ratio, size, _ = copies(100_000, 'spawn', 1)
    assert size > 15 * 2**20
    # Two processes with a copy each would be 2.
    assert 0.5 < ratio < 1.3


_KILLED = """
import os, sys, time
from torch.utils.data import DataLoader
sys.path.insert(0, {folder!r})
from test_shared_records import Looking

if __name__ == '__main__':
    batches = iter(DataLoader(Looking(), 5, num_workers=1, multiprocessing_context='spawn',
                              collate_fn=list, persistent_workers=True))
    next(batches)
    print('READY', flush=True)
    time.sleep(1000)
"""


def test_nothing_is_left_when_all_processes_are_killed(tmp_path):
    script = tmp_path / 'killed.py'
    script.write_text(_KILLED.format(folder=str(Path(__file__).parent)))
    before = set(os.listdir('/dev/shm'))
    with subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b'READY\n'
        os.killpg(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while _with_argument(str(script)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # What other tests have there at this time does not count.
    left = set(os.listdir('/dev/shm')) - before
    assert not [name for name in left if name.startswith(('mmengine', 'psm', 'pym'))]
    assert multiprocessing.active_children() == []


def _with_argument(text: str) -> bool:
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        try:
            if text.encode() in path.read_bytes():
                return True
        except OSError:
            continue
    return False
