import ast
import enum
import keyword
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmengine.config import Config
from mmengine.config.config import RESERVED_KEYS
from mmengine.config.lazy import LazyAttr, LazyObject

LAZY = st.sampled_from(
    [
        LazyObject('torch.optim', 'SGD'),
        LazyObject('other.package', 'SGD'),
        LazyObject('numpy'),
        LazyObject('torch.nn'),
        LazyAttr('Conv2d', LazyObject('torch.nn')),
        LazyAttr('float16', LazyObject(['torch'])),
        LazyObject('torch.optim', 'SGD').nested.name,
    ]
)
TEXT = st.text(max_size=12) | st.sampled_from(
    ['{{ fileBasename }}', '{{{x}}}', "it's", '"q"', '{{$V:1}}', 'a' * 90, '_base_']
)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
WORD = st.from_regex(r'[a-z][a-z_0-9]{0,8}', fullmatch=True)
KEYS = (
    WORD
    | TEXT
    | st.integers()
    | st.sampled_from(['dict', 'float', 'SGD', 'numpy', 'torch', 'class'])
)


def values(leaves):
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=12)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(KEYS.filter(lambda key: key != '_delete_'), inner, max_size=4)
        ),
        max_leaves=25,
    )


TOP_KEYS = (WORD | st.sampled_from(['dict', 'float', 'SGD', 'nn', 'a b', 'class', 'numpy'])).filter(
    lambda key: key not in RESERVED_KEYS and key not in ('custom_imports', 'globals')
)


def reload(cfg):
    return Config.fromstring(cfg.pretty_text, '.py')


@settings(max_examples=40)
@given(st.dictionaries(TOP_KEYS, values(PLAIN), max_size=5))
def test_text_style_configs_load_again_as_they_were(content):
    cfg = Config(content)
    again = reload(cfg)
    assert again == cfg
    assert repr(again.to_dict()) == repr(cfg.to_dict())
    assert list(again) == list(cfg)


@settings(max_examples=40)
@given(st.dictionaries(TOP_KEYS, values(PLAIN | LAZY), max_size=5))
def test_lazy_style_configs_load_again_as_they_were(content):
    cfg = Config(content)
    again = reload(cfg)
    assert again == cfg
    assert again.to_dict() == cfg.to_dict()
    assert again.pretty_text == cfg.pretty_text


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(-1e9, 1e9)
    | st.text('abc{}é', max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORD, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=20)
@given(
    st.dictionaries(
        WORD.filter(lambda k: k not in (*RESERVED_KEYS, 'custom_imports')), JSON_VALUES, max_size=4
    )
)
@pytest.mark.parametrize('suffix', ['.json', '.yaml'])
def test_json_and_yaml_load_again_as_they_were(suffix, content):
    cfg = Config(content)
    text = cfg._written_as(suffix)
    assert Config.fromstring(text, suffix) == cfg


@settings(max_examples=20)
@given(st.dictionaries(WORD, values(PLAIN), max_size=5))
def test_the_text_is_valid_python(content):
    content = {key: value for key, value in content.items() if not keyword.iskeyword(key)}
    if not set(content) & set(RESERVED_KEYS):
        ast.parse(Config(content).pretty_text)


def text_of(value):
    return Config(dict(k=value)).pretty_text


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        ({'a': 1, 'b': 'x'}, "k = dict(a=1, b='x')\n"),
        ({'a b': 1, 'c': 2}, "k = {'a b': 1, 'c': 2}\n"),
        ({1: 2}, 'k = {1: 2}\n'),
        ({'\U0001d400': 2}, "k = {'\U0001d400': 2}\n"),
        ({'class': 1}, "k = {'class': 1}\n"),
        ({}, 'k = dict()\n'),
        ((1,), 'k = (1,)\n'),
        ([], 'k = []\n'),
        (float('-inf'), "k = float('-inf')\n"),
        (Path('/a/b'), "k = '/a/b'\n"),
        ({2, 1}, 'k = {1, 2}\n'),
        (range(3), 'k = range(0, 3)\n'),
        (b'x', "k = b'x'\n"),
        (len, 'k = len\n'),
        (torch.float16, 'import torch\n\nk = torch.float16\n'),
        (Path, 'from pathlib import Path\n\nk = Path\n'),
        (ast, 'import ast\n\nk = ast\n'),
        (LazyObject('torch.nn').ReLU, 'import torch.nn as nn\n\nk = nn.ReLU\n'),
    ],
    ids=str,
)
def test_one_value(value, text):
    assert text_of(value) == text


def test_nan_comes_back_as_nan():
    assert math.isnan(Config.fromstring(text_of(float('nan')), '.py').k)


def test_numpy_numbers_are_written_as_numbers():
    import numpy as np

    assert text_of([np.float64(0.5), np.int32(3)]) == 'k = [0.5, 3]\n'


class Colour(enum.Enum):
    RED = 1


def test_an_enum_member_is_written_by_its_class():
    assert 'k = Colour.RED\n' in text_of(Colour.RED)


def test_what_no_text_can_stand_for_is_named_in_a_string():
    assert text_of(lambda: 1).startswith("k = '")


def test_what_does_not_fit_a_line_gets_one_entry_a_line():
    long = dict(type='LongTransformName', scale=(1333, 800), keep_ratio=True)
    assert text_of(dict(transforms=[long, long])) == (
        'k = dict(\n'
        '    transforms=[\n'
        "        dict(type='LongTransformName', scale=(1333, 800), keep_ratio=True),\n"
        "        dict(type='LongTransformName', scale=(1333, 800), keep_ratio=True),\n"
        '    ],\n'
        ')\n'
    )


def test_long_lists_of_short_values_are_wrapped_like_words():
    lines = text_of(list(range(60))).splitlines()
    assert lines[0] == 'k = ['
    assert lines[1] == f'    {", ".join(map(str, range(21)))},'
    assert all(len(line) < 80 for line in lines)


def test_keys_keep_their_order():
    assert Config(dict(b=1, a=dict(z=1, y=2))).pretty_text == 'b = 1\na = dict(z=1, y=2)\n'


def test_names_that_clash_are_imported_under_another():
    cfg = Config(dict(SGD=1, a=LazyObject('torch.optim', 'SGD'), b=LazyObject('other', 'SGD')))
    assert cfg.pretty_text == (
        'from other import SGD as SGD_3\nfrom torch.optim import SGD as SGD_2\n\n'
        'SGD = 1\na = SGD_2\nb = SGD_3\n'
    )


@pytest.mark.parametrize('suffix', ['.py', '.json', '.yaml', '.yml'])
def test_dump_writes_the_format_of_the_suffix(tmp_path, suffix):
    cfg = Config(dict(a=1, b=[dict(c=(1, 2))]))
    file = tmp_path / f'out{suffix}'
    assert cfg.dump(file) is None
    assert Config.fromfile(file).b[0].c in ([1, 2], (1, 2))
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_dump_without_a_file_returns_the_format_it_came_from(write):
    assert Config.fromfile(write('a.json', '{"a": {"b": 1}}')).dump() == '{"a": {"b": 1}}'
    assert Config.fromfile(write('a.yaml', 'b: 1\na: {c: 2}\n')).dump() == 'b: 1\na:\n  c: 2\n'
    assert Config(dict(a=1)).dump() == 'a = 1\n'


def test_a_failed_dump_leaves_the_old_file(tmp_path):
    file = tmp_path / 'a.json'
    file.write_text('old')
    with pytest.raises(TypeError, match=r'has no form in JSON'):
        Config(dict(a=object())).dump(file)
    assert file.read_text() == 'old'
    with pytest.raises(TypeError, match=r"not '.xml'"):
        Config(dict(a=1)).dump(tmp_path / 'a.xml')


def test_diff_shows_what_changed(write):
    old, new = write('old.py', 'a = 1\nb = 2\n'), write('new.py', 'a = 1\nb = 3\n')
    assert (
        Config.diff(old, new) == '--- old.py\n+++ new.py\n@@ -1,2 +1,2 @@\n a = 1\n-b = 2\n+b = 3'
    )
    assert Config.diff(Config(dict(a=1)), Config(dict(a=1))) == ''
