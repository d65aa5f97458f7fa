"""Read files at ``http://`` and ``https://`` addresses."""

from mmengine.fileio._http import MAX_BYTES, body_of, check_web_address, open_address
from mmengine.fileio.backends.base import BaseStorageBackend, Location


class HTTPBackend(BaseStorageBackend):
    """Reads files from a web server. Writing and listing are not supported.

    Args:
        max_bytes: Largest file that is read.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes

    def get(self, filepath: Location) -> bytes:
        """The content of the file at an address.

        Raises:
            ArgumentError: If it is not an ``http://`` or ``https://`` address.
            urllib.error.HTTPError: If the server has no such file, or sends elsewhere than to the
                web (an ``OSError``).
            OSError: If the connection breaks off, or the file has more than ``max_bytes``.
        """
        address = str(filepath)
        check_web_address(address, 'HTTPBackend')
        with open_address(address) as response:
            return b''.join(body_of(response, address, self._max_bytes))
