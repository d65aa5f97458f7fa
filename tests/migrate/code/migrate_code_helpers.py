"""Legacy text, migrated and imported; what every test here starts with."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


def migrated(path: Path) -> str:
    """The text of a file after the codemods."""
    convert = pytest.importorskip('mmengine.migrate._code.convert')
    conversion = convert.convert_source(path.read_text(), path)
    assert not conversion.error
    new: str = conversion.new
    assert convert.convert_source(new).new == new
    return new


def load(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of that text, importable by its name while the test runs."""
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(text, f'<{name}>', 'exec'), module.__dict__)
    return module
