"""Loads checkpoints by path or URL: one function per scheme, and the loading into a model."""

import io
import logging
import os
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from torch import nn

from mmengine._checkpoint._outside import CheckpointReadError
from mmengine._checkpoint.files import read_checkpoint
from mmengine._checkpoint.legacy import Opaque
from mmengine._checkpoint.model_zoo import (
    _get_mmengine_home,
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)
from mmengine._checkpoint.state_dict import load_state_dict
from mmengine.dist import barrier, get_local_rank
from mmengine.fileio import get as read_bytes
from mmengine.fileio import get_file_backend
from mmengine.fileio._http import download
from mmengine.logging import print_log
from mmengine.utils.errors import ArgumentError, did_you_mean

Loader = Callable[..., Any]
_L = TypeVar('_L', bound=Loader)
Logger = logging.Logger | str | None


class CheckpointLoader:
    """Loader functions by a regular expression for the start of a filename.

    If several expressions match, the longest match wins.
    """

    _schemes: dict[str, Loader] = {}

    @classmethod
    def register_scheme(
        cls, prefixes: str | Sequence[str], loader: Any = None, force: bool = False
    ) -> Callable[[_L], _L]:
        """Register ``loader(filename, map_location)`` for filenames that start with a prefix.

        Without ``loader`` this is a decorator.

        Args:
            prefixes: One prefix or several, such as 's3://'; regular expressions.
            loader: Returns the content of the checkpoint.
            force: Replace existing loaders.

        Raises:
            KeyError: If a prefix already has a loader and ``force`` is False.
        """

        def register(function: _L) -> _L:
            names = [prefixes] if isinstance(prefixes, str) else list(prefixes)
            for prefix in names:
                if prefix in cls._schemes and not force:
                    raise KeyError(
                        f'Checkpoints named {prefix!r}... are already read by '
                        f'{cls._schemes[prefix].__name__}; pass force=True to replace it.'
                    )
            cls._schemes.update(dict.fromkeys(names, function))
            return function

        if loader is not None:
            register(loader)
        return register

    @classmethod
    def load_checkpoint(
        cls, filename: str, map_location: Any = None, logger: Logger = 'current'
    ) -> Any:
        """Read the checkpoint called ``filename`` through the loader of its scheme."""
        filename = os.fspath(filename)
        fits = {
            found.end(): loader
            for prefix, loader in cls._schemes.items()
            if (found := re.match(prefix, filename))
        }
        loader = fits[max(fits)]
        print_log(f'{filename} is read by {loader.__name__}.', logger=logger, level=logging.DEBUG)
        return loader(filename, map_location)


@CheckpointLoader.register_scheme('')
def load_from_local(filename: str, map_location: Any) -> Any:
    """Read a local file; '~' is the home folder.

    Raises:
        FileNotFoundError: If the file does not exist; the message lists checkpoints in its folder.
        CheckpointReadError: If the file is truncated or is not a checkpoint.
    """
    return read_checkpoint(os.path.expanduser(filename), map_location)


@CheckpointLoader.register_scheme(('http://', 'https://'))
def load_from_http(
    filename: str,
    map_location: Any = None,
    model_dir: str | None = None,
    progress: bool = os.isatty(0),
) -> Any:
    """Download to torch's cache, once per machine, and read the file. All ranks must call this.

    Args:
        filename: The URL; eight or more hex digits before the suffix ('-1a2b3c4d.pth') are compared
            with the SHA-256 of the file.
        map_location: As in :func:`torch.load`.
        model_dir: Folder to use instead of ``$TORCH_HOME/hub/checkpoints``.
        progress: Show a progress bar.

    Raises:
        OSError: If the download breaks off; then nothing is kept.
    """
    from urllib.parse import urlparse

    from torch import hub

    folder = model_dir or os.path.join(hub.get_dir(), 'checkpoints')
    name = os.path.basename(urlparse(filename).path)
    cached = os.path.join(folder, name)
    try:
        if get_local_rank() == 0 and not os.path.exists(cached):
            os.makedirs(folder, exist_ok=True)
            digest = hub.HASH_REGEX.search(name)
            download(filename, cached, digest.group(1) if digest else None, progress)
    finally:
        barrier()  # also after a failure, so that the other ranks do not wait forever
    return load_from_local(cached, map_location)


# The last pattern matches all other URLs, including chained URLs of fsspec. Its match is shorter
# than the matches of the schemes.
@CheckpointLoader.register_scheme(
    (r'(\S+:)?s3://', r'(\S+:)?petrel://', 'ceph://', r'[A-Za-z][\w+.-]+:[:/]')
)
def load_from_backend(filename: str, map_location: Any = None) -> Any:
    """Read through the file backend for the URL."""
    return _read_bytes(read_bytes(filename), map_location, filename)


def load_from_ceph(filename: str, map_location: Any = None, backend: str = 'petrel') -> Any:
    """Read through the named file backend."""
    client = get_file_backend(filename, backend_args={'backend': backend})
    return _read_bytes(client.get(filename), map_location, filename)


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
    """Read weights published by torchvision, by model name or by weights name."""
    scheme, name = filename.split('://', 1)
    if scheme == 'modelzoo':
        warnings.warn(
            'modelzoo:// is the old spelling of torchvision://', DeprecationWarning, stacklevel=2
        )
    return load_from_http(_look_up(name, get_torchvision_models(), 'torchvision'), map_location)


@CheckpointLoader.register_scheme(('open-mmlab://', 'openmmlab://'))
def load_from_openmmlab(filename: str, map_location: Any = None) -> Any:
    """Read weights by a name in the model zoo table: a URL, or a file in the mmengine home."""
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
    """The backbone weights in the checkpoint of a classifier, with keys without 'backbone.'."""
    return {'state_dict': OrderedDict(_under_prefix(weights_of(checkpoint), 'backbone.'))}


def _load_checkpoint(filename: str, map_location: Any = None, logger: Logger = None) -> Any:
    """Read a checkpoint by path or URL."""
    return CheckpointLoader.load_checkpoint(filename, map_location, logger)


def _load_checkpoint_with_prefix(
    prefix: str, filename: str, map_location: Any = None
) -> dict[str, Any]:
    """The weights in a checkpoint under ``prefix``, with keys without ``prefix``.

    Raises:
        ArgumentError: If the checkpoint has no key under ``prefix``.
        CheckpointReadError: If the file contains no weights.
    """
    weights = weights_of(_load_checkpoint(filename, map_location=map_location), filename)
    prefix = prefix if prefix.endswith('.') else f'{prefix}.'
    part = dict(_under_prefix(weights, prefix))
    if not part:
        tops = sorted({key.split('.', 1)[0] for key in weights})
        raise ArgumentError(
            f'{filename} has no weights under {prefix!r}; its top-level names are {tops[:10]}.'
        )
    return part


def _load_checkpoint_to_model(
    model: nn.Module,
    checkpoint: Mapping[str, Any],
    strict: bool = False,
    logger: Logger = None,
    revise_keys: Sequence[tuple[str, str]] = [(r'^module\.', '')],  # the API's
    *,
    must_fit: bool = False,
) -> Mapping[str, Any]:
    """Load the weights of a loaded checkpoint into ``model``; returns the checkpoint."""
    weights = revise_state_dict_keys(weights_of(checkpoint), revise_keys)
    load_state_dict(model, weights, strict, logger, must_fit=must_fit)
    return checkpoint


def load_checkpoint(
    model: nn.Module,
    filename: str,
    map_location: Any = None,
    strict: bool = False,
    logger: Logger = None,
    revise_keys: Sequence[tuple[str, str]] = [(r'^module\.', '')],  # the API's
) -> Mapping[str, Any]:
    """Read ``filename`` and load its weights into ``model``.

    Args:
        model: Changed in place; may be wrapped.
        filename: A path or a URL of any registered scheme.
        map_location: As in :func:`torch.load`.
        strict: Raise an error, instead of a warning, if tensors are missing or unexpected or have
            another shape.
        logger: Logger for the summary of mismatches.
        revise_keys: Pairs (regular expression, replacement) that are applied to every key in turn.

    Returns:
        The whole checkpoint.

    Raises:
        CheckpointReadError: If the file contains no weights.
        RuntimeError: If ``strict`` is True and there are mismatches.
    """
    checkpoint = _load_checkpoint(filename, map_location, logger)
    weights_of(checkpoint, filename)
    return _load_checkpoint_to_model(model, checkpoint, strict, logger, revise_keys)


def weights_of(checkpoint: Any, name: str = 'The checkpoint') -> Mapping[str, Any]:
    """The weights in a loaded checkpoint, which may also be a plain state dict.

    Raises:
        CheckpointReadError: If the checkpoint contains no weights.
    """
    weights = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, Mapping) else None
    if not isinstance(weights, Mapping):
        found = (
            f'the object {checkpoint.qualified_name}'
            if isinstance(checkpoint, Opaque)
            else f'a {type(checkpoint if weights is None else weights).__name__}'
        )
        raise CheckpointReadError(
            f'{name} contains {found} instead of a mapping from names to tensors. If a whole model '
            'was saved, save its state_dict() instead.'
        )
    return weights


def revise_state_dict_keys(
    state_dict: Mapping[str, Any], revise_keys: Sequence[tuple[str, str]]
) -> Mapping[str, Any]:
    """Apply the (pattern, replacement) pairs to the keys of ``state_dict``.

    The module versions in ``state_dict`` are kept. The default pattern of the API, ``^module.``,
    means the prefix ``module.`` with a literal dot, so that a child ``module1`` keeps its name.
    """
    versions = getattr(state_dict, '_metadata', None)
    for pattern, replacement in revise_keys:
        expression = re.compile(r'^module\.' if pattern == '^module.' else pattern)
        state_dict = OrderedDict(
            (expression.sub(replacement, key), value) for key, value in state_dict.items()
        )
    if versions is not None and isinstance(state_dict, OrderedDict):
        state_dict._metadata = versions  # type: ignore[attr-defined]  # torch keeps module versions there
    return state_dict


def _read_bytes(content: bytes, map_location: Any, name: str) -> Any:
    return read_checkpoint(io.BytesIO(content), map_location, name)


def _under_prefix(weights: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    return ((key[len(prefix) :], value) for key, value in weights.items() if key.startswith(prefix))


def _look_up(name: str, table: Mapping[str, str], scheme: str) -> str:
    if name not in table:
        raise KeyError(f'There is no model {name!r} under {scheme}://.{did_you_mean(name, table)}')
    return table[name]
