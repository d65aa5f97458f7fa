"""Classes are named by where users import them from, in every version of Python."""

import json.decoder
import pathlib
import sys
import types

import pytest

from mmengine.utils._public_name import public_module, public_name


def test_a_class_of_a_public_module_is_named_by_it() -> None:
    assert public_name(json.decoder.JSONDecoder) == 'json.decoder.JSONDecoder'


@pytest.mark.parametrize('kind', [pathlib.Path, pathlib.PosixPath, pathlib.PureWindowsPath])
def test_a_path_is_named_without_the_private_module_of_python_3_13(kind: type) -> None:
    assert public_name(kind) == f'pathlib.{kind.__name__}'


@pytest.mark.parametrize('is_exported', [True, False])
def test_a_private_module_gives_way_to_the_package_with_the_same_object(
    is_exported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('toybox', 'toybox._inner', 'toybox._inner.parts'):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    body = {'__module__': 'toybox._inner.parts', '__qualname__': 'Toy'}
    toy = sys.modules['toybox._inner.parts'].Toy = type('Toy', (), body)
    sys.modules['toybox'].Toy = toy if is_exported else type('Toy', (), {})
    assert public_module(toy) == ('toybox' if is_exported else 'toybox._inner.parts')


def test_what_has_no_module_has_an_empty_name() -> None:
    assert public_module(types.SimpleNamespace(__module__=None)) == ''
