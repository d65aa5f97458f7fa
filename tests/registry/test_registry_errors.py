"""What is said when a config cannot be built."""

import sys
from pathlib import Path

import pytest
from torch import nn

from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.registry._diagnosis import add_note


def message_of(registry: Registry, cfg: object, error: type[Exception], **kwargs: object) -> str:
    with pytest.raises(error) as caught:
        registry.build(cfg, **kwargs)
    return str(caught.value)


@pytest.fixture
def nets() -> Registry:
    registry = Registry('net', scope='proj')

    @registry.register_module()
    class Backbone:
        def __init__(self, depth: int, num_stages: int = 4, **kwargs: object) -> None:
            self.rest = kwargs

    @registry.register_module()
    class Base:
        def __init__(self, init_cfg: dict | None = None) -> None:
            pass

    @registry.register_module()
    class Head(Base):
        def __init__(self, num_classes: int, **kwargs: object) -> None:
            super().__init__(**kwargs)

    @registry.register_module()
    class Bare:
        pass

    @registry.register_module()
    class Parent:
        def __init__(self, child: dict) -> None:
            registry.build(child)

    @registry.register_module()
    class Failing:
        def __init__(self, error: Exception) -> None:
            raise error

    return registry


# Unknown names


def test_an_unknown_type_names_the_nearest_names_registry_and_scope(shapes: Registry) -> None:
    message = message_of(shapes, {'type': 'Sqare'}, KeyError)
    assert message.startswith(
        "type 'Sqare' is not known to the 'shape' registry of scope 'geometry'. "
        "Did you mean 'Square'"
    )
    assert 'custom_imports' in message


def test_names_of_the_parents_are_offered_too(shapes: Registry) -> None:
    child = Registry('shape', parent=shapes, scope='child')
    message = message_of(child, {'type': 'Sqare'}, KeyError)
    assert "of scope 'child', nor to its parents ('geometry'). Did you mean 'Square'" in message


def test_a_name_of_another_scope_is_offered_with_its_scope(shapes: Registry) -> None:
    child = Registry('shape', parent=shapes, scope='child')
    child.register_module('Star', module=dict)
    assert "write 'child.Star'" in message_of(shapes, {'type': 'Star'}, KeyError)


def test_a_name_of_another_kind_is_pointed_out(shapes: Registry, nets: Registry) -> None:
    message = message_of(shapes, {'type': 'Backbone'}, KeyError)
    assert "It is in the 'net' registry of scope 'proj'" in message


def test_what_was_imported_and_what_is_there_is_said_when_nothing_is_near() -> None:
    registry = Registry('thing', scope='proj', locations=['json.tool'])
    registry.register_module('one', module=dict)
    message = message_of(registry, {'type': 'Zebra'}, KeyError)
    assert 'It holds one (after importing json.tool).' in message


def test_long_lists_of_names_are_cut() -> None:
    registry = Registry('thing', scope='proj')
    registry.register_module([f'name{i:02}' for i in range(30)], module=dict)
    message = message_of(registry, {'type': 'Zebra'}, KeyError)
    assert 'name09 and 20 more' in message


@pytest.mark.parametrize(
    ('kind', 'expected'),
    [
        ('nosuchscope.Thing', "no scope 'nosuchscope', and no package of this name"),
        ('nosuchscope.inner.Thing', "no scope 'nosuchscope', and no package of this name"),
        ('torch.nn.Linaer', "Module torch.nn has no 'Linaer'. Did you mean 'Linear'"),
        ('torch.nn', 'torch.nn is a module, not a class or function'),
        ('email.nosuch.Thing', 'There is no module email.nosuch.'),
        ('geometry.Sqare', "Did you mean 'geometry.Square'"),
    ],
)
def test_a_name_with_dots_says_how_far_it_leads(shapes: Registry, kind: str, expected: str) -> None:
    assert expected in message_of(shapes, {'type': kind}, KeyError)


def test_a_package_without_registries_is_named(make_project, shapes: Registry) -> None:
    make_project('projplain')
    message = message_of(shapes, {'type': 'projplain.Thing'}, KeyError)
    assert 'has no' in message
    assert 'projplain' in message


def test_a_config_without_type_says_which_keys_it_has(shapes: Registry) -> None:
    message = message_of(shapes, {'tpye': 'Square', 'side': 2}, KeyError)
    assert "['tpye', 'side']. Did you mean 'tpye'?" in message


# Wrong and missing arguments


def test_a_wrong_key_names_class_key_nearest_name_and_signature(shapes: Registry) -> None:
    message = message_of(shapes, {'type': 'Square', 'side': 1, 'color': 'blue'}, TypeError)
    first, last = message.split('\n')
    assert "Square got an unexpected keyword argument 'color'." in first
    assert "Did you mean 'colour'?" in first
    assert last.endswith("takes (side, colour='red').")


def test_the_python_error_stays_the_cause(shapes: Registry) -> None:
    with pytest.raises(TypeError) as caught:
        shapes.build({'type': 'Square', 'side': 1, 'color': 'blue'})
    assert type(caught.value.__cause__) is TypeError
    assert '__init__() got an unexpected' in str(caught.value.__cause__)


def test_all_wrong_keys_and_missing_arguments_are_said_at_once(shapes: Registry) -> None:
    message = message_of(shapes, {'type': 'Circle', 'radios': 1, 'fill': True}, TypeError)
    assert "unexpected keyword argument 'radios'. Did you mean 'radius'?" in message
    assert "unexpected keyword argument 'fill'. Did you mean 'filled'?" in message
    assert "needs the argument 'radius'" in message


def test_a_missing_argument_is_named(shapes: Registry) -> None:
    message = message_of(shapes, {'type': 'Square', 'colour': 'blue'}, TypeError)
    assert "Square needs the argument 'side', but its config has none." in message


def test_a_missing_argument_may_be_a_misspelt_one_that_kwargs_took(nets: Registry) -> None:
    message = message_of(nets, {'type': 'Backbone', 'dept': 3}, TypeError)
    assert "needs the argument 'depth'" in message
    assert "Is it misspelt as 'dept'?" in message
    assert message.endswith('takes (depth, num_stages=4, **kwargs).')


def test_a_key_passed_on_to_the_base_class_is_diagnosed_with_all_parameters(
    nets: Registry,
) -> None:
    message = message_of(nets, {'type': 'Head', 'num_classes': 2, 'int_cfg': {}}, TypeError)
    assert "Head got an unexpected keyword argument 'int_cfg'. Did you mean 'init_cfg'?" in message
    assert message.endswith('takes (num_classes, init_cfg=None).')


def test_a_class_without_parameters_says_that_it_takes_none(nets: Registry) -> None:
    message = message_of(nets, {'type': 'Bare', 'a': 1, 'b': 2}, TypeError)
    assert "unexpected keyword argument 'a'" in message
    assert "unexpected keyword argument 'b'" in message
    assert message.endswith('takes ().')


def test_a_torch_module_that_refuses_kwargs_is_diagnosed(nets: Registry) -> None:
    @nets.register_module()
    class Layer(nn.Module):
        def __init__(self, width: int = 1, **kwargs: object) -> None:
            super().__init__(**kwargs)

    message = message_of(nets, {'type': 'Layer', 'widht': 1}, TypeError)
    assert "Layer got an unexpected keyword argument 'widht'" in message
    assert "Did you mean 'width'?" in message


def test_functions_are_diagnosed_like_classes(nets: Registry) -> None:
    def build_net(depth: int) -> None: ...

    message = message_of(nets, {'type': build_net, 'dept': 3}, TypeError)
    assert "build_net got an unexpected keyword argument 'dept'. Did you mean 'depth'?" in message


def test_a_key_from_default_args_is_not_blamed_on_the_config(shapes: Registry) -> None:
    message = message_of(
        shapes, {'type': 'Square', 'side': 1}, TypeError, default_args={'optimizer': 1}
    )
    assert "'optimizer' (from default_args, not from the config)" in message


def test_an_error_of_a_call_inside_the_constructor_is_not_taken_for_ours(nets: Registry) -> None:
    def helper(width: int) -> None: ...

    @nets.register_module()
    class Wrapper:
        def __init__(self, depth: int) -> None:
            helper(dept=depth)

    with pytest.raises(TypeError) as caught:
        nets.build({'type': 'Wrapper', 'depth': 1})
    assert 'helper() got an unexpected keyword argument' in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_nested_misfit_is_diagnosed_once_for_the_inner_class(nets: Registry) -> None:
    cfg = {'type': 'Parent', 'child': {'type': 'Parent', 'chidl': {}}}
    with pytest.raises(TypeError) as caught:
        nets.build(cfg)
    assert str(caught.value).count('unexpected keyword argument') == 1
    assert "'chidl'. Did you mean 'child'?" in str(caught.value)


def test_the_file_and_line_of_each_wrong_key_are_named(nets: Registry, tmp_path: Path) -> None:
    file = tmp_path / 'config.py'
    file.write_text(
        'model = dict(\n'
        "    type='Backbone',\n"
        '    num_stages=3)\n'
        'head = dict(\n'
        "    type='Head',\n"
        '    num_classes=3,\n'
        '    int_cfg=None)\n'
        "other = dict(type='Haed')\n"
        'broken = dict(\n'
        "    type='Failing',\n"
        "    error=ValueError('boom'))\n"
    )
    cfg = Config.fromfile(file)
    assert 'config.py:1)' in message_of(nets, cfg.model, TypeError)
    assert "'int_cfg'" in message_of(nets, cfg.head, TypeError)
    assert 'config.py:7)' in message_of(nets, cfg.head, TypeError)
    assert 'config.py:8)' in message_of(nets, cfg.other, KeyError)


# Errors of the constructor itself


def notes_of(registry: Registry, cfg: object, error: type[Exception]) -> list[str]:
    with pytest.raises(error) as caught:
        registry.build(cfg)
    return getattr(caught.value, '__notes__', [])


def test_an_error_of_the_constructor_stays_itself(nets: Registry) -> None:
    class Odd(Exception):
        def __init__(self, code: int, text: str) -> None:
            super().__init__(code, text)
            self.code = code

    error = Odd(7, 'odd')
    with pytest.raises(Odd) as caught:
        nets.build({'type': 'Failing', 'error': error})
    assert caught.value is error
    assert caught.value.code == 7
    assert caught.value.__cause__ is None


@pytest.mark.skipif(sys.version_info < (3, 11), reason='exceptions have notes since Python 3.11')
def test_an_error_of_the_constructor_says_what_was_being_built(nets: Registry) -> None:
    inner = {'type': 'Failing', 'error': ValueError('boom')}
    notes = notes_of(nets, {'type': 'Parent', 'child': inner}, ValueError)
    assert [note.partition(' for the ')[0].rpartition('.')[2] for note in notes] == [
        'Failing',
        'Parent',
    ]
    assert all("for the 'net' registry" in note for note in notes)


class Noteless(Exception):
    """An exception as Python 3.10 has it."""

    @property
    def add_note(self) -> None:
        raise AttributeError


class Particular(Noteless):
    def __str__(self) -> str:
        return f'particular {self.args[0]}'


@pytest.mark.parametrize(
    ('error', 'args'),
    [
        pytest.param(Noteless('boom'), ('boom\nnote',), id='one string'),
        pytest.param(Noteless('boom', 3), ('boom', 3), id='two arguments'),
        pytest.param(Noteless(3), (3,), id='no string'),
        pytest.param(Particular('boom'), ('boom',), id='own __str__'),
    ],
)
def test_without_notes_only_a_plain_message_is_extended(error: Exception, args: tuple) -> None:
    add_note(error, 'note')
    assert error.args == args
