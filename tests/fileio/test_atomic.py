import os
import stat
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from mmengine.fileio import atomic_write
from mmengine.fileio._atomic import remove_temporaries
from mmengine.testing._internal.start_method import start_method
from mmengine.utils._process_identity import ProcessIdentity, this_process

posix = pytest.mark.skipif(os.name != 'posix', reason='POSIX permissions, links and pipes')


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / 'a.bin'
    with atomic_write(path) as file:
        file.write(b'whole')
        assert not path.exists()
    assert path.read_bytes() == b'whole'
    assert os.listdir(tmp_path) == ['a.bin']


@pytest.mark.parametrize('error', [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / 'a.bin'
    path.write_bytes(b'old')
    with pytest.raises(error), atomic_write(path) as file:
        file.write(b'half of the ne')
        raise error
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['a.bin']


def test_an_error_of_a_new_file_leaves_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_write(tmp_path / 'a') as file:
        file.write(b'x')
        raise RuntimeError
    assert os.listdir(tmp_path) == []


@posix
@pytest.mark.parametrize(('umask', 'expected'), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_gets_the_permissions_of_the_umask(
    tmp_path: Path, umask: int, expected: int
) -> None:
    before = os.umask(umask)
    try:
        with atomic_write(tmp_path / 'a') as file:
            file.write(b'x')
    finally:
        os.umask(before)
    assert mode_of(tmp_path / 'a') == expected


@posix
def test_an_old_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / 'a'
    path.touch()
    path.chmod(0o640)
    with atomic_write(path) as file:
        file.write(b'x')
    assert mode_of(path) == 0o640


@posix
@pytest.mark.skipif(hasattr(os, 'geteuid') and os.geteuid() == 0, reason='root may write anything')
def test_a_protected_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / 'a'
    path.touch(mode=0o444)
    with pytest.raises(PermissionError, match='a'), atomic_write(path) as file:
        file.write(b'x')
    assert path.read_bytes() == b''


def test_a_refused_replacement_comes_before_any_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'a'
    path.write_bytes(b'old')
    monkeypatch.setattr(os, 'access', lambda path, mode: mode != os.W_OK)
    with pytest.raises(PermissionError), atomic_write(path):
        pass
    assert os.listdir(tmp_path) == ['a']


@posix
def test_a_link_stays_a_link_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / 'far').mkdir()
    target = tmp_path / 'far' / 'target'
    target.write_bytes(b'old')
    (tmp_path / 'link').symlink_to(target)
    with atomic_write(tmp_path / 'link') as file:
        file.write(b'new')
    assert (tmp_path / 'link').is_symlink()
    assert target.read_bytes() == b'new'


@posix
def test_a_device_is_written_to_directly() -> None:
    with atomic_write('/dev/null') as file:
        file.write(b'x')
    assert stat.S_ISCHR(os.stat('/dev/null').st_mode)


def test_text_is_utf8_whatever_the_locale(tmp_path: Path) -> None:
    with atomic_write(tmp_path / 'a', 'w') as file:
        file.write('é')
    assert (tmp_path / 'a').read_bytes() == b'\xc3\xa9'
    with atomic_write(tmp_path / 'a', 'w', encoding='latin-1', newline='\r\n') as file:
        file.write('é\n')
    assert (tmp_path / 'a').read_bytes() == b'\xe9\r\n'


@pytest.mark.parametrize('mode', ['a', 'r+', 'xb'])
def test_a_file_is_written_whole_only(tmp_path: Path, mode: str) -> None:
    with pytest.raises(ValueError, match=mode.replace('+', r'\+')):
        with atomic_write(tmp_path / 'a', mode):
            pass


def test_a_missing_folder_is_reported_with_the_name_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'absent/a\.bin'):
        with atomic_write(tmp_path / 'absent' / 'a.bin'):
            pass


def test_the_bytes_reach_the_disk_before_the_name_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        kind = 'folder' if stat.S_ISDIR(os.fstat(descriptor).st_mode) else 'file'
        order.append(f'sync {kind} of {os.fstat(descriptor).st_size if kind == "file" else "-"}')
        real_fsync(descriptor)

    def replace(source: str, target: str) -> None:
        order.append('replace')
        real_replace(source, target)

    monkeypatch.setattr(os, 'fsync', fsync)
    monkeypatch.setattr(os, 'replace', replace)
    with atomic_write(tmp_path / 'a') as file:
        file.write(b'12345')
    assert order[:2] == ['sync file of 5', 'replace']
    assert order[2:] == (['sync folder of -'] if os.name == 'posix' else [])


def _write_until_killed(path: str, started: object) -> None:
    size = 0
    while True:
        size = (size + 1) % 256
        with atomic_write(path) as file:
            for _ in range(64):
                file.write(bytes([size]) * 1024)
        started.set()  # type: ignore[attr-defined]


@pytest.mark.skipif(sys.platform == 'win32', reason='kills a forked process')
def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / 'a'
    context: Any = start_method()
    started = context.Event()
    writer = context.Process(target=_write_until_killed, args=(str(path), started))
    writer.start()
    assert started.wait(30)
    writer.kill()
    writer.join()
    content = path.read_bytes()
    assert len(content) == 64 * 1024
    assert len(set(content)) == 1


# -- what killed processes leave ------------------------------------------------------------------


@pytest.fixture
def dead() -> ProcessIdentity:
    """A process that has ended."""
    process = subprocess.Popen([sys.executable, '-c', ''])
    identity = ProcessIdentity(process.pid, '', this_process().host)
    process.wait()
    return identity


def _temporary(folder, owner) -> str:
    name = f'.{uuid.uuid4().hex}.{owner}.tmp' if owner else f'.{uuid.uuid4().hex}.tmp'
    (folder / name).write_bytes(b'part')
    return name


def test_only_temporaries_of_dead_processes_are_removed(tmp_path, dead):
    mine = this_process()
    reused = ProcessIdentity(mine.pid, '1', mine.host)
    elsewhere = ProcessIdentity(mine.pid, mine.started, 'elsewhere')
    gone = {_temporary(tmp_path, dead), _temporary(tmp_path, reused)}
    kept = {_temporary(tmp_path, mine), _temporary(tmp_path, elsewhere), _temporary(tmp_path, '')}
    for name in ('notes.tmp', '.mine.tmp', f'.{uuid.uuid4().hex}.txt', 'a.1234.tmp'):
        (tmp_path / name).touch()
        kept.add(name)
    target = tmp_path / 'target'
    target.touch()
    link = f'.{uuid.uuid4().hex}.{dead}.tmp'
    (tmp_path / link).symlink_to(target)
    assert set(remove_temporaries(tmp_path)) == gone
    assert {path.name for path in tmp_path.iterdir()} == kept | {link, 'target'}


def test_a_temporary_of_nobody_known_goes_after_a_day(tmp_path):
    names = [_temporary(tmp_path, ProcessIdentity(1, '1', 'elsewhere')), _temporary(tmp_path, '')]
    for name in names:
        os.utime(tmp_path / name, (time.time() - 90_000,) * 2)
    assert set(remove_temporaries(tmp_path)) == set(names)


def test_a_folder_that_is_not_there_has_no_temporaries(tmp_path):
    assert remove_temporaries(tmp_path / 'nowhere') == []


def test_the_temporary_of_a_written_file_has_its_process(tmp_path):
    with atomic_write(tmp_path / 'file') as file:
        file.write(b'content')
        (name,) = [path.name for path in tmp_path.iterdir()]
        assert str(this_process()) in name
        assert remove_temporaries(tmp_path) == []
