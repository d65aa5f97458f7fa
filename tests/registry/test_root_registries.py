"""The root registries and the table of modules that they import by name."""

import ast
import importlib
import pickle
from pathlib import Path

import pytest

import mmengine
from mmengine.registry import MODELS, Registry, build_from_cfg, root
from mmengine.registry._deferred import DEFERRED, LOCATIONS, MODEL_LIST
from mmengine.utils import get_object_from_string

ROOTS = {value.name: value for value in vars(root).values() if isinstance(value, Registry)}
PACKAGE = Path(mmengine.__file__).parent
LOWER_LAYERS = ['utils', 'device', 'dist', 'logging', 'fileio', 'config', 'registry']


@pytest.mark.parametrize('name', LOCATIONS)
def test_every_location_is_the_one_of_a_root_registry_and_fills_it(name: str) -> None:
    registry = ROOTS[name]
    assert registry._locations == LOCATIONS[name]
    registry.import_from_location()
    # Inferencers are the projects'.
    assert len(registry) > 0 or name == 'inferencer'


@pytest.mark.parametrize(
    ('registry', 'name', 'module'),
    [
        (registry, name, module)
        for registry, modules in DEFERRED.items()
        for name, module in modules.items()
    ],
)
def test_every_deferred_module_registers_its_name(registry: str, name: str, module: str) -> None:
    found = ROOTS[registry].get(name)
    assert found is not None
    assert importlib.import_module(module).__name__ in (module, found.__module__)


def test_a_list_of_models_is_built_into_the_class_of_the_table() -> None:
    built = MODELS.build([dict(type='torch.nn.ReLU'), dict(type='torch.nn.Tanh')])
    assert type(built) is get_object_from_string(MODEL_LIST)
    assert [type(layer).__name__ for layer in built] == ['ReLU', 'Tanh']


def test_no_other_lower_module_imports_ours_by_a_string() -> None:
    importers = {'import_module', 'get_object_from_string', 'import_modules_from_strings'}
    found = []
    for layer in LOWER_LAYERS:
        for file in (PACKAGE / layer).rglob('*.py'):
            for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
                if not isinstance(node, ast.Call):
                    continue
                function = getattr(node.func, 'attr', getattr(node.func, 'id', ''))
                texts = [
                    inner.value
                    for argument in node.args
                    for inner in ast.walk(argument)
                    if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
                ]
                if function in importers and any('mmengine' in text for text in texts):
                    found.append(f'{file.relative_to(PACKAGE)}:{node.lineno}')
    assert found == []


def test_a_registry_can_say_what_it_builds_and_need_not() -> None:
    class Texts(Registry[str]):
        pass

    texts = Texts('text', scope='root_registries_test')
    texts.register_module('repeat', module=lambda text, times: text * times)
    assert texts.build(dict(type='repeat', text='ab', times=2)) == 'abab'
    assert type(Registry[int]('number', scope='root_registries_test')) is Registry
    assert Registry('plain', scope='root_registries_test').build_func is build_from_cfg
    assert pickle.loads(pickle.dumps(Registry)) is Registry
