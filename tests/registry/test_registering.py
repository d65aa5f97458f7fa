"""Putting classes and functions into a registry."""

import functools
import re
from collections import OrderedDict

import pytest

from mmengine.registry import Registry
from mmengine.utils.errors import ArgumentError


class Cube:
    pass


def make_cube() -> Cube:
    return Cube()


def test_a_decorated_class_is_found_by_its_own_name(shapes: Registry) -> None:
    @shapes.register_module()
    class Hexagon:
        pass

    assert shapes.get('Hexagon') is Hexagon
    assert Hexagon.__name__ == 'Hexagon'


def test_the_decorator_works_without_parentheses(shapes: Registry) -> None:
    @shapes.register_module
    class Hexagon:
        pass

    @shapes.register_module
    def hexagon() -> None: ...

    assert shapes.get('Hexagon') is Hexagon
    assert shapes.get('hexagon') is hexagon


def test_a_class_can_have_several_names_of_which_its_own_is_none(shapes: Registry) -> None:
    shapes.register_module(['Box', 'Dice'], module=Cube)
    assert shapes.get('Box') is Cube
    assert shapes.get('Dice') is Cube
    assert 'Cube' not in shapes


def test_registering_by_call_returns_what_was_registered(shapes: Registry) -> None:
    assert shapes.register_module(module=Cube) is Cube
    assert shapes.register_module(module=make_cube) is make_cube
    assert shapes.get('make_cube') is make_cube


def test_a_partial_needs_a_name(shapes: Registry) -> None:
    partial = functools.partial(Cube)
    assert shapes.register_module('unit', module=partial) is partial
    with pytest.raises(TypeError, match='no __name__'):
        shapes.register_module(module=partial)


def test_a_taken_name_names_both_places(shapes: Registry) -> None:
    shapes.register_module('Thing', module=make_cube)
    line = make_cube.__code__.co_firstlineno
    with pytest.raises(KeyError) as caught:
        shapes.register_module('Thing', module=OrderedDict)
    message = str(caught.value)
    assert f'test_registering.py:{line})' in message
    assert 'collections.OrderedDict' in message
    assert "'shape' registry of scope 'geometry'" in message
    assert 'force=True' in message
    assert shapes.get('Thing') is make_cube


def test_a_class_without_source_still_reports_that_its_name_is_taken(shapes: Registry) -> None:
    shapes.register_module(module=type('Made', (), {}))
    with pytest.raises(KeyError, match="'Made' is already registered"):
        shapes.register_module(module=type('Made', (), {}))


def test_registering_the_same_class_twice_is_an_error(shapes: Registry) -> None:
    shapes.register_module(module=Cube)
    with pytest.raises(KeyError, match='already registered'):
        shapes.register_module(module=Cube)


def test_force_replaces(shapes: Registry) -> None:
    shapes.register_module('Square', force=True, module=Cube)
    assert shapes.get('Square') is Cube


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        pytest.param({'name': 3, 'module': Cube}, 'name must be None, a string', id='name'),
        pytest.param({'name': ['a', 3], 'module': Cube}, 'name must be None', id='names'),
        pytest.param({'force': 3, 'module': Cube}, 'force must be True or False', id='force'),
        pytest.param({'module': 3}, 'Only classes and functions', id='module'),
    ],
)
def test_arguments_of_a_wrong_kind_are_type_errors(
    shapes: Registry, arguments: dict, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        shapes.register_module(**arguments)


def test_length_counts_names_and_membership_looks_up(shapes: Registry) -> None:
    assert len(shapes) == 3  # Square, Circle, Disc
    assert 'Disc' in shapes
    assert 'Sphere' not in shapes
    assert set(shapes.module_dict) == {'Square', 'Circle', 'Disc'}


def test_repr_is_a_table_of_names_and_objects(shapes: Registry) -> None:
    shapes.register_module('Cube', module=Cube)
    text = repr(shapes)
    assert 'Registry of shape' in text
    assert re.search(r'│ Cube\s+│ <class .*Cube.*> ', text)
    assert text.index('Circle') < text.index('Square')


def test_the_scope_is_the_package_that_makes_the_registry() -> None:
    registry = Registry('thing')
    assert registry.scope == __name__.partition('.')[0]
    assert Registry.infer_scope() == __name__.partition('.')[0]


def test_a_child_builds_as_its_parent_does_unless_told_otherwise() -> None:
    def build_upper(cfg: str, registry: Registry) -> str:
        return f'{registry.scope}:{cfg.upper()}'

    def build_lower(cfg: str, registry: Registry) -> str:
        return f'{registry.scope}:{cfg.lower()}'

    parent = Registry('text', build_upper, scope='one')
    child = Registry('text', parent=parent, scope='two')
    other = Registry('text', build_lower, parent=parent, scope='three')
    assert parent.build('aB') == 'one:AB'
    assert child.build('aB') == 'two:AB'
    assert other.build('aB') == 'three:ab'


def test_build_hands_further_arguments_to_the_build_function() -> None:
    def build(cfg: int, factor: int, registry: Registry, offset: int = 0) -> int:
        return cfg * factor + offset

    assert Registry('number', build, scope='math').build(3, 4, offset=5) == 17


def test_a_tree_knows_its_root_and_children() -> None:
    root = Registry('thing', scope='root')
    child = Registry('thing', parent=root, scope='child')
    grandchild = Registry('thing', parent=child, scope='grandchild')
    assert grandchild.root is root
    assert root.root is root
    assert root.children == {'child': child}
    assert grandchild.parent is child


def test_two_children_of_one_scope_are_refused() -> None:
    root = Registry('thing', scope='root')
    Registry('thing', parent=root, scope='child')
    with pytest.raises(ArgumentError, match="has a child of scope 'child' already"):
        Registry('thing', parent=root, scope='child')


@pytest.mark.parametrize('arguments', [{'parent': 3}, {'scope': 3}], ids=['parent', 'scope'])
def test_a_parent_or_scope_of_a_wrong_kind_is_refused(arguments: dict) -> None:
    with pytest.raises(AssertionError, match='must be a'):
        Registry('thing', **arguments)


@pytest.mark.parametrize(
    ('key', 'expected'),
    [('ResNet', (None, 'ResNet')), ('mmdet.ResNet', ('mmdet', 'ResNet')), ('a.b.C', ('a', 'b.C'))],
)
def test_a_key_splits_at_its_first_dot(key: str, expected: tuple) -> None:
    assert Registry.split_scope_key(key) == expected
