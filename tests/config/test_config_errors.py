import pickle

import pytest

from mmengine.config import Config, ConfigError
from mmengine.config.errors import ConfigParsingError, ConfigSyntaxError

READ = 'from mmengine.config import read_base\nwith read_base():\n    '

CASES = {
    'missing file': (
        {'models.py': ''},
        'modles.py',
        FileNotFoundError,
        ["no config file 'modles.py'", "'models.py'"],
    ),
    'missing folder': ({'a.py': ''}, 'no/a.py', FileNotFoundError, ["/no' does not exist"]),
    'missing base': (
        {'a.py': "_base_ = 'bsae.py'\n", 'base.py': ''},
        'a.py',
        FileNotFoundError,
        ['a.py: _base_:', "'base.py'"],
    ),
    'suffix': ({'a.txt': ''}, 'a.txt', OSError, ["'a.txt'", '.yaml']),
    'python syntax': (
        {'a.py': 'x = 1\ny = dict(a=1\nz = 3\n'},
        'a.py',
        SyntaxError,
        ['a.py:2: syntax error', 'y = dict(a=1'],
    ),
    'argument twice': (
        {'a.py': 'x = 1\ny = dict(a=1, a=2)\n'},
        'a.py',
        SyntaxError,
        ['a.py:2: syntax error, keyword argument repeated', 'y = dict(a=1, a=2)'],
    ),
    'return outside': (
        {'a.py': 'x = 1\nreturn x\n'},
        'a.py',
        SyntaxError,
        ["a.py:2: syntax error, 'return' outside function", 'return x'],
    ),
    'json syntax': (
        {'a.json': '{"a": 1,\n "b" 2}'},
        'a.json',
        SyntaxError,
        ['a.json:2:', '"b" 2}'],
    ),
    'yaml syntax': ({'a.yaml': 'a: 1\nb: [1\n'}, 'a.yaml', SyntaxError, ['a.yaml:']),
    'no mapping': ({'a.json': '[1]'}, 'a.json', ConfigParsingError, ['a.json', 'got a list']),
    'circle': (
        {'a.py': "_base_ = 'b.py'\n", 'b.py': "_base_ = 'c.py'\n", 'c.py': "_base_ = 'b.py'\n"},
        'a.py',
        ConfigParsingError,
        ['circular', 'b.py -> ', 'c.py -> '],
    ),
    'lazy circle': (
        {'a.py': READ + 'from .b import *\n', 'b.py': READ + 'from .a import *\n'},
        'a.py',
        ConfigParsingError,
        ['circular', 'a.py -> '],
    ),
    'twice in bases': (
        {'a.py': "_base_ = ['b.py', 'c.py']\n", 'b.py': 'p = 1\n', 'c.py': '\nq = 1\np = 2\n'},
        'a.py',
        KeyError,
        ["'p'", 'b.py:1', 'c.py:3'],
    ),
    'unknown base variable': (
        {
            'a.py': "_base_ = 'b.py'\nx = 1\ny = '{{ _base_.model.dpeth }}'\n",
            'b.py': 'model = dict(depth=1)\n',
        },
        'a.py',
        KeyError,
        ['a.py:3', "'model.dpeth'", "'depth'"],
    ),
    'unknown base variable in code': (
        {'a.py': "_base_ = 'b.py'\ny = _base_.modle\n", 'b.py': 'model = 1\n'},  # codespell:ignore
        'a.py',
        AttributeError,
        ['a.py:2', "'modle'", "'model'"],
    ),
    'unknown base variable in json': (
        {'a.json': '{"_base_": "b.py", "y": "{{_base_.q}}"}', 'b.py': 'model = 1\n'},
        'a.json',
        KeyError,
        ['a.json', "'q'"],
    ),
    'unset variable': (
        {'a.py': "x = 1\ny = '{{ $SURELY_NOT_SET }}'\n"},
        'a.py',
        KeyError,
        ['a.py:2', "'SURELY_NOT_SET'", 'not set'],
    ),
    'unset variable, empty default': (
        {'a.yaml': 'y: "{{$SURELY_NOT_SET:}}"\n'},
        'a.yaml',
        KeyError,
        ['a.yaml:1', "'SURELY_NOT_SET'"],
    ),
    'delete of nothing': (
        {
            'a.py': "_base_ = 'b.py'\nmodel = dict(\n    nekc=dict(_delete_=True))\n",
            'b.py': 'model = dict(neck=1)\n',
        },
        'a.py',
        KeyError,
        ['a.py:3', "'model.nekc'", 'nothing to delete'],
    ),
    'dict over number': (
        {'a.py': "_base_ = 'b.py'\nm = dict(n=dict(q=1))\n", 'b.py': 'm = dict(n=3)\n'},
        'a.py',
        TypeError,
        ['a.py:2', "'m.n'", 'int 3', 'n=dict(_delete_=True'],
    ),
    'reserved key': ({'a.py': 'x = 1\ntext = 2\n'}, 'a.py', KeyError, ['a.py:2', "'text'"]),
    'error in code': (
        {'a.py': 'x = 1\ny = x + z\n'},
        'a.py',
        NameError,
        ["a.py:2: NameError: name 'z' is not defined", 'y = x + z'],
    ),
    'base is no name': ({'a.py': '_base_ = 3\n'}, 'a.py', ConfigParsingError, ['a.py', 'int 3']),
    'base uses a name': (
        {'a.py': "p = 'b'\n_base_ = p\n"},
        'a.py',
        NameError,
        ['a.py:2', 'before'],
    ),
    'both styles': (
        {'a.py': READ + "from .b import *\n_base_ = 'b.py'\n", 'b.py': ''},
        'a.py',
        RuntimeError,
        ['a.py:4', '_base_', 'line 2', 'one config'],
    ),
    'text style imports': (
        {'a.py': "from torch.optim import SGD\n_base_ = 'b.py'\n", 'b.py': ''},
        'a.py',
        RuntimeError,
        ['from torch.optim import', 'lazy_import=False'],
    ),
    'text over lazy': (
        {'a.py': "_base_ = 'b.py'\n", 'b.py': 'from torch.optim import SGD\n'},
        'a.py',
        RuntimeError,
        ['b.py:1', 'a.py inherits from it with _base_'],
    ),
    'lazy over text': (
        {'a.py': READ + 'from .b import *\n', 'b.py': "_base_ = 'c.py'\n", 'c.py': ''},
        'a.py',
        RuntimeError,
        ['b.py:1', 'a.py reads it with read_base()'],
    ),
    'missing lazy base': (
        {'a.py': READ + 'from .bsae import *\n', 'base.py': ''},
        'a.py',
        FileNotFoundError,
        ['a.py:3', "'base.py'"],
    ),
    'missing name in base': (
        {'a.py': READ + 'from .b import modle\n', 'b.py': 'model = 1\n'},  # codespell:ignore
        'a.py',
        KeyError,
        ['a.py:3', "'modle'", "'model'"],
    ),
    'code in read_base': (
        {'a.py': READ + 'x = 1\n'},
        'a.py',
        ConfigParsingError,
        ['a.py:3', "'x = 1'"],
    ),
    'star import': (
        {'a.py': 'from torch.optim import *\n'},
        'a.py',
        ConfigParsingError,
        ['a.py:1', 'from torch.optim import *'],
    ),
    'lazy call': (
        {'a.py': 'from torch.optim import SGD\nx = SGD()\n'},
        'a.py',
        RuntimeError,
        ['a.py:2', 'torch.optim.SGD', 'dict(type=SGD'],
    ),
    'custom_imports': ({'a.py': 'custom_imports = 3\n'}, 'a.py', TypeError, ['a.py:1', 'got 3']),
    'unknown package': (
        {'a.py': "_base_ = 'mmdett::x.py'\n"},
        'a.py',
        ImportError,
        ["'mmdett'", 'pip install', "'mmdet'"],
    ),
    'bad package path': ({'a.py': "_base_ = 'a::b::c.py'\n"}, 'a.py', ValueError, ["'a::b::c.py'"]),
    'not utf-8': ({'a.py': None}, 'a.py', ConfigParsingError, ['a.py', 'UTF-8']),
}


@pytest.mark.parametrize('case', CASES.values(), ids=CASES.keys())
def test_a_mistake_is_told_in_one_line_with_its_place(write, tmp_path, case):
    files, start, kind, parts = case
    for name, text in files.items():
        write(name, text or '')
        if text is None:
            (tmp_path / name).write_bytes(b'\xff\xfe\x00x')
    with pytest.raises(ConfigError) as caught:
        Config.fromfile(start)
    assert isinstance(caught.value, kind)
    message = str(caught.value)
    assert '\n' not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ('text', 'part'),
    [
        (
            'from no_such_module_x import Y\na = dict(type=Y)\n',
            "cannot import 'no_such_module_x' (a.py:1)",
        ),
        ('from torch.optim import SGDD\na = dict(type=SGDD)\n', "Did you mean 'SGD'"),
        ('import torch.optim as o\na = dict(type=o.SGDD)\n', "has no 'SGDD' (a.py:1)"),
    ],
)
def test_a_lazy_name_that_does_not_exist_says_so_when_it_is_read(write, text, part):
    cfg = Config.fromfile(write('a.py', text))
    with pytest.raises(ImportError) as caught:
        cfg.a.type
    assert isinstance(caught.value, ConfigError)
    assert part in str(caught.value)


def test_arguments_of_config_are_checked():
    with pytest.raises(TypeError, match='got list'):
        Config([1])
    with pytest.raises(KeyError, match='pretty_text'):
        Config(dict(pretty_text=1))


def test_a_syntax_error_has_the_attributes_of_python_s_own():
    error = ConfigSyntaxError('wrong', 'a.py', 3, '  x = (\n')
    assert (error.filename, error.lineno, error.text) == ('a.py', 3, '  x = (\n')
    assert str(error) == str(pickle.loads(pickle.dumps(error))) == 'a.py:3: wrong: x = ('
