"""What a config dumps replaces the old file as every writer does, and loads to an equal config."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from mmengine.config import Config

posix = pytest.mark.skipif(os.name != 'posix', reason='POSIX permissions and links')
SUFFIXES = ['.py', '.json', '.yaml', '.yml']


@posix
@pytest.mark.parametrize('suffix', SUFFIXES)
def test_a_link_stays_a_link_and_its_target_is_replaced(tmp_path: Path, suffix: str) -> None:
    target, link = tmp_path / f'real{suffix}', tmp_path / f'link{suffix}'
    target.write_text('')
    link.symlink_to(target)
    Config(dict(a=1)).dump(link)
    assert link.is_symlink()
    assert Config.fromfile(target).a == 1


@posix
@pytest.mark.parametrize('suffix', SUFFIXES)
def test_the_permissions_of_a_file_stay(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f'a{suffix}'
    path.write_text('')
    path.chmod(0o640)
    Config(dict(a=1)).dump(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_the_bytes_are_on_disk_before_the_name_moves_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ('fsync', 'replace'):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *args, name=name, real=real: (calls.append(name), real(*args))[1]
        )
    Config(dict(a=1)).dump(tmp_path / 'a.py')
    assert calls[:2] == ['fsync', 'replace']


def test_an_assigned_filename_is_the_filename_and_no_key() -> None:
    cfg = Config(dict(a=1))
    cfg.filename = Path('configs') / 'x.json'
    assert cfg.filename == os.path.join('configs', 'x.json')
    assert list(cfg) == ['a']
    assert cfg.dump() == '{"a": 1}'


@pytest.mark.parametrize('key', ['text', 'pretty_text', 'env_variables', 'filename'])
@pytest.mark.parametrize('way', ['item', 'merge', 'nested merge'])
def test_a_reserved_key_is_refused_where_it_is_set(key: str, way: str) -> None:
    cfg = Config(dict(a=1))
    with pytest.raises(KeyError, match=rf'{key!r} is an attribute of every config'):
        if way == 'item':
            cfg[key] = 1
        else:
            cfg.merge_from_dict({key if way == 'merge' else f'{key}.x': 1})
    assert list(cfg) == ['a']


@pytest.mark.parametrize('key', ['text', 'pretty_text', 'env_variables'])
def test_a_computed_attribute_cannot_be_assigned(key: str) -> None:
    with pytest.raises(KeyError, match='Rename the key'):
        setattr(Config(dict(a=1)), key, 'x')


def test_a_reserved_key_that_came_in_unseen_stops_the_dump(tmp_path: Path) -> None:
    cfg = Config(dict(a=1))
    cfg.update(text='x')
    with pytest.raises(KeyError, match="'text' is an attribute of every config"):
        cfg.dump(tmp_path / 'a.py')
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('suffix', SUFFIXES)
@pytest.mark.parametrize(
    'content',
    [
        dict(a='{{ fileBasename }}'),
        dict(a=['b {{ $SURELY_NOT_SET }}', '{{{ x }}}', '{{{{']),
        {'{{ fileStem }}': 1},
        dict(a='{{ _base_.x }} "quoted" \\ back'),
        dict(a=dict(text='x', filename='y')),
        dict(dict=1, list=[dict(a=1)], float=float('inf')),
    ],
    ids=['file', 'environment', 'key', 'base', 'nested reserved', 'builtins'],
)
def test_what_is_dumped_loads_to_an_equal_config(
    tmp_path: Path, suffix: str, content: dict[str, Any]
) -> None:
    Config(content).dump(tmp_path / f'a{suffix}')
    assert Config.fromfile(tmp_path / f'a{suffix}').to_dict() == content
