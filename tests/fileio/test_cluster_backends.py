"""The backends whose clients exist only inside clusters, against clients in memory."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mmengine import fileio
from mmengine.fileio import LmdbBackend, MemcachedBackend, PetrelBackend


class ObjectStore:
    """What petrel_client.client.Client does, on a dict."""

    objects: dict[str, bytes] = {}

    def __init__(self, conf_path: str | None = None, enable_mc: bool = False) -> None:
        self.arguments = (conf_path, enable_mc)

    def Get(self, uri: str) -> bytes | None:
        return self.objects.get(uri)

    def put(self, uri: str, content: bytes) -> None:
        self.objects[uri] = bytes(content)

    def delete(self, uri: str) -> None:
        del self.objects[uri]

    def contains(self, uri: str) -> bool:
        return uri in self.objects

    def isdir(self, uri: str) -> bool:
        return any(name.startswith(uri.rstrip('/') + '/') for name in self.objects)

    def list(self, uri: str) -> Iterator[str]:
        rest = {name.removeprefix(uri) for name in self.objects if name.startswith(uri)}
        yield from sorted({name.partition('/')[0] + '/' * ('/' in name) for name in rest})

    def generate_presigned_url(self, uri: str, client_method: str, expires_in: int) -> str:
        return f'https://{uri}?{client_method}&{expires_in}'


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    package, client = ModuleType('petrel_client'), ModuleType('petrel_client.client')
    client.Client = ObjectStore  # type: ignore[attr-defined]
    package.client = client  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, 'petrel_client', package)
    monkeypatch.setitem(sys.modules, 'petrel_client.client', client)
    monkeypatch.setattr('mmengine.fileio.io._shared_backends', {})
    objects = {'s3://b/a.txt': b'a', 's3://b/sub/c.txt': b'c', 's3://b/sub/d/e.bin': b'e'}
    monkeypatch.setattr(ObjectStore, 'objects', objects)
    return objects


def test_objects_are_read_and_written_by_their_address(store: dict[str, bytes]) -> None:
    assert fileio.get('s3://b/a.txt') == b'a'
    fileio.put(b'new', 'cluster:s3://b/n')
    assert store['cluster:s3://b/n'] == b'new'
    fileio.put_text('ü', 's3://b/text')
    assert fileio.get_text('s3://b/text') == 'ü'
    fileio.dump({'x': 1}, 's3://b/x.json')
    assert fileio.load('s3://b/x.json') == {'x': 1}
    with pytest.raises(FileNotFoundError, match='s3://b/absent'):
        fileio.get('s3://b/absent')


def test_the_client_knows_s3_addresses_alone(store: dict[str, bytes]) -> None:
    fileio.put(b'p', 'petrel://b/p')
    fileio.put(b'q', 'cluster:petrel://b/q')
    assert store['s3://b/p'] == b'p'
    assert store['cluster:s3://b/q'] == b'q'
    assert fileio.get('petrel://b/a.txt') == b'a'
    assert fileio.isdir('petrel://b/sub')
    assert list(fileio.list_dir_or_file('petrel://b/sub', list_file=False)) == ['d']
    fileio.remove('petrel://b/a.txt')
    assert 's3://b/a.txt' not in store
    assert fileio.copyfile('petrel://b/p', 'petrel://b/sub') == 'petrel://b/sub/p'
    assert store['s3://b/sub/p'] == b'p'


def test_a_part_of_a_path_that_begins_with_a_slash_stays_below(store: dict[str, bytes]) -> None:
    backend = PetrelBackend()
    assert backend.join_path('petrel://b/dir/', '/file') == 'petrel://b/dir/file'
    assert backend.join_path('s3://b/dir', '/a/', '/b') == 's3://b/dir/a/b'


def test_objects_and_folders_are_told_apart(store: dict[str, bytes]) -> None:
    answers = [
        (fileio.exists(p), fileio.isfile(p), fileio.isdir(p))
        for p in ('s3://b/a.txt', 's3://b/sub', 's3://b/no')
    ]
    assert answers == [(True, True, False), (True, False, True), (False, False, False)]


def test_folders_are_listed(store: dict[str, bytes]) -> None:
    assert list(fileio.list_dir_or_file('s3://b')) == ['a.txt', 'sub']
    assert list(fileio.list_dir_or_file('s3://b/', list_file=False, recursive=True)) == [
        'sub',
        'sub/d',
    ]
    texts = fileio.list_dir_or_file('s3://b', list_dir=False, suffix='.txt', recursive=True)
    assert list(texts) == ['a.txt', 'sub/c.txt']


def test_copies_between_the_store_and_the_disk(store: dict[str, bytes], tmp_path: Path) -> None:
    assert fileio.copytree_to_local('s3://b/sub', tmp_path / 'sub') == tmp_path / 'sub'
    assert (tmp_path / 'sub' / 'd' / 'e.bin').read_bytes() == b'e'
    assert fileio.copytree_from_local(tmp_path / 'sub', 's3://b/new') == 's3://b/new'
    assert store['s3://b/new/d/e.bin'] == b'e'
    assert fileio.copyfile('s3://b/a.txt', 's3://b/sub') == 's3://b/sub/a.txt'
    assert fileio.copy_if_symlink_fails('s3://b/sub', 's3://b/third') is False
    assert store['s3://b/third/a.txt'] == b'a'


def test_objects_and_folders_are_deleted(store: dict[str, bytes]) -> None:
    with pytest.raises(IsADirectoryError):
        fileio.remove('s3://b/sub')
    with pytest.raises(FileNotFoundError):
        fileio.remove('s3://b/absent')
    fileio.remove('s3://b/a.txt')
    fileio.rmtree('s3://b/sub')
    assert store == {}


def test_a_presigned_url_comes_from_the_client(store: dict[str, bytes]) -> None:
    url = fileio.generate_presigned_url('s3://b/a.txt', expires_in=5)
    assert url == 'https://s3://b/a.txt?get_object&5'


def test_paths_are_mapped_by_their_start(store: dict[str, bytes]) -> None:
    backend = PetrelBackend(path_mapping={'data/': 's3://b/'}, enable_mc=False, conf_path='c.conf')
    assert backend._client.arguments == ('c.conf', False)
    assert backend.get('data/a.txt') == b'a'
    assert backend.get(r's3://b\sub\c.txt') == b'c'
    assert list(backend.list_dir_or_file('data/sub')) == ['c.txt', 'd']
    with pytest.raises(TypeError, match='path_mapping'):
        PetrelBackend(path_mapping=['data'])  # type: ignore[arg-type]


def test_memcached_reads_through_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        @staticmethod
        def GetInstance(server_list_cfg: str, client_cfg: str) -> Any:
            assert (server_list_cfg, client_cfg) == ('servers', 'client')
            return Client()

        def Get(self, key: str, buffer: list[bytes]) -> None:
            buffer.append(b'content of ' + key.encode())

    fake = ModuleType('mc')
    fake.MemcachedClient = Client  # type: ignore[attr-defined]
    fake.pyvector = list  # type: ignore[attr-defined]
    fake.ConvertBuffer = lambda buffer: memoryview(buffer[0])  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, 'mc', fake)
    backend = MemcachedBackend('servers', 'client')
    assert backend.get('a') == b'content of a'
    assert backend.get_text('a') == 'content of a'


def test_memcached_looks_for_its_client_in_the_folder_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, 'path', list(sys.path))
    monkeypatch.delitem(sys.modules, 'mc', raising=False)
    (tmp_path / 'mc.py').write_text(
        'class MemcachedClient:\n    GetInstance = staticmethod(lambda s, c: (s, c))\n'
    )
    backend = MemcachedBackend('s', 'c', sys_path=str(tmp_path))
    assert backend._client._instance == ('s', 'c')
    sys.modules.pop('mc')


@pytest.mark.parametrize(
    ('make', 'package'),
    [
        (lambda: PetrelBackend(), 'petrel_client'),
        (lambda: MemcachedBackend('a', 'b'), 'pip install pymemcache; or `mc`'),
        (lambda: LmdbBackend('a'), 'pip install lmdb'),
    ],
    ids=['petrel', 'memcached', 'lmdb'],
)
def test_a_missing_client_is_named_when_the_backend_is_made(
    monkeypatch: pytest.MonkeyPatch, make: Any, package: str
) -> None:
    for name in ('petrel_client', 'mc', 'pymemcache', 'lmdb'):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=package):
        make()
