"""Streams that keep a state: tar shards, and Parquet through ``datasets``, resumed by it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
import stream_toy
import torch
from stream_toy import BATCH, loader_of
from torch.utils.data import IterableDataset, get_worker_info

from mmengine.dist import get_dist_info
from mmengine.testing._internal.distributed import run_distributed


class TarShards(IterableDataset[Any]):
    """Files of tar shards, which the workers of all ranks share; its state is a place in them.

    Each sample that is read adds a byte to the file ``reads``.
    """

    def __init__(self, folder: Path) -> None:
        self.shards = sorted(folder.glob('*.tar'))
        self.reads = folder / 'reads'
        self.place = (0, 0)

    def state_dict(self) -> dict[str, Any]:
        return {'shard': self.place[0], 'member': self.place[1]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.place = (state['shard'], state['member'])

    def __iter__(self) -> Any:
        info, (rank, ranks) = get_worker_info(), get_dist_info()
        worker, workers = (info.id, info.num_workers) if info is not None else (0, 1)
        own = self.shards[rank * workers + worker :: ranks * workers]
        first, skipped = self.place
        for shard in range(first, len(own)):
            with tarfile.open(own[shard]) as file:
                for member, entry in enumerate(file.getmembers()):
                    if shard == first and member < skipped:
                        continue
                    with self.reads.open('ab') as reads:
                        reads.write(b'.')
                    self.place = (shard, member + 1)
                    content = file.extractfile(entry)
                    assert content is not None
                    yield {'number': float(content.read())}
        self.place = (0, 0)


def write_shards(folder: Path, sizes: list[int]) -> None:
    folder.mkdir(parents=True)
    number = 0
    for shard, size in enumerate(sizes):
        with tarfile.open(folder / f'{shard:03}.tar', 'w') as file:
            for _ in range(size):
                text = str(number).encode()
                entry = tarfile.TarInfo(f'{number:06}.txt')
                entry.size = len(text)
                file.addfile(entry, io.BytesIO(text))
                number += 1


def train(folder: Path, dataset: Any, loop: dict[str, Any], workers: int, **more: Any) -> Any:
    return stream_toy.train(folder, loader_of(dataset, workers), loop, **more)


EPOCHS, ITERS = {'by_epoch': True, 'max_epochs': 2}, {'by_epoch': False, 'max_iters': 12}


@pytest.mark.parametrize('loop', [EPOCHS, ITERS], ids=['epochs', 'iterations'])
@pytest.mark.parametrize('workers', [0, 2])
def test_a_stream_goes_on_where_it_was_without_reading_again(
    tmp_path: Path, loop: dict[str, Any], workers: int
) -> None:
    # One worker has 3 batches of its shards, the other one 4: their turns shift in the first pass.
    shards = tmp_path / 'shards'
    write_shards(shards, [4, 6, 2, 2])
    unbroken = train(tmp_path / 'unbroken', TarShards(shards), loop, workers)
    assert sorted(unbroken[:14]) == list(range(14))
    for stop in (4, 7, 9):
        (shards / 'reads').unlink()
        seen = train(
            tmp_path / f'after_{stop}', TarShards(shards), loop, workers,
            load_from=str(tmp_path / 'unbroken' / f'iter_{stop}.pth'), resume=True,
        )  # fmt: skip
        assert seen == unbroken[BATCH * stop :]
        # Workers read ahead in an iteration run; nothing before the stop is read.
        if loop is EPOCHS:
            assert (shards / 'reads').stat().st_size == len(seen)


def test_another_number_of_workers_reads_from_the_begin(tmp_path: Path) -> None:
    write_shards(tmp_path / 'shards', [4, 4])
    dataset = TarShards(tmp_path / 'shards')
    train(tmp_path / 'before', dataset, {'by_epoch': True, 'max_epochs': 1}, 0)
    (tmp_path / 'shards' / 'reads').unlink()
    # Two workers have one shard each, of which four samples are left out.
    seen = train(
        tmp_path / 'now', TarShards(tmp_path / 'shards'), {'by_epoch': True, 'max_epochs': 1}, 2,
        load_from=str(tmp_path / 'before' / 'iter_2.pth'), resume=True, log_level='WARNING',
    )  # fmt: skip
    assert seen == [2, 3, 6, 7]
    assert (tmp_path / 'shards' / 'reads').stat().st_size == 8
    log = next((tmp_path / 'now').glob('*/*.log')).read_text()
    assert 'kept its state for 1 ranks with 1 readers each, and there are 1 with 2' in log


def test_parquet_through_datasets_keeps_its_state(tmp_path: Path) -> None:
    datasets = pytest.importorskip('datasets')
    for part in range(2):
        rows = [{'number': float(10 * part + row)} for row in range(6)]
        datasets.Dataset.from_list(rows).to_parquet(str(tmp_path / f'{part}.parquet'))

    def stream() -> Any:
        files = [str(tmp_path / f'{part}.parquet') for part in range(2)]
        return datasets.load_dataset(
            'parquet', data_files=files, split='train', streaming=True,
            cache_dir=str(tmp_path / 'cache'),
        )  # fmt: skip

    loop = {'by_epoch': True, 'max_epochs': 2}
    unbroken = train(tmp_path / 'unbroken', stream(), loop, 0)
    numbers = [0.0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15]
    assert unbroken == 2 * numbers
    for stop in (2, 8):
        saved = str(tmp_path / 'unbroken' / f'iter_{stop}.pth')
        assert 'streams' in torch.load(saved, weights_only=True)['meta']['data']
        seen = train(tmp_path / f'after_{stop}', stream(), loop, 0, load_from=saved, resume=True)
        assert seen == unbroken[BATCH * stop :]


def _on_ranks(rank: int, world_size: int, folder: str) -> tuple[list[float], list[float]]:
    path = Path(folder)
    loop = {'by_epoch': False, 'max_iters': 4}
    unbroken = train(path / 'unbroken', TarShards(path / 'shards'), loop, 1, launcher='pytorch')
    saved = str(path / 'unbroken' / 'iter_2.pth')
    seen = train(
        path / 'after', TarShards(path / 'shards'), loop, 1,
        launcher='pytorch', load_from=saved, resume=True,
    )  # fmt: skip
    return unbroken, seen


@pytest.mark.distributed
def test_each_rank_has_its_state(tmp_path: Path) -> None:
    write_shards(tmp_path / 'shards', [3, 5, 5, 3])
    for rank, (unbroken, seen) in enumerate(run_distributed(_on_ranks, 2, str(tmp_path))):
        assert len(unbroken) == 8
        assert seen == unbroken[2 * BATCH :], rank
