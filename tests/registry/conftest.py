"""Projects on disk whose registries are children of ours, and scopes put back after each test."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmengine.registry import DefaultScope, Registry
from mmengine.registry.registry import ALL_REGISTRIES

MakeProject = Callable[..., None]


@pytest.fixture(autouse=True)
def restored_scopes() -> Iterator[None]:
    before = dict(DefaultScope._instance_dict)
    children = {registry: dict(registry.children) for registry in ALL_REGISTRIES}
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)
    for registry, kept in children.items():
        registry.children.clear()
        registry.children.update(kept)


@pytest.fixture
def make_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeProject]:
    """Write a package of the given files, importable during the test."""
    names: list[str] = []
    monkeypatch.syspath_prepend(tmp_path)

    def make(name: str, **files: str) -> None:
        folder = tmp_path / name
        folder.mkdir()
        (folder / '__init__.py').touch()
        for stem, text in files.items():
            (folder / f'{stem}.py').write_text(text)
        names.append(name)

    yield make
    for module in list(sys.modules):
        if module.partition('.')[0] in names:
            del sys.modules[module]


@pytest.fixture
def shapes() -> Registry:
    """A registry with two classes, outside all other trees."""
    registry = Registry('shape', scope='geometry')

    @registry.register_module()
    class Square:
        def __init__(self, side: float, colour: str = 'red') -> None:
            self.side = side
            self.colour = colour

    @registry.register_module(name=['Circle', 'Disc'])
    class Circle:
        def __init__(self, radius: float, *, filled: bool = True) -> None:
            self.radius = radius
            self.filled = filled

    return registry
