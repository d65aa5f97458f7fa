import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote, unquote

import pytest

from mmengine import fileio
from mmengine._checkpoint.loader import load_from_http
from mmengine.fileio import HTTPBackend


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def _serving(handler: type[SimpleHTTPRequestHandler], folder: Path) -> Iterator[str]:
    httpd = ThreadingHTTPServer(('127.0.0.1', 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f'http://127.0.0.1:{httpd.server_address[1]}'
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv('no_proxy', '*')
    (tmp_path / 'numbers.json').write_text('{"a": [1, 2]}')
    (tmp_path / 'lines.txt').write_bytes('eins\nzwölf\n'.encode())
    with _serving(Quiet, tmp_path) as address:
        yield address


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


class Odd(Quiet):
    """Breaks off, says no length, says too much, or sends elsewhere."""

    def do_GET(self) -> None:
        if self.path.startswith('/to/'):
            self.send_response(302)
            self.send_header('Location', unquote(self.path.removeprefix('/to/')))
            self.end_headers()
            return
        if self.path in ('/broken', '/endless', '/huge'):
            self.send_response(200)
            if self.path != '/endless':
                self.send_header('Content-Length', '1000' if self.path == '/broken' else '9' * 15)
            self.end_headers()
            self.wfile.write(b'x' * (100_000 if self.path == '/endless' else 600))
            return
        super().do_GET()


@pytest.fixture
def odd_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv('no_proxy', '*')
    (tmp_path / 'page.txt').write_text('here')
    with _serving(Odd, tmp_path) as address:
        yield address


def test_a_body_that_breaks_off_or_is_too_large_is_an_error(odd_server: str) -> None:
    with pytest.raises(OSError, match='broke off: 600 of 1,000 bytes'):
        HTTPBackend().get(f'{odd_server}/broken')
    for path in ('endless', 'huge'):
        with pytest.raises(OSError, match='at most 50,000 are read'):
            HTTPBackend(max_bytes=50_000).get(f'{odd_server}/{path}')
    args = {'backend': 'http', 'max_bytes': 3}
    with pytest.raises(OSError, match='at most 3 are read'):
        fileio.get_text(f'{odd_server}/page.txt', backend_args=args)


def test_redirects_stay_on_the_web(odd_server: str, tmp_path: Path) -> None:
    page = quote(f'{odd_server}/page.txt', safe='')
    assert HTTPBackend().get(f'{odd_server}/to/{page}') == b'here'
    for target in (f'file://{tmp_path}/page.txt', 'ftp://127.0.0.1/page.txt', 'data:,here'):
        with pytest.raises(HTTPError, match=r'not followed|not allowed'):
            HTTPBackend().get(f'{odd_server}/to/{quote(target, safe="")}')


def test_a_download_that_breaks_off_leaves_nothing(odd_server: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match='broke off'):
        load_from_http(f'{odd_server}/broken', model_dir=str(tmp_path / 'cache'))
    assert list((tmp_path / 'cache').iterdir()) == []
