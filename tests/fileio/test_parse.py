from pathlib import Path

import pytest

from mmengine.fileio import dict_from_file, list_from_file


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / 'lines.txt'
    path.write_bytes(b'a\nb b\n\n c\r\nd')
    return path


def test_lines_without_their_ends(lines: Path) -> None:
    assert list_from_file(lines) == ['a', 'b b', '', ' c', 'd']


def test_offset_number_and_prefix(lines: Path) -> None:
    assert list_from_file(lines, prefix='p/', offset=1, max_num=2) == ['p/b b', 'p/']
    assert list_from_file(lines, offset=3) == [' c', 'd']
    assert list_from_file(lines, offset=99) == []
    assert list_from_file(lines, max_num=99) == list_from_file(lines)


def test_only_line_ends_end_a_line(tmp_path: Path) -> None:
    (tmp_path / 'a').write_text('one\u2028line\x0bonly\n', encoding='utf-8')
    assert list_from_file(tmp_path / 'a') == ['one\u2028line\x0bonly']


def test_encoding(tmp_path: Path) -> None:
    (tmp_path / 'a').write_bytes(b'\xfc 1\n')
    assert list_from_file(tmp_path / 'a', encoding='latin-1') == ['ü 1']
    assert dict_from_file(tmp_path / 'a', encoding='latin-1') == {'ü': '1'}


def test_a_table_of_words(tmp_path: Path) -> None:
    (tmp_path / 'a').write_text('1 cat\n2 dog cow\n3\tpanda x\n')
    assert dict_from_file(tmp_path / 'a', key_type=int) == {
        1: 'cat',
        2: ['dog', 'cow'],
        3: ['panda', 'x'],
    }
    assert dict_from_file(tmp_path / 'a')['1'] == 'cat'


@pytest.mark.parametrize('second', ['2', ''])
def test_a_line_without_a_value_is_named(tmp_path: Path, second: str) -> None:
    (tmp_path / 'a').write_text(f'1 cat\n{second}\n3 dog\n')
    with pytest.raises(AssertionError, match=r'a:2 should hold a key and at least one value'):
        dict_from_file(tmp_path / 'a')


def test_the_backend_is_chosen_by_its_arguments(lines: Path) -> None:
    assert list_from_file(lines, backend_args={'backend': 'local'})[0] == 'a'
    with pytest.raises(KeyError):
        list_from_file(lines, backend_args={'backend': 'nothing'})
