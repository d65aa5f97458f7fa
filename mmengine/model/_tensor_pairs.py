"""Pairs of tensors of two equal models, grouped so that one kernel call processes many pairs."""

from collections.abc import Iterator
from itertools import chain
from operator import is_
from typing import Any

from torch import Tensor, nn

from mmengine.dist._dtensor import is_dtensor

Pair = tuple[list[Tensor], list[Tensor]]


class ModelPairing:
    """Matches the tensors of ``target`` with the tensors of ``source``.

    Collecting the tensors of a model visits all of its modules, which costs more than averaging
    the tensors. The tensors are collected once; later, :meth:`holds` checks, in one pass without
    Python code, whether both models still consist of the same objects.

    Args:
        target: The model to write to.
        source: A model with the same structure, or a wrapper around it.
        with_buffers: Average floating-point buffers like parameters, instead of copying them.

    Attributes:
        averaged: Groups of (target tensors, source tensors) that are averaged, each of one dtype
            and one device.
        copied: Groups of tensors that are copied: integer tensors, and buffers unless
            ``with_buffers``.
    """

    def __init__(self, target: nn.Module, source: nn.Module, *, with_buffers: bool) -> None:
        self._source = source
        namespaces = [*_namespaces(target), *_namespaces(source)]
        # Most are empty, such as the submodules of a layer, and stay so.
        self._filled = [namespace for namespace in namespaces if namespace]
        self._empty = [namespace for namespace in namespaces if not namespace]
        self._objects = list(chain.from_iterable(map(dict.values, self._filled)))
        parameters = _matched(target.parameters(), source.parameters(), target, 'parameters')
        buffers = _matched(target.buffers(), source.buffers(), target, 'buffers')
        candidates = parameters + buffers if with_buffers else parameters
        averaged = [pair for pair in candidates if _can_be_averaged(pair[0])]
        counters = [pair for pair in candidates if not _can_be_averaged(pair[0])]
        self.averaged = _grouped(averaged)
        self.copied = _grouped(counters if with_buffers else counters + buffers)
        self._tensors = [tensor for pair in parameters + buffers for tensor in pair]
        self._kinds = _kinds_of(self._tensors)

    def holds(self, source: nn.Module) -> bool:
        """Whether both models still have the same tensors, of the same kinds, as at the start."""
        return (
            source is self._source
            and not any(self._empty)
            and sum(map(len, self._filled)) == len(self._objects)
            and all(map(is_, chain.from_iterable(map(dict.values, self._filled)), self._objects))
            and _kinds_of(self._tensors) == self._kinds
        )


def same_device_and_dtype(pair: Pair) -> bool:
    """Whether one kernel call can read the sources of a group and write its targets."""
    targets, sources = pair
    return targets[0].device == sources[0].device and targets[0].dtype == sources[0].dtype


def _kinds_of(tensors: list[Tensor]) -> list[Any]:
    return [(tensor.dtype, tensor.device) for tensor in tensors]


def _namespaces(model: nn.Module) -> Iterator[dict[str, Any]]:
    for module in model.modules():
        yield module._modules
        yield module._parameters
        yield module._buffers


def _matched(
    targets: Iterator[Tensor], sources: Iterator[Tensor], target: nn.Module, what: str
) -> list[tuple[Tensor, Tensor]]:
    ours, theirs = list(targets), list(sources)
    if len(ours) != len(theirs) or any(
        a.shape != b.shape for a, b in zip(ours, theirs, strict=True)
    ):
        raise ValueError(
            f'The averaged {type(target).__name__} and its source model no longer have the same '
            f'{what}: {len(ours)} and {len(theirs)} tensors, or different shapes. Create the '
            'averaged model after the last change of structure.'
        )
    return [(_local(a), _local(b)) for a, b in zip(ours, theirs, strict=True)]


def _local(tensor: Tensor) -> Tensor:
    """The local part of a ``DTensor``; averaging the parts equals averaging the whole tensors."""
    if not is_dtensor(tensor):
        return tensor
    spread: Any = tensor
    part: Tensor = spread.to_local()
    return part


def _can_be_averaged(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _grouped(pairs: list[tuple[Tensor, Tensor]]) -> list[Pair]:
    groups: dict[Any, Pair] = {}
    for target, source in pairs:
        kind = (target.dtype, target.device, source.dtype, source.device)
        targets, sources = groups.setdefault(kind, ([], []))
        targets.append(target)
        sources.append(source)
    return list(groups.values())
