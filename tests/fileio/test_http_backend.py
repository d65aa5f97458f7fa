import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError

import pytest

from mmengine import fileio
from mmengine.fileio import HTTPBackend


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv('no_proxy', '*')
    (tmp_path / 'numbers.json').write_text('{"a": [1, 2]}')
    (tmp_path / 'lines.txt').write_bytes('eins\nzwölf\n'.encode())
    httpd = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f'http://127.0.0.1:{httpd.server_address[1]}'
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_content_as_bytes_text_and_file(server: str) -> None:
    backend = HTTPBackend()
    assert backend.get(f'{server}/numbers.json') == b'{"a": [1, 2]}'
    assert backend.get_text(f'{server}/lines.txt') == 'eins\nzwölf\n'
    with backend.get_local_path(f'{server}/numbers.json') as path:
        assert path.endswith('.json')
        assert Path(path).read_bytes() == b'{"a": [1, 2]}'
    assert not Path(path).exists()


def test_the_functions_find_the_backend_by_the_prefix(server: str) -> None:
    assert fileio.load(f'{server}/numbers.json') == {'a': [1, 2]}
    assert fileio.list_from_file(f'{server}/lines.txt') == ['eins', 'zwölf']
    assert fileio.get_text(f'{server}/lines.txt', backend_args={'backend': 'http'})[:4] == 'eins'


def test_a_missing_file_is_an_os_error(server: str) -> None:
    with pytest.raises(HTTPError, match='404'):
        HTTPBackend().get(f'{server}/absent')
    with pytest.raises(OSError):
        HTTPBackend().get(f'{server}/absent')


def test_a_file_can_be_copied_from_the_server(server: str, tmp_path: Path) -> None:
    target = str(tmp_path / 'copy.json')
    assert fileio.copyfile_to_local(f'{server}/numbers.json', target) == target
    assert Path(target).read_bytes() == b'{"a": [1, 2]}'


@pytest.mark.parametrize('address', ['file:///etc/hostname', '/etc/hostname', 'ftp://host/a'])
def test_only_web_addresses_are_read(address: str) -> None:
    with pytest.raises(ValueError, match='http://'):
        HTTPBackend().get(address)


def test_a_web_server_cannot_be_written_to(server: str) -> None:
    with pytest.raises(NotImplementedError, match='HTTPBackend cannot do `put`'):
        fileio.put(b'x', f'{server}/a')
