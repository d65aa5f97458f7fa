import os
import sys
from collections import OrderedDict
from pathlib import Path

import pytest

from mmengine.utils import (
    ArgumentError,
    get_object_from_string,
    has_method,
    import_modules_from_strings,
    is_method_overridden,
)


class Base:
    def run(self) -> None: ...


class Plain(Base):
    pass


class Overriding(Base):
    def run(self) -> None: ...


class Grandchild(Overriding):
    pass


@pytest.mark.parametrize(
    ('derived', 'answer'),
    [(Base, False), (Plain, False), (Overriding, True), (Grandchild, True), (Grandchild(), True)],
)
def test_is_method_overridden(derived: object, answer: bool) -> None:
    assert is_method_overridden('run', Base, derived) is answer


def test_base_class_must_be_a_class() -> None:
    with pytest.raises(ArgumentError, match='got an instance of Base'):
        is_method_overridden('run', Base(), Plain)  # type: ignore[arg-type]


def test_has_method_wants_something_to_call() -> None:
    assert has_method('text', 'upper')
    assert not has_method('text', 'nothing')
    assert not has_method(Path(), 'name')


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('os', os),
        ('os.path.join', os.path.join),
        ('collections.OrderedDict.items', OrderedDict.items),
        ('os.nothing', None),
        ('os.path.nothing.deeper', None),
        ('no_such_package.thing', None),
    ],
)
def test_get_object_from_string(name: str, expected: object) -> None:
    assert get_object_from_string(name) is expected


@pytest.fixture
def broken_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / 'needs_absent.py').write_text('import an_absent_dependency\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'needs_absent', raising=False)
    return 'needs_absent'


def test_get_object_from_string_does_not_hide_what_a_module_lacks(broken_module: str) -> None:
    with pytest.raises(ModuleNotFoundError, match='an_absent_dependency'):
        get_object_from_string(f'{broken_module}.thing')


def test_import_one_or_several_modules() -> None:
    assert import_modules_from_strings('os.path') is os.path
    assert import_modules_from_strings(['os', 'sys']) == [os, sys]


@pytest.mark.parametrize('nothing', [None, '', []])
def test_import_of_nothing_is_none(nothing: list[str] | None) -> None:
    assert import_modules_from_strings(nothing) is None


def test_a_failed_import_names_the_module_and_the_reason(broken_module: str) -> None:
    with pytest.raises(ImportError, match=f"'{broken_module}': No module named 'an_absent"):
        import_modules_from_strings(['os', broken_module])


def test_a_failed_import_may_be_a_warning(broken_module: str) -> None:
    with pytest.warns(UserWarning, match=broken_module):
        found = import_modules_from_strings(['os', broken_module], allow_failed_imports=True)
    assert found == [os, None]


@pytest.mark.parametrize('wrong', [3, ['os', 3]])
def test_imports_are_strings(wrong: object) -> None:
    with pytest.raises(TypeError):
        import_modules_from_strings(wrong)  # type: ignore[arg-type]
