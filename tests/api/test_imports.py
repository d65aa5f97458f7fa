"""Every name that known projects import is there, under the path they import it from.

``data/imported_by_projects.json`` has the names that 16 projects on this API import, with the
parameters of what can be called (null for plain values).
"""

import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

IMPORTED: dict[str, list[str] | None] = json.loads(
    (Path(__file__).parent / 'data' / 'imported_by_projects.json').read_text()
)


def find(path: str) -> Any:
    module, name = path.rsplit('.', 1)
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize('path', IMPORTED)
def test_the_name_is_there_and_takes_its_parameters(path: str) -> None:
    found = find(path)
    names = IMPORTED[path]
    if names is None:
        return
    assert callable(found)
    try:
        parameters = inspect.signature(found).parameters
    except ValueError:  # made in C
        return
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    assert [name for name in names if name not in parameters] == []


@pytest.mark.parametrize(
    'package',
    ['analysis', 'config', 'dataset', 'device', 'dist', 'evaluator', 'fileio', 'hooks', 'hub',
     'infer', 'logging', 'model', 'model.wrappers', 'optim', 'registry', 'runner', 'structures',
     'testing', 'utils', 'utils.dl_utils', 'visualization', '_strategy'],
)  # fmt: skip
def test_all_of_a_package_can_be_imported_by_a_star(package: str) -> None:
    module = importlib.import_module(f'mmengine.{package}')
    assert sorted(module.__all__) == sorted(set(module.__all__))
    for name in module.__all__:
        assert getattr(module, name) is not None or name in vars(module)
