import multiprocessing
from pathlib import Path

import pytest

from mmengine import fileio
from mmengine.fileio import LmdbBackend

lmdb = pytest.importorskip('lmdb')


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = str(tmp_path / 'data.lmdb')
    with lmdb.open(path) as environment, environment.begin(write=True) as transaction:
        transaction.put(b'picture', b'\x00\x01')
        transaction.put(b'text', 'ü'.encode())
    return path


def read_in_a_worker(backend: LmdbBackend) -> bytes:
    return backend.get('picture')


def test_a_path_is_a_key(database: str) -> None:
    backend = LmdbBackend(database)
    assert backend.get('picture') == b'\x00\x01'
    assert backend.get_text('text') == 'ü'
    args = {'backend': 'lmdb', 'db_path': database}
    assert fileio.get('picture', backend_args=args) == b'\x00\x01'


def test_a_missing_key_is_a_missing_file(database: str) -> None:
    with pytest.raises(FileNotFoundError, match="'absent'"):
        LmdbBackend(database).get('absent')


@pytest.mark.skipif('fork' not in multiprocessing.get_all_start_methods(), reason='needs fork')
def test_a_forked_worker_opens_the_database_for_itself(database: str) -> None:
    backend = LmdbBackend(database)
    assert backend.get('picture') == b'\x00\x01'
    with multiprocessing.get_context('fork').Pool(1) as pool:
        assert pool.apply(read_in_a_worker, (backend,)) == b'\x00\x01'
