"""The body of a web address: from http and https alone, whole, and no larger than was meant."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from mmengine.fileio._atomic import atomic_write
from mmengine.utils.errors import ArgumentError

_SECONDS_OF_SILENCE = 60.0
_CHUNK = 2**20
MAX_BYTES = 64 * 2**30


class IncompleteDownloadError(OSError):
    """A server sent fewer bytes than it said, or more than are allowed."""


def check_web_address(address: str, reader: str) -> None:
    """Raise unless ``address`` is on the web; urllib would read local files (``file://``) too.

    Raises:
        ArgumentError: If it is not an ``http://`` or ``https://`` address.
    """
    if not address.lower().startswith(('http://', 'https://')):
        raise ArgumentError(f'{reader} reads http:// and https:// addresses, got {address!r}.')


class _WithinTheWeb(HTTPRedirectHandler):
    """Follows a redirect unless it leaves http and https, or gives up https."""

    def redirect_request(
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> Request | None:
        allowed = ('https://',) if req.full_url.lower().startswith('https') else _WEB
        if not newurl.lower().startswith(allowed):
            reason = f'{msg}; its redirect to {newurl!r} is not followed'
            raise HTTPError(req.full_url, code, reason, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_WEB = ('http://', 'https://')


@contextmanager
def open_address(address: str) -> Iterator[HTTPResponse]:
    """The answer of a web server; its body has not been read yet."""
    opener = build_opener(_WithinTheWeb)
    with opener.open(address, timeout=_SECONDS_OF_SILENCE) as response:
        yield response


def body_of(response: HTTPResponse, address: str, max_bytes: int) -> Iterator[bytes]:
    """The parts of a body.

    Raises:
        IncompleteDownloadError: If the connection ends before the stated length, or the body is
            larger than ``max_bytes``.
    """
    expected = _stated_length(response)
    if expected is not None and expected > max_bytes:
        raise _too_large(address, expected, max_bytes)
    received = 0
    while chunk := response.read(_CHUNK):
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(address, received, max_bytes)
        yield chunk
    if expected is not None and received != expected:
        raise IncompleteDownloadError(
            f'{address} broke off: {received:,} of {expected:,} bytes came.'
        )


def _stated_length(response: HTTPResponse) -> int | None:
    stated = response.headers.get('Content-Length')
    return int(stated) if stated and stated.isdigit() else None


def _too_large(address: str, size: int, max_bytes: int) -> IncompleteDownloadError:
    return IncompleteDownloadError(
        f'{address} has at least {size:,} bytes; at most {max_bytes:,} are read (max_bytes).'
    )


def download(
    address: str,
    target: str | Path,
    sha256_prefix: str | None = None,
    progress: bool = False,
    max_bytes: int = MAX_BYTES,
) -> None:
    """Write the body of a web address to a file, which appears whole or not at all.

    Args:
        address: ``http://`` or ``https://``.
        target: The file.
        sha256_prefix: First digits of the SHA-256 that the body must have.
        progress: Show a bar on the terminal.
        max_bytes: Largest allowed size.

    Raises:
        IncompleteDownloadError: As :func:`body_of`.
        RuntimeError: If the SHA-256 is another.
        urllib.error.URLError: If the server cannot be reached or has no such file (an OSError).
    """
    check_web_address(address, 'download')
    digest = hashlib.sha256()
    with open_address(address) as response, atomic_write(target) as file:
        for chunk in _shown(response, address, max_bytes, progress):
            file.write(chunk)
            digest.update(chunk)
        found = digest.hexdigest()
        if sha256_prefix and not found.startswith(sha256_prefix):
            raise RuntimeError(
                f'{address} has the SHA-256 {found}, but its name states {sha256_prefix}...'
            )


def _shown(response: HTTPResponse, address: str, max_bytes: int, progress: bool) -> Iterator[bytes]:
    body = body_of(response, address, max_bytes)
    if not progress:
        yield from body
        return
    from rich.progress import Progress

    with Progress() as bar:
        task = bar.add_task(address.rpartition('/')[2], total=_stated_length(response))
        for chunk in body:
            yield chunk
            bar.advance(task, len(chunk))
