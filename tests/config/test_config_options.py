import argparse

import pytest

from mmengine.config import Config, DictAction
from mmengine.config.cli import parse_value
from mmengine.config.config import add_args


@pytest.fixture
def cfg():
    return Config(dict(items_=[dict(a=1), dict(b=[1, 2])], x=1, m=dict(n=dict(o=1))))


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({'m.n.o': 2}, {'m': {'n': {'o': 2}}}),
        ({'m.n.p': 2}, {'m': {'n': {'o': 1, 'p': 2}}}),
        ({'new.a.b': 1}, {'new': {'a': {'b': 1}}}),
        ({'m': dict(n=dict(p=2))}, {'m': {'n': {'o': 1, 'p': 2}}}),
        ({'m': dict(_delete_=True, q=1)}, {'m': {'q': 1}}),
        ({'m.n._delete_': True, 'm.n.z': 1}, {'m': {'n': {'z': 1}}}),
        ({'x._delete_': True, 'x.y': 1}, {'x': {'y': 1}}),
        ({'items_.0.a': 9}, {'items_': [{'a': 9}, {'b': [1, 2]}]}),
        ({'items_.1.b.0': 9}, {'items_': [{'a': 1}, {'b': [9, 2]}]}),
        ({'items_.0': 5}, {'items_': [5, {'b': [1, 2]}]}),
        ({'items_': [7]}, {'items_': [7]}),
        ({'m': None}, {'m': None}),
        ({'new': dict(_delete_=True, q=1)}, {'new': {'q': 1}}),
    ],
    ids=str,
)
def test_merge_from_dict(cfg, options, expected):
    before = cfg.to_dict()
    cfg.merge_from_dict(options)
    assert cfg.to_dict() == {**before, **expected}


def test_options_and_earlier_copies_are_left_as_they_were(cfg):
    options = {'m': dict(n=dict(_delete_=True)), 'm.q': 1}
    before = cfg.copy()
    cfg.merge_from_dict(options)
    assert options == {'m': {'n': {'_delete_': True}}, 'm.q': 1}
    assert before.m.n.o == 1


@pytest.mark.parametrize(
    ('options', 'kind', 'message'),
    [
        (
            {'items_.2.a': 1},
            KeyError,
            "'items_' has 2 items, so there is no items_.2: .*index is 1",
        ),
        ({'items_.x': 1}, TypeError, "'items_' is a list of 2.*got 'x'"),
        ({'items_.-1': 1}, TypeError, "got '-1'"),
        ({'x.a': 1}, TypeError, "cannot set x.a: 'x' is int 1"),
        ({'items_.0.a.q': 1}, TypeError, "cannot set items_.0.a.q: 'items_.0.a' is int 1"),
    ],
    ids=str,
)
def test_options_that_do_not_fit_say_where(cfg, options, kind, message):
    before = cfg.to_dict()
    with pytest.raises(kind, match=message):
        cfg.merge_from_dict(options)
    assert cfg.to_dict() == before


def test_list_keys_can_be_refused(cfg):
    with pytest.raises(TypeError, match=r'cannot set items_\.0'):
        cfg.merge_from_dict({'items_.0.a': 9}, allow_list_keys=False)


# Expected values were observed on the reference implementation of the API.
@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('1', 1),
        ('-1', -1),
        ('+3', 3),
        ('1_000', 1000),
        ('1.5', 1.5),
        ('1e-3', 0.001),
        ('inf', float('inf')),
        ('0x10', '0x10'),
        ('x', 'x'),
        ('', ''),
        ('True', True),
        ('true', True),
        ('FALSE', False),
        ('None', None),
        ('none', 'none'),
        ('[1,2]', [1, 2]),
        ('[1, 2]', [1, 2]),
        ('(1,2)', (1, 2)),
        ('1,2', [1, 2]),
        ('x,y', ['x', 'y']),
        ('[]', []),
        ('()', ()),
        ('(1,)', (1,)),
        ('[(1),2]', [(1,), 2]),
        ('[1,(2,3)]', [1, (2, 3)]),
        ('[(1,2),[3]]', [(1, 2), [3]]),
        ('((1,2),(3,4))', ((1, 2), (3, 4))),
        ('[a,b]', ['a', 'b']),
        ("['a','b']", ['a', 'b']),
        ('[True,None,x.y,1.0]', [True, None, 'x.y', 1.0]),
        ("'1'", 1),
        ('"[1,2]"', [1, 2]),
        ('https://x:8/y', 'https://x:8/y'),
        ("{'b':1}", "{'b':1}"),
        ('dict(b=1)', 'dict(b=1)'),
        ('1=2', '1=2'),
    ],
)
def test_values_of_the_command_line(text, value):
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_blanks_inside_strings_stay():
    assert parse_value('"two words"') == 'two words'
    assert parse_value('[ "a b" , c]') == ['a b', 'c']


@pytest.mark.parametrize('text', ['[1,2', '(1,2', '[(1,2]', '[1,[2]'])
def test_brackets_must_match(text):
    with pytest.raises(ValueError, match=r'close|match'):
        parse_value(text)
    with pytest.raises(AssertionError):
        parse_value(text)


def parse(*words):
    parser = argparse.ArgumentParser()
    parser.add_argument('--o', nargs='+', action=DictAction)
    return parser.parse_args(words).o


def test_dict_action_collects_words_and_repeated_options():
    assert parse('--o', 'a=1', 'b.c=[1,x]') == {'a': 1, 'b.c': [1, 'x']}
    assert parse('--o', 'a=1', '--o', 'b=2') == {'a': 1, 'b': 2}
    assert parse('--o', 'url=http://h?q=1') == {'url': 'http://h?q=1'}


def test_dict_action_refuses_a_word_without_equals_sign():
    with pytest.raises(ValueError, match=r"--o takes key=value, got 'a'"):
        parse('--o', 'a')


def test_add_args_gives_an_option_for_each_entry():
    cfg = dict(a=1, b=1.5, c='s', d=True, e=dict(f=1, g=['x']), h=[], i=None)
    parser = add_args(argparse.ArgumentParser(), cfg)
    args = parser.parse_args(
        [
            '--a',
            '2',
            '--b',
            '2',
            '--c',
            't',
            '--d',
            '--e.f',
            '3',
            '--e.g',
            'y',
            'z',
            '--h',
            '1',
            'q',
            '--i',
            'None',
        ]
    )
    assert vars(args) == {
        **dict(a=2, b=2.0, c='t', d=True, h=[1, 'q'], i=None),
        'e.f': 3,
        'e.g': ['y', 'z'],
    }


def test_auto_argparser_reads_the_config_that_is_named(write, monkeypatch):
    write('c.py', 'a = 1\nb = dict(x=1)\n')
    monkeypatch.setattr('sys.argv', ['prog', 'c.py', '--b.x', '7'])
    parser, cfg = Config.auto_argparser('what it is')
    assert cfg.a == 1
    args = parser.parse_args()
    assert (args.config, getattr(args, 'b.x'), args.a) == ('c.py', 7, None)
    assert 'what it is' in parser.format_help()
