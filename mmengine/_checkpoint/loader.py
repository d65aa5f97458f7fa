"""Loading checkpoints by path or URL: one function a scheme, and the steps from file to model."""

import io
import logging
import os
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from mmengine._checkpoint.files import read_checkpoint, warn_about_opaque
from mmengine._checkpoint.model_zoo import (
    _get_mmengine_home,
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)
from mmengine._checkpoint.state_dict import load_state_dict
from mmengine.dist import barrier, get_dist_info
from mmengine.fileio import get as read_bytes
from mmengine.fileio import get_file_backend
from mmengine.logging import print_log
from mmengine.utils.errors import did_you_mean

Loader = Callable[..., Any]
Logger = logging.Logger | str | None


class CheckpointLoader:
    """Which function reads which URL scheme. The longest prefix that fits a name wins."""

    _schemes: dict[str, Loader] = {}

    @classmethod
    def register_scheme(
        cls, prefixes: str | Sequence[str], loader: Loader | None = None, force: bool = False
    ) -> Any:
        """Let ``loader(filename, map_location)`` read every name that begins with one of ``prefixes``.

        Without ``loader`` this is a decorator.

        Args:
            prefixes: One prefix or several, such as 's3://'.
            loader: Returns what the checkpoint holds.
            force: Replace the loader of a prefix that has one.

        Raises:
            KeyError: If a prefix is taken and ``force`` is False.
        """

        def register(function: Loader) -> Loader:
            for prefix in [prefixes] if isinstance(prefixes, str) else prefixes:
                if prefix in cls._schemes and not force:
                    raise KeyError(
                        f'Checkpoints named {prefix!r}... are read by {cls._schemes[prefix].__name__} already; '
                        'pass force=True to replace it.'
                    )
                cls._schemes[prefix] = function
            return function

        return register if loader is None else register(loader)

    @classmethod
    def load_checkpoint(
        cls, filename: str, map_location: Any = None, logger: Logger = 'current'
    ) -> Any:
        """Read the checkpoint called ``filename`` through the loader of its scheme."""
        filename = os.fspath(filename)
        prefix = max((p for p in cls._schemes if filename.startswith(p)), key=len)
        loader = cls._schemes[prefix]
        source = prefix.rstrip(':/') or 'local disk'
        print_log(f'Loads checkpoint from {source}: {filename}', logger=logger, level=logging.DEBUG)
        return loader(filename, map_location)


@CheckpointLoader.register_scheme('')
def load_from_local(filename: str, map_location: Any) -> Any:
    """Read a file of this machine; '~' is understood.

    Raises:
        FileNotFoundError: If there is no such file; the message lists the checkpoints beside it.
        CheckpointReadError: If the file is cut short or no checkpoint.
    """
    path = os.path.expanduser(filename)
    checkpoint = read_checkpoint(path, map_location)
    warn_about_opaque(checkpoint, path)
    return checkpoint


@CheckpointLoader.register_scheme(('http://', 'https://'))
def load_from_http(
    filename: str,
    map_location: Any = None,
    model_dir: str | None = None,
    progress: bool = os.isatty(0),
) -> Any:
    """Download into torch's cache, once a machine, and read it from there."""
    from urllib.parse import urlparse

    from torch import hub

    folder = model_dir or os.path.join(hub.get_dir(), 'checkpoints')
    name = os.path.basename(urlparse(filename).path)
    cached = os.path.join(folder, name)
    rank, _ = get_dist_info()
    if rank == 0 and not os.path.exists(cached):
        os.makedirs(folder, exist_ok=True)
        digest = hub.HASH_REGEX.search(name)
        hub.download_url_to_file(filename, cached, digest.group(1) if digest else None, progress)
    barrier()
    if not os.path.exists(cached):  # another machine: its disk has not seen the download of rank 0
        hub.download_url_to_file(filename, cached, None, progress=False)
    return load_from_local(cached, map_location)


@CheckpointLoader.register_scheme(('s3://', 'petrel://', 'ceph://', 'gs://', 'hf://', 'memory://'))
def load_from_backend(filename: str, map_location: Any = None) -> Any:
    """Read through the file backend that serves the URL."""
    return read_checkpoint(io.BytesIO(read_bytes(filename)), map_location)


def load_from_ceph(filename: str, map_location: Any = None, backend: str = 'petrel') -> Any:
    """Read through the named file backend."""
    client = get_file_backend(filename, backend_args={'backend': backend})
    return read_checkpoint(io.BytesIO(client.get(filename)), map_location)


@CheckpointLoader.register_scheme('pavi://')
def load_from_pavi(filename: str, map_location: Any = None) -> Any:
    """Read from the Pavi model cloud.

    Raises:
        ImportError: If the private ``pavi`` package is not installed.
    """
    try:
        from pavi import modelcloud  # type: ignore[import-not-found]  # private package
    except ImportError as error:
        raise ImportError('Checkpoints named pavi:// need the `pavi` package.') from error
    import tempfile

    model = modelcloud.get(filename.removeprefix('pavi://'))
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, model.name)
        model.download(target)
        return load_from_local(target, map_location)


@CheckpointLoader.register_scheme(('modelzoo://', 'torchvision://'))
def load_from_torchvision(filename: str, map_location: Any = None) -> Any:
    """Read weights that torchvision publishes, by model name or by weights name."""
    scheme, name = filename.split('://', 1)
    if scheme == 'modelzoo':
        warnings.warn(
            'modelzoo:// is the old spelling of torchvision://', DeprecationWarning, stacklevel=2
        )
    return load_from_http(_look_up(name, get_torchvision_models(), 'torchvision'), map_location)


@CheckpointLoader.register_scheme(('open-mmlab://', 'openmmlab://'))
def load_from_openmmlab(filename: str, map_location: Any = None) -> Any:
    """Read weights by a name of the zoo table; the table may name URLs or files in the mmengine home."""
    scheme, name = filename.split('://', 1)
    renamed = get_deprecated_model_names()
    if name in renamed:
        warnings.warn(
            f'{filename} is now called {scheme}://{renamed[name]}', DeprecationWarning, stacklevel=2
        )
        name = renamed[name]
    target = _look_up(name, get_external_models(), scheme)
    if target.startswith(('http://', 'https://')):
        return load_from_http(target, map_location)
    return load_from_local(os.path.join(_get_mmengine_home(), target), map_location)


@CheckpointLoader.register_scheme('mmcls://')
def load_from_mmcls(filename: str, map_location: Any = None) -> Any:
    """Read a published classifier and keep its backbone."""
    name = filename.removeprefix('mmcls://')
    checkpoint = load_from_http(_look_up(name, get_mmcls_models(), 'mmcls'), map_location)
    return _process_mmcls_checkpoint(checkpoint)


def _process_mmcls_checkpoint(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The backbone of a classifier's checkpoint, its keys without 'backbone.'."""
    weights = checkpoint.get('state_dict', checkpoint)
    backbone = _under_prefix(weights, 'backbone.')
    return {'state_dict': OrderedDict(backbone)}


def _load_checkpoint(filename: str, map_location: Any = None, logger: Logger = None) -> Any:
    """Read a checkpoint by path or URL."""
    return CheckpointLoader.load_checkpoint(filename, map_location, logger)


def _load_checkpoint_with_prefix(
    prefix: str, filename: str, map_location: Any = None
) -> dict[str, Any]:
    """The part of a checkpoint's weights under ``prefix``, keys without it.

    Raises:
        ValueError: If the checkpoint has no key under ``prefix``.
    """
    checkpoint = _load_checkpoint(filename, map_location=map_location)
    weights = checkpoint.get('state_dict', checkpoint)
    prefix = prefix if prefix.endswith('.') else f'{prefix}.'
    part = dict(_under_prefix(weights, prefix))
    if not part:
        tops = sorted({key.split('.', 1)[0] for key in weights})
        raise ValueError(
            f'{filename} has no weights under {prefix!r}; its top-level names are {tops[:10]}.'
        )
    return part


def _load_checkpoint_to_model(
    model: nn.Module,
    checkpoint: Mapping[str, Any],
    strict: bool = False,
    logger: Logger = None,
    revise_keys: Sequence[tuple[str, str]] = [
        (r'^module\.', '')
    ],  # the API's default, never changed
) -> Mapping[str, Any]:
    """Load the weights of an opened checkpoint into ``model``; returns the checkpoint."""
    weights = checkpoint.get('state_dict', checkpoint)
    load_state_dict(model, revise_state_dict_keys(weights, revise_keys), strict, logger)
    return checkpoint


def load_checkpoint(
    model: nn.Module,
    filename: str,
    map_location: Any = None,
    strict: bool = False,
    logger: Logger = None,
    revise_keys: Sequence[tuple[str, str]] = [
        (r'^module\.', '')
    ],  # the API's default, never changed
) -> Mapping[str, Any]:
    """Read ``filename`` and load its weights into ``model``.

    Args:
        model: Changed in place; may be wrapped.
        filename: A path or a URL of any registered scheme.
        map_location: As in :func:`torch.load`.
        strict: Raise when anything is missing, unexpected or of another shape, instead of warning.
        logger: Where the summary of what did not fit goes.
        revise_keys: Pairs (regular expression, replacement) applied in turn to every key.

    Returns:
        The whole checkpoint.

    Raises:
        RuntimeError: If the file holds no mapping, or ``strict`` and something did not fit.
    """
    checkpoint = _load_checkpoint(filename, map_location, logger)
    if not isinstance(checkpoint, Mapping):
        raise RuntimeError(f'{filename} holds a {type(checkpoint).__name__}, not a checkpoint.')
    return _load_checkpoint_to_model(model, checkpoint, strict, logger, revise_keys)


def revise_state_dict_keys(
    state_dict: Mapping[str, Any], revise_keys: Sequence[tuple[str, str]]
) -> Mapping[str, Any]:
    """``state_dict`` with each key put through the (pattern, replacement) pairs; module versions are kept."""
    versions = getattr(state_dict, '_metadata', None)
    for pattern, replacement in revise_keys:
        expression = re.compile(pattern)
        state_dict = OrderedDict(
            (expression.sub(replacement, key), value) for key, value in state_dict.items()
        )
    if versions is not None and isinstance(state_dict, OrderedDict):
        state_dict._metadata = versions  # type: ignore[attr-defined]  # torch keeps module versions there
    return state_dict


def _under_prefix(weights: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    return ((key[len(prefix) :], value) for key, value in weights.items() if key.startswith(prefix))


def _look_up(name: str, table: Mapping[str, str], scheme: str) -> str:
    if name not in table:
        raise KeyError(f'There is no model {name!r} under {scheme}://.{did_you_mean(name, table)}')
    return table[name]
