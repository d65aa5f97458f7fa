import copy
import pickle

import pytest

from mmengine.config import Config, ConfigDict, source_location
from mmengine.config._origin.places import PLAIN_DICT_ORIGINS


@pytest.fixture
def cfg(write):
    write(
        'base/model.py',
        'model = dict(\n    type="A",\n    neck=dict(\n        depth=1),\n'
        '    items_=[dict(q=1)])\nx = 1\n',
    )
    write(
        'child.py',
        "_base_ = 'base/model.py'\n"
        'model = dict(\n'
        '    neck={"depth": 2,\n'
        '          "width": 3})\n'
        'y = 1\n',
    )
    return Config.fromfile('child.py')


@pytest.mark.parametrize(
    ('key', 'place'),
    [
        ('model', 'child.py:2'),
        ('model.type', 'base/model.py:2'),
        ('model.neck', 'child.py:3'),
        ('model.neck.depth', 'child.py:3'),
        ('model.neck.width', 'child.py:4'),
        ('model.items_', 'base/model.py:5'),
        ('model.items_.0', 'base/model.py:5'),
        ('model.items_.0.q', 'base/model.py:5'),
        ('x', 'base/model.py:6'),
        ('y', 'child.py:5'),
        ('nope', None),
        ('model.nope', None),
        ('model.items_.7', None),
    ],
)
def test_the_last_writer_of_a_key_is_its_place(cfg, key, place):
    assert source_location(cfg, key) == place


def test_a_dict_is_where_it_began(cfg):
    assert source_location(cfg.model.neck) == 'base/model.py:3'
    assert source_location(cfg.model.items_[0]) == 'base/model.py:5'


@pytest.mark.parametrize(
    'twin', [copy.copy, copy.deepcopy, ConfigDict, lambda c: pickle.loads(pickle.dumps(c))]
)
def test_copies_remember_places(cfg, twin):
    assert source_location(twin(cfg.model), 'type') == 'base/model.py:2'
    assert source_location(twin(cfg.model), 'neck') == 'child.py:3'


def test_a_copy_has_places_of_its_own(cfg):
    twin = cfg.model.copy()
    twin.merge(dict(neck=1))
    assert source_location(twin, 'neck') is None or source_location(twin, 'neck') != 'child.py:3'
    assert source_location(cfg.model, 'neck') == 'child.py:3'


def test_places_are_no_content(cfg):
    plain = ConfigDict(cfg.model.to_dict())
    assert plain == cfg.model
    assert list(plain) == list(cfg.model)
    assert repr(plain) == repr(cfg.model)
    assert '_origin' not in cfg.model


def test_places_add_less_to_a_pickle_than_the_content(cfg):
    plain = len(pickle.dumps(ConfigDict(cfg.to_dict())))
    assert len(pickle.dumps(cfg._cfg_dict)) < 2 * plain + 200


def test_json_and_yaml_know_the_file(write):
    assert source_location(Config.fromfile(write('a.json', '{"a": {"b": 1}}')), 'a.b') == 'a.json'
    assert source_location(Config.fromfile(write('a.yaml', 'a: {b: 1}')).a) == 'a.yaml'


def test_dicts_made_by_code_have_no_place():
    cfg = Config(dict(a=dict(b=1)))
    assert source_location(cfg, 'a') is None
    assert source_location(cfg.a) is None
    assert source_location({'a': 1}, 'a') is None


def test_assignments_in_code_write_their_key(write):
    write('base.py', 'model = dict(\n    a=1,\n    b=dict(c=1))\n')
    text = (
        'from mmengine.config import read_base\n'
        'with read_base():\n'
        '    from .base import *\n'
        'model.b.c = 2\n'
        'model.update(dict(\n'
        '    a=3))\n'
        "model['d'] = 4\n"
    )
    cfg = Config.fromfile(write('child.py', text))
    places = {key: source_location(cfg, f'model.{key}') for key in ('a', 'b', 'b.c', 'd')}
    assert places == {'a': 'child.py:6', 'b': 'base.py:3', 'b.c': 'child.py:4', 'd': 'child.py:7'}


def test_nothing_is_remembered_after_loading(cfg, write):
    with pytest.raises(NameError):
        Config.fromfile(write('bad.py', 'a = dict(b=1)\nc = nope\n'))
    assert not PLAIN_DICT_ORIGINS


def test_a_dict_in_which_an_option_sets_a_key_stays_where_it_was(cfg):
    cfg.merge_from_dict({'model.neck.depth': 5, 'model.items_.0.q': 2})
    assert source_location(cfg, 'model') == 'child.py:2'
    assert source_location(cfg, 'model.neck') == 'child.py:3'
    assert source_location(cfg, 'model.items_') == 'base/model.py:5'


def test_a_key_that_options_set_is_in_no_file(cfg):
    cfg.merge_from_dict({'model.type': 'B'})
    assert source_location(cfg, 'model.type') != 'base/model.py:2'
    assert source_location(cfg, 'x') == 'base/model.py:6'


WRITES = {
    # What writes the key: lines of the file, the key, and its place. `base.py` has `common`.
    'keyword': ("a = dict(x=1,\n         y=2)\n", 'a.y', 'child.py:3'),
    'item': ("a = dict(x=1)\na['x'] = 2\n", 'a.x', 'child.py:3'),
    'new item': ("a = dict(x=1)\na['y'] = 2\n", 'a.y', 'child.py:3'),
    'item of a variable': ("a = dict()\nfor k in ('x', 'y'):\n    a[k] = 1\n", 'a.y', 'child.py:4'),
    'item within': ("a = dict(b=dict(x=1))\na['b']['x'] = 2\n", 'a.b.x', 'child.py:3'),
    'item of a list': ("a = [dict(x=1)]\na[0]['x'] = 2\n", 'a.0.x', 'child.py:3'),
    'added to an item': ("a = dict(x=1)\na['x'] += 2\n", 'a.x', 'child.py:3'),
    'update': ("a = dict(x=1)\na.update(\n    x=2)\n", 'a.x', 'child.py:4'),
    'update by a dict': ("a = dict(x=1)\na.update(\n    dict(x=2))\n", 'a.x', 'child.py:4'),
    'update leaves others': ("a = dict(x=1)\na.update(y=2)\n", 'a.x', 'child.py:2'),
    'setdefault': ("a = dict(x=1)\na.setdefault('y', 2)\n", 'a.y', 'child.py:3'),
    'setdefault without effect': ("a = dict(x=1)\na.setdefault('x', 2)\n", 'a.x', 'child.py:2'),
    'union': ("a = dict(x=1) | dict(\n    y=2)\n", 'a.y', 'child.py:3'),
    'union, from the first': ("b = dict(x=1)\na = b | dict(y=2)\n", 'a.x', 'child.py:2'),
    'union in place': ("a = dict(x=1)\na |= dict(x=2)\n", 'a.x', 'child.py:3'),
    'union of an item': ("a = dict(b=dict(x=1))\na['b'] |= dict(x=2)\n", 'a.b.x', 'child.py:3'),
    'dict from another': ("b = dict(x=1)\na = dict(b, y=2)\n", 'a.x', 'child.py:2'),
    'dict from another, changed': ("b = dict(x=1)\na = dict(b, x=2)\n", 'a.x', 'child.py:3'),
    'spread': ("b = dict(x=1)\na = dict(**b, y=2)\n", 'a.x', 'child.py:2'),
    'spread in braces': ("b = {'x': 1}\na = {**b, 'y': 2}\n", 'a.x', 'child.py:2'),
    'spread, then changed': ("b = {'x': 1}\na = {**b,\n     'x': 2}\n", 'a.x', 'child.py:4'),
    'comprehension': ("a = {k: 1 for k in 'xy'}\na['x'] = 2\n", 'a.x', 'child.py:3'),
    'appended': ("a = []\na.append(dict(x=1))\n", 'a.0.x', 'child.py:3'),
    'added list': ("a = []\na += [dict(\n    x=1)]\n", 'a.0.x', 'child.py:4'),
    'shared': ("b = dict(x=1)\na = b\na['x'] = 2\n", 'b.x', 'child.py:4'),
    'written again': ("a = dict(x=1)\na = dict(x=2)\n", 'a.x', 'child.py:3'),
}  # fmt: skip
HEADS = {
    'text style': "_base_ = './base.py'\n",
    'lazy style': 'from mmengine.config import read_base\n'
    'with read_base():\n    from .base import *\n',
}


@pytest.mark.parametrize('style', HEADS)
@pytest.mark.parametrize('kind', WRITES)
def test_the_statement_that_wrote_a_key_is_its_place(write, kind, style):
    lines, key, place = WRITES[kind]
    write('base.py', 'common = dict(\n    x=1)\n')
    cfg = Config.fromfile(write('child.py', HEADS[style] + lines))
    _, line = place.split(':')
    added = HEADS[style].count('\n') - 1
    assert source_location(cfg, key) == f'child.py:{int(line) + added}'
    assert not PLAIN_DICT_ORIGINS


@pytest.mark.parametrize(
    ('head', 'written'),
    [
        ("_base_ = './base.py'\n", 'a = dict(_base_.common, y=2)\n'),
        ("_base_ = './base.py'\n", 'a = {**_base_.common}\n'),
        (HEADS['lazy style'], 'a = dict(common, y=2)\n'),
        (HEADS['lazy style'], 'a = common | dict(y=2)\n'),
    ],
    ids=['text, dict', 'text, spread', 'lazy, dict', 'lazy, union'],
)
def test_what_is_taken_over_from_a_base_was_written_there(write, head, written):
    write('base.py', 'common = dict(\n    x=1)\n')
    cfg = Config.fromfile(write('child.py', head + written))
    assert source_location(cfg, 'a.x') == 'base.py:2'


def test_a_file_runs_as_it_is_written(write):
    text = (
        'import os\n'
        'calls = []\n'
        'def made(**kwargs):\n'
        '    calls.append(1)\n'
        '    return dict(**kwargs)\n'
        'a = dict(made(x=1), **made(y=2))\n'
        'number = 5 | 2\n'
        'names = {"p"} | {"q"}\n'
        'class Plain:\n'
        '    def update(self, value):\n'
        '        self.value = value\n'
        'plain = Plain()\n'
        'plain.update(dict(z=1))\n'
        "os.environ['MMENGINE_TEST_ORIGIN'] = '1'\n"
        "count = len(os.environ.pop('MMENGINE_TEST_ORIGIN'))\n"
        'number += 1\n'
        'value = plain.value\n'
        'del Plain, plain\n'
    )
    cfg = Config.fromfile(write('a.py', text))
    assert cfg.a == {'x': 1, 'y': 2}
    assert (cfg.calls, cfg.number, cfg.names, cfg.count) == ([1, 1], 8, {'p', 'q'}, 1)
    assert source_location(cfg, 'value.z') == 'a.py:13'
