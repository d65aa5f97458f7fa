"""A run resumes from the newest checkpoint that is whole, whatever happened to the files."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import xxhash
from torch import nn

from mmengine._checkpoint import _digest, _ledger, _newest, _verify
from mmengine._checkpoint._verify import fault_of
from mmengine._checkpoint.files import CheckpointReadError, read_checkpoint
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.runner import Runner


class Line(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(64))

    def forward(self, inputs: Any, mode: str = 'loss') -> Any:
        return {'loss': (self.weight * inputs[0]).sum()} if mode == 'loss' else [1.0]


class Mean(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.extend(data_samples)

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        return {'acc': sum(results) / len(results)}


def _runner(work_dir: Path, max_epochs: int = 4, resume: Any = False, **kwargs: Any) -> Runner:
    return Runner(
        Line(),
        str(work_dir),
        train_dataloader={'dataset': [{'inputs': 1.0}] * 2, 'batch_size': 2},
        train_cfg={'by_epoch': True, 'max_epochs': max_epochs},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
        default_hooks={'checkpoint': {'type': 'CheckpointHook', 'interval': 1, **kwargs}},
        resume=resume,
        default_scope='mmengine',
    )


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work_dir = tmp_path_factory.mktemp('trained') / 'run'
    _runner(work_dir, max_epochs=3).train()
    return work_dir


@pytest.fixture
def work_dir(trained: Path, tmp_path: Path) -> Path:
    target = tmp_path / 'run'
    shutil.copytree(trained, target)
    (target / 'last_checkpoint').write_text(str(target / 'epoch_3.pth'))
    return target


def _resumed_epoch(work_dir: Path) -> int:
    runner = _runner(work_dir, resume=True)
    runner.load_or_resume()
    return runner.epoch


def test_each_file_has_a_line_with_its_hash(work_dir: Path) -> None:
    lines = [json.loads(line) for line in (work_dir / 'checkpoints.jsonl').read_text().splitlines()]
    assert [(line['file'], line['event'], line['epoch'], line['iter']) for line in lines] == [
        (f'epoch_{epoch}.pth', 'saved', epoch, epoch) for epoch in (1, 2, 3)
    ]
    for line in lines:
        content = (work_dir / line['file']).read_bytes()
        assert line['bytes'] == len(content)
        assert line['xxh3'] == xxhash.xxh3_128(content).hexdigest()
    assert len({line['config'] for line in lines}) == 1


def _flip(path: Path, position: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(position * (len(content) - 1))] ^= 4
    path.write_bytes(content)


def _flip_a_weight(path: Path) -> None:
    content = path.read_bytes()
    weights = torch.load(path)['state_dict']['weight'].numpy().tobytes()
    _flip(path, (content.index(weights) + 5) / (len(content) - 1))


def _make_unreadable(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], Any]] = {
    'one bit of its form': lambda path: _flip(path, 0),
    'one bit of a weight': _flip_a_weight,
    'cut in half': lambda path: os.truncate(path, path.stat().st_size // 2),
    'some bytes short': lambda path: os.truncate(path, path.stat().st_size - 30),
    'empty': lambda path: path.write_bytes(b''),
    'text': lambda path: path.write_text('not a checkpoint'),
    'zeros': lambda path: path.write_bytes(bytes(path.stat().st_size)),
    'gone': lambda path: path.unlink(),
    'an empty folder': _make_unreadable,
    'a link to nothing': lambda path: (path.unlink(), path.symlink_to('nowhere')),
}


@pytest.mark.parametrize('kind', DAMAGE)
@pytest.mark.parametrize('has_ledger', [True, False])
def test_a_damaged_checkpoint_is_passed_over(
    kind: str, has_ledger: bool, work_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not has_ledger:
        (work_dir / 'checkpoints.jsonl').unlink()
    DAMAGE[kind](work_dir / 'epoch_3.pth')
    assert _resumed_epoch(work_dir) == 2
    assert 'epoch_3.pth: ' in capsys.readouterr().out


POINTERS: dict[str, Callable[[Path], Any]] = {
    'gone': lambda path: path.unlink(),
    'empty': lambda path: path.write_text(''),
    'not text': lambda path: path.write_bytes(b'\xff\xfe\x00'),
    'of a file that is not there': lambda path: path.write_text('/gone/epoch_9.pth'),
    'a folder': _make_unreadable,
    'of a folder': lambda path: path.write_text(str(path.parent)),
    'several lines': lambda path: path.write_text('a\nb'),
}


@pytest.mark.parametrize('kind', POINTERS)
def test_a_lost_pointer_is_passed_over(kind: str, work_dir: Path) -> None:
    POINTERS[kind](work_dir / 'last_checkpoint')
    assert _resumed_epoch(work_dir) == 3


def test_the_pointer_decides_where_it_names_a_whole_file(work_dir: Path) -> None:
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_1.pth'))
    assert _resumed_epoch(work_dir) == 1


def test_nothing_whole_is_an_error_and_an_empty_folder_a_start(
    work_dir: Path, tmp_path: Path
) -> None:
    for path in work_dir.glob('*.pth'):
        path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(CheckpointReadError, match='none of them is whole') as caught:
        _resumed_epoch(work_dir)
    assert all(f'epoch_{epoch}.pth: it was truncated' in str(caught.value) for epoch in (1, 2, 3))
    assert _resumed_epoch(tmp_path / 'new') == 0


def test_a_copied_work_dir_reads_its_own_files(trained: Path, work_dir: Path) -> None:
    (work_dir / 'last_checkpoint').write_text(str(trained / 'epoch_3.pth'))
    assert _resumed_from(work_dir) == work_dir / 'epoch_3.pth'
    DAMAGE['gone'](work_dir / 'epoch_3.pth')
    assert _resumed_from(work_dir) == work_dir / 'epoch_2.pth'
    for epoch in (1, 2):
        DAMAGE['gone'](work_dir / f'epoch_{epoch}.pth')
    with pytest.raises(CheckpointReadError, match='none of them is whole'):
        _resumed_from(work_dir)


def _resumed_from(work_dir: Path) -> Path:
    runner = _runner(work_dir, resume=True)
    return Path(str(runner.strategy.io.newest(runner.work_dir)))


OTHERS: dict[str, Any] = {
    'weights alone': {'weight': torch.ones(64)},
    'weights under their key': {'state_dict': {'weight': torch.ones(64)}, 'meta': {}},
    'a list': [1, 2],
    'a tensor': torch.ones(3),
}


@pytest.mark.parametrize('kind', OTHERS)
@pytest.mark.parametrize('has_ledger', [True, False])
def test_a_file_that_holds_no_run_is_passed_over(
    kind: str, has_ledger: bool, work_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not has_ledger:
        (work_dir / 'checkpoints.jsonl').unlink()
    torch.save(OTHERS[kind], work_dir / 'epoch_3.pth')
    assert _resumed_epoch(work_dir) == 2
    assert 'epoch_3.pth: it does not hold the position of a run' in capsys.readouterr().out


def test_a_resumed_checkpoint_without_an_optimizer_is_told(
    work_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = torch.load(work_dir / 'epoch_3.pth')
    del checkpoint['optimizer']
    torch.save(checkpoint, work_dir / 'other.pth')
    runner = _runner(work_dir, resume=str(work_dir / 'other.pth'))
    runner.load_or_resume()
    assert 'The checkpoint has no state of the optimizer' in capsys.readouterr().out


def test_no_flipped_bit_loads_in_silence(
    work_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """80 positions over the file; given by name, a file whose content is the same is told."""
    path = work_dir / 'epoch_3.pth'
    whole = path.read_bytes()
    expected = read_checkpoint(path)['state_dict']['weight']
    silent = []
    for step in range(80):
        path.write_bytes(whole)
        _flip(path, step / 79)
        MMLogger.get_instance(f'flip {step}')  # writes where this test reads, each message once
        capsys.readouterr()
        try:
            found = read_checkpoint(path)
        except CheckpointReadError:
            continue
        assert torch.equal(found['state_dict']['weight'], expected)
        if 'is not the file that the run wrote' not in capsys.readouterr().out:
            silent.append(step)
    assert silent == []


def test_damage_to_a_compressed_file_is_told(work_dir: Path) -> None:
    """What zlib raises is a reason to pass the file over, not an error of the search."""
    path = work_dir / 'epoch_3.pth'
    with zipfile.ZipFile(path) as plain:
        parts = {name: plain.read(name) for name in plain.namelist()}
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as packed:
        for name, content in parts.items():
            packed.writestr(name, content)
    assert fault_of(path) is None
    with zipfile.ZipFile(path) as packed:
        part = max(packed.infolist(), key=lambda info: info.compress_size)
    content = bytearray(path.read_bytes())
    # Behind the header of 30 bytes and the name: bits 1 and 2 are the type of the block, and there
    # is no type 3 (RFC 1951, 3.2.3).
    content[part.header_offset + 30 + len(part.filename)] |= 0b110
    path.write_bytes(content)
    assert 'Error -3 while decompressing' in str(fault_of(path))


def test_a_name_that_is_written_again_has_the_new_hash(work_dir: Path) -> None:
    runner = _runner(work_dir, max_epochs=3)
    runner.train()
    assert runner.strategy.io.newest(runner.work_dir) == str(work_dir / 'epoch_3.pth')


def test_a_file_that_a_user_wrote_in_its_place_is_used_and_told(
    work_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = work_dir / 'epoch_3.pth'
    changed = torch.load(path)
    changed['state_dict']['weight'].fill_(5)
    torch.save(changed, path)
    runner = _runner(work_dir, resume=True)
    runner.load_or_resume()
    assert runner.model.weight.tolist() == [5.0] * 64
    assert 'is not the file that the run wrote' in capsys.readouterr().out


def test_a_kill_before_the_line_leaves_the_file_whole(work_dir: Path) -> None:
    """The last line of a crash is cut off, and the file has no line: its checksums speak for it."""
    ledger = work_dir / 'checkpoints.jsonl'
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b''.join(lines[:-1]) + lines[-1][:20])
    assert _resumed_epoch(work_dir) == 3


def test_validations_and_best_checkpoints_have_lines(tmp_path: Path) -> None:
    work_dir = tmp_path / 'run'
    runner = Runner(
        Line(),
        str(work_dir),
        train_dataloader={'dataset': [{'inputs': 1.0}] * 2, 'batch_size': 2},
        val_dataloader={'dataset': [{'inputs': 1.0}], 'batch_size': 1},
        val_cfg={},
        val_evaluator=Mean(),
        train_cfg={'by_epoch': True, 'max_epochs': 2},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
        default_hooks={
            'checkpoint': {'type': 'CheckpointHook', 'save_best': 'acc', 'rule': 'greater'}
        },
        default_scope='mmengine',
    )
    runner.train()
    entries = {}
    for line in (work_dir / 'checkpoints.jsonl').read_text().splitlines():
        entry = json.loads(line)
        entries.setdefault(entry['file'], []).append(entry)
    assert entries['best_acc_epoch_1.pth'][0]['event'] == 'saved'
    validated = [entry for entry in entries['epoch_2.pth'] if entry['event'] == 'validated']
    assert validated[0]['metrics'] == {'acc': 1.0}


@pytest.fixture
def kept_elsewhere(tmp_path: Path) -> Path:
    """A work dir whose checkpoints are in another folder; returns the work dir."""
    work_dir = tmp_path / 'run'
    _runner(work_dir, max_epochs=3, out_dir=str(tmp_path / 'checkpoints')).train()
    assert not list(work_dir.glob('*.pth'))
    return work_dir


@pytest.mark.parametrize('kind', POINTERS)
def test_a_folder_outside_the_work_dir_is_searched_without_the_pointer(
    kind: str, kept_elsewhere: Path
) -> None:
    POINTERS[kind](kept_elsewhere / 'last_checkpoint')
    assert _resumed_epoch(kept_elsewhere) == 3
    DAMAGE['cut in half'](kept_elsewhere.parent / 'checkpoints' / 'run' / 'epoch_3.pth')
    assert _resumed_epoch(kept_elsewhere) == 2


def test_a_folder_outside_is_noted_once(kept_elsewhere: Path) -> None:
    lines = (kept_elsewhere / 'checkpoints.jsonl').read_text().splitlines()
    assert [json.loads(line)['folder'] for line in lines] == [
        str(kept_elsewhere.parent / 'checkpoints' / 'run')
    ]


def test_a_resumed_file_is_hashed_once_and_the_ledger_read_once_for_all_candidates(
    work_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DAMAGE['one bit of a weight'](work_dir / 'epoch_3.pth')
    hashed, read = [], []
    hash_of_open, read_ledger = _digest._hash_of_open, _ledger.read_ledger

    def count(file: int) -> str:
        hashed.append(os.fstat(file).st_ino)
        return hash_of_open(file)

    monkeypatch.setattr(_digest, '_hash_of_open', count)
    for module in (_ledger, _newest):
        monkeypatch.setattr(
            module, 'read_ledger', lambda folder: read.append(folder) or read_ledger(folder)
        )
    inodes = [(work_dir / f'epoch_{epoch}.pth').stat().st_ino for epoch in (3, 2)]
    runner = _runner(work_dir, resume=True)
    runner.load_or_resume()
    assert runner.epoch == 2
    assert hashed == inodes
    assert len(read) == 1


def test_a_file_that_changes_after_it_was_found_whole_is_hashed_again(work_dir: Path) -> None:
    path = work_dir / 'epoch_3.pth'
    assert fault_of(path, is_read_next=True) is None
    DAMAGE['one bit of a weight'](path)
    with pytest.raises(CheckpointReadError, match='checksum'):
        read_checkpoint(path)
    # Another reader, later, is not served by what was found then.
    shutil.copy(work_dir / 'epoch_2.pth', path)
    assert fault_of(path, is_read_next=True) is None
    read_checkpoint(path)
    assert _verify._just_verified is None


def test_a_line_after_one_that_was_cut_off_is_read(work_dir: Path) -> None:
    ledger = work_dir / 'checkpoints.jsonl'
    ledger.write_bytes(ledger.read_bytes()[:-9])
    _ledger.append_entry(work_dir / 'epoch_4.pth', 'saved', iter=4)
    assert list(_ledger.read_entries(work_dir)) == ['epoch_1.pth', 'epoch_2.pth', 'epoch_4.pth']
