import copy
import pickle
import subprocess
import sys
from collections import Counter, OrderedDict

import pytest
import torch

from mmengine.config import Config, ConfigDict
from mmengine.config.lazy import LazyAttr, LazyObject

BASE = (
    'from torch.optim import SGD\n'
    'import torch.nn as nn\n'
    'import torch\n'
    'model = dict(type=SGD, lr=0.1, inner=dict(type=nn.Conv2d, items_=[dict(type=SGD)]))\n'
    'x = 3\n'
    'dtype = torch.float16\n'
    'kinds = [nn.ReLU, (SGD,)]\n'
)
READ_BASE = 'from mmengine.config import read_base\nwith read_base():\n    from .base import *\n'


@pytest.fixture
def load(write):
    write('base.py', BASE)

    def load_text(text, name='child.py', **kwargs):
        return Config.fromfile(write(name, text), **kwargs)

    return load_text


def test_names_are_imported_when_they_are_read(load):
    cfg = load(READ_BASE)
    assert type(dict.get(cfg.model, 'type')) is LazyObject
    assert cfg.model.type is torch.optim.SGD
    assert cfg.model['inner'].type is torch.nn.Conv2d
    assert cfg.dtype is torch.float16


def test_loading_imports_nothing_that_the_config_names(write, tmp_path):
    write(
        'only.py',
        'from wsgiref.handlers import CGIHandler\nimport torch.nn as nn\na = dict(t=nn.Conv2d)\n',
    )
    code = (
        "import sys; from mmengine.config import Config; c = Config.fromfile('only.py'); "
        "sys.exit('torch' in sys.modules)"
    )
    root = str(__import__('pathlib').Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=tmp_path, env={'PYTHONPATH': root}, check=False
    )
    assert done.returncode == 0


def test_imported_names_are_no_content_but_can_be_listed(load):
    cfg = load(READ_BASE)
    assert list(cfg) == ['model', 'x', 'dtype', 'kinds']
    listed = cfg.to_dict(keep_imported=True)
    assert (listed['SGD'], listed['nn']) == ('torch.optim.SGD', 'torch.nn')
    assert set(listed) - set(cfg) == {'SGD', 'nn', 'torch'}


def test_to_dict_writes_import_paths(load):
    assert load(READ_BASE).to_dict() == {
        'model': {
            'type': 'torch.optim.SGD',
            'lr': 0.1,
            'inner': {'type': 'torch.nn.Conv2d', 'items_': [{'type': 'torch.optim.SGD'}]},
        },
        'x': 3,
        'dtype': 'torch.float16',
        'kinds': ['torch.nn.ReLU', ('torch.optim.SGD',)],
    }


def test_a_child_changes_its_base_with_plain_python(load):
    cfg = load(
        READ_BASE + 'from collections import Counter\n'
        'model.update(lr=0.5, inner=dict(k=1))\n'
        'model.inner.items_.append(dict(type=SGD))\n'
        'y = x + 1\n'
        'x = dict(new=SGD)\n'
    )
    assert (cfg.model.lr, cfg.model.inner.k, len(cfg.model.inner.items_)) == (0.5, 1, 2)
    assert cfg.model.inner.type is torch.nn.Conv2d
    assert cfg.y == 4
    assert cfg.x.new is torch.optim.SGD


def test_a_base_can_be_taken_name_by_name(load):
    cfg = load(
        'from mmengine.config import read_base\nwith read_base():\n'
        '    from .base import x as first\n'
    )
    assert cfg.to_dict() == {'first': 3}


def test_bases_lie_relative_to_each_file(write, load):
    write('sub/mid.py', READ_BASE.replace('.base', '..base') + 'y = x * 2\n')
    cfg = load(READ_BASE.replace('.base', '.sub.mid'))
    assert (cfg.x, cfg.y) == (3, 6)


def test_a_later_base_wins(write, load):
    write('other.py', 'x = 9\n')
    assert load(READ_BASE + '    from .other import *\n').x == 9


def test_standard_modules_are_real_and_no_content(load):
    cfg = load(
        'from torch.optim import SGD\nimport os\nfrom os.path import join\nimport os.path as osp\n'
        "a = join('x', 'y')\nb = osp.basename(a)\nc = os.sep\n"
    )
    assert cfg.to_dict() == {'a': 'x/y', 'b': 'y', 'c': '/'}


def test_imports_inside_functions_and_try_are_real(load):
    cfg = load(
        'from torch.optim import SGD\n'
        'try:\n    from no_such_module_x import y\nexcept ImportError:\n    y = 1\n'
        'def f():\n    import torch\n    return torch.float16 is not None\n'
        'z = f()\n'
    )
    assert cfg.to_dict() == {'y': 1, 'z': True}


def test_several_submodules_of_one_package(load):
    cfg = load('import torch.nn\nimport torch.optim\na = torch.nn.Conv2d\nb = torch.optim.SGD\n')
    assert (cfg.a, cfg.b) == (torch.nn.Conv2d, torch.optim.SGD)


def test_braces_are_left_alone(load):
    assert load("from torch.optim import SGD\nx = '{{fileBasename}} {{$V:3}}'\n").x == (
        '{{fileBasename}} {{$V:3}}'
    )


def test_plain_files_may_be_read_by_either_style(write, load):
    write('plain.py', 'q = dict(a=1)\n')
    assert load(READ_BASE.replace('.base', '.plain')).q.a == 1
    assert load("_base_ = 'plain.py'\n").q.a == 1
    assert load('q = dict(a=1)\n', lazy_import=True).q.a == 1


@pytest.mark.parametrize('roundtrip', [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_copies_stay_lazy_and_equal(load, roundtrip):
    cfg = load(READ_BASE)
    twin = roundtrip(cfg)
    assert twin == cfg
    assert type(dict.get(twin.model, 'type')) is LazyObject
    assert twin.model.type is torch.optim.SGD


def test_a_dumped_config_loads_to_an_equal_one_that_is_lazy_again(load, tmp_path):
    cfg = load(READ_BASE + 'import numpy\narr = numpy\n')
    cfg.dump(tmp_path / 'dumped.py')
    again = Config.fromfile(tmp_path / 'dumped.py')
    assert again == cfg
    assert again.to_dict() == cfg.to_dict()
    assert type(dict.get(again.model.inner, 'type')) in (LazyObject, LazyAttr)
    assert again.pretty_text == cfg.pretty_text


def test_options_replace_lazy_values(load):
    cfg = load(READ_BASE)
    cfg.merge_from_dict({'model.type': 'Adam', 'model.inner.items_.0.type': 'Q'})
    assert (cfg.model.type, cfg.model.inner.items_[0].type) == ('Adam', 'Q')


def test_lazy_object_stands_for_a_module_or_a_name_in_it():
    assert LazyObject('collections', 'OrderedDict').build() is OrderedDict
    assert LazyObject('torch.nn').build() is torch.nn
    assert LazyObject(['torch.nn', 'torch.optim']).build() is torch
    assert LazyObject('torch', 'nn').build() is torch.nn
    assert LazyObject('torch.nn').Conv2d.build() is torch.nn.Conv2d


def test_lazy_names_show_the_short_name_and_know_the_long_one():
    attr = LazyAttr('Conv2d', LazyObject('torch.nn'))
    assert (str(attr), attr.name, attr.module) == ('Conv2d', 'Conv2d', 'torch.nn')
    assert LazyObject('torch.optim', 'SGD').foo.bar.module == 'torch.optim.SGD.foo'
    assert str(LazyObject('torch.optim', 'SGD')) == 'SGD'
    assert str(LazyObject('torch.nn')) == 'torch.nn'


def test_lazy_names_equal_what_they_stand_for():
    lazy = LazyObject('collections', 'Counter')
    assert lazy == LazyAttr('Counter', LazyObject('collections'))
    assert ConfigDict(a=lazy) == dict(a=Counter)
    assert ConfigDict(a=lazy) != dict(a=OrderedDict)


@pytest.mark.parametrize(
    'lazy', [LazyObject('torch.optim', 'SGD'), LazyAttr('x', LazyObject('torch'))]
)
def test_a_lazy_name_cannot_be_called(lazy):
    with pytest.raises(RuntimeError, match='cannot call'):
        lazy()


@pytest.mark.parametrize('args', [(3,), (['a', 3],), ('a', 3)])
def test_a_lazy_object_takes_names_only(args):
    with pytest.raises(TypeError, match='name'):
        LazyObject(*args)


def test_asking_a_lazy_name_what_it_can_do_finds_nothing():
    lazy = LazyObject('no_such_module_x')
    assert not hasattr(lazy, '__len__')
    assert not hasattr(lazy, '_repr_html_')
    assert not hasattr(lazy.attr, '_repr_html_')
