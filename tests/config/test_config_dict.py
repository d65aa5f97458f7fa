import copy
import json
import pickle
from collections import Counter, OrderedDict, defaultdict, namedtuple
from collections.abc import Mapping
from typing import Any

import pytest

from mmengine.config import Config, ConfigDict
from mmengine.config.lazy import LazyObject


@pytest.fixture
def cfg() -> ConfigDict:
    return ConfigDict(a=1, b=dict(c=2, d=[dict(e=3), (dict(f=4),)]))


def test_keys_are_attributes_through_dicts_lists_and_tuples(cfg):
    assert cfg.b.d[0].e == 3
    assert cfg.b.d[1][0].f == 4


def test_it_is_a_dict_and_equals_the_plain_one(cfg):
    assert isinstance(cfg, dict)
    assert cfg == {'a': 1, 'b': {'c': 2, 'd': [{'e': 3}, ({'f': 4},)]}}
    assert json.loads(json.dumps(cfg))['b']['c'] == 2


def test_missing_attribute_names_the_nearest_key():
    with pytest.raises(AttributeError, match="Did you mean 'backbone'"):
        ConfigDict(backbone=1).backbon


def test_missing_item_is_a_key_error_that_lists_what_there_is(cfg):
    with pytest.raises(KeyError, match=r"no 'zz'\. It has 'a', 'b'"):
        cfg['zz']


def test_missing_attribute_is_absent_for_hasattr_and_getattr(cfg):
    assert not hasattr(cfg, 'zz')
    assert getattr(cfg, 'zz', 5) == 5


def test_get_and_pop_give_the_default_for_a_missing_key(cfg):
    assert cfg.get('zz') is None
    assert cfg.get('zz', 3) == 3
    assert cfg.pop('zz') is None
    assert cfg.pop('zz', 3) == 3


@pytest.mark.parametrize(
    'put',
    [
        lambda cfg, value: setattr(cfg, 'n', value),
        lambda cfg, value: cfg.__setitem__('n', value),
        lambda cfg, value: cfg.setdefault('n', value),
        lambda cfg, value: cfg.update(n=value),
        lambda cfg, value: cfg.merge(dict(n=value)),
        lambda cfg, value: cfg.__ior__(dict(n=value)),
    ],
    ids=['attribute', 'item', 'setdefault', 'update', 'merge', 'ior'],
)
def test_a_dict_put_in_becomes_a_config_dict(cfg, put):
    put(cfg, dict(x=[dict(y=1)]))
    assert cfg.n.x[0].y == 1


def test_setdefault_returns_what_is_stored(cfg):
    assert cfg.setdefault('n', {}) is cfg.n
    assert cfg.setdefault('a', 9) == 1


def test_update_merges_nested_dicts(cfg):
    cfg.update(dict(b=dict(c=5)))
    assert cfg.b == {'c': 5, 'd': [{'e': 3}, ({'f': 4},)]}


def test_update_takes_pairs_and_refuses_two_arguments(cfg):
    cfg.update([('a', 7)])
    assert cfg.a == 7
    with pytest.raises(TypeError, match='one positional'):
        cfg.update({}, {})


def test_update_keeps_delete_as_an_entry():
    cfg = ConfigDict(b=dict(x=1))
    cfg.update(dict(b=dict(_delete_=True, q=1)))
    assert cfg.b == {'x': 1, '_delete_': True, 'q': 1}


@pytest.mark.parametrize(
    ('other', 'expected'),
    [
        (dict(b=dict(q=1)), {'b': {'x': 1, 'q': 1}}),
        (dict(b=dict(_delete_=True, q=1)), {'b': {'q': 1}}),
        (dict(b=dict(_delete_=False, q=1)), {'b': {'x': 1, 'q': 1}}),
        (dict(_delete_=True, q=1), {'q': 1}),
        (dict(n=dict(_delete_=True, q=1)), {'b': {'x': 1}, 'n': {'q': 1}}),
        (dict(b=[1]), {'b': [1]}),
    ],
    ids=['nested', 'delete', 'delete false', 'delete all', 'delete of nothing', 'list replaces'],
)
def test_merge(other, expected):
    cfg = ConfigDict(b=dict(x=1))
    cfg.merge(other)
    assert cfg == expected


def test_merge_leaves_its_argument_as_it_was():
    other = ConfigDict(b=dict(_delete_=True, q=1))
    ConfigDict(b=1).merge(other)
    assert other == {'b': {'_delete_': True, 'q': 1}}


def test_names_of_dict_methods_are_refused_as_attributes(cfg):
    with pytest.raises(AttributeError, match='items'):
        cfg.items = 3
    cfg['items'] = 3
    assert cfg['items'] == 3


def test_copies_share_and_deep_copies_do_not(cfg):
    for twin in (cfg.copy(), copy.copy(cfg)):
        assert type(twin) is ConfigDict
        assert twin.b is cfg.b
    deep = copy.deepcopy(cfg)
    assert deep == cfg
    assert deep.b is not cfg.b
    assert type(deep.b.d[0]) is ConfigDict


def test_pickle_gives_an_equal_config_dict(cfg):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        twin = pickle.loads(pickle.dumps(cfg, protocol))
        assert twin == cfg
        assert type(twin.b.d[1][0]) is ConfigDict


def test_a_config_dict_that_holds_itself_can_be_copied_and_pickled():
    cfg = ConfigDict()
    cfg.me = cfg
    for twin in (copy.deepcopy(cfg), pickle.loads(pickle.dumps(cfg))):
        assert twin.me is twin


def test_to_dict_is_plain_all_the_way_down(cfg):
    plain = cfg.to_dict()
    assert plain == cfg
    assert [type(plain), type(plain['b']), type(plain['b']['d'][0])] == [dict, dict, dict]


def test_union_stays_a_config_dict(cfg):
    assert (cfg | dict(n=dict(x=1))).n.x == 1
    assert (dict(n=dict(x=1)) | cfg).n.x == 1


def test_items_may_be_changed_while_they_are_walked(cfg):
    for key, value in cfg.items():
        assert cfg.pop(key) is value
    assert len(cfg) == 0


def test_named_tuples_ordered_dicts_and_int_keys_are_converted_inside():
    point = namedtuple('point', 'x y')
    cfg = ConfigDict({'p': point(1, dict(z=2)), 'o': OrderedDict(x=1), 1: dict(a=2)})
    assert cfg.p.y.z == 2
    assert type(cfg.p) is point
    assert cfg.o.x == 1
    assert cfg[1].a == 2


def test_a_config_dict_given_as_value_is_taken_as_it_is():
    inner = ConfigDict(a=1)
    assert ConfigDict(x=inner).x is inner


def test_delattr_removes_a_key(cfg):
    del cfg.a
    assert 'a' not in cfg
    with pytest.raises(AttributeError):
        del cfg.a


@pytest.mark.parametrize(
    'read',
    [
        lambda cfg: cfg.a,
        lambda cfg: cfg['a'],
        lambda cfg: cfg.get('a'),
        lambda cfg: cfg.pop('a'),
        lambda cfg: cfg.setdefault('a', 1),
        lambda cfg: dict(cfg)['a'],
        lambda cfg: (lambda **kw: kw)(**cfg)['a'],
        lambda cfg: cfg.items()[0][1],
        lambda cfg: cfg.values()[0],
        lambda cfg: cfg.popitem()[1],
        lambda cfg: cfg.build_lazy(LazyObject('collections', 'OrderedDict')),
    ],
)
def test_reading_a_lazy_value_imports_it(read):
    assert read(ConfigDict(a=LazyObject('collections', 'OrderedDict'))) is OrderedDict


def test_copying_and_printing_import_nothing():
    cfg = ConfigDict(a=LazyObject('no_such_module_at_all', 'X'))
    assert repr(copy.deepcopy(cfg).copy()) == "{'a': X}"
    assert pickle.loads(pickle.dumps(cfg)).to_dict() == {'a': 'no_such_module_at_all.X'}


class Own(dict[str, Any]):
    pass


def own_values() -> dict[str, Any]:
    return {
        'counter': Counter('aab'),
        'default': defaultdict(list, k=[{'a': 1}]),
        'own': Own(y=1, inner={'z': 1}),
        'ordered': OrderedDict(a=1),
        'listed': [Own(p=1), {'q': 1}],
        'paired': (Counter('b'),),
    }


# As mmengine 0.10.7 has them: an OrderedDict is a plain dict that had an order before dicts had.
KINDS = {
    'counter': 'Counter',
    'default': 'defaultdict',
    'own': 'Own',
    'ordered': 'ConfigDict',
    'listed': 'Own',
    'paired': 'Counter',
}


def kinds_in(config: Any) -> dict[str, str]:
    values = {
        key: value[0] if key in ('listed', 'paired') else value for key, value in config.items()
    }
    return {key: type(value).__name__ for key, value in values.items()}


@pytest.mark.parametrize('kind', [ConfigDict, Config])
def test_dicts_of_other_classes_stay_what_they_are(kind: Any) -> None:
    config = kind(own_values())
    assert kinds_in(config) == KINDS
    assert kinds_in(copy.deepcopy(config)) == KINDS
    assert type(config.own['inner']) is dict
    assert isinstance(config.listed[1], ConfigDict)
    config.counter.update('b')
    assert config.counter['b'] == 2
    config.default['new'].append(1)
    assert config.default['new'] == [1]


def test_they_stay_when_they_are_set() -> None:
    config = Config()
    config.a = Own(x=1)
    config['b'] = Counter('a')
    config._cfg_dict.setdefault('c', Own())
    assert [type(config[key]).__name__ for key in 'abc'] == ['Own', 'Counter', 'Own']
    assert Config.fromstring(config.pretty_text, '.py').a == {'x': 1}


def test_a_dict_merged_into_one_of_another_class_leaves_the_callers_object() -> None:
    mine = Own(x=1)
    config = ConfigDict(a=mine)
    config.update(a={'y': 2})
    assert type(config.a) is Own
    assert config.a == {'x': 1, 'y': 2}
    assert mine == {'x': 1}
    config.merge({'a': {'_delete_': True, 'z': 3}})
    assert config.a == {'z': 3}


def test_options_and_bases_go_into_dicts_of_other_classes() -> None:
    config = Config({'a': Own(x=1)})
    config.merge_from_dict({'a.y': 2, 'b': Own(z=3)})
    assert config.a == {'x': 1, 'y': 2}
    assert type(config.b) is Own


def test_a_config_is_a_mapping() -> None:
    config = Config({'a': 1, 'b': {'c': 2}})
    assert isinstance(config, Mapping)
    assert {**config} == {'a': 1, 'b': {'c': 2}}
