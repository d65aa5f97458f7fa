"""Files in memcached servers."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from mmengine.fileio.backends.base import BaseStorageBackend, Location
from mmengine.utils.errors import ArgumentError

_DEFAULT_PORT = 11211


class MemcachedBackend(BaseStorageBackend):
    """Reads files that memcached servers hold; a path is a key.

    The client is ``mc`` where a cluster provides it, and the public pymemcache elsewhere. The
    configuration files belong to the client.

    Args:
        server_list_cfg: Configuration file of the servers; for pymemcache a text file with
            ``host:port`` on each line.
        client_cfg: Configuration file of the client; for pymemcache a JSON file with arguments of
            its ``HashClient``, or an empty string.
        sys_path: Folder to look for ``mc`` in, besides the usual ones.

    Raises:
        ImportError: If neither client is installed.
        ArgumentError: If a configuration file for pymemcache cannot be read.
    """

    def __init__(self, server_list_cfg: str, client_cfg: str, sys_path: str | None = None) -> None:
        if sys_path is not None and sys_path not in sys.path:
            sys.path.append(sys_path)
        self.server_list_cfg = server_list_cfg
        self.client_cfg = client_cfg
        try:
            import mc
        except ImportError:
            self._client: Any = _PublicClient(server_list_cfg, client_cfg)
        else:
            self._client = _ClusterClient(mc, server_list_cfg, client_cfg)

    def get(self, filepath: Location) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: If the servers do not have it.
        """
        value: bytes | None = self._client.get(str(filepath))
        if value is None:
            raise FileNotFoundError(f'The memcached servers have no key {str(filepath)!r}.')
        return value

    def get_text(self, filepath: Location, encoding: str | None = None) -> str:
        """The content of a file as text, UTF-8 unless said otherwise."""
        return super().get_text(filepath, encoding or 'utf-8')


class _ClusterClient:
    """The client that some clusters provide as ``mc``."""

    def __init__(self, mc: Any, server_list_cfg: str, client_cfg: str) -> None:
        self._mc = mc
        self._instance = mc.MemcachedClient.GetInstance(server_list_cfg, client_cfg)

    def get(self, key: str) -> bytes:
        buffer = self._mc.pyvector()
        self._instance.Get(key, buffer)
        return bytes(self._mc.ConvertBuffer(buffer))


class _PublicClient:
    """A pymemcache client with separate connections in each process."""

    def __init__(self, server_list_cfg: str, client_cfg: str) -> None:
        try:
            import pymemcache  # noqa: F401  # to fail here and not at the first read
        except ImportError as error:
            raise ImportError(
                'MemcachedBackend needs a client: pip install pymemcache; or `mc`, the one of your '
                'cluster, whose folder can be given as sys_path.'
            ) from error
        self._servers = _read_servers(server_list_cfg)
        self._options = _read_options(client_cfg)
        self._owner: int | None = None
        self._connected: Any = None

    def get(self, key: str) -> bytes | None:
        # A connection inherited through a fork would mix up the answers of two processes.
        if self._owner != os.getpid():
            from pymemcache.client.hash import HashClient

            self._disconnect()
            self._connected = HashClient(self._servers, **self._options)
            self._owner = os.getpid()
        value = self._connected.get(key)
        return None if value is None else bytes(value)

    def _disconnect(self) -> None:
        connected = self.__dict__.get('_connected')
        if connected is not None:
            connected.close()

    __del__ = _disconnect

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_owner': None, '_connected': None}


def _read_servers(path: str) -> list[tuple[str, int]]:
    servers = []
    for number, line in enumerate(_read(path, 'server_list_cfg').splitlines(), 1):
        address = line.partition('#')[0].strip()
        if not address:
            continue
        host, separator, port = address.rpartition(':')
        if separator and not port.isdigit():
            raise ArgumentError(f'{path}:{number} should be host:port, got {address!r}.')
        servers.append((host, int(port)) if separator else (address, _DEFAULT_PORT))
    if not servers:
        raise ArgumentError(f'{path} should name a server as host:port on each line; it has none.')
    return servers


def _read_options(path: str) -> dict[str, Any]:
    defaults = {'allow_unicode_keys': True}  # paths are not always ASCII
    if not path:
        return defaults
    try:
        options = json.loads(_read(path, 'client_cfg'))
    except ValueError as error:
        raise ArgumentError(f'{path} should be a JSON file: {error}.') from error
    if not isinstance(options, dict):
        raise ArgumentError(f'{path} should hold a JSON object, got {type(options).__name__}.')
    if 'key_prefix' in options:
        options['key_prefix'] = str(options['key_prefix']).encode()
    return {**defaults, **options}


def _read(path: str, argument: str) -> str:
    try:
        return Path(path).read_text(encoding='utf-8')
    except OSError as error:
        raise ArgumentError(f'{argument} should be a file that can be read: {error}.') from error
