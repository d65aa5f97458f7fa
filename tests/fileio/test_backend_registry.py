import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmengine import fileio
from mmengine.fileio import (
    BaseStorageBackend,
    HTTPBackend,
    LocalBackend,
    PetrelBackend,
    get_file_backend,
    register_backend,
)
from mmengine.fileio import backends as registry
from mmengine.fileio.io import _parse_uri_prefix


class Echo(BaseStorageBackend):
    def __init__(self, times: int = 1) -> None:
        self.times = times

    def get(self, filepath: object) -> bytes:
        return str(filepath).encode() * self.times


@pytest.fixture(autouse=True)
def _tables_as_before() -> Iterator[None]:
    tables = (registry.backends, registry.prefix_to_backends)
    before = [dict(table) for table in tables]
    yield
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)


def test_the_backends_that_are_known_from_the_start() -> None:
    assert registry.backends.keys() >= {'http', 'lmdb', 'local', 'memcached', 'petrel'}
    prefixes = {
        '': LocalBackend,
        'http': HTTPBackend,
        'https': HTTPBackend,
        'petrel': PetrelBackend,
        's3': PetrelBackend,
    }
    assert prefixes.items() <= registry.prefix_to_backends.items()


@pytest.mark.parametrize(
    ('uri', 'prefix'),
    [
        ('s3://a/b', 's3'),
        ('cluster:s3://a', 's3'),
        ('http://a:80/c', 'http'),
        ('a/b', ''),
        ('/x/y:z', ''),
        ('C:/x', ''),
        (Path('a'), ''),
    ],
)
def test_the_prefix_of_an_address(uri: str | Path, prefix: str) -> None:
    assert _parse_uri_prefix(uri) == prefix


def test_a_backend_is_found_by_prefix_or_by_name() -> None:
    assert type(get_file_backend('a/b')) is LocalBackend
    assert type(get_file_backend('https://a')) is HTTPBackend
    assert type(get_file_backend(backend_args={'backend': 'http'})) is HTTPBackend
    assert type(get_file_backend('http://a', backend_args={'backend': 'local'})) is LocalBackend


def test_the_arguments_are_left_as_they_were() -> None:
    args = {'backend': 'local'}
    get_file_backend(backend_args=args)
    assert args == {'backend': 'local'}


def test_unknown_names_and_prefixes_get_the_nearest() -> None:
    with pytest.raises(KeyError, match="Did you mean 'local'"):
        get_file_backend(backend_args={'backend': 'locl'})
    with pytest.raises(KeyError, match="prefix 'foo'"):
        get_file_backend('foo://a')
    with pytest.raises(ValueError, match='needs a uri'):
        get_file_backend()
    with pytest.raises(AssertionError):
        get_file_backend(backend_args={'scheme': 'http'})


def test_a_singleton_is_shared_by_those_with_the_same_arguments() -> None:
    register_backend('echo', Echo)

    def shared(**args: Any) -> BaseStorageBackend:
        return get_file_backend(backend_args={'backend': 'echo', **args}, enable_singleton=True)

    assert shared(times=2) is shared(times=2)
    assert shared(times=2) is not shared(times=3)
    assert get_file_backend('a') is not get_file_backend('a')


def test_a_registered_backend_gets_its_arguments() -> None:
    register_backend('echo', Echo, prefixes='echo')
    assert fileio.get('echo://a') == b'echo://a'
    assert fileio.get('a', backend_args={'backend': 'echo', 'times': 2}) == b'aa'


def test_registering_as_a_decorator() -> None:
    @register_backend('twice', prefixes=['twice', 'two'])
    class Twice(Echo):
        pass

    assert registry.backends['twice'] is Twice
    assert registry.prefix_to_backends['two'] is Twice


def test_a_taken_name_or_prefix_needs_force() -> None:
    register_backend('echo', Echo, prefixes='echo')
    with pytest.raises(ValueError, match=re.escape("name 'echo' and the prefix 'echo'")):
        register_backend('echo', Echo, prefixes='echo')
    with pytest.raises(ValueError, match="prefix 's3'"):
        register_backend('other', Echo, prefixes=['new', 's3'])
    assert 'other' not in registry.backends
    assert 'new' not in registry.prefix_to_backends
    register_backend('other', Echo, prefixes='s3', force=True)
    assert registry.prefix_to_backends['s3'] is Echo


def test_only_backends_are_registered() -> None:
    with pytest.raises(TypeError, match='BaseStorageBackend'):
        register_backend('a', int)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match='must be a string'):
        register_backend(3, Echo)  # type: ignore[call-overload]
    with pytest.raises(AssertionError, match='prefixes'):
        register_backend('a', Echo, prefixes=3)  # type: ignore[call-overload]
