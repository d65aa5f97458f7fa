import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import InvalidVersion, Version

from mmengine.utils import ArgumentError, digit_version, get_git_hash
from mmengine.utils.version_utils import _minimal_ext_cmd


@pytest.mark.parametrize(
    ('version', 'digits'),
    [
        ('1.2.3', (1, 2, 3, 0, 0, 0)),
        ('1.2.3rc1', (1, 2, 3, 0, -1, 1)),
        ('1.2.3b0', (1, 2, 3, 0, -2, 0)),
        ('1.2.3-alpha.1', (1, 2, 3, 0, -3, 1)),
        ('1.2.3.dev4', (1, 2, 3, 0, -4, 0)),
        ('1.2.3.post1', (1, 2, 3, 0, 1, 1)),
        ('2.1.0a0+git1', (2, 1, 0, 0, -3, 0)),
        ('v1.2+cu118', (1, 2, 0, 0, 0, 0)),
        ('1.2.3.4.5', (1, 2, 3, 4, 0, 0)),
    ],
)
def test_digit_version(version: str, digits: tuple[int, ...]) -> None:
    assert digit_version(version) == digits


def test_length_is_that_of_the_release() -> None:
    assert digit_version('1.2.3.4.5', length=6) == (1, 2, 3, 4, 5, 0, 0, 0)
    assert digit_version('1', length=2) == (1, 0, 0, 0)


PRE_RELEASES = st.sampled_from(['', 'a1', 'a2', 'b1', 'rc1', 'rc12', '.post1', '.post2', '.dev0'])
VERSIONS = st.tuples(st.integers(0, 20), st.integers(0, 20), PRE_RELEASES).map(
    lambda parts: f'{parts[0]}.{parts[1]}{parts[2]}'
)


@given(VERSIONS, VERSIONS)
def test_order_is_that_of_packaging(left: str, right: str) -> None:
    assert (digit_version(left) < digit_version(right)) == (Version(left) < Version(right))


def test_what_is_no_version_is_refused() -> None:
    with pytest.raises(InvalidVersion):
        digit_version('abc')
    with pytest.raises(ArgumentError):
        digit_version('parrots')


def test_git_hash_is_the_commit_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = ['git', '-c', 'user.name=a', '-c', 'user.email=a@b.c', '-C', str(tmp_path)]
    subprocess.run([*git, 'init', '-q'], check=True)
    subprocess.run([*git, 'commit', '-q', '--allow-empty', '-m', 'x'], check=True)
    log = subprocess.run([*git, 'log', '--format=%H'], check=True, capture_output=True, text=True)
    monkeypatch.chdir(tmp_path)
    assert get_git_hash() == log.stdout.strip()
    assert get_git_hash(digits=7) == log.stdout[:7]


def test_git_hash_without_a_commit_is_the_fallback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PATH', '')
    assert get_git_hash(fallback='none') == 'none'
    with pytest.raises(TypeError, match='digits'):
        get_git_hash(digits='7')  # type: ignore[arg-type]


def test_commands_run_in_english() -> None:
    assert b'LC_ALL=C\n' in _minimal_ext_cmd(['env'])
