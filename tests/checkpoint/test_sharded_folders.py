"""Checkpoint folders: what is read from them, what is refused, and what a kill leaves."""

from __future__ import annotations

import json
import os
import pickle
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import nn

from mmengine._checkpoint._newest import newest_whole
from mmengine._checkpoint._stored_tensor import StoredTensor
from mmengine._checkpoint._verify import fault_of
from mmengine._checkpoint.files import CheckpointReadError, mapped_reads, read_checkpoint
from mmengine.fileio import _atomic
from mmengine.fileio._atomic import remove_temporaries
from mmengine.runner import load_checkpoint
from mmengine.strategy.checkpoint_io import FileCheckpointIO, ShardedCheckpointIO


class Evil:
    """Unpickling it runs code."""

    def __reduce__(self) -> Any:
        return os.system, ('touch executed',)


def _content(value: float = 1.0, iteration: int = 10) -> dict[str, Any]:
    weights = OrderedDict(
        weight=torch.full((6, 3), value),
        half=torch.arange(4, dtype=torch.bfloat16),
        count=torch.tensor(7),
        empty=torch.zeros(0, 2),
    )
    weights._metadata = {'': {'version': 2}}  # type: ignore[attr-defined]  # torch keeps them there
    return {
        'meta': {'iter': iteration, 'epoch': 1},
        'state_dict': weights,
        'optimizer': {
            'state': {0: {'step': torch.tensor(3.0), 'exp_avg': torch.randn(80, 90)}},
            'param_groups': [{'lr': 0.1, 'params': [0]}],
        },
        'pair': (torch.randn(70, 70), 4),
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    io = ShardedCheckpointIO()
    with io.gathering():
        io.write(content, str(path))


def _assert_equal(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / 'iter_10.pth', _content())
    return tmp_path / 'iter_10.pth'


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    content = _content()
    _write(tmp_path / 'iter_10.pth', content)
    found = read_checkpoint(tmp_path / 'iter_10.pth')
    _assert_equal(found, content)
    assert found['state_dict']._metadata == {'': {'version': 2}}
    assert type(found['optimizer']['state'][0]['exp_avg']) is torch.Tensor
    on_meta = read_checkpoint(tmp_path / 'iter_10.pth', 'meta')
    assert on_meta['optimizer']['state'][0]['step'].is_meta


def test_torch_reads_its_weights(folder: Path) -> None:
    weights = {f'state_dict.{name}': torch.empty_like(value)
               for name, value in _content()['state_dict'].items() if value.numel()}  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # that there is no process group
        dcp.load(weights, checkpoint_id=str(folder))
    assert weights['state_dict.weight'].eq(1).all()
    assert weights['state_dict.count'] == 7


def test_mapped_tensors_are_read_when_they_are_used(folder: Path) -> None:
    with mapped_reads():
        weight = read_checkpoint(folder, 'cpu')['state_dict']['weight']
    assert isinstance(weight, StoredTensor)
    assert (weight.shape, weight.dtype, weight.device.type) == ((6, 3), torch.float32, 'cpu')
    part = weight.part((4, 1), (2, 2))
    assert type(part) is torch.Tensor
    assert part.untyped_storage().nbytes() == 2 * 2 * 4
    assert (weight + 1).eq(2).all()
    linear = nn.Linear(3, 6, bias=False)
    linear.load_state_dict({'weight': weight})
    assert linear.weight.eq(1).all()


@pytest.mark.parametrize('damage', ['flipped bit', 'cut', 'missing part', 'no manifest'])
def test_damage_is_found_and_the_one_before_is_used(
    damage: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = folder.with_name('iter_20.pth')
    _write(newer, _content(2.0, 20))
    assert newest_whole(str(folder.parent)) == str(newer)
    part = newer / '__0_0_0.distcp'
    if damage == 'flipped bit':
        content = bytearray(part.read_bytes())
        content[content.index(torch.full((6, 3), 2.0).numpy().tobytes()) + 3] ^= 1
        part.write_bytes(content)
    elif damage == 'cut':
        os.truncate(part, part.stat().st_size - 5)
    elif damage == 'missing part':
        part.unlink()
    else:
        (newer / 'whole.json').unlink()
    assert newest_whole(str(folder.parent)) == str(folder)
    assert 'iter_20.pth: ' in capsys.readouterr().out
    assert fault_of(newer) is not None
    with pytest.raises(CheckpointReadError, match='whole.json' if 'man' in damage else '__0_0_0'):
        read_checkpoint(newer)


def _replace_metadata(folder: Path, content: bytes) -> None:
    """As somebody would who makes a folder: the digests are right."""
    (folder / '.metadata').write_bytes(content)
    (folder / 'whole.json').unlink()
    (folder / 'state.pth').unlink()
    folder.with_name('checkpoints.jsonl').unlink(missing_ok=True)


HOSTILE = {
    'runs code': lambda text: pickle.dumps(Evil()),
    'file outside': lambda text: text.replace(b'__0_0_0.distcp', b'../../secret.x'),
    'absolute file': lambda text: text.replace(b'__0_0_0.distcp', b'/etc/passwd-co'),
    'not a pickle': lambda text: b'{}',
    'cut': lambda text: text[: len(text) // 2],
    'another class': lambda text: text.replace(b'MetadataIndex', b'MetadataOther'),
}


@pytest.mark.parametrize('kind', HOSTILE)
def test_a_hostile_metadata_is_refused(kind: str, folder: Path) -> None:
    text = (folder / '.metadata').read_bytes()
    changed = HOSTILE[kind](text)
    assert changed != text
    _replace_metadata(folder, changed)
    with pytest.raises(CheckpointReadError, match=r'Nothing in it was executed|is missing'):
        read_checkpoint(folder)
    assert not Path('executed').exists()


def test_tensors_of_impossible_sizes_are_refused(folder: Path) -> None:
    metadata = pickle.loads((folder / '.metadata').read_bytes())
    entry = metadata.state_dict_metadata['state_dict.weight']
    entry.size = entry.chunks[0].sizes = torch.Size([2**40, 3])
    _replace_metadata(folder, pickle.dumps(metadata))
    with pytest.raises(CheckpointReadError, match='larger than its bytes'):
        read_checkpoint(folder)


@pytest.mark.parametrize('name', ['state.pth', '__0_0_0.distcp'])
def test_objects_in_its_files_are_not_executed(name: str, folder: Path) -> None:
    if name == 'state.pth':
        torch.save({'meta': Evil(), 'state_dict': {}}, folder / name)
    else:
        data = (folder / name).read_bytes()
        evil = pickle.dumps(Evil())
        (folder / name).write_bytes(evil + data[len(evil) :])
    (folder / 'whole.json').unlink()
    with pytest.raises(CheckpointReadError):
        read_checkpoint(folder)
    files = {one.name: {'bytes': one.stat().st_size, 'xxh3': ''} for one in folder.iterdir()}
    (folder / 'whole.json').write_text(json.dumps({'files': files}))
    with pytest.raises(CheckpointReadError):
        read_checkpoint(folder)
    assert not Path('executed').exists()


def test_a_folder_of_another_program_gives_its_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, target = nn.Linear(4, 3), nn.Linear(4, 3)
    optimizer = torch.optim.Adam(source.parameters())
    saved = {'model': source.state_dict(), 'optimizer': optimizer.state_dict(), 'step': 5}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # that there is no process group
        dcp.save(saved, checkpoint_id=str(tmp_path / 'foreign'))
    checkpoint = load_checkpoint(target, str(tmp_path / 'foreign'), 'cpu', strict=True)
    assert torch.equal(target.weight, source.weight)
    assert checkpoint['step'] == 5
    assert checkpoint['optimizer']['param_groups'][0]['lr'] == 0.001


def test_no_moment_of_a_replacement_is_without_a_whole_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends at each call in turn that changes names."""
    values = []
    for last in range(1, 6):
        left = last

        def counted(function: Any) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal left
                left -= 1
                if left == 0:
                    os._exit(0)  # nothing cleans up after a kill
                return function(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(_atomic.os, 'rename', counted(os.rename))
            patch.setattr(_atomic, 'remove_path', counted(_atomic.remove_path))
            _replace_and_die(folder, 1.0 + last)
        values.append(float(read_checkpoint(folder)['state_dict']['weight'][0, 0]))
        assert fault_of(folder) is None
        remove_temporaries(folder.parent)
        assert not list(folder.parent.glob('.*.replaced'))
        assert float(read_checkpoint(folder)['state_dict']['weight'][0, 0]) == values[-1]
    # Of `.metadata`, then of the old folder, then of the new one, which is there from then on.
    assert values == [1.0, 1.0, 1.0, 1.0, 6.0]


def _replace_and_die(folder: Path, value: float) -> None:
    """Fork, so that a kill leaves what it leaves."""
    child = os.fork()
    if child == 0:
        try:
            _write(folder, _content(value))
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0, 'it was not killed'


def test_both_forms_are_handled_alike(tmp_path: Path) -> None:
    path, best = str(tmp_path / 'iter_10.pth'), str(tmp_path / 'best_acc_iter_10.pth')
    sharded, files = ShardedCheckpointIO(), FileCheckpointIO()
    for first, second in ((sharded, files), (files, sharded)):
        with first.gathering():
            first.write(_content(1.0), path)
        first.link(path, best)
        with second.gathering():
            second.write(_content(2.0), path)
        assert fault_of(path) is None
        assert read_checkpoint(path)['state_dict']['weight'].eq(2).all()
        assert read_checkpoint(best)['state_dict']['weight'].eq(1).all()
        first.link(path, best)
        assert read_checkpoint(best)['state_dict']['weight'].eq(2).all()
        assert second.exists(path)
        first.remove(path)
        second.remove(best)
        assert not first.exists(path)
        assert sorted(os.listdir(tmp_path)) == ['checkpoints.jsonl']
