"""One walk over values serves checkpoints, the message hub, trackers and config files."""

import enum
from collections import OrderedDict, namedtuple
from types import MappingProxyType
from typing import Any

import pytest

from mmengine.utils._plain import plain


class Colour(enum.IntEnum):
    RED = 2


class Text(str):
    pass


Pair = namedtuple('Pair', 'a b')


def nothing(value: Any) -> Any:
    return NotImplemented


def refuse(value: Any) -> Any:
    raise TypeError(type(value).__name__)


def walked(value: Any, **options: bool) -> Any:
    return plain(value, nothing, refuse, **options)


def kinds(value: Any) -> Any:
    """The types in a value, in its own shape."""
    if isinstance(value, dict):
        return {key: kinds(item) for key, item in value.items()}
    return [type(value), *map(kinds, value)] if isinstance(value, (list, tuple)) else type(value)


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (Colour.RED, 2),
        (Text('t'), 't'),
        (True, True),
        (Pair(1, Text('b')), (1, 'b')),
        (MappingProxyType({Text('a'): [Colour.RED]}), {'a': [2]}),
        (frozenset({Colour.RED}), {2}),
        (OrderedDict(b=1, a=2), OrderedDict(b=1, a=2)),
    ],
    ids=['enum', 'text', 'bool', 'named tuple', 'mapping', 'frozenset', 'ordered'],
)
def test_subclasses_become_the_plain_type(value: Any, expected: Any) -> None:
    assert walked(value) == expected
    assert kinds(walked(value)) == kinds(expected)


def test_json_has_lists_and_dicts_only() -> None:
    value = {(1, 2): (Pair(1, 2), range(2)), 'b': OrderedDict(c=())}
    assert walked(value, as_json=True) == {(1, 2): [[1, 2], [0, 1]], 'b': {'c': []}}
    for without_form in ({1}, b'bytes', 1j):
        with pytest.raises(TypeError, match=type(without_form).__name__):
            walked([without_form], as_json=True)


def test_sharing_returns_what_needs_no_change_and_copies_the_rest() -> None:
    kept, changed = [1, {'a': 'b'}], [Text('t')]
    whole = {'kept': kept, 'changed': changed}
    shared = walked(whole, share=True)
    assert shared['kept'] is kept
    assert type(shared['changed'][0]) is str
    assert type(changed[0]) is Text
    assert walked(kept) == kept
    assert walked(kept) is not kept
    assert walked(kept)[1] is not kept[1]


def test_convert_comes_before_containers_and_its_result_is_final() -> None:
    def convert(value: Any) -> Any:
        return {'pair': value.a} if isinstance(value, Pair) else NotImplemented

    marker = Text('final')
    assert plain([Pair(marker, 1), (2,)], convert, refuse)[0]['pair'] is marker


def test_the_unknown_is_replaced_wherever_it_is() -> None:
    assert plain({'a': [1j], 2: {3j}}, nothing, str) == {'a': ['1j'], 2: {'3j'}}
