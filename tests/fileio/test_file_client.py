from collections.abc import Iterator
from pathlib import Path

import pytest

from mmengine import fileio
from mmengine.fileio import BaseStorageBackend, FileClient, HardDiskBackend, LocalBackend

pytestmark = pytest.mark.filterwarnings('ignore:FileClient:DeprecationWarning')


@pytest.fixture(autouse=True)
def _tables_as_before() -> Iterator[None]:
    tables = (FileClient._backends, FileClient._prefix_to_backends)
    before = [dict(table) for table in tables]
    yield
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)


def test_the_client_of_the_disk_is_the_default_and_shared() -> None:
    client = FileClient()
    assert client is FileClient('disk')
    assert isinstance(client.client, LocalBackend)
    assert client.name == 'HardDiskBackend'
    assert client.allow_symlink


class Keyed(LocalBackend):
    def __init__(self, a: int = 1, b: str = '') -> None:
        self.arguments = (a, b)


def test_clients_are_kept_by_their_arguments_as_text() -> None:
    FileClient._instances.clear()
    FileClient.register_backend('keyed', Keyed)
    clients = [FileClient(), FileClient(prefix='http'), FileClient('keyed', a=3, b='x')]
    # The keys that mmengine 0.10.7 has for these calls.
    keys = ['disk:None', 'None:http', 'keyed:None:a:3:b:x']
    assert dict(zip(keys, clients, strict=True)) == FileClient._instances


def test_arguments_of_one_text_make_two_clients_and_so_does_a_new_backend_of_a_name() -> None:
    FileClient.register_backend('keyed', Keyed)
    assert FileClient('keyed', a=3).client.arguments == (3, '')
    assert FileClient('keyed', a='3').client.arguments == ('3', '')
    FileClient.register_backend('keyed', HardDiskBackend, force=True)
    assert FileClient('keyed').name == 'HardDiskBackend'


def test_it_says_that_it_is_old() -> None:
    with pytest.warns(DeprecationWarning, match='use the functions of mmengine.fileio'):
        FileClient()


def test_a_client_is_chosen_by_name_before_prefix() -> None:
    assert FileClient(prefix='https').name == 'HTTPBackend'
    assert FileClient('disk', prefix='http').name == 'HardDiskBackend'
    with pytest.raises(ValueError, match="Did you mean 'disk'"):
        FileClient('disc')
    with pytest.raises(ValueError, match="prefix 'nothing'"):
        FileClient(prefix='nothing')


def test_a_client_is_inferred_from_arguments_or_an_address() -> None:
    assert FileClient.infer_client({'backend': 'http'}).name == 'HTTPBackend'
    assert FileClient.infer_client(uri='http://a').name == 'HTTPBackend'
    assert FileClient.infer_client(uri='a/b').name == 'HardDiskBackend'
    with pytest.raises(AssertionError):
        FileClient.infer_client()
    assert FileClient.parse_uri_prefix('s3://a') == 's3'
    assert FileClient.parse_uri_prefix('a/b') is None


def test_files_through_a_client(tmp_path: Path) -> None:
    client = FileClient()
    file = tmp_path / 'sub' / 'a.txt'
    client.put(b'x', file)
    assert client.get(file) == b'x'
    client.put_text('text', file)
    assert client.get_text(file) == 'text'
    assert (client.exists(file), client.isfile(file), client.isdir(file.parent)) == (True,) * 3
    assert client.join_path(tmp_path, 'sub', 'a.txt') == str(file)
    with client.get_local_path(file) as path:
        assert path == str(file)
    assert list(client.list_dir_or_file(tmp_path, recursive=True)) == ['sub', 'sub/a.txt']
    client.remove(file)
    assert not client.exists(file)


def test_a_backend_registered_here_is_known_to_clients_only() -> None:
    @FileClient.register_backend('mine', prefixes='mine')
    class Mine(BaseStorageBackend):
        def get(self, filepath: object) -> bytes:
            return b'mine'

    assert FileClient('mine').get('a') == b'mine'
    assert FileClient.infer_client(uri='mine://a').name == 'Mine'
    with pytest.raises(KeyError):
        fileio.get('mine://a')
    with pytest.raises(ValueError, match='force=True'):
        FileClient.register_backend('mine', Mine)
    FileClient.register_backend('mine', HardDiskBackend, force=True)
    assert FileClient('mine').name == 'HardDiskBackend'


def test_functions_still_take_the_old_arguments(tmp_path: Path) -> None:
    file = tmp_path / 'a.json'
    fileio.dump(['x'], file, file_client_args={'backend': 'disk'})
    assert fileio.load(file, file_client_args={'backend': 'disk'}) == ['x']
    assert fileio.list_from_file(file, file_client_args={'backend': 'disk'}) == ['["x"]']
    with pytest.raises(ValueError, match='backend_args only'):
        fileio.load(file, file_client_args={'backend': 'disk'}, backend_args={'backend': 'local'})
