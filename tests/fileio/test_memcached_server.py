"""The memcached backend against a real server on this machine."""

import io
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mmengine import fileio
from mmengine.fileio import MemcachedBackend
from mmengine.runner.checkpoint import CheckpointLoader


@pytest.fixture(scope='module')
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    pytest.importorskip('pymemcache', reason='needs pymemcache: pip install pymemcache')
    program = shutil.which('memcached')
    if program is None:
        pytest.skip('needs the memcached server: apt-get install memcached')
    # With -1 the server takes a free port and tells it in a file; its parent cannot choose one that
    # is still free by then.
    told = tmp_path_factory.mktemp('memcached') / 'port'
    process = subprocess.Popen(
        [program, '-l', '127.0.0.1', '-p', '-1', '-U', '0', '-m', '16', '-u', 'root'],
        env=os.environ | {'MEMCACHED_PORT_FILENAME': str(told)},
    )
    try:
        yield '127.0.0.1', _port_told_in(told, process)
    finally:
        process.terminate()
        process.wait(timeout=300)


def _port_told_in(file: Path, process: subprocess.Popen[bytes]) -> int:
    """The port in the file that memcached writes when it listens, as in ``TCP INET: 41167``."""
    deadline = time.monotonic() + 60
    while not file.exists():
        assert process.poll() is None, f'memcached ended with exit code {process.returncode}'
        assert time.monotonic() < deadline, 'memcached does not listen'
        time.sleep(0.02)
    return int(file.read_text().rpartition(':')[2])


@pytest.fixture
def store(server: tuple[str, int]) -> Iterator[Any]:
    """A client that fills the server."""
    from pymemcache.client.base import Client

    client = Client(server, default_noreply=False)
    yield client
    client.flush_all()
    client.close()


@pytest.fixture
def args(
    server: tuple[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    monkeypatch.setitem(sys.modules, 'mc', None)
    servers, client = tmp_path / 'servers.conf', tmp_path / 'client.json'
    servers.write_text('# the only one\n{}:{}\n\n'.format(*server))
    client.write_text('{"timeout": 5}')
    return {'server_list_cfg': str(servers), 'client_cfg': str(client)}


def test_a_key_is_read_as_bytes_text_and_file(store: Any, args: dict[str, str]) -> None:
    store.set('data/a.txt', 'zwölf'.encode())
    backend = MemcachedBackend(**args)
    assert backend.get('data/a.txt') == 'zwölf'.encode()
    assert backend.get_text('data/a.txt') == 'zwölf'
    with backend.get_local_path('data/a.txt') as path:
        assert path.endswith('.txt')
        assert Path(path).read_text(encoding='utf-8') == 'zwölf'


def test_the_functions_find_it_by_its_name(store: Any, args: dict[str, str]) -> None:
    store.set('ann.json', b'{"a": [1, 2]}')
    named = {'backend': 'memcached', **args}
    assert fileio.load('ann.json', backend_args=named) == {'a': [1, 2]}
    with pytest.raises(NotImplementedError, match='MemcachedBackend cannot do `put`'):
        fileio.put(b'x', 'ann.json', backend_args=named)


def test_a_missing_key_is_a_missing_file(store: Any, args: dict[str, str]) -> None:
    with pytest.raises(FileNotFoundError, match="no key 'absent'"):
        MemcachedBackend(**args).get('absent')


def test_arguments_reach_the_client(store: Any, args: dict[str, str]) -> None:
    store.set('bilder/zwölf.txt'.encode(), b'12')
    Path(args['client_cfg']).write_text('{"timeout": 5, "key_prefix": "bilder/"}')
    assert MemcachedBackend(**args).get('zwölf.txt') == b'12'


def test_keys_are_spread_over_all_servers_of_the_list(
    store: Any, server: tuple[str, int], args: dict[str, str]
) -> None:
    # The same server under two addresses: every key is found, wherever it is sent.
    Path(args['server_list_cfg']).write_text(f'127.0.0.1:{server[1]}\nlocalhost:{server[1]}')
    backend = MemcachedBackend(**{**args, 'client_cfg': ''})
    for number in range(20):
        store.set(f'k{number}', str(number).encode())
    assert [backend.get(f'k{number}') for number in range(20)] == [
        str(number).encode() for number in range(20)
    ]


def test_a_checkpoint_is_loaded_through_a_registered_scheme(
    store: Any, args: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
    buffer = io.BytesIO()
    torch.save({'state_dict': {'weight': torch.arange(3)}}, buffer)
    store.set('epoch_1.pth', buffer.getvalue())

    @CheckpointLoader.register_scheme('mc://')
    def read(filename: str, map_location: Any = None) -> Any:
        content = MemcachedBackend(**args).get(filename.removeprefix('mc://'))
        return torch.load(io.BytesIO(content), map_location, weights_only=True)

    loaded = CheckpointLoader.load_checkpoint('mc://epoch_1.pth', 'cpu')
    assert loaded['state_dict']['weight'].tolist() == [0, 1, 2]


def _get_in_child(backend: MemcachedBackend, key: str, queue: Any) -> None:
    queue.put([backend.get(key) for _ in range(50)])


@pytest.mark.filterwarnings('ignore:This process .* is multi-threaded:DeprecationWarning')
def test_forked_workers_do_not_share_a_connection(store: Any, args: dict[str, str]) -> None:
    backend = MemcachedBackend(**args)
    store.set('parent', b'p' * 1000)
    assert backend.get('parent') == b'p' * 1000
    context: Any = multiprocessing.get_context('fork')
    queues = [context.Queue() for _ in range(2)]
    workers = []
    for number, queue in enumerate(queues):
        store.set(f'child{number}', str(number).encode() * 1000)
        worker = context.Process(target=_get_in_child, args=(backend, f'child{number}', queue))
        workers.append(worker)
        worker.start()
    for number, queue in enumerate(queues):
        assert queue.get(timeout=300) == [str(number).encode() * 1000] * 50
        assert backend.get('parent') == b'p' * 1000
    for worker in workers:
        worker.join(timeout=300)


def test_a_connected_backend_can_be_pickled(store: Any, args: dict[str, str]) -> None:
    store.set('a', b'1')
    backend = MemcachedBackend(**args)
    assert backend.get('a') == b'1'
    assert pickle.loads(pickle.dumps(backend)).get('a') == b'1'


@pytest.mark.parametrize(
    ('servers', 'client', 'message'),
    [
        ('', '', 'host:port on each line; it has none'),
        ('one:two', '', r'servers.conf:1 should be host:port, got .one:two.'),
        ('one:1', 'timeout = 3', 'should be a JSON file'),
        ('one:1', '[3]', 'should hold a JSON object, got list'),
    ],
    ids=['no-server', 'no-port', 'no-json', 'no-object'],
)
def test_wrong_files_are_named(
    args: dict[str, str], servers: str, client: str, message: str
) -> None:
    Path(args['server_list_cfg']).write_text(servers)
    Path(args['client_cfg']).write_text(client)
    with pytest.raises(ValueError, match=message):
        MemcachedBackend(args['server_list_cfg'], args['client_cfg'] if client else '')


def test_a_missing_list_of_servers_is_named(args: dict[str, str]) -> None:
    with pytest.raises(ValueError, match='server_list_cfg should be a file'):
        MemcachedBackend('absent.conf', '')
