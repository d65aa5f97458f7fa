import io
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mmengine import fileio
from mmengine.fileio.handlers import BaseFileHandler, file_handlers, register_handler

PLAIN = {'a': [1, 2.5, None], 'b': {'c': 'ü'}}


@pytest.mark.parametrize('suffix', ['json', 'yaml', 'yml', 'pickle', 'pkl'])
@pytest.mark.parametrize('as_path', [str, Path])
def test_what_is_dumped_is_loaded(tmp_path: Path, suffix: str, as_path: Any) -> None:
    file = as_path(tmp_path / 'new' / f'data.{suffix}')
    fileio.dump(PLAIN, file)
    assert fileio.load(file) == PLAIN


def test_files_are_what_the_libraries_themselves_read(tmp_path: Path) -> None:
    for suffix, read in (('json', json.loads), ('yaml', yaml.safe_load), ('pkl', pickle.loads)):
        fileio.dump(PLAIN, tmp_path / f'data.{suffix}')
        assert read((tmp_path / f'data.{suffix}').read_bytes()) == PLAIN


def test_without_a_file_the_text_is_returned() -> None:
    assert fileio.dump({'b': 1}, file_format='json') == '{"b": 1}'
    assert fileio.dump({'b': 1, 'a': [1]}, file_format='yml') == 'a:\n- 1\nb: 1\n'
    assert pickle.loads(fileio.dump({'b': 1}, file_format='pkl')) == {'b': 1}


def test_open_files_need_a_format() -> None:
    text = io.StringIO()
    fileio.dump([1], text, file_format='json')
    text.seek(0)
    assert fileio.load(text, file_format='json') == [1]
    data = io.BytesIO(pickle.dumps([2]))
    assert fileio.load(data, file_format='pickle') == [2]
    with pytest.raises(TypeError, match='format None'):
        fileio.load(text)


def test_options_reach_the_library(tmp_path: Path) -> None:
    fileio.dump({'b': 1}, tmp_path / 'a.json', indent=1)
    assert (tmp_path / 'a.json').read_text() == '{\n "b": 1\n}'
    assert fileio.dump({'b': 1, 'a': 2}, file_format='yaml', sort_keys=False) == 'b: 1\na: 2\n'
    assert fileio.dump([], file_format='pkl', protocol=2)[:2] == b'\x80\x02'


def test_json_writes_numpy_and_sets_as_plain_values() -> None:
    values = {
        'array': np.arange(3),
        'float': np.float32(1.5),
        'int': np.int64(3),
        'bool': np.bool_(True),
        'set': {4},
        'range': range(2),
    }
    assert json.loads(fileio.dump(values, file_format='json')) == {
        'array': [0, 1, 2],
        'float': 1.5,
        'int': 3,
        'bool': True,
        'set': [4],
        'range': [0, 1],
    }
    with pytest.raises(TypeError, match=r'builtins\.object'):
        fileio.dump(object(), file_format='json')


def test_yaml_writes_numpy_as_plain_values_and_keeps_tuples() -> None:
    text = fileio.dump({'a': np.float64(0.5), 'b': np.arange(2)}, file_format='yaml')
    assert yaml.safe_load(text) == {'a': 0.5, 'b': [0, 1]}
    assert fileio.load(io.StringIO(fileio.dump((1, 2), file_format='yaml')), 'yaml') == (1, 2)


def test_loading_yaml_runs_nothing(tmp_path: Path) -> None:
    witness = tmp_path / 'witness'
    (tmp_path / 'evil.yaml').write_text(f'!!python/object/apply:os.mkdir ["{witness}"]')
    with pytest.raises(yaml.YAMLError):
        fileio.load(tmp_path / 'evil.yaml')
    assert not witness.exists()
    fileio.load(tmp_path / 'evil.yaml', Loader=yaml.UnsafeLoader)
    assert witness.exists()


def test_a_failed_dump_leaves_the_old_file(tmp_path: Path) -> None:
    fileio.dump([1], tmp_path / 'a.json')
    with pytest.raises(TypeError):
        fileio.dump([1, object()], tmp_path / 'a.json')
    assert fileio.load(tmp_path / 'a.json') == [1]
    assert [path.name for path in tmp_path.iterdir()] == ['a.json']


def test_a_capital_suffix_is_the_same_format(tmp_path: Path) -> None:
    fileio.dump([1], tmp_path / 'a.JSON')
    assert (tmp_path / 'a.JSON').read_text() == '[1]'


def test_an_unknown_format_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="Did you mean 'yaml'"):
        fileio.dump(1, tmp_path / 'a.yamll')
    with pytest.raises(TypeError, match='got int'):
        fileio.load(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='file_format'):
        fileio.dump(1)


@pytest.mark.parametrize('name', ['json', 'yaml', 'pickle'])
def test_handlers_read_and_write_local_paths(tmp_path: Path, name: str) -> None:
    handler = file_handlers[name]
    handler.dump_to_path(PLAIN, tmp_path / 'file')
    assert handler.load_from_path(tmp_path / 'file') == PLAIN
    assert handler.str_like == (name != 'pickle')


@pytest.fixture
def _handlers_as_before() -> Iterator[None]:
    before = dict(file_handlers)
    yield
    file_handlers.clear()
    file_handlers.update(before)


class Shouting(BaseFileHandler):
    """A format that notes which of its methods are called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        return file.read()

    def dump_to_fileobj(self, obj: Any, file: Any, **kwargs: Any) -> None:
        self.calls.append('dump_to_fileobj')
        file.write(obj.upper())

    def dump_to_str(self, obj: Any, **kwargs: Any) -> str:
        self.calls.append('dump_to_str')
        return str(obj)

    def dump_to_path(self, obj: Any, filepath: Any, mode: str = 'w', **kwargs: Any) -> None:
        self.calls.append('dump_to_path')
        super().dump_to_path(obj, filepath, mode, **kwargs)


@pytest.mark.usefixtures('_handlers_as_before')
def test_a_file_is_written_by_the_methods_that_a_format_overrides(tmp_path: Path) -> None:
    register_handler('loud')(Shouting)
    calls = file_handlers['loud'].calls  # type: ignore[attr-defined]  # a Shouting
    fileio.dump('a', tmp_path / 'new' / 'a.loud')
    assert (tmp_path / 'new' / 'a.loud').read_text() == 'A'
    assert calls == ['dump_to_path', 'dump_to_fileobj']
    calls.clear()
    fileio.dump('b', 'memory://loud/b.loud')  # elsewhere there are no paths to open
    assert fileio.get_text('memory://loud/b.loud') == 'B'
    assert calls == ['dump_to_fileobj']


@pytest.mark.usefixtures('_handlers_as_before')
def test_a_new_format_is_registered_by_its_suffixes(tmp_path: Path) -> None:
    @register_handler(['csv', 'tsv'], separator=';')
    class CsvHandler(BaseFileHandler):
        def __init__(self, separator: str) -> None:
            self.separator = separator

        def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
            return file.read().split(self.separator)

        def dump_to_fileobj(self, obj: Any, file: Any, **kwargs: Any) -> None:
            file.write(self.dump_to_str(obj))

        def dump_to_str(self, obj: Any, **kwargs: Any) -> str:
            return self.separator.join(obj)

    fileio.dump(['x', 'y'], tmp_path / 'a.csv')
    assert (tmp_path / 'a.csv').read_text() == 'x;y'
    assert fileio.load(tmp_path / 'a.csv') == ['x', 'y']


def test_only_handlers_are_registered() -> None:
    with pytest.raises(TypeError, match='BaseFileHandler'):
        register_handler('foo')(int)  # type: ignore[type-var]
    with pytest.raises(TypeError, match='file_formats'):
        register_handler(3)(fileio.JsonHandler)  # type: ignore[arg-type]
