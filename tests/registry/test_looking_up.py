"""Finding what a name means: here, in parents, in other scopes, by import path."""

import collections
import math
import sys

import pytest
import torch

import mmengine.registry.registry
from mmengine.registry import MODELS, DefaultScope, Registry

REGISTRY = """
from mmengine.registry import MODELS as ROOT, Registry
MODELS = Registry('model', parent=ROOT, locations=['{name}.models'])
"""
MODELS_FILE = """
from .registry import MODELS
@MODELS.register_module()
class Net: pass
@MODELS.register_module()
class {only}: pass
"""


@pytest.fixture
def two_projects(make_project) -> None:
    for name, only in (('projfoo', 'OnlyFoo'), ('projbar', 'OnlyBar')):
        make_project(
            name, registry=REGISTRY.format(name=name), models=MODELS_FILE.format(only=only)
        )


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged while looking up."""
    lines: list[str] = []
    monkeypatch.setattr(
        mmengine.registry.registry, 'print_log', lambda text, **kwargs: lines.append(text)
    )
    return lines


def test_a_child_finds_what_its_parent_has_and_not_the_reverse(shapes: Registry) -> None:
    child = Registry('shape', parent=shapes, scope='child')

    @child.register_module()
    class Star:
        pass

    assert child.get('Square') is shapes.get('Square')
    assert child.get('Star') is Star
    assert shapes.get('Star') is None
    assert shapes.get('child.Star') is Star
    assert child.get('child.Star') is Star


def test_the_scope_of_an_ancestor_or_a_sibling_can_be_named(shapes: Registry) -> None:
    one = Registry('shape', parent=shapes, scope='one')
    two = Registry('shape', parent=shapes, scope='two')
    star = two.register_module('Star', module=collections.OrderedDict)
    assert one.get('two.Star') is star
    assert one.get('geometry.Square') is shapes.get('Square')
    assert one.get('Star') is None


def test_nested_scopes_are_named_one_after_the_other(shapes: Registry) -> None:
    child = Registry('shape', parent=shapes, scope='child')
    grandchild = Registry('shape', parent=child, scope='grandchild')
    star = grandchild.register_module('Star', module=collections.OrderedDict)
    assert shapes.get('child.grandchild.Star') is star
    assert grandchild.get('Square') is shapes.get('Square')


def test_a_name_of_a_scope_falls_back_to_the_parents_of_that_scope(shapes: Registry) -> None:
    Registry('shape', parent=shapes, scope='child')
    assert shapes.get('child.Square') is shapes.get('Square')


@pytest.mark.parametrize(
    ('path', 'expected'),
    [
        ('torch.nn.Linear', torch.nn.Linear),
        ('collections.OrderedDict', collections.OrderedDict),
        ('torch.nn.functional.relu', torch.nn.functional.relu),
        ('torch.nn.NoSuchLayer', None),
        ('nosuchpackage.Thing', None),
        ('nosuchpackage.inner.Thing', None),
        ('torch.nn', torch.nn),
        ('math.pi', math.pi),
        ('a..b', None),
        ('.', None),
    ],
)
def test_import_paths_of_objects_work(shapes: Registry, path: str, expected: object) -> None:
    assert shapes.get(path) is expected


def test_a_registered_name_with_dots_goes_before_the_import_path(shapes: Registry) -> None:
    shapes.register_module('torch.nn.Linear', module=dict)
    assert shapes.get('torch.nn.Linear') is dict


def test_a_module_that_fails_to_import_says_so(make_project, shapes: Registry) -> None:
    make_project('projbroken', things='import nosuchdependency\nclass Thing: pass\n')
    with pytest.raises(ModuleNotFoundError, match='nosuchdependency'):
        shapes.get('projbroken.things.Thing')


@pytest.mark.parametrize('key', [3, None, dict, ['Square']])
def test_only_strings_are_looked_up(shapes: Registry, key: object) -> None:
    with pytest.raises(TypeError, match=r'Registry\.get needs a name'):
        shapes.get(key)


def test_locations_are_imported_at_the_first_miss_only(make_project) -> None:
    make_project(
        'projlazy',
        registry='from mmengine.registry import Registry\n'
        "THINGS = Registry('thing', locations=['projlazy.one', 'projlazy.two'])\n"
        "THINGS.register_module('known', module=dict)\n",
        one="from .registry import THINGS\nTHINGS.register_module('first', module=list)\n",
        two="from .registry import THINGS\nTHINGS.register_module('second', module=set)\n",
    )
    import projlazy.registry as project

    assert project.THINGS.get('known') is dict
    assert 'projlazy.one' not in sys.modules
    assert project.THINGS.get('second') is set
    assert 'projlazy.one' in sys.modules
    project.THINGS.module_dict.pop('first')
    assert project.THINGS.get('first') is None


def test_a_location_may_look_things_up_while_it_is_imported(make_project) -> None:
    make_project(
        'projcircle',
        registry='from mmengine.registry import Registry\n'
        "THINGS = Registry('thing', locations=['projcircle.one'])\n",
        one='from .registry import THINGS\n'
        "assert THINGS.get('absent') is None\n"
        "THINGS.register_module('present', module=dict)\n",
    )
    import projcircle.registry as project

    assert project.THINGS.get('present') is dict


def test_a_location_that_does_not_exist_is_named() -> None:
    registry = Registry('thing', scope='x', locations=['nosuchpackage.models'])
    for _ in range(2):  # said again at each look-up, not only at the first
        with pytest.raises(ModuleNotFoundError, match=r"has 'nosuchpackage\.models' among its"):
            registry.get('Thing')


def test_a_location_that_fails_to_import_raises_its_own_error(make_project) -> None:
    make_project('projfails', models='1 / 0\n')
    registry = Registry('thing', scope='x', locations=['projfails.models'])
    with pytest.raises(ZeroDivisionError):
        registry.get('Thing')


def test_naming_a_scope_imports_the_registries_of_its_package(two_projects) -> None:
    found = MODELS.get('projfoo.OnlyFoo')
    assert found.__module__ == 'projfoo.models'
    assert 'projbar' not in sys.modules


def test_one_project_finds_the_components_of_another(two_projects) -> None:
    import projfoo.registry as foo

    assert foo.MODELS.get('projbar.OnlyBar').__module__ == 'projbar.models'
    assert foo.MODELS.get('projbar.OnlyFoo') is None


def test_a_scope_whose_registries_fail_to_import_says_so(make_project) -> None:
    make_project('projbroken', registry='import nosuchdependency\n')
    with pytest.raises(ModuleNotFoundError, match='nosuchdependency'):
        MODELS.get('projbroken.Net')


def test_building_begins_in_the_default_scope(two_projects) -> None:
    with DefaultScope.overwrite_default_scope('projfoo'):
        assert type(MODELS.build({'type': 'Net'})).__module__ == 'projfoo.models'
        assert type(MODELS.build({'type': 'projbar.Net'})).__module__ == 'projbar.models'
    with DefaultScope.overwrite_default_scope('projbar'):
        assert type(MODELS.build({'type': 'Net'})).__module__ == 'projbar.models'


def test_the_default_scope_goes_before_the_registry_that_builds(two_projects) -> None:
    import projbar.registry as bar

    with DefaultScope.overwrite_default_scope('projfoo'):
        assert type(bar.MODELS.build({'type': 'Net'})).__module__ == 'projfoo.models'


@pytest.mark.parametrize('scope', ['projfoo', 'mmengine'])
def test_what_the_default_scope_lacks_is_found_in_the_registry_that_builds(
    two_projects, scope: str
) -> None:
    import projbar.registry as bar

    with DefaultScope.overwrite_default_scope(scope):
        assert type(bar.MODELS.build({'type': 'OnlyBar'})).__module__ == 'projbar.models'


def test_get_does_not_ask_the_default_scope(shapes: Registry) -> None:
    child = Registry('shape', parent=shapes, scope='child')
    child.register_module('Star', module=dict)
    with DefaultScope.overwrite_default_scope('child'):
        assert shapes.get('Star') is None
        assert shapes.build({'type': 'Star'}) == {}


def test_a_default_scope_without_registry_warns_once_and_changes_nothing(
    shapes: Registry, said: list[str]
) -> None:
    with DefaultScope.overwrite_default_scope('nosuchscope'):
        for _ in range(3):
            assert shapes.build({'type': 'Square', 'side': 2}).side == 2
    assert len(said) == 1
    assert "'nosuchscope'" in said[0]
    assert "'shape' registry" in said[0]


def test_a_scope_made_after_it_was_missed_is_found(shapes: Registry, said: list[str]) -> None:
    with DefaultScope.overwrite_default_scope('late'):
        shapes.build({'type': 'Square', 'side': 2})
        late = Registry('shape', parent=shapes, scope='late')
        late.register_module('Square', module=dict)
        assert shapes.build({'type': 'Square', 'side': 2}) == {'side': 2}


def test_a_default_scope_that_fails_to_import_is_reported_with_its_error(
    make_project, said: list[str]
) -> None:
    make_project('projbroken', registry='import nosuchdependency\n')
    with DefaultScope.overwrite_default_scope('projbroken'):
        MODELS.build({'type': 'torch.nn.Identity'})
    assert 'nosuchdependency' in said[0]


def test_switching_scope_gives_the_registry_and_sets_the_default(shapes: Registry) -> None:
    child = Registry('shape', parent=shapes, scope='child')
    with shapes.switch_scope_and_registry('child') as registry:
        assert registry is child
        current = DefaultScope.get_current_instance()
        assert current is not None
        assert current.scope_name == 'child'
        with shapes.switch_scope_and_registry(None) as inner:
            assert inner is child
        with child.switch_scope_and_registry('geometry') as root:
            assert root is shapes
    assert DefaultScope.get_current_instance() is None
    with child.switch_scope_and_registry(None) as registry:
        assert registry is child


def test_an_empty_registry_of_the_default_scope_is_used(shapes: Registry) -> None:
    empty = Registry('shape', parent=shapes, scope='empty')  # bool(empty) is False
    with shapes.switch_scope_and_registry('empty') as registry:
        assert registry is empty


def test_a_component_taken_out_of_a_registry_is_no_longer_found(shapes: Registry) -> None:
    child = Registry('shape', parent=shapes, scope='child')
    child.register_module('Star', module=dict)
    assert shapes.get('child.Star') is dict
    child.module_dict.pop('Star')
    assert shapes.get('child.Star') is None
