import os
import shutil
import stat
from pathlib import Path

import pytest

from mmengine.utils import (
    check_file_exist,
    fopen,
    is_abs,
    is_filepath,
    mkdir_or_exist,
    path,
    scandir,
    symlink,
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ('a.txt', 'b.TXT', 'c.py', '.hidden.txt', 'sub/d.txt', 'sub/deep/e.py'):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path


def test_is_filepath_and_is_abs() -> None:
    assert is_filepath('a')
    assert is_filepath(Path('a'))
    assert not is_filepath(3)
    assert [is_abs(p) for p in ('/a', 'a', 's3://a', 'http://a', 'https://a')] == [
        True,
        False,
        True,
        True,
        True,
    ]


def test_fopen_takes_paths_only(tmp_path: Path) -> None:
    with fopen(tmp_path / 'f', 'w') as file:
        file.write('x')
    with fopen(str(tmp_path / 'f')) as file:
        assert file.read() == 'x'
    with pytest.raises(ValueError, match='got int'):
        fopen(3)  # type: ignore[arg-type]


def test_check_file_exist(tree: Path) -> None:
    check_file_exist(tree / 'a.txt')
    with pytest.raises(FileNotFoundError, match='no b here'):
        check_file_exist('b', msg_tmpl='no {} here')
    with pytest.raises(FileNotFoundError):
        check_file_exist(tree / 'sub')


def test_mkdir_or_exist_makes_parents_and_leaves_what_exists(tmp_path: Path) -> None:
    mkdir_or_exist(tmp_path / 'a' / 'b')
    mkdir_or_exist(str(tmp_path / 'a' / 'b'))
    assert (tmp_path / 'a' / 'b').is_dir()
    mkdir_or_exist('')


def test_mkdir_or_exist_sets_the_mode(tmp_path: Path) -> None:
    mkdir_or_exist(tmp_path / 'private', mode=0o700)
    assert stat.S_IMODE((tmp_path / 'private').stat().st_mode) == 0o700


def test_mkdir_or_exist_knows_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    mkdir_or_exist('~/runs')
    assert (tmp_path / 'runs').is_dir()


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({}, {'a.txt', 'b.TXT', 'c.py'}),
        ({'suffix': '.txt'}, {'a.txt'}),
        ({'suffix': '.TXT', 'case_sensitive': False}, {'a.txt', 'b.TXT'}),
        (
            {'suffix': ('.txt', '.py'), 'recursive': True},
            {'a.txt', 'c.py', 'sub/d.txt', 'sub/deep/e.py'},
        ),
    ],
    ids=['all', 'suffix', 'any-case', 'recursive'],
)
def test_scandir(tree: Path, options: dict[str, object], expected: set[str]) -> None:
    found = list(scandir(tree, **options))  # type: ignore[arg-type]
    assert len(found) == len(expected)
    assert set(found) == expected


def test_scandir_refuses_wrong_types_at_once(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match='dir_path'):
        scandir(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match='suffix'):
        scandir(tmp_path, suffix=['.txt'])  # type: ignore[arg-type]


def test_symlink_replaces_an_old_link(tree: Path) -> None:
    symlink('a.txt', tree / 'link')
    symlink('c.py', tree / 'link')
    assert os.readlink(tree / 'link') == 'c.py'
    with pytest.raises(FileExistsError):
        symlink('a.txt', tree / 'link', overwrite=False)
    assert sorted(p.name for p in tree.iterdir() if 'link' in p.name) == ['link']


def test_symlink_replaces_a_dangling_link(tree: Path) -> None:
    symlink('nothing', tree / 'link')
    symlink('a.txt', tree / 'link')
    assert os.readlink(tree / 'link') == 'a.txt'


def test_symlink_never_replaces_its_own_target(tree: Path) -> None:
    (tree / 'a.txt').write_text('precious')
    with pytest.raises(shutil.SameFileError):
        symlink('a.txt', tree / 'a.txt')
    assert (tree / 'a.txt').read_text() == 'precious'


def test_a_failed_replacement_leaves_nothing_behind(tree: Path) -> None:
    with pytest.raises(OSError):
        symlink('a.txt', tree / 'sub')
    assert not list(tree.glob('*.link'))


def test_find_vcs_root_looks_upwards(tree: Path) -> None:
    (tree / '.marker').mkdir()
    assert path.find_vcs_root(tree / 'sub' / 'deep', markers=('.marker',)) == str(tree)
    assert path.find_vcs_root(tree / 'sub' / 'd.txt', markers=['.marker']) == str(tree)
    assert path.find_vcs_root(tree, markers=('.no-such-marker',)) is None
