"""Read files at ``http://`` and ``https://`` addresses."""

from urllib.request import urlopen

from mmengine.fileio.backends.base import BaseStorageBackend, Location
from mmengine.utils.errors import ArgumentError

_SECONDS_OF_SILENCE = 60.0


class HTTPBackend(BaseStorageBackend):
    """Reads files from a web server. Writing and listing are not supported."""

    def get(self, filepath: Location) -> bytes:
        """The content of the file at an address.

        Raises:
            ArgumentError: If it is not an ``http://`` or ``https://`` address.
            urllib.error.HTTPError: If the server has no such file (an ``OSError``).
        """
        address = str(filepath)
        # urlopen would read local files as well (``file://``).
        if not address.lower().startswith(('http://', 'https://')):
            raise ArgumentError(
                f'HTTPBackend reads http:// and https:// addresses, got {address!r}.'
            )
        with urlopen(address, timeout=_SECONDS_OF_SILENCE) as response:
            content: bytes = response.read()
        return content
