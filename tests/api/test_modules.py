"""A module without an underscore is API; every other one is private by its name or its package's.

``data/public_modules.json`` lists the modules of the MMEngine API that we have, and those that are
API of our own with what they are for. ``undecided`` names packages and modules that break the rule
until they are renamed or listed as ours; an entry covers everything below it.
"""

import ast
import importlib.util
import json
import pkgutil
from pathlib import Path

import pytest

import mmengine

LISTED = json.loads((Path(__file__).parent / 'data' / 'public_modules.json').read_text())
MODULES = ['mmengine'] + sorted(
    module.name for module in pkgutil.walk_packages(mmengine.__path__, 'mmengine.')
)
API_PATH = 'API path of '


def is_private(module: str) -> bool:
    return any(part.startswith('_') for part in module.split('.'))


def is_below(module: str, package: str) -> bool:
    return module == package or module.startswith(f'{package}.')


def parsed(module: str) -> ast.Module:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return ast.parse(Path(spec.origin).read_text(encoding='utf-8'))


def test_every_module_without_an_underscore_is_listed() -> None:
    listed = {*LISTED['mmengine_api'], *LISTED['ours']}
    found = [module for module in MODULES if not is_private(module) and module not in listed]
    unlisted = [
        module
        for module in found
        if not any(is_below(module, package) for package in LISTED['undecided'])
    ]
    assert unlisted == [], 'rename them to _x.py, or list them as API of our own'


def test_every_listed_module_exists_and_is_listed_once() -> None:
    listed = [*LISTED['mmengine_api'], *LISTED['ours']]
    assert [module for module in listed if module not in MODULES] == []
    assert len(listed) == len(set(listed))
    assert all(LISTED['ours'].values()), 'each says what it is for'


def test_public_packages_hold_what_is_public() -> None:
    """A public module below a private package could not be found."""
    listed = [*LISTED['mmengine_api'], *LISTED['ours']]
    assert [module for module in listed if is_private(module)] == []


@pytest.mark.parametrize('module', [name for name in MODULES if not is_private(name)])
def test_an_api_path_defines_nothing_and_says_what_it_is(module: str) -> None:
    tree = parsed(module)
    docstring = ast.get_docstring(tree) or ''
    statements = [
        statement
        for statement in tree.body[1:]
        if not isinstance(statement, (ast.Import, ast.ImportFrom))
        and not (
            isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == '__all__'
        )
    ]
    spec = importlib.util.find_spec(module)
    assert spec is not None
    is_package = spec.submodule_search_locations is not None
    if docstring.startswith(API_PATH):
        assert statements == []
    elif not is_package:
        assert statements != [], f'the first line of a re-export is "{API_PATH}..."'
