"""A real S3 server, and one folder in each kind of place."""

import logging
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope='session')
def s3_server() -> Iterator[str]:
    """A server that speaks S3, with the bucket ``bucket``; gives its address."""
    pytest.importorskip('s3fs', reason='needs s3fs: pip install s3fs')
    server_module = pytest.importorskip('moto.server', reason="needs pip install 'moto[server]'")
    import fsspec

    logging.getLogger('werkzeug').setLevel(logging.WARNING)
    server = server_module.ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
    server.start()
    endpoint = 'http://{}:{}'.format(*server.get_host_and_port())
    filesystem = fsspec.filesystem('s3', key='k', secret='s', endpoint_url=endpoint)
    filesystem.mkdir('bucket')
    yield endpoint
    type(filesystem).clear_instance_cache()
    server.stop()


@pytest.fixture
def s3_environment(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials and address where every S3 client looks for them."""
    monkeypatch.setenv('AWS_ACCESS_KEY_ID', 'k')
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', 's')
    monkeypatch.setenv('AWS_ENDPOINT_URL', s3_server)
    monkeypatch.setenv('no_proxy', '*')


@pytest.fixture(params=['local', 'memory', 's3'])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a folder that does not exist yet, in each kind of place."""
    if request.param == 'local':
        return str(tmp_path / 'root')
    if request.param == 'memory':
        return f'memory://{uuid.uuid4().hex}'
    request.getfixturevalue('s3_environment')
    return f's3://bucket/{uuid.uuid4().hex}'
