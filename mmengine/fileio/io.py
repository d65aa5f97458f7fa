"""Files by their address: each function finds the backend and calls it.

``backend_args`` is the same in all functions: ``dict(backend='petrel', ...)`` has the name of the
backend and the arguments of its constructor. Without ``backend`` the prefix of the address
(``s3://``) decides, and an address without a prefix is on the local disk. Prefixes without a
registered backend are opened by fsspec.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO, StringIO
from pathlib import Path
from typing import IO, Any

from mmengine.fileio.backends.base import BaseStorageBackend
from mmengine.fileio.backends.local_backend import LocalBackend
from mmengine.fileio.backends.registry_utils import (
    _parse_uri_prefix,
    backend_of_prefix,
    backends,
    prefix_to_backends,
)
from mmengine.fileio.file_client import FileClient
from mmengine.fileio.handlers.base import BaseFileHandler
from mmengine.fileio.handlers.registry_utils import file_handlers
from mmengine.utils.errors import ArgumentError, did_you_mean
from mmengine.utils.path import mkdir_or_exist

Location = str | Path
BackendArgs = Mapping[str, Any]

_OLD_NAMES = {'disk': 'local'}
"""Names of backends in file_client_args, for those who pass them on as backend_args."""

_shared_backends: dict[tuple[type[BaseStorageBackend], str], BaseStorageBackend] = {}


def _backend_class(prefix: str, backend_args: BackendArgs | None) -> type[BaseStorageBackend]:
    if backend_args is not None and 'backend' in backend_args:
        kind, wanted, table = 'name', backend_args['backend'], backends
        found = backends.get(wanted) or backends.get(_OLD_NAMES.get(wanted, ''))
    else:
        kind, wanted, table = 'prefix', prefix, prefix_to_backends
        found = backend_of_prefix(prefix, prefix_to_backends)
    if found is not None:
        return found
    if kind == 'prefix' and prefix in ('file', 'local'):
        raise KeyError(f'Local files are named by their plain path: drop {prefix}://.')
    raise KeyError(
        f'No file backend has the {kind} {wanted!r}; known are {sorted(filter(None, table))}.'
        + did_you_mean(str(wanted), table)
    )


def _get_file_backend(prefix: str, backend_args: BackendArgs | None) -> BaseStorageBackend:
    """A new backend, chosen by its name in ``backend_args``, else by a prefix."""
    cls = _backend_class(prefix, backend_args)
    return cls(**{key: value for key, value in (backend_args or {}).items() if key != 'backend'})


def get_file_backend(
    uri: Location | None = None,
    *,
    backend_args: BackendArgs | None = None,
    enable_singleton: bool = False,
) -> BaseStorageBackend:
    """The backend for an address.

    Args:
        uri: An address whose prefix chooses the backend.
        backend_args: Name and arguments of the backend; the name has priority over the prefix.
        enable_singleton: Return the same object for the same arguments.

    Raises:
        ArgumentError: If neither an address nor a name is given.
        KeyError: If no backend has the name or the prefix.
    """
    if uri is None and 'backend' not in (backend_args or {}):
        raise ArgumentError("get_file_backend needs a uri, or backend_args=dict(backend='...').")
    prefix = '' if uri is None else _parse_uri_prefix(uri)
    if not enable_singleton:
        return _get_file_backend(prefix, backend_args)
    cls = _backend_class(prefix, backend_args)
    key = (cls, repr(sorted(backend_args.items())) if backend_args else '')
    if key not in _shared_backends:
        _shared_backends[key] = _get_file_backend(prefix, backend_args)
    return _shared_backends[key]


def _shared(uri: Location, backend_args: BackendArgs | None) -> BaseStorageBackend:
    return get_file_backend(uri, backend_args=backend_args, enable_singleton=True)


def get(filepath: Location, backend_args: BackendArgs | None = None) -> bytes:
    """The content of a file."""
    return _shared(filepath, backend_args).get(filepath)


def get_text(
    filepath: Location, encoding: str = 'utf-8', backend_args: BackendArgs | None = None
) -> str:
    """The content of a file as text."""
    return _shared(filepath, backend_args).get_text(filepath, encoding)


def put(obj: bytes, filepath: Location, backend_args: BackendArgs | None = None) -> None:
    """Write a file; missing folders are made."""
    _shared(filepath, backend_args).put(obj, filepath)


def put_text(obj: str, filepath: Location, backend_args: BackendArgs | None = None) -> None:
    """Write text into a file, in UTF-8; missing folders are made."""
    _shared(filepath, backend_args).put_text(obj, filepath)


def exists(filepath: Location, backend_args: BackendArgs | None = None) -> bool:
    """Whether there is a file or a folder."""
    return _shared(filepath, backend_args).exists(filepath)


def isdir(filepath: Location, backend_args: BackendArgs | None = None) -> bool:
    """Whether there is a folder."""
    return _shared(filepath, backend_args).isdir(filepath)


def isfile(filepath: Location, backend_args: BackendArgs | None = None) -> bool:
    """Whether there is a file."""
    return _shared(filepath, backend_args).isfile(filepath)


def join_path(
    filepath: Location, *filepaths: Location, backend_args: BackendArgs | None = None
) -> str:
    """Join the parts of a path, as the backend of the first part does."""
    return _shared(filepath, backend_args).join_path(filepath, *filepaths)


@contextmanager
def get_local_path(filepath: Location, backend_args: BackendArgs | None = None) -> Iterator[str]:
    """A local path of a file, for the length of a ``with`` block; remote files are downloaded.

    Example:
        >>> put(b'pixels', '/tmp/example/image.jpg')
        >>> with get_local_path('/tmp/example/image.jpg') as path:
        ...     Path(path).read_bytes()
        b'pixels'
    """
    with _shared(filepath, backend_args).get_local_path(filepath) as path:
        yield str(path)


def copyfile(src: Location, dst: Location, backend_args: BackendArgs | None = None) -> Location:
    """Copy a file inside one backend; into ``dst`` when that is a folder. Gives the new path."""
    return _shared(src, backend_args).copyfile(src, dst)


def copytree(src: Location, dst: Location, backend_args: BackendArgs | None = None) -> Location:
    """Copy a folder to a new one inside one backend. Gives the new path."""
    return _shared(src, backend_args).copytree(src, dst)


def copyfile_from_local(
    src: Location, dst: Location, backend_args: BackendArgs | None = None
) -> Location:
    """Copy a local file to the backend of ``dst``. Gives the new path."""
    return _shared(dst, backend_args).copyfile_from_local(src, dst)


def copytree_from_local(
    src: Location, dst: Location, backend_args: BackendArgs | None = None
) -> Location:
    """Copy a local folder to the backend of ``dst``. Gives the new path."""
    return _shared(dst, backend_args).copytree_from_local(src, dst)


def copyfile_to_local(
    src: Location, dst: Location, backend_args: BackendArgs | None = None
) -> Location:
    """Copy a file from the backend of ``src`` to the local disk. Gives the new path."""
    return _shared(src, backend_args).copyfile_to_local(src, dst)


def copytree_to_local(
    src: Location, dst: Location, backend_args: BackendArgs | None = None
) -> Location:
    """Copy a folder from the backend of ``src`` to the local disk. Gives the new path."""
    return _shared(src, backend_args).copytree_to_local(src, dst)


def copy_if_symlink_fails(
    src: Location, dst: Location, backend_args: BackendArgs | None = None
) -> bool:
    """Make ``dst`` a link to ``src``, or a copy where links cannot be made.

    Returns:
        Whether it is a link.
    """
    return _shared(src, backend_args).copy_if_symlink_fails(src, dst)


def remove(filepath: Location, backend_args: BackendArgs | None = None) -> None:
    """Delete a file."""
    _shared(filepath, backend_args).remove(filepath)


def rmtree(dir_path: Location, backend_args: BackendArgs | None = None) -> None:
    """Delete a folder and all that is in it."""
    _shared(dir_path, backend_args).rmtree(dir_path)


def list_dir_or_file(
    dir_path: Location,
    list_dir: bool = True,
    list_file: bool = True,
    suffix: str | tuple[str, ...] | None = None,
    recursive: bool = False,
    backend_args: BackendArgs | None = None,
) -> Iterator[str]:
    """What is in a folder, as paths relative to it.

    See :meth:`BaseStorageBackend.list_dir_or_file`.
    """
    return _shared(dir_path, backend_args).list_dir_or_file(
        dir_path, list_dir, list_file, suffix, recursive
    )


def generate_presigned_url(
    url: str,
    client_method: str = 'get_object',
    expires_in: int = 3600,
    backend_args: BackendArgs | None = None,
) -> str:
    """An address under which anybody reaches a file for ``expires_in`` seconds."""
    return _shared(url, backend_args).generate_presigned_url(url, client_method, expires_in)


def load(
    file: Location | IO[Any],
    file_format: str | None = None,
    file_client_args: BackendArgs | None = None,
    backend_args: BackendArgs | None = None,
    **kwargs: Any,
) -> Any:
    """The object that a JSON, YAML or pickle file holds.

    Args:
        file: Address of the file, or an open file.
        file_format: ``json``, ``yaml``, ``yml``, ``pickle`` or ``pkl``; by default what the file
            name ends in.
        file_client_args: The old form of ``backend_args``.
        backend_args: See the head of this module.
        kwargs: Passed on to the format's own loader.

    Raises:
        TypeError: If the format is unknown, or ``file`` is not a file.
        ArgumentError: If both forms of arguments are given.
    """
    handler = _handler(file_format, file)
    if not isinstance(file, (str, Path)):
        return handler.load_from_fileobj(file, **kwargs)
    backend = _backend_of(file, file_client_args, backend_args)
    opened: IO[Any] = (
        StringIO(backend.get_text(file)) if handler.str_like else BytesIO(backend.get(file))
    )
    return handler.load_from_fileobj(opened, **kwargs)


def dump(
    obj: Any,
    file: Location | IO[Any] | None = None,
    file_format: str | None = None,
    file_client_args: BackendArgs | None = None,
    backend_args: BackendArgs | None = None,
    **kwargs: Any,
) -> Any:
    """Write an object as JSON, YAML or pickle.

    Args:
        obj: The object.
        file: Address of the file, or an open file; without it the text (or bytes) is returned.
        file_format: As in :func:`load`.
        file_client_args: The old form of ``backend_args``.
        backend_args: See the head of this module.
        kwargs: Passed on to the format's own dumper.

    Raises:
        TypeError: If the format is unknown, or ``file`` is not a file.
        ArgumentError: If both forms of arguments are given, or neither a file nor a format.
    """
    if file is None and file_format is None:
        raise ArgumentError('dump needs a file, or the file_format of the text it returns.')
    handler = _handler(file_format, file)
    if file is None:
        return handler.dump_to_str(obj, **kwargs)
    if not isinstance(file, (str, Path)):
        handler.dump_to_fileobj(obj, file, **kwargs)
        return None
    backend = _backend_of(file, file_client_args, backend_args)
    if type(backend) is LocalBackend:
        mkdir_or_exist(os.path.dirname(file))
        handler.dump_to_path(obj, file, **kwargs)
        return None
    buffer: IO[Any] = StringIO() if handler.str_like else BytesIO()
    handler.dump_to_fileobj(obj, buffer, **kwargs)
    buffer.seek(0)
    put = backend.put_text if handler.str_like else backend.put
    put(buffer.read(), file)
    return None


def _handler(file_format: str | None, file: Any) -> BaseFileHandler:
    if isinstance(file, (str, Path)):
        file_format = file_format or str(file).rpartition('.')[2].lower()
    elif file is not None and not (hasattr(file, 'read') or hasattr(file, 'write')):
        raise TypeError(f'file must be a path or an open file, got {type(file).__name__}.')
    if file_format not in file_handlers:
        raise TypeError(
            f'No handler for the file format {file_format!r}; known are {sorted(file_handlers)}.'
            + did_you_mean(str(file_format), file_handlers)
        )
    return file_handlers[file_format]


def _backend_of(
    uri: Location, file_client_args: BackendArgs | None, backend_args: BackendArgs | None
) -> Any:
    if file_client_args is None:
        return _shared(uri, backend_args)
    if backend_args is not None:
        raise ArgumentError(
            'file_client_args is the old form of backend_args: pass backend_args only.'
        )
    return FileClient.infer_client(dict(file_client_args), uri)
