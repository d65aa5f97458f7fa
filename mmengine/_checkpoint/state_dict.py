"""State dicts with keys without wrapper names, and loading with a summary of mismatches."""

import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmengine._checkpoint.dtensor import spread_state_dict, whole
from mmengine._checkpoint.unwrap import is_model_wrapper
from mmengine.dist import is_main_process
from mmengine.dist._dtensor import is_dtensor
from mmengine.logging import print_log
from mmengine.utils.errors import ArgumentError

WAY_OUT = (
    'To begin a new run from the weights that fit, pass the checkpoint as load_from and do not '
    'resume.'
)
_SIZE_MISMATCH = re.compile(
    r'size mismatch for (?P<key>\S+): .*?torch\.Size\((?P<found>\[.*?\])\).*?'
    r'torch\.Size\((?P<expected>\[.*?\])\)'
)
_SHOWN_PER_GROUP = 8


class _IncompatibleKeys(NamedTuple):
    """Keys that did not match in a load; prints like torch's result when all keys matched."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return '<All keys matched successfully>'
        # super() does not work in the body of a NamedTuple.
        return (
            f'{type(self).__name__}(missing_keys={self.missing_keys}, '
            f'unexpected_keys={self.unexpected_keys})'
        )

    def __str__(self) -> str:
        return repr(self)


def get_state_dict(
    module: nn.Module,
    destination: 'OrderedDict[str, Any] | None' = None,
    prefix: str = '',
    keep_vars: bool = False,
) -> 'OrderedDict[str, Any]':
    """The state of ``module``, with the names that it has without wrappers at any depth.

    Args:
        module: A model, wrapped or not; its sub-modules may be wrapped too.
        destination: A dict to fill and return, or None.
        prefix: Prefix of every key.
        keep_vars: Keep parameters attached to autograd instead of detached.
    """
    raw = module.state_dict(prefix=prefix, keep_vars=keep_vars)
    rename = _renamer(_wrapped_prefixes(module, prefix))
    state = OrderedDict() if destination is None else destination
    state.update((rename(key), value) for key, value in raw.items())
    versions: Any = getattr(raw, '_metadata', {})  # torch stores the versions of modules in it
    versions = {rename(f'{key}.')[:-1]: value for key, value in versions.items()}
    _set_versions(state, {**getattr(state, '_metadata', {}), **versions})
    return state


def load_state_dict(
    module: nn.Module,
    state_dict: Mapping[str, Any],
    strict: bool = False,
    logger: logging.Logger | str | None = None,
    *,
    fixed_shapes: bool = False,
    must_fit: bool = False,
) -> None:
    """Copy ``state_dict`` into ``module``, through wrappers at any depth, and report mismatches.

    Entries with another shape are skipped. Rank 0 reports the mismatches in one summary, grouped by
    kind.

    Args:
        module: Changed in place.
        state_dict: A state dict with keys as in the result of :func:`get_state_dict`.
        strict: Raise an error with the summary instead of logging it.
        logger: Receiver of the summary: a logger, its name, 'current', 'silent', or None to print.
        fixed_shapes: Raise an error for entries with another shape instead of skipping them.
        must_fit: Raise an error if ``module`` takes nothing from ``state_dict``.

    Raises:
        ArgumentError: If ``fixed_shapes`` is True, and tensors have another shape; or ``must_fit``
            is True, and no entry fits.
        RuntimeError: If ``strict`` is True, and tensors are missing or unexpected or have another
            shape.
        TypeError: If ``state_dict`` is not a mapping.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(f'A state dict maps names to tensors; got {type(state_dict).__name__}.')
    to_wrapped = _wrapper_inserter(_wrapped_prefixes(module, ''))
    renamed = {to_wrapped(key): value for key, value in state_dict.items()}
    wrapped = OrderedDict(spread_state_dict(module, renamed))
    versions = getattr(state_dict, '_metadata', None)
    if versions is not None:
        inserted = {
            to_wrapped(f'{key}.' if key else '').removesuffix('.'): value
            for key, value in versions.items()
        }
        _set_versions(wrapped, inserted)

    leftovers, problems = _load_collecting(module, wrapped)
    to_plain = _renamer(_wrapped_prefixes(module, ''))
    shapes = _shape_lines(problems, to_plain)[0]
    if fixed_shapes and shapes:
        raise ArgumentError(
            f'The run cannot be resumed, because {type(module).__name__} has other shapes than the '
            f'model in the checkpoint ({len(shapes)}): {_shortened(shapes)}\n{WAY_OUT}'
        )
    summary = _summarise(
        missing=[to_plain(key) for key in leftovers.missing_keys],
        unexpected=[to_plain(key) for key in leftovers.unexpected_keys],
        problems=problems,
        to_plain=to_plain,
    )
    if not summary:
        return
    num_fitting = len(wrapped) - len(leftovers.unexpected_keys) - len(shapes)
    num_of_model = num_fitting + len(leftovers.missing_keys) + len(shapes)
    if must_fit and num_fitting <= 0:
        raise ArgumentError(
            f'The checkpoint has none of the weights of {type(module).__name__}.\n{summary}'
        )
    message = (
        f'The checkpoint and {type(module).__name__} do not match exactly: {max(num_fitting, 0)} '
        f'of the {num_of_model} tensors of the model are loaded.\n{summary}'
    )
    if strict:
        raise RuntimeError(message)
    if is_main_process():
        print_log(message, logger=logger, level=logging.WARNING)


def weights_to_cpu(state_dict: Mapping[str, Any]) -> 'OrderedDict[str, Any]':
    """A copy of ``state_dict`` with tensors in host memory; tensors already there are shared.

    A ``DTensor`` is gathered to the full tensor; then all ranks must call this. All copies from an
    accelerator are started before the first copy is awaited.
    """
    on_cpu: OrderedDict[str, Any] = OrderedDict()
    devices = set()
    for key, value in state_dict.items():
        value = whole(value)
        if is_dtensor(value):  # it is written in parts, see in_parts()
            pass
        elif isinstance(value, Tensor) and value.device.type == 'cuda':
            devices.add(value.device)
            value = value.to('cpu', non_blocking=True)
        elif isinstance(value, Tensor) and not value.is_meta:
            value = value.cpu()
        on_cpu[key] = value
    for device in devices:
        torch.cuda.synchronize(device)
    if hasattr(state_dict, '_metadata'):
        _set_versions(on_cpu, state_dict._metadata)
    return on_cpu


def _save_to_state_dict(
    module: nn.Module, destination: dict[str, Any], prefix: str, keep_vars: bool
) -> None:
    """Add the parameters and buffers of ``module``, without its children, to ``destination``."""
    nn.Module._save_to_state_dict(module, destination, prefix, keep_vars)


def _set_versions(state_dict: Any, versions: Mapping[str, Any]) -> None:
    """Store the versions of modules where torch's ``load_state_dict`` reads them."""
    state_dict._metadata = versions


def _wrapped_prefixes(module: nn.Module, prefix: str) -> list[tuple[str, str]]:
    """Pairs (prefix with the attribute of the wrapper, prefix without it), outermost first."""
    pairs = []
    for name, child in module.named_modules(prefix=prefix.rstrip('.'), remove_duplicate=False):
        if is_model_wrapper(child) and 'module' in child._modules:
            outer = f'{name}.' if name else ''
            pairs.append((f'{outer}module.', outer))
    return pairs


def _renamer(pairs: list[tuple[str, str]]) -> Callable[[str], str]:
    """Remove wrappers from a key, innermost first, so that the outer prefixes still match."""
    innermost_first = pairs[::-1]

    def rename(key: str) -> str:
        for wrapped, plain in innermost_first:
            if key.startswith(wrapped):
                key = plain + key[len(wrapped) :]
        return key

    return rename if pairs else _same


def _wrapper_inserter(pairs: list[tuple[str, str]]) -> Callable[[str], str]:
    """Insert wrappers into a plain key, outermost first, so that the next prefix matches."""

    def rename(key: str) -> str:
        for wrapped, plain in pairs:
            if key.startswith(plain):
                key = wrapped + key[len(plain) :]
        return key

    return rename if pairs else _same


def _same(key: str) -> str:
    return key


def _load_collecting(
    module: nn.Module, state_dict: 'OrderedDict[str, Any]'
) -> tuple[_IncompatibleKeys, list[str]]:
    """Load with torch, including its hooks, and collect the messages that torch would raise."""
    seen: list[Any] = []
    handle = module.register_load_state_dict_post_hook(  # type: ignore[no-untyped-call]  # torch's
        lambda _, keys: seen.append(keys)
    )
    problems: list[str] = []
    try:
        module.load_state_dict(state_dict, strict=False)
    except RuntimeError as error:
        if not seen:  # the load failed before its end, for a reason other than shapes
            raise
        problems = [line.strip() for line in str(error).splitlines()[1:]]
    finally:
        handle.remove()
    missing = list(seen[-1].missing_keys)
    # As in torch, a tensor with another shape is listed neither as missing nor as unexpected.
    return _IncompatibleKeys(missing, list(seen[-1].unexpected_keys)), problems


def _summarise(
    missing: list[str],
    unexpected: list[str],
    problems: list[str],
    to_plain: Callable[[str], str],
) -> str:
    shapes, others = _shape_lines(problems, to_plain)
    groups = {
        'of another shape, skipped': shapes,
        'missing in the file': _by_prefix(
            key for key in missing if 'num_batches_tracked' not in key
        ),
        'unexpected in the file': _by_prefix(unexpected),
        'not loadable': others,
    }
    return '\n'.join(
        f'  {title} ({len(lines)}): ' + _shortened(lines)
        for title, lines in groups.items()
        if lines
    )


def _shape_lines(
    problems: list[str], to_plain: Callable[[str], str]
) -> tuple[list[str], list[str]]:
    """Torch's messages about other shapes, in short, and its other messages."""
    shapes, others = [], []
    for line in problems:
        match = _SIZE_MISMATCH.search(line)
        if match:
            key = to_plain(match['key'])
            shapes.append(f'{key}: {match["found"]} in the file, {match["expected"]} in the model')
        else:
            others.append(line)
    return shapes, others


def _by_prefix(keys: Iterable[str]) -> list[str]:
    """One entry per module, such as 'backbone.conv1.{weight, bias}', instead of one per tensor."""
    leaves: dict[str, list[str]] = {}
    for key in keys:
        owner, _, leaf = key.rpartition('.')
        leaves.setdefault(owner, []).append(leaf)
    entries = []
    for owner, names in leaves.items():
        dotted = f'{owner}.' if owner else ''
        entries.append(dotted + (names[0] if len(names) == 1 else '{' + ', '.join(names) + '}'))
    return entries


def _shortened(lines: list[str]) -> str:
    shown = ''.join(f'\n    {line}' for line in lines[:_SHOWN_PER_GROUP])
    hidden = len(lines) - _SHOWN_PER_GROUP
    return shown + (f'\n    ... and {hidden} more' if hidden > 0 else '')
