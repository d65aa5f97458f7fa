"""Files in a memcached cluster."""

import sys
from typing import Any

from mmengine.fileio.backends.base import BaseStorageBackend, Location


class MemcachedBackend(BaseStorageBackend):
    """Reads files through a memcached client (package ``mc``); a path is a key.

    Args:
        server_list_cfg: Configuration file of the servers.
        client_cfg: Configuration file of the client.
        sys_path: Folder to look for the package in, besides the usual ones.

    Raises:
        ImportError: If the package is not installed.
    """

    def __init__(self, server_list_cfg: str, client_cfg: str, sys_path: str | None = None) -> None:
        if sys_path is not None and sys_path not in sys.path:
            sys.path.append(sys_path)
        try:
            import mc
        except ImportError as error:
            raise ImportError(
                'MemcachedBackend needs `mc`, the client of your cluster; no public index has it. '
                'Give its folder as sys_path.'
            ) from error
        self.server_list_cfg = server_list_cfg
        self.client_cfg = client_cfg
        self._mc: Any = mc
        self._client: Any = mc.MemcachedClient.GetInstance(server_list_cfg, client_cfg)

    def get(self, filepath: Location) -> bytes:
        """The content of a file."""
        buffer = self._mc.pyvector()
        self._client.Get(str(filepath), buffer)
        return bytes(self._mc.ConvertBuffer(buffer))

    def get_text(self, filepath: Location, encoding: str | None = None) -> str:
        """The content of a file as text, UTF-8 unless said otherwise."""
        return super().get_text(filepath, encoding or 'utf-8')
