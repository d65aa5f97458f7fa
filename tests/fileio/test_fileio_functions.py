import inspect
from pathlib import Path
from typing import Any

import pytest

from mmengine import fileio
from mmengine.fileio import BaseStorageBackend, register_backend
from mmengine.fileio import backends as registry

CALLS: list[tuple[str, tuple[Any, ...]]] = []


class Recorder(BaseStorageBackend):
    """Writes down what it is asked to do."""

    def get(self, filepath: object) -> bytes:
        raise NotImplementedError

    def __getattribute__(self, name: str) -> Any:
        if name.startswith('__'):
            return super().__getattribute__(name)
        return lambda *args: CALLS.append((name, args)) or f'{name}!'


@pytest.mark.parametrize(
    ('name', 'args', 'forwarded'),
    [
        ('get', ('r://a',), ('r://a',)),
        ('get_text', ('r://a',), ('r://a', 'utf-8')),
        ('put', (b'x', 'r://a'), (b'x', 'r://a')),
        ('put_text', ('x', 'r://a'), ('x', 'r://a')),
        ('exists', ('r://a',), ('r://a',)),
        ('isdir', ('r://a',), ('r://a',)),
        ('isfile', ('r://a',), ('r://a',)),
        ('join_path', ('r://a', 'b'), ('r://a', 'b')),
        ('copyfile', ('r://a', 'r://b'), ('r://a', 'r://b')),
        ('copytree', ('r://a', 'r://b'), ('r://a', 'r://b')),
        ('copyfile_from_local', ('a', 'r://b'), ('a', 'r://b')),
        ('copytree_from_local', ('a', 'r://b'), ('a', 'r://b')),
        ('copyfile_to_local', ('r://a', 'b'), ('r://a', 'b')),
        ('copytree_to_local', ('r://a', 'b'), ('r://a', 'b')),
        ('remove', ('r://a',), ('r://a',)),
        ('rmtree', ('r://a',), ('r://a',)),
        ('copy_if_symlink_fails', ('r://a', 'r://b'), ('r://a', 'r://b')),
        ('list_dir_or_file', ('r://a',), ('r://a', True, True, None, False)),
        ('generate_presigned_url', ('r://a',), ('r://a', 'get_object', 3600)),
    ],
)
def test_a_function_hands_its_work_to_the_backend(
    monkeypatch: pytest.MonkeyPatch, name: str, args: Any, forwarded: Any
) -> None:
    monkeypatch.setattr('mmengine.fileio.io._shared_backends', {})
    monkeypatch.setitem(registry.prefix_to_backends, 'r', Recorder)
    CALLS.clear()
    result = getattr(fileio, name)(*args)
    assert [(name, forwarded)] == CALLS
    returns_nothing = inspect.signature(getattr(fileio, name)).return_annotation is None
    assert result == (None if returns_nothing else f'{name}!')


def test_local_files_end_to_end(tmp_path: Path) -> None:
    file = tmp_path / 'deep' / 'a.txt'
    fileio.put_text('hello', file)
    assert fileio.get(file) == b'hello'
    assert fileio.exists(file)
    with fileio.get_local_path(file) as path:
        assert path == str(file)
    assert list(fileio.list_dir_or_file(tmp_path, recursive=True)) == ['deep', 'deep/a.txt']
    fileio.remove(file)
    assert not fileio.isfile(file)
    fileio.rmtree(file.parent)
    assert not fileio.isdir(file.parent)


def test_a_missing_file_keeps_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='absent'):
        fileio.load(tmp_path / 'absent.json')


def test_register_backend_is_exported() -> None:
    assert register_backend is registry.register_backend


def test_disk_is_the_old_name_of_the_local_backend(tmp_path: Path) -> None:
    disk = {'backend': 'disk'}
    fileio.put_text('1\n2', tmp_path / 'a.txt', backend_args=disk)
    assert fileio.list_from_file(tmp_path / 'a.txt', backend_args=disk) == ['1', '2']
    assert isinstance(fileio.get_file_backend(backend_args=disk), fileio.LocalBackend)


def test_a_backend_that_a_project_calls_disk_is_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.backends, 'disk', Recorder)
    assert isinstance(fileio.get_file_backend(backend_args={'backend': 'disk'}), Recorder)
