"""What is exported: a module, how it is called, and example inputs of several batch sizes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves
from torch.utils.data import DataLoader, IterableDataset

from mmengine.export._errors import ExportError, reason_of
from mmengine.model.base_model._forward_errors import _accepts
from mmengine.model.base_model.base_model import forward_batch
from mmengine.utils.errors import ArgumentError, did_you_mean

Entries = dict[str, Any]
RESIZED = 0  # in the place of a batch size
_SEARCHED = 16  # samples that are loaded at most to find some of one form


@dataclass(frozen=True)
class Target:
    """A module, how it is called, and what it is called with.

    Attributes:
        title: What it is, such as ``'Classifier.forward'``.
        module: Contains all parameters that the call needs.
        call: ``call(module, entries)`` returns the output.
        inputs: For each batch size, the entries that a file takes: tensors, or lists, tuples and
            dicts of tensors. For :data:`RESIZED` the entries with other sizes in ``free``.
        constants: Entries that are the same in all calls.
        order: Names of the entries in the order of the call.
        free: Other dimensions that may have any size, by names of flat inputs.
    """

    title: str
    module: nn.Module
    call: Callable[[nn.Module, Entries], Any]
    inputs: dict[int, Entries]
    constants: Entries
    order: list[str]
    free: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def run(self, size: int, seed: int = 0) -> Any:
        """The output for the batch of ``size`` samples, with random numbers from ``seed``.

        Raises:
            ExportError: If the model fails.
        """
        try:
            return seeded(lambda: self.call(self.module, self.entries(self.inputs[size])), seed)
        except Exception as error:
            hint = ' For one batch size pass --batch-size N, or batch_size=N.'
            raise ExportError(
                f'{self.title} fails for {self.describe(size)}: {reason_of(error)}'
                + (hint if len(self.inputs) > 1 and size != RESIZED else '')
            ) from error

    def describe(self, size: int) -> str:
        """The inputs for ``size`` in words."""
        if size != RESIZED:
            return f'a batch of {size}'
        named = zip(flat_names(self.inputs[size]), tree_leaves(self.inputs[size]), strict=True)
        return ', '.join(f'{name} {list(one.shape)}' for name, one in named if name in self.free)

    def entries(self, given: Entries) -> Entries:
        """The constants and the given entries, in the order of the call."""
        known = {**self.constants, **given}
        return {name: known[name] for name in self.order if name in known}

    def without(self, names: Sequence[str]) -> Target:
        """The same without some inputs."""
        kept = {
            size: {name: value for name, value in entries.items() if name not in names}
            for size, entries in self.inputs.items()
        }
        return replace(self, inputs=kept)

    @property
    def names(self) -> list[str]:
        """The names of the inputs."""
        return list(next(iter(self.inputs.values())))


def seeded(function: Callable[[], Any], seed: int = 0) -> Any:
    """What ``function`` returns without gradients, with random numbers from ``seed``."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        return function()


def tensors_of(output: Any, title: str) -> list[Tensor]:
    """The tensors of an output in order.

    Raises:
        ExportError: If it has none, or something that a file cannot return.
    """
    leaves = tree_leaves(output)
    wrong = [one for one in leaves if not isinstance(one, (Tensor, int, float, bool, type(None)))]
    if wrong:
        raise ExportError(
            f'{title} returns a {type(wrong[0]).__name__}. A file returns tensors: a tensor, or a '
            'tuple, list or dict of tensors.'
        )
    found = [one for one in leaves if isinstance(one, Tensor)]
    if not found:
        raise ExportError(f'{title} returns no tensor, but a {type(output).__name__}.')
    return found


def flat_names(entries: Any, prefix: str = '') -> list[str]:
    """A name for each tensor in lists, tuples and dicts, in the order of ``tree_leaves``."""
    if isinstance(entries, dict):
        pairs = list(entries.items())
    elif isinstance(entries, (list, tuple)):
        pairs = list(enumerate(entries))
    else:
        return [prefix] if isinstance(entries, Tensor) else []
    names = []
    for key, value in pairs:
        names += flat_names(value, f'{prefix}_{key}' if prefix else str(key))
    return names


def batches_of(
    loader: DataLoader[Any], sizes: Sequence[int], prepare: Callable[[Any], Any]
) -> dict[int, Any]:
    """Batches of the first samples of one form, by their sizes.

    Samples are repeated if the dataset has fewer.

    Args:
        loader: The dataloader; its sampler is not used.
        sizes: Numbers of samples.
        prepare: Makes of a batch what the file takes, which says whether samples have one form.
    """
    collate: Any = loader.collate_fn
    chosen: list[Any] = []
    form: Any = None
    for sample in islice(_samples(loader.dataset), _SEARCHED):
        own = _form(prepare(collate([sample])))
        form = own if form is None else form
        if own == form:
            chosen.append(sample)
        if len(chosen) == max(sizes):
            break
    if not chosen:
        raise ArgumentError('The dataset has no samples, of which examples for an export are made.')
    return {size: collate([chosen[i % len(chosen)] for i in range(size)]) for size in sizes}


def target_of(
    model: nn.Module,
    batches: Mapping[int, Any],
    *,
    with_preprocessor: bool,
    module: str | None,
    names: Sequence[str] | None,
) -> Target:
    """The target for a model or one of its sub-modules.

    Args:
        model: The model.
        batches: Batches of a dataloader by their sizes.
        with_preprocessor: Whether the inputs are those before the data preprocessor.
        module: Name of a sub-module; None means the model.
        names: The entries of a batch that the file takes; None means all that are tensors.

    Raises:
        ArgumentError: If there is no such sub-module or entry.
        ExportError: If the model needs something that is not a tensor.
    """
    prepared = {size: prepare(model, batch) for size, batch in batches.items()}
    if module is not None:
        return _chosen(_submodule(model, module, prepared), names, is_strict=False)
    title = f'{type(model).__name__}.forward'
    used = batches if with_preprocessor else prepared
    is_named = isinstance(next(iter(used.values())), Mapping)
    inputs = {size: _entries(model, batch) for size, batch in used.items()}

    def call(owner: nn.Module, entries: Entries) -> Any:
        data: Any = entries if is_named else list(entries.values())
        return forward_tensor(owner, prepare(owner, data) if with_preprocessor else data)

    size, first = next(iter(inputs.items()))
    target = Target(title, model, call, inputs, {}, list(first))
    stacked = replace(target, inputs=_stacked(inputs))
    if any(stacked.inputs[size][name] is not value for name, value in first.items()) and _gives(
        stacked, size, tensors_of(target.run(size), title)
    ):
        target = stacked
    return _chosen(target, names, is_strict=True)


def prepare(model: Any, batch: Any) -> Any:
    """``batch`` after the data preprocessor of the model, if it has one."""
    preprocessor = getattr(model, 'data_preprocessor', None)
    if isinstance(preprocessor, nn.Module):
        return preprocessor(batch, False)
    return batch if isinstance(batch, (Mapping, list, tuple)) else [batch]


def forward_tensor(model: nn.Module, data: Any) -> Any:
    """``forward`` with ``mode='tensor'``, where it has a mode."""
    if _accepts(inspect.signature(model.forward), 'mode'):
        return forward_batch(model, data, 'tensor')
    return model(**data) if isinstance(data, Mapping) else model(*data)


def _chosen(target: Target, names: Sequence[str] | None, is_strict: bool) -> Target:
    """The target with tensors as inputs, after a check that it needs nothing else.

    Args:
        target: A target whose inputs are whole batches.
        names: Entries to keep; None means all that are tensors.
        is_strict: Whether other entries are left out. Otherwise they are constants.
    """
    size, first = next(iter(target.inputs.items()))
    for name in names or ():
        if name not in first:
            raise ArgumentError(
                f'The batch has no entry {name!r}.{did_you_mean(name, first)} It has '
                f'{", ".join(first)}.'
            )
    kept = [name for name in first if (name in names if names else _is_of_tensors(first[name]))]
    for name in kept:
        if not _is_of_tensors(first[name]):
            raise ExportError(
                f'The entry {name!r} of the batch is not made of tensors, so a file cannot take it.'
            )
    if not kept:
        raise ExportError(
            f'No entry of the batch ({", ".join(first)}) is made of tensors, so there is nothing '
            'that a file could take.'
        )
    others = [name for name in first if name not in kept]
    smaller = target.without(others)
    if not others:
        return smaller
    if not is_strict:
        return replace(smaller, constants={name: first[name] for name in others})
    # What is left out on request may change the output: the loss of a model, for example.
    found = without(target, others, None if names else tensors_of(target.run(size), target.title))
    if found is None:
        wanted = 'be called' if names else 'give the same output'
        raise ExportError(
            f'{target.title} cannot {wanted} without {", ".join(others)} of the batch, '
            + ('which --inputs leaves out.' if names else 'which a file cannot take.')
        )
    return found


def without(
    target: Target, names: Sequence[str], expected: Sequence[Tensor] | None = None
) -> Target | None:
    """The target without some inputs, or with None in their place; None if it needs them.

    Args:
        target: The target.
        names: The inputs.
        expected: The output for the first batch that the target must have then, or None.
    """
    size = next(iter(target.inputs))
    smaller = target.without(names)
    constants = {**target.constants, **dict.fromkeys(names)}
    for candidate in (smaller, replace(smaller, constants=constants)):
        if _gives(candidate, size, expected):
            return candidate
    return None


def _gives(target: Target, size: int, expected: Sequence[Tensor] | None) -> bool:
    """Whether the output of ``target`` is ``expected``; False if it cannot be called."""
    try:
        found = tensors_of(target.run(size), target.title)
    except Exception:  # what a model raises for a batch that it cannot use
        return False
    return expected is None or (
        len(found) == len(expected)
        and all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
    )


def _submodule(model: nn.Module, name: str, batches: Mapping[int, Any]) -> Target:
    """A sub-module, with what ``forward`` of the model passes to it."""
    modules = dict(model.named_modules())
    part = modules.get(name)
    if part is None:
        near = did_you_mean(name, modules)
        children = ', '.join(child for child, _ in model.named_children())
        raise ArgumentError(
            f'{type(model).__name__} has no module {name!r}.{near} It has {children}.'
        )
    inputs: dict[int, Entries] = {}
    is_named: dict[str, bool] = {}
    for size, batch in batches.items():
        seen: list[tuple[tuple[Any, ...], Entries]] = []
        hook = part.register_forward_pre_hook(
            lambda _, args, kwargs, seen=seen: seen.append((args, kwargs)), with_kwargs=True
        )
        try:
            seeded(lambda batch=batch: forward_tensor(model, batch))  # type: ignore[misc]  # bound now
        except Exception as error:
            raise ExportError(
                f'{type(model).__name__}.forward fails for a batch of {size}: {reason_of(error)}'
            ) from error
        finally:
            hook.remove()
        if not seen:
            raise ArgumentError(
                f"{type(model).__name__}.forward(mode='tensor') does not call {name!r}, so "
                'there is nothing to call it with.'
            )
        args, kwargs = seen[0]
        inputs[size] = {**_by_position(part, args), **kwargs}
        is_named = {key: key in kwargs for key in inputs[size]}

    def call(owner: nn.Module, entries: Entries) -> Any:
        args = [value for key, value in entries.items() if not is_named[key]]
        return owner(*args, **{key: value for key, value in entries.items() if is_named[key]})

    title = f'{type(model).__name__}.{name}'
    return Target(title, part, call, inputs, {}, list(next(iter(inputs.values()))))


def _entries(model: nn.Module, batch: Any) -> Entries:
    if isinstance(batch, Mapping):
        return dict(batch)
    if not isinstance(batch, (list, tuple)):
        batch = [batch]
    return _by_position(model, batch)


def _by_position(module: nn.Module, values: Sequence[Any]) -> Entries:
    """The values by the names of the arguments that they are passed as."""
    names = _positional(module)
    inner = getattr(module, 'inner', None)
    if not names and isinstance(inner, nn.Module):
        # An AdaptedModel passes on what it gets, except a target, which is mostly the last value.
        last = len(values) - 1
        names = _positional(inner) if getattr(module, 'target', None) in (None, last) else []
    names += [f'input_{index}' for index in range(len(names), len(values))]
    return dict(zip(names, values, strict=False))


def _positional(module: nn.Module) -> list[str]:
    return [
        name
        for name, parameter in inspect.signature(module.forward).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]


def _stacked(inputs: dict[int, Entries]) -> dict[int, Entries]:
    """The inputs with one tensor in place of a list of equally shaped tensors, one for a sample."""

    def is_list(value: Any, size: int) -> bool:
        return (
            isinstance(value, (list, tuple))
            and len(value) == size
            and all(isinstance(one, Tensor) and one.shape == value[0].shape for one in value)
        )

    names = [
        name
        for name in next(iter(inputs.values()))
        if all(is_list(entries[name], size) for size, entries in inputs.items())
    ]
    return {
        size: {
            name: torch.stack(list(value)) if name in names else value
            for name, value in entries.items()
        }
        for size, entries in inputs.items()
    }


def _samples(dataset: Any) -> Iterator[Any]:
    # torch gives a stream a `__getitem__` too, which raises.
    is_stream = isinstance(dataset, IterableDataset)
    if not is_stream and hasattr(dataset, '__getitem__') and hasattr(dataset, '__len__'):
        return (dataset[index] for index in range(len(dataset)))
    return iter(dataset)


def _form(batch: Any) -> Any:
    """Structure and shapes of a batch."""
    leaves, structure = tree_flatten(batch)
    return structure, [tuple(one.shape) if isinstance(one, Tensor) else None for one in leaves]


def _is_of_tensors(value: Any) -> bool:
    leaves = tree_leaves(value)
    return bool(leaves) and all(isinstance(one, Tensor) for one in leaves)
