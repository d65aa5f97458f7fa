import os
import shutil
from pathlib import Path

import pytest

from mmengine.fileio import LocalBackend
from mmengine.fileio.backends.base import BaseStorageBackend

backend = LocalBackend()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ('a.txt', 'b.bin', '.hidden', 'sub/c.txt', 'sub/deep/d.txt', 'dir.txt/e.bin'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def test_bytes_and_text_come_back_as_they_were_put(tmp_path: Path) -> None:
    path = tmp_path / 'new' / 'folder' / 'file'
    backend.put(b'\x00\xff', path)
    assert backend.get(str(path)) == b'\x00\xff'
    backend.put_text('zweiundfünfzig', path)
    assert path.read_bytes() == 'zweiundfünfzig'.encode()
    assert backend.get_text(path) == 'zweiundfünfzig'
    backend.put_text('ü', path, encoding='latin-1')
    assert path.read_bytes() == b'\xfc'
    assert backend.get_text(path, encoding='latin-1') == 'ü'


def test_a_relative_file_needs_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    backend.put(b'x', 'here')
    assert (tmp_path / 'here').read_bytes() == b'x'


def test_text_where_bytes_belong_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        backend.put('text', tmp_path / 'a')  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []


def test_questions(tree: Path) -> None:
    answers = [
        (backend.exists(p), backend.isfile(p), backend.isdir(p))
        for p in (tree / 'a.txt', tree / 'sub', tree / 'nothing')
    ]
    assert answers == [(True, True, False), (True, False, True), (False, False, False)]


def test_join_path_and_local_path(tree: Path) -> None:
    assert backend.join_path(Path('a'), 'b', 'c') == os.path.join('a', 'b', 'c')
    with backend.get_local_path(tree / 'a.txt') as path:
        assert path == str(tree / 'a.txt')
    assert os.path.exists(path)


def test_names(tree: Path) -> None:
    assert backend.name == 'LocalBackend'
    assert backend.allow_symlink


@pytest.mark.parametrize(
    'copy', [backend.copyfile, backend.copyfile_from_local, backend.copyfile_to_local]
)
def test_a_file_is_copied_with_its_permissions(tree: Path, copy: object) -> None:
    (tree / 'a.txt').chmod(0o600)
    assert callable(copy)
    assert copy(tree / 'a.txt', tree / 'copy') == tree / 'copy'
    assert (tree / 'copy').read_text() == 'a.txt'
    assert (tree / 'copy').stat().st_mode == (tree / 'a.txt').stat().st_mode
    assert copy(tree / 'a.txt', tree / 'sub') == str(tree / 'sub' / 'a.txt')
    assert copy(tree / 'a.txt', f'{tree}/twin') == f'{tree}/twin'


def test_a_file_is_not_copied_onto_itself(tree: Path) -> None:
    with pytest.raises(shutil.SameFileError):
        backend.copyfile(tree / 'a.txt', tree / 'a.txt')
    with pytest.raises(shutil.SameFileError):
        backend.copyfile(tree / 'a.txt', tree)


@pytest.mark.parametrize(
    'copy', [backend.copytree, backend.copytree_from_local, backend.copytree_to_local]
)
def test_a_folder_is_copied_to_a_new_one(tree: Path, copy: object) -> None:
    assert callable(copy)
    assert copy(tree / 'sub', tree / 'copy') == tree / 'copy'
    assert copy(tree / 'sub', f'{tree}/twin') == f'{tree}/twin'
    assert (tree / 'copy' / 'deep' / 'd.txt').read_text() == 'sub/deep/d.txt'
    with pytest.raises(FileExistsError):
        copy(tree / 'sub', tree / 'copy')


def test_remove_deletes_files_only(tree: Path) -> None:
    backend.remove(tree / 'a.txt')
    assert not (tree / 'a.txt').exists()
    with pytest.raises(FileNotFoundError):
        backend.remove(tree / 'a.txt')
    with pytest.raises(IsADirectoryError, match='rmtree'):
        backend.remove(tree / 'sub')


def test_rmtree_deletes_a_folder(tree: Path) -> None:
    backend.rmtree(tree / 'sub')
    assert not (tree / 'sub').exists()
    with pytest.raises(FileNotFoundError):
        backend.rmtree(tree / 'sub')


def test_a_link_is_made_where_links_are_possible(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    assert backend.copy_if_symlink_fails('a.txt', 'sub/link') is True
    assert (tree / 'sub' / 'link').is_symlink()
    assert (tree / 'sub' / 'link').read_text() == 'a.txt'
    assert backend.copy_if_symlink_fails('b.bin', 'sub/link') is True
    assert (tree / 'sub' / 'link').read_text() == 'b.bin'


def test_a_copy_is_made_where_links_are_not(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def symlink(*args: object, **kwargs: object) -> None:
        raise PermissionError('no links here')

    monkeypatch.setattr(os, 'symlink', symlink)
    assert backend.copy_if_symlink_fails(tree / 'a.txt', tree / 'copy') is False
    assert backend.copy_if_symlink_fails(tree / 'sub', tree / 'folder') is False
    assert (tree / 'copy').read_text() == 'a.txt'
    assert (tree / 'folder' / 'c.txt').read_text() == 'sub/c.txt'


LISTINGS = [
    ({}, {'a.txt', 'b.bin', 'sub', 'dir.txt'}),
    ({'list_dir': False}, {'a.txt', 'b.bin'}),
    ({'list_file': False, 'recursive': True}, {'sub', 'sub/deep', 'dir.txt'}),
    (
        {'list_dir': False, 'suffix': '.txt', 'recursive': True},
        {'a.txt', 'sub/c.txt', 'sub/deep/d.txt'},
    ),
    (
        {'list_dir': False, 'suffix': ('.txt', '.bin'), 'recursive': True},
        {'a.txt', 'b.bin', 'sub/c.txt', 'sub/deep/d.txt', 'dir.txt/e.bin'},
    ),
]


@pytest.mark.parametrize(('options', 'expected'), LISTINGS)
def test_list_dir_or_file(tree: Path, options: dict[str, object], expected: set[str]) -> None:
    found = list(backend.list_dir_or_file(tree, **options))  # type: ignore[arg-type]
    assert len(found) == len(expected)
    assert set(found) == expected


@pytest.mark.parametrize('options', [{'suffix': '.txt'}, {'suffix': 3, 'list_dir': False}])
def test_a_wrong_suffix_is_refused_at_once(tree: Path, options: dict[str, object]) -> None:
    with pytest.raises(TypeError, match='suffix'):
        backend.list_dir_or_file(tree, **options)  # type: ignore[arg-type]


def test_an_operation_the_place_does_not_allow_is_named() -> None:
    with pytest.raises(
        NotImplementedError, match='LocalBackend cannot do `generate_presigned_url`'
    ):
        backend.generate_presigned_url('a')


class Memory(BaseStorageBackend):
    """A backend that defines the basic operations only."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def get(self, filepath: object) -> bytes:
        return self.files[str(filepath)]

    def put(self, obj: bytes, filepath: object) -> None:
        self.files[str(filepath)] = obj

    def exists(self, filepath: object) -> bool:
        return self.isfile(filepath) or self.isdir(filepath)

    def isfile(self, filepath: object) -> bool:
        return str(filepath) in self.files

    def isdir(self, filepath: object) -> bool:
        return any(name.startswith(f'{filepath}/') for name in self.files)

    def remove(self, filepath: object) -> None:
        del self.files[str(filepath)]

    def list_dir_or_file(self, dir_path: object, *args: object, **kwargs: object):  # type: ignore[no-untyped-def, override]
        start = f'{dir_path}/'
        return (name.removeprefix(start) for name in self.files if name.startswith(start))


@pytest.fixture
def memory() -> Memory:
    memory = Memory()
    memory.files = {'m/a': b'a', 'm/sub/b': b'b'}
    return memory


def test_everything_else_follows_from_the_basic_operations(memory: Memory, tmp_path: Path) -> None:
    memory.put_text('ü', 'm/text')
    assert memory.files.pop('m/text') == b'\xc3\xbc'
    assert memory.get_text('m/a') == 'a'
    assert memory.join_path('m', 'a') == 'm/a'
    assert memory.join_path('m', '/a', '/b') == 'm/a/b'
    assert not memory.allow_symlink
    assert memory.copyfile('m/a', 'm/sub') == 'm/sub/a'
    assert memory.copytree('m', 'n') == 'n'
    assert memory.files['n/sub/b'] == b'b'
    assert memory.copytree_to_local('m/sub', tmp_path / 'out') == tmp_path / 'out'
    assert (tmp_path / 'out' / 'b').read_bytes() == b'b'
    assert memory.copytree_from_local(tmp_path / 'out', 'p') == 'p'
    assert memory.files['p/a'] == b'a'
    assert memory.copy_if_symlink_fails('m/a', 'q') is False
    memory.rmtree('n')
    assert not memory.exists('n')
    with memory.get_local_path('m/a') as path:
        assert Path(path).read_bytes() == b'a'
    assert not os.path.exists(path)


def test_copies_onto_itself_or_into_an_old_folder_are_refused(memory: Memory) -> None:
    with pytest.raises(shutil.SameFileError):
        memory.copyfile('m/a', 'm')
    with pytest.raises(FileExistsError, match='m/sub exists'):
        memory.copytree('m', 'm/sub')
