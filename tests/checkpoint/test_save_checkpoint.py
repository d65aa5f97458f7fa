"""Checkpoint files appear whole or not at all, and the newest one is found by its pointer."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch

from mmengine._checkpoint.files import find_latest_checkpoint, read_checkpoint, save_checkpoint


def _is_killed_while_saving(path: str) -> None:
    def save_half(checkpoint, file):
        file.write(b'half of it')
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    torch.save = save_half
    save_checkpoint({'epoch': 2}, path)


def test_a_process_killed_while_it_saves_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    save_checkpoint({'epoch': 1}, path)
    process = multiprocessing.get_context('forkserver').Process(
        target=_is_killed_while_saving, args=(str(path),)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert read_checkpoint(path) == {'epoch': 1}
    assert list(tmp_path.glob('*.pth')) == [path]


def test_an_error_while_saving_leaves_the_old_checkpoint_alone(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    save_checkpoint({'epoch': 1}, path)
    with pytest.raises(AttributeError, match=r"[Cc]an't (get|pickle) local object"):
        save_checkpoint({'big': torch.ones(1000), 'bad': lambda: 0}, path)
    assert read_checkpoint(path) == {'epoch': 1}
    assert os.listdir(tmp_path) == ['epoch_1.pth']


def test_folders_are_made(tmp_path):
    save_checkpoint({'a': 1}, tmp_path / 'x' / 'y' / 'z.pth')
    assert torch.load(tmp_path / 'x' / 'y' / 'z.pth', weights_only=True) == {'a': 1}


@pytest.mark.parametrize('name', ['backend_args', 'file_client_args'])
def test_a_backend_can_be_named(tmp_path, name):
    path = str(tmp_path / 'a.pth')
    save_checkpoint({'a': 1}, path, **{name: {'backend': 'local'}})
    assert torch.load(path, weights_only=True) == {'a': 1}


def test_both_names_of_the_backend_at_once_are_refused(tmp_path):
    with pytest.raises(ValueError, match='backend_args only'):
        save_checkpoint({}, tmp_path / 'a.pth', {'backend': 'local'}, {'backend': 'local'})


def test_a_colon_in_a_local_name_is_no_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_checkpoint({'a': 1}, 'run:1.pth')
    assert Path('run:1.pth').is_file()


def test_the_pointer_names_the_newest_checkpoint(tmp_path):
    (tmp_path / 'epoch_2.pth').touch()
    (tmp_path / 'last_checkpoint').write_text(f'{tmp_path}/epoch_2.pth\n')
    assert find_latest_checkpoint(str(tmp_path)) == f'{tmp_path}/epoch_2.pth'


def test_the_pointer_of_a_moved_work_dir_finds_the_file_beside_it(tmp_path):
    old, new = tmp_path / 'old', tmp_path / 'new'
    old.mkdir()
    (old / 'epoch_2.pth').touch()
    (old / 'last_checkpoint').write_text(str(old / 'epoch_2.pth'))
    old.rename(new)
    assert find_latest_checkpoint(str(new)) == str(new / 'epoch_2.pth')


def test_a_pointer_to_a_lost_file_is_returned_as_written(tmp_path):
    (tmp_path / 'last_checkpoint').write_text('/gone/epoch_2.pth')
    assert find_latest_checkpoint(str(tmp_path)) == '/gone/epoch_2.pth'


def test_a_pointer_to_a_url_is_not_looked_for_on_the_disk(tmp_path):
    (tmp_path / 'epoch_2.pth').touch()
    (tmp_path / 'last_checkpoint').write_text('s3://bucket/epoch_2.pth')
    assert find_latest_checkpoint(str(tmp_path)) == 's3://bucket/epoch_2.pth'


def test_a_work_dir_without_pointer_has_no_newest_checkpoint(tmp_path, capsys):
    assert find_latest_checkpoint(str(tmp_path)) is None
    assert 'nothing to resume' in capsys.readouterr().out
