"""Many small files in one LMDB database."""

import os
from typing import Any

from mmengine.fileio.backends.base import BaseStorageBackend, Location

# LMDB allows a database to be opened once in a process, and not to be used across a fork.
_environments: dict[str, tuple[int, Any]] = {}


class LmdbBackend(BaseStorageBackend):
    """Reads the values of an LMDB database; a path is a key.

    The database is opened at the first read, once in each process (data loader workers too), and
    stays open; later backends of the same database share it.

    Args:
        db_path: The database.
        readonly: Open it for reading only.
        lock: Use the lock file. Not needed while the database is only read.
        readahead: Let the system read ahead. Not useful for random access.
        kwargs: Passed on to ``lmdb.open``.

    Raises:
        ImportError: If lmdb is not installed.
    """

    def __init__(
        self,
        db_path: Location,
        readonly: bool = True,
        lock: bool = False,
        readahead: bool = False,
        **kwargs: Any,
    ) -> None:
        try:
            import lmdb  # noqa: F401  # to fail here and not at the first read
        except ImportError as error:
            raise ImportError('LmdbBackend needs lmdb: pip install lmdb') from error
        self.db_path = str(db_path)
        self.readonly = readonly
        self.lock = lock
        self.readahead = readahead
        self.kwargs = kwargs

    def get(self, filepath: Location) -> bytes:
        """The value of a key.

        Raises:
            FileNotFoundError: If the database has no such key.
        """
        with self._environment().begin(write=False) as transaction:
            value = transaction.get(str(filepath).encode())
        if value is None:
            raise FileNotFoundError(f'The database {self.db_path} has no key {str(filepath)!r}.')
        return bytes(value)

    def get_text(self, filepath: Location, encoding: str | None = None) -> str:
        """The value of a key as text, UTF-8 unless said otherwise."""
        return super().get_text(filepath, encoding or 'utf-8')

    def _environment(self) -> Any:
        path = os.path.realpath(self.db_path)
        opened_by, environment = _environments.get(path, (None, None))
        if opened_by != os.getpid():
            import lmdb

            if environment is not None:  # inherited from the process that forked this one
                environment.close()
            environment = lmdb.open(
                path,
                readonly=self.readonly,
                lock=self.lock,
                readahead=self.readahead,
                **self.kwargs,
            )
            _environments[path] = (os.getpid(), environment)
        return environment
