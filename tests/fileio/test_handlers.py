import io
import json
import pickle
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mmengine import fileio
from mmengine.config import Config
from mmengine.config.errors import ConfigError
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


def _laughs(levels: int) -> str:
    """Each line stands for nine of the line before: 9 ** levels values in all."""
    lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]']
    for level in range(1, levels):
        nine = ', '.join([f'*a{level - 1}'] * 9)
        lines.append(f'a{level}: &a{level} [{nine}]')
    return '\n'.join(lines)


HOSTILE_YAML = {
    'a function': ('!!python/name:os.system', 'python/name'),
    'a function of its own module': ('a: !!python/name:mmengine.fileio.remove ""', 'python/name'),
    'a module': ('!!python/module:os', 'python/module'),
    'an object': ('!!python/object:collections.Counter {a: 1}', 'python/object'),
    'many aliases': (_laughs(10), 'aliases that stand for more than 1,000,000 values'),
    'aliases as keys and items': (_laughs(8).replace('[', '[[').replace(']', ']]'), 'aliases'),
    'itself': ('&a [1, *a]', 'contains itself'),
    'itself, inside': ('a: &a {b: [*a]}', 'contains itself'),
    'deep lists': ('[' * 100_000 + ']' * 100_000, '500 levels'),
    'deep lists by lines': ('- ' * 100_000 + '1', '500 levels'),
    'deep mappings': ('{a: ' * 100_000 + '1' + '}' * 100_000, '500 levels'),
    'deep keys': ('? ' * 100_000 + '1', '500 levels'),
}


@pytest.mark.parametrize('kind', HOSTILE_YAML)
@pytest.mark.parametrize('read', ['load', 'config'])
def test_hostile_yaml_is_refused(kind: str, read: str, tmp_path: Path) -> None:
    text, reason = HOSTILE_YAML[kind]
    path = tmp_path / 'evil.yaml'
    path.write_text(text)
    with pytest.raises((yaml.YAMLError, ConfigError), match=reason):
        fileio.load(path) if read == 'load' else Config.fromfile(path)


def test_yaml_reads_the_plain_python_values_that_pyyaml_writes() -> None:
    value = {
        't': (1, (2.5, 'x')), 'c': 1 + 2j, 'b': b'\x00\xff', 'n': None, 's': {'x'}, 'l': [True, -3],
    }  # fmt: skip
    assert fileio.load(io.StringIO(yaml.dump(value)), 'yaml') == value
    text = (
        '[!!python/int 3, !!python/none , !!python/str a, !!python/list [1], !!python/dict {a: 1}]'
    )
    assert fileio.load(io.StringIO(text), 'yaml') == [3, None, 'a', [1], {'a': 1}]


def test_yaml_may_share_values_and_be_large() -> None:
    shared = 'base: &base {lr: 0.1, betas: [0.9, 0.999]}\n' + '\n'.join(
        f'stage{index}: {{<<: *base, depth: {index}}}' for index in range(50)
    )
    read = fileio.load(io.StringIO(shared), 'yaml')
    assert read['stage7'] == {'lr': 0.1, 'betas': [0.9, 0.999], 'depth': 7}
    deep = '[' * 80 + ']' * 80
    assert fileio.load(io.StringIO(deep), 'yaml') == eval(deep)


def test_json_that_is_too_deep_is_a_value_error(tmp_path: Path) -> None:
    (tmp_path / 'deep.json').write_text('[' * 100_000)
    with pytest.raises(ValueError, match='levels of nesting'):
        fileio.load(tmp_path / 'deep.json')
    with pytest.raises(ConfigError, match='levels of nesting'):
        Config.fromfile(tmp_path / 'deep.json')


PLAIN_PICKLES = {
    'records': {'metainfo': {'classes': ('a', 'b')}, 'data_list': [{'path': '1.jpg', 'label': 0}]},
    'sets and bytes': [{1, 2}, frozenset('ab'), b'\x00\xff', bytearray(b'xy'), 1 + 2j, 2**70],
    'shared': (lambda part: [part, part])([1.5, None, True]),
}


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize('kind', PLAIN_PICKLES)
def test_plain_pickles_are_read_without_running_code(kind: str, protocol: int) -> None:
    content = io.BytesIO(pickle.dumps(PLAIN_PICKLES[kind], protocol))
    assert fileio.load(content, 'pkl', allow_pickle=False) == PLAIN_PICKLES[kind]


@pytest.mark.parametrize('protocol', [0, 2, 4, 5])
def test_arrays_in_pickles_are_read_without_running_code(protocol: int) -> None:
    boxes = np.arange(12, dtype=np.float32).reshape(3, 4)
    arrays = [boxes, boxes.T, np.array(['ab', 'c']), np.int64(7), np.zeros((0, 2), dtype='>i2')]
    content = io.BytesIO(pickle.dumps(arrays, protocol))
    for found, expected in zip(
        fileio.load(content, 'pkl', allow_pickle=False), arrays, strict=True
    ):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype


@pytest.mark.parametrize('module', ['pathlib', 'pathlib._local'], ids=['3.12', '3.13'])
def test_a_path_is_read_from_a_pickle_of_another_python(module: str) -> None:
    # As pickle.dumps(Path('/data/1.jpg'), protocol=0) writes it there.
    content = f"c{module}\nPosixPath\n(S'/'\nS'data'\nS'1.jpg'\ntR.".encode()
    assert fileio.load(io.BytesIO(content), 'pkl') == Path('/data/1.jpg')
    assert fileio.load(io.BytesIO(content), 'pkl', allow_pickle=False) == '/data/1.jpg'


class RunsCode:
    def __reduce__(self) -> Any:
        return eval, ("__import__('os').mkdir('witness')",)


def test_other_pickles_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for hostile in (RunsCode(), [{'a': RunsCode()}], {RunsCode: 1}):
        content = pickle.dumps(hostile)
        with pytest.raises(pickle.UnpicklingError, match=r'eval|RunsCode'):
            fileio.load(io.BytesIO(content), 'pkl', allow_pickle=False)
    assert not (tmp_path / 'witness').exists()
    fileio.load(io.BytesIO(pickle.dumps(RunsCode())), 'pkl')
    assert (tmp_path / 'witness').is_dir()  # as the API does, and as its text says


GREEDY = {
    'bytes of a length': b'\x80\x02cbuiltins\nbytearray\nJ\x00\x94\x35\x77\x85R.',
    'array of a length': b'\x80\x05\x96\x00\x94\x35\x77\x00\x00\x00\x00.',
    'text of a length': b'\x80\x04\x8d\x00\x94\x35\x77\x00\x00\x00\x00.',
    'number of a length': b'\x80\x02\x8b\x00\x94\x35\x77.',
    'frame of a length': b'\x80\x04\x95\x00\x94\x35\x77\x00\x00\x00\x00N.',
    'index in a table': b'\x80\x02Nr\xff\xff\xff\x0fj\xff\xff\xff\x0e.',
    'broken off': b'\x80\x04\x95\x0a',
    'not closed': b'\x80\x04]',
}


@pytest.mark.parametrize('kind', GREEDY)
def test_a_small_pickle_gets_no_large_memory(kind: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(pickle.UnpicklingError):
            fileio.load(io.BytesIO(GREEDY[kind]), 'pkl', allow_pickle=False)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
