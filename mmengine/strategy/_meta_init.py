"""Memory and values for the parameters of a model that was built on the meta device.

Each new tensor is first filled with a value that no initialisation gives: NaN, or the smallest
integer. A tensor that still contains it was neither initialised nor loaded. Bools and unsigned
integers are filled with 0 and not checked.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mmengine._checkpoint.dtensor import whole_parameters
from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.dist import all_reduce, broadcast, is_distributed
from mmengine.dist._dtensor import is_dtensor

_RESETS = ('reset_parameters', '_reset_parameters')


@contextmanager
def parameters_on_meta() -> Iterator[None]:
    """Context in which new modules have their parameters on the meta device.

    Buffers keep their values, so that only parameters have to be initialised later. A parameter
    whose shape is not known yet stays as it is.
    """
    original = nn.Module.register_parameter

    def register(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        original(self, name, param)
        if param is not None and not (param.is_meta or is_lazy(param)):
            self._parameters[name] = nn.Parameter(param.to('meta'), param.requires_grad)

    nn.Module.register_parameter = register  # type: ignore[method-assign]  # restored below
    try:
        yield
    finally:
        nn.Module.register_parameter = original  # type: ignore[method-assign]  # torch's own


def allocate(model: nn.Module, device: str, params_device: str | None = None) -> list[str]:
    """Give the meta tensors of ``model`` memory; returns their names.

    Sharded parameters get the memory of this rank's part.

    Args:
        model: Changed in place.
        device: Device of buffers.
        params_device: Device of parameters; None means ``device``.
    """

    def with_memory(tensor: Tensor) -> Tensor:
        if not tensor.is_meta:
            return tensor
        is_param = isinstance(tensor, nn.Parameter)
        return torch.empty_like(tensor, device=params_device if is_param else device)

    params_device = params_device or device
    names = [name for name, tensor in _tensors(model).items() if tensor.is_meta]
    if names:
        model._apply(with_memory)  # type: ignore[no-untyped-call]  # untyped in torch
        tensors = _tensors(model)
        with torch.no_grad():
            for name in names:
                _local(tensors[name]).fill_(_mark(tensors[name]))
    return names


def initialise(model: nn.Module, names: list[str], shard_index: int) -> None:
    """Initialise the tensors that :func:`allocate` returned. All ranks must call this.

    First ``reset_parameters`` of each module that has one of them, children before parents. It
    gets full tensors, so that the values are the same as in one process; a rank holds the full
    tensors of one module at a time. Then ``init_weights`` of the model, with sharded parameters:
    random numbers depend on the number of ranks there.

    Args:
        model: The sharded model.
        names: Names of the tensors.
        shard_index: Index of this rank among the ranks with other parts of the parameters.
    """
    pending = set(names)
    for prefix, module in _children_first(model):
        own = {*module._parameters, *module._buffers}
        reset = next((name for name in _RESETS if callable(getattr(module, name, None))), None)
        if reset is not None and any(f'{prefix}{name}' in pending for name in own):
            with whole_parameters(module):
                getattr(module, reset)()
                _share(module)
    inner = unwrap_model(model)
    if callable(init_weights := getattr(inner, 'init_weights', None)):
        with _random_numbers_of(shard_index), torch.no_grad():
            init_weights()
        _share(inner)


def unfilled(model: nn.Module, names: list[str]) -> list[str]:
    """The ``names`` of tensors that have no values yet on some rank. All ranks must call this."""
    if not names:
        return []
    tensors = _tensors(model)
    flags = [_has_mark(_local(tensors[name])) for name in names]
    found = torch.stack([flag.to(torch.uint8) for flag in flags])
    if is_distributed():
        all_reduce(found, op='max')
    return [name for name, is_unfilled in zip(names, found.tolist(), strict=True) if is_unfilled]


def explain(model: nn.Module, names: list[str]) -> str:
    """The message for tensors that were neither initialised nor loaded."""
    modules = dict(model.named_modules())
    lines = [
        f'{name} ({type(modules[name.rpartition(".")[0]]).__name__.removeprefix("FSDP")})'
        for name in names[:8]
    ]
    more = f' and {len(names) - 8} more' if len(names) > 8 else ''
    return (
        'The model was built on the meta device, and these tensors have no values: '
        f'{", ".join(lines)}{more}. Give their modules a method reset_parameters(), set them in '
        'init_weights() of the model, or load them from a checkpoint with load_from and '
        'skip_init_weights=True.'
    )


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _children_first(module: nn.Module, prefix: str = '') -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        yield from _children_first(child, f'{prefix}{name}.')
    yield prefix, module


def _local(tensor: Any) -> Tensor:
    part: Tensor = tensor.to_local() if is_dtensor(tensor) else tensor
    return part.detach()


def _mark(tensor: Tensor) -> float | int:
    if tensor.is_floating_point() or tensor.is_complex():
        return float('nan')
    return torch.iinfo(tensor.dtype).min if tensor.dtype.is_signed else 0


def _has_mark(part: Tensor) -> Tensor:
    if part.is_floating_point() or part.is_complex():
        return part.isnan().any()
    # A bool and an unsigned integer have no value to spare.
    return (
        (part == _mark(part)).any() if part.dtype.is_signed else torch.zeros((), dtype=torch.bool)
    )


def _share(module: nn.Module) -> None:
    """Copy the plain tensors of rank 0 to all ranks, whose random numbers may differ."""
    if is_distributed():
        for tensor in (*module.parameters(), *module.buffers()):
            if not is_dtensor(tensor):
                broadcast(tensor.detach())


@contextmanager
def _random_numbers_of(shard_index: int) -> Iterator[None]:
    """Context in which ranks with other parts draw other numbers.

    torch does this for parameters on an accelerator; on the CPU all ranks would draw the same.
    """
    state = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='.*random operators.*')
        torch.default_generator.manual_seed((torch.initial_seed() + shard_index) % 2**63)
        try:
            yield
        finally:
            torch.set_rng_state(state)


def needs_numbers(error: Exception) -> bool:
    """Whether ``error`` comes from reading a tensor that has no numbers."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None:
        chain.append(link)
        link = link.__cause__ or link.__context__
    text = ' '.join(str(each) for each in chain).lower()
    return any(word in text for word in ('meta', 'fake', 'data pointer', 'uninitialized'))
