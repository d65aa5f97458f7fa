"""Shards read by WebDataset, and torchdata's StatefulDataLoader, as they are: resumed exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from stream_toy import BATCH, loader_of, train

from mmengine.testing._internal.distributed import run_distributed

# torchdata asks for a name that torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")
EPOCHS = {'by_epoch': True, 'max_epochs': 2}


def write_shards(folder: Path, sizes: list[int]) -> list[str]:
    wds = pytest.importorskip('webdataset')
    folder.mkdir()
    number = 0
    files = [folder / f'{shard:03}.tar' for shard in range(len(sizes))]
    for file, size in zip(files, sizes, strict=True):
        with file.open('wb') as stream, wds.TarWriter(stream) as writer:
            for _ in range(size):
                writer.write({'__key__': f'{number:06}', 'json': {'number': float(number)}})
                number += 1
    return [str(file) for file in files]


def shards_of(files: list[str]) -> Any:
    """What a user of WebDataset writes: shards shared by ranks and workers, files decoded."""
    wds = pytest.importorskip('webdataset')
    stream = wds.WebDataset(files, shardshuffle=False, nodesplitter=wds.split_by_node)
    return stream.decode().to_tuple('json').map(lambda sample: {'number': sample[0]['number']})


@pytest.mark.parametrize('workers', [0, 2])
def test_a_run_over_webdataset_goes_on_where_it_was(tmp_path: Path, workers: int) -> None:
    files = write_shards(tmp_path / 'shards', [4, 2, 6, 2])
    unbroken = train(tmp_path / 'unbroken', loader_of(shards_of(files), workers), EPOCHS)
    assert sorted(unbroken[:14]) == list(range(14))
    assert sorted(unbroken[14:]) == list(range(14))
    for stop in (3, 9):
        seen = train(
            tmp_path / f'after_{stop}', loader_of(shards_of(files), workers), EPOCHS,
            load_from=str(tmp_path / 'unbroken' / f'iter_{stop}.pth'), resume=True,
        )  # fmt: skip
        assert seen == unbroken[BATCH * stop :]


def _on_ranks(rank: int, world_size: int, folder: str, files: list[str]) -> Any:
    path = Path(folder)
    # How many samples a stream has is known at its end only, which ranks may not reach together.
    loop = {'by_epoch': False, 'max_iters': 4}
    loader = loader_of(shards_of(files), 0)
    unbroken = train(path / 'unbroken', loader, loop, launcher='pytorch')
    saved = str(path / 'unbroken' / 'iter_2.pth')
    loader = loader_of(shards_of(files), 0)
    seen = train(path / 'after', loader, loop, launcher='pytorch', load_from=saved, resume=True)
    return unbroken, seen


@pytest.mark.distributed
def test_two_ranks_share_the_shards_of_webdataset_once(tmp_path: Path) -> None:
    files = write_shards(tmp_path / 'shards', [4, 2, 4, 6])
    found = run_distributed(_on_ranks, 2, str(tmp_path), files)
    assert sorted(found[0][0] + found[1][0]) == list(range(16))
    for unbroken, seen in found:
        assert len(unbroken) == 8
        assert seen == unbroken[2 * BATCH :]


@pytest.mark.parametrize('own', [True, False], ids=['own generator', 'global generator'])
@pytest.mark.parametrize('workers', [0, 2])
def test_a_stateful_dataloader_resumes_by_its_own_state(
    tmp_path: Path, workers: int, own: bool
) -> None:
    stateful = pytest.importorskip('torchdata.stateful_dataloader')

    def loader() -> Any:
        dataset = [{'number': float(index)} for index in range(12)]
        generator = torch.Generator().manual_seed(3)
        return stateful.StatefulDataLoader(
            dataset, batch_size=BATCH, shuffle=True, num_workers=workers, generator=generator
        )

    unbroken = train(tmp_path / 'unbroken', loader(), EPOCHS)
    assert sorted(unbroken[:12]) == sorted(unbroken[12:]) == list(range(12))
    assert unbroken[:12] != unbroken[12:]
    for stop in (2, 6, 8):
        saved = str(tmp_path / 'unbroken' / f'iter_{stop}.pth')
        assert 'loader_states' in torch.load(saved, weights_only=False)['meta']['data']
        seen = train(tmp_path / f'after_{stop}', loader(), EPOCHS, load_from=saved, resume=True)
        assert seen == unbroken[BATCH * stop :], stop
