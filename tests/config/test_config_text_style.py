import copy
import pickle
import warnings
from pathlib import Path

import pytest

from mmengine.config import Config, ConfigDict

BASE = 'a = 1\nb = dict(x=1, y=dict(z=2))\nitems_ = [dict(t=1), dict(t=2)]\n'


@pytest.fixture
def load(write):
    write('base.py', BASE)

    def load_text(text, name='child.py', **kwargs):
        return Config.fromfile(write(name, text), **kwargs)

    return load_text


def content(cfg):
    return cfg.to_dict()


def test_a_child_is_merged_into_its_base_level_by_level(load):
    cfg = load("_base_ = './base.py'\nb = dict(y=dict(w=3))\n")
    assert cfg.b == {'x': 1, 'y': {'z': 2, 'w': 3}}
    assert list(cfg) == ['a', 'b', 'items_']


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('c.py', "_base_ = 'base.py'\nb = dict(y=dict(_delete_=True, w=3))\n"),
        ('c.json', '{"_base_": "base.py", "b": {"y": {"_delete_": true, "w": 3}}}'),
        ('c.yaml', '_base_: base.py\nb:\n  y: {_delete_: true, w: 3}\n'),
        ('c.yml', '_base_: [base.py]\nb:\n  y: {_delete_: true, w: 3}\n'),
    ],
)
def test_delete_replaces_the_dict_of_the_base_in_every_format(load, name, text):
    assert load(text, name).b == {'x': 1, 'y': {'w': 3}}


def test_several_bases_and_bases_of_bases_are_found_relative_to_each_file(write, load):
    write('deep/er/one.py', "_base_ = ['../two.json']\none = 1\n")
    write('deep/two.json', '{"two": 2}')
    assert content(load("_base_ = ['base.py', 'deep/er/one.py']\n")).keys() == {
        'a',
        'b',
        'items_',
        'one',
        'two',
    }


def test_lists_and_other_values_replace(load):
    cfg = load("_base_ = 'base.py'\nitems_ = [3]\nb = None\n")
    assert cfg.items_ == [3]
    assert cfg.b is None


def test_base_variables_in_code_and_in_braces(load):
    cfg = load(
        "_base_ = 'base.py'\n"
        'n = _base_.a + 1\n'
        'whole = {{ _base_.b }}\n'
        'deep = {{_base_.b.y.z}} * 5\n'
        "quoted = '{{ _base_.b.y }}'\n"
        "inside = 'pre-{{ _base_.a }}'\n"
        'item = [{{ _base_.items_.1.t }}]\n'
        'b = dict(x=9)\n'
    )
    assert cfg.n == 2
    assert cfg.whole == {'x': 1, 'y': {'z': 2}}
    assert cfg.deep == 10
    assert cfg.quoted == {'z': 2}
    assert cfg.inside == 'pre-1'
    assert cfg.item == [2]
    assert cfg.b.x == 9


def test_f_strings_keep_their_doubled_braces(load):
    assert load("_base_ = 'base.py'\nx = f'{{_base_.a}} {1 + 1}'\n").x == '{_base_.a} 2'


def test_base_variables_in_json_and_yaml(load):
    json_cfg = load(
        '{"_base_": "base.py", "q": {{_base_.b}}, "r": ["{{ _base_.a }}"], "s": "a {{_base_.a}}"}',
        'c.json',
    )
    assert (json_cfg.q, json_cfg.r, json_cfg.s) == ({'x': 1, 'y': {'z': 2}}, [1], 'a 1')
    yaml_cfg = load('_base_: base.py\nq: {{_base_.b}}\nr: "{{ _base_.a }}"\n', 'c.yaml')
    assert (yaml_cfg.q, yaml_cfg.r) == ({'x': 1, 'y': {'z': 2}}, 1)


def test_changes_to_base_values_reach_the_result(load):
    cfg = load("_base_ = 'base.py'\n_base_.b.x = 5\nmine = _base_.items_\nmine[0].t = 10\n")
    assert cfg.b.x == 5
    assert cfg.items_[0].t == cfg.mine[0].t == 10


def test_parts_of_the_result_share_nothing(load):
    cfg = load("_base_ = 'base.py'\nmine = _base_.b\npipe = [dict(k=1)]\np1 = pipe\np2 = pipe\n")
    cfg.mine.x = 100
    cfg.p1[0].k = 100
    assert cfg.b.x == 1
    assert cfg.p2[0].k == 1


@pytest.mark.parametrize('name', ['c.py', 'c.json', 'c.yaml'])
def test_file_variables(load, tmp_path, name):
    quote = '"{{ fileDirname }}|{{fileBasename}}|{{ fileBasenameNoExtension }}|{{fileExtname}}"'
    texts = {'c.py': f'v = {quote}\n', 'c.json': f'{{"v": {quote}}}', 'c.yaml': f'v: {quote}\n'}
    assert load(texts[name], name).v == f'{tmp_path}|{name}|c|{Path(name).suffix}'


def test_unknown_variables_and_switched_off_ones_stay(load):
    assert load("x = '{{ fooBar }}'\n").x == '{{ fooBar }}'
    assert load("x = '{{fileBasename}}'\n", use_predefined_variables=False).x == '{{fileBasename}}'
    assert load("x = '{{$V:1}}'\n", use_environment_variables=False).x == '{{$V:1}}'


def test_environment_variables_and_their_defaults(load, monkeypatch):
    monkeypatch.setenv('SET_ONE', 'value')
    monkeypatch.delenv('UNSET', raising=False)
    cfg = load(
        "a = '{{$SET_ONE:x}}'\nb = '{{ $SET_ONE }}'\nc = '{{$UNSET:http://h:80}}'\n"
        "d = {{'$UNSET:7'}}\ne = {{$UNSET:8}}\n"
    )
    assert content(cfg) == dict(a='value', b='value', c='http://h:80', d=7, e=8)
    assert cfg.env_variables == {'SET_ONE': 'value'}


def test_environment_variables_of_bases_are_remembered(write, load, monkeypatch):
    monkeypatch.setenv('SET_ONE', '3')
    write('env.py', "x = '{{$SET_ONE:1}}'\n")
    assert load("_base_ = 'env.py'\n").env_variables == {'SET_ONE': '3'}


def test_the_text_holds_every_file_under_its_path(load, tmp_path):
    child = "_base_ = 'base.py'\n"
    assert load(child).text == f'{tmp_path}/base.py\n{BASE}\n{tmp_path}/child.py\n{child}'


def test_modules_functions_imports_and_private_names_are_no_content(load):
    cfg = load(
        'import os\nimport math as m\nfrom copy import deepcopy\n'
        'def helper(): return 3\nclass Thing: pass\nalias = helper\nsquare = lambda v: v * v\n'
        'x = helper()\npi = m.pi\nsep = os.sep\ncopied = deepcopy(dict(y=[1]))\n'
        '__hidden = 1\n_kept = 2\n'
    )
    assert set(cfg) == {'x', 'pi', 'sep', 'copied', '_kept'}
    assert cfg.x == 3
    assert type(cfg.copied) is ConfigDict


def test_functions_inside_values_stay(load):
    cfg = load('def double(v): return 2 * v\ntable = dict(fn=double)\n')
    assert cfg.table.fn(4) == 8


def test_base_may_be_an_expression(load):
    assert load("_base_ = ['ba' + 'se.py']\n").a == 1
    assert list(load('_base_ = []\nq = 1\n')) == ['q']


def test_imports_are_done_at_once_when_laziness_is_off(load):
    import torch

    cfg = load('from torch.optim import SGD\nopt = dict(type=SGD)\n', lazy_import=False)
    assert dict.get(cfg.opt, 'type') is torch.optim.SGD
    assert list(cfg) == ['opt']


def test_custom_imports_are_imported(write, load, monkeypatch, tmp_path):
    import sys

    monkeypatch.syspath_prepend(tmp_path)
    write('extra_module_for_config.py', 'VALUE = 1\n')
    text = (
        "custom_imports = dict(imports=['extra_module_for_config'], allow_failed_imports=False)\n"
    )
    load(text, import_custom_modules=False)
    assert 'extra_module_for_config' not in sys.modules
    load(text)
    assert sys.modules.pop('extra_module_for_config').VALUE == 1


def test_a_failed_custom_import_is_an_error_or_a_warning(load):
    with pytest.raises(ImportError, match=r'child.py:1: custom_imports.*no_such_module_x'):
        load("custom_imports = dict(imports=['no_such_module_x'])\n")
    with pytest.warns(UserWarning, match=r'no_such_module_x'):
        load("custom_imports = dict(imports=['no_such_module_x'], allow_failed_imports=True)\n")


def test_a_deprecated_file_warns_and_its_notice_is_no_content(write, load):
    write('old.py', "_deprecation_ = dict(expected='new.py', reference='the guide')\nx = 1\n")
    with pytest.warns(DeprecationWarning, match=r'old.py is deprecated. Use new.py .* the guide'):
        assert content(load("_base_ = 'old.py'\n")) == {'x': 1}


def test_config_from_a_string():
    assert Config.fromstring('a = 1\nb = dict(c=2)\n', '.py').b.c == 2
    assert Config.fromstring('{"a": {"b": 1}}', '.json').a.b == 1
    assert Config.fromstring('a: {b: 1}', '.yaml').a.b == 1
    with pytest.raises(OSError, match=r"got '.xml'"):
        Config.fromstring('', '.xml')


def test_config_reads_and_writes_like_its_dict():
    cfg = Config(dict(a=1, b=dict(c=2)))
    cfg.d = dict(e=3)
    cfg['f'] = dict(g=4)
    del cfg.a
    assert (cfg.d.e, cfg.f.g, 'a' in cfg, len(cfg)) == (3, 4, False, 3)
    assert dict(**cfg).keys() == {'b', 'd', 'f'}
    assert cfg.pop('b') == {'c': 2}
    assert cfg.get('b') is None
    with pytest.raises(AttributeError, match=r"no 'zz'"):
        cfg.zz


def test_a_config_remembers_its_file_through_copies_and_pickle(load, monkeypatch):
    monkeypatch.setenv('SET_ONE', '3')
    cfg = load("x = dict(y='{{$SET_ONE:1}}')\n")
    for twin in (cfg.copy(), copy.copy(cfg), copy.deepcopy(cfg), pickle.loads(pickle.dumps(cfg))):
        assert twin == cfg
        assert (twin.filename, twin.text) == ('child.py', cfg.text)
        assert twin.env_variables == {'SET_ONE': '3'}
    assert cfg.copy().x is cfg.x
    assert copy.deepcopy(cfg).x is not cfg.x


def test_repr_names_the_file(load):
    assert repr(load('x = 1\n')) == "Config (path: child.py): {'x': 1}"


def test_a_path_object_is_as_good_as_a_string(load, tmp_path):
    assert Config.fromfile(tmp_path / 'base.py').filename == str(tmp_path / 'base.py')


def test_a_clean_load_warns_of_nothing(load):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        load("_base_ = 'base.py'\nx = '{{fileBasename}}'\n")


@pytest.mark.parametrize(
    'head', ['from mmengine.config import Config', 'from mmengine import Config, ConfigDict']
)
def test_a_file_that_calls_config_fromfile_is_a_text_config(head: str, tmp_path: Path) -> None:
    (tmp_path / 'base.py').write_text("a = 1\nmodel = dict(type='X')\n")
    (tmp_path / 'child.py').write_text(
        f"{head}\nother = Config.fromfile('{tmp_path}/base.py')\n"
        'b = other.a + 1\nmodel = other.model\ndel other\n'
    )
    config = Config.fromfile(tmp_path / 'child.py')
    assert config._cfg_dict == {'b': 2, 'model': {'type': 'X'}}


def test_such_a_file_may_have_a_base(tmp_path: Path) -> None:
    (tmp_path / 'base.py').write_text('a = 1\n')
    (tmp_path / 'child.py').write_text(
        "from mmengine.config import ConfigDict\n_base_ = 'base.py'\n"
        'b = ConfigDict(c={{_base_.a}})\n'
    )
    assert Config.fromfile(tmp_path / 'child.py').b.c == 1
