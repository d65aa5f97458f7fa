"""Listing what is registered."""

import json
from pathlib import Path

import pytest

from mmengine.registry import (
    Registry,
    count_registered_modules,
    traverse_registry_tree,
)
from mmengine.registry import root as roots
from mmengine.registry import utils as registry_utils


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(registry_utils, 'print_log', lambda text, **kwargs: lines.append(text))
    return lines


def test_the_tree_is_listed_from_its_root_with_packages(said: list[str]) -> None:
    root = Registry('thing', scope='root')
    one = Registry('thing', parent=root, scope='one')
    Registry('thing', parent=root, scope='two')
    inner = Registry('thing', parent=one, scope='inner')
    root.register_module(module=json.JSONDecoder)
    inner.register_module(module=pytest.raises)
    inner.register_module('mark', module=pytest.MonkeyPatch)
    assert traverse_registry_tree(one) == [
        {'num_modules': 1, 'scope': 'root', 'json': ['JSONDecoder']},
        {'num_modules': 0, 'scope': 'one'},
        {'num_modules': 2, 'scope': 'inner', '_pytest': ['raises', 'mark']},
        {'num_modules': 0, 'scope': 'two'},
    ]
    assert len(said) == 4
    traverse_registry_tree(one, verbose=False)
    assert len(said) == 4


def test_all_root_registries_are_counted_and_saved(tmp_path: Path, said: list[str]) -> None:
    counted = count_registered_modules(str(tmp_path / 'out'), verbose=False)
    assert set(counted) == {'scan_date', 'registries'}
    assert set(counted['registries']) == {
        name for name, value in vars(roots).items() if isinstance(value, Registry)
    }
    schedulers = counted['registries']['PARAM_SCHEDULERS'][0]
    assert schedulers['scope'] == 'mmengine'
    assert 'CosineAnnealingLR' in schedulers['mmengine/optim/scheduler']
    saved = json.loads((tmp_path / 'out' / 'modules_statistic_results.json').read_text())
    assert saved == counted


def test_every_location_of_a_root_registry_can_be_imported() -> None:
    for name, registry in vars(roots).items():
        if isinstance(registry, Registry):
            registry.import_from_location()
            assert registry.scope == 'mmengine', name
