"""A config is read from its text without being executed."""

import math
import sys

import pytest
import torch

from mmengine.config import Config
from mmengine.config._static import read_static


def test_what_pretty_text_writes_is_read_whole():
    content = {
        'model': {'type': 'Net', 'depths': [2, -3], 'size': (1.5, None), 'flags': {1, 2}},
        'loaders': [{'a': 'x'}, {'b': True, 'not a name': {3: 'three'}}],
        'big': float('inf'),
        'small': float('-inf'),
        'words': "it's {{ text }}",
        'class': 'a keyword',
        'frozen': frozenset({1}),
        'nothing': {},
    }
    assert read_static(Config(content).pretty_text) == content
    assert math.isnan(read_static(Config({'x': float('nan')}).pretty_text)['x'])


def test_imported_names_are_their_paths():
    text = Config({'kind': torch.nn.Linear, 'dtype': torch.float16}).pretty_text
    assert 'import' in text
    assert read_static(text) == {'kind': 'torch.nn.modules.linear.Linear', 'dtype': 'torch.float16'}
    assert read_static('import a.b\nfrom c import d as e\nx = [a.b.f, e.g]') == {
        'x': ['a.b.f', 'c.d.g']
    }


def test_nothing_is_executed_and_what_is_not_a_value_stays_text():
    text = (
        'import os\n'
        'raise SystemExit(1)\n'
        "a = __import__('sys').exit(2)\n"
        'b = dict(a=os.system("exit 3"), **dict(c=1))\n'
        'd = {**dict(e=1), 1 + 1: 2}\n'
        'f = dict([(1, 2)])\n'
        'def g(): pass\n'
        'h = [i for i in range(3)]\n'
    )
    modules = set(sys.modules)
    assert read_static(text) == {
        'a': "__import__('sys').exit(2)",
        'b': {'a': "os.system('exit 3')", 'c': 1},
        'd': {'e': 1, '1 + 1': 2},
        'f': 'dict([(1, 2)])',
        'h': '[i for i in range(3)]',
    }
    assert set(sys.modules) == modules


@pytest.mark.parametrize('text', ['a = (', '\0', 'a = ' + '(' * 500 + ')' * 500])
def test_text_that_is_not_python_is_a_value_error(text):
    with pytest.raises(ValueError, match='not a Python config'):
        read_static(text)
