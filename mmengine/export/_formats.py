"""The formats of exported files: how each is written, and run again."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from mmengine.export._errors import ExportError
from mmengine.utils.errors import ArgumentError, did_you_mean

Run = Callable[[Sequence[Any]], list[Tensor]]
_MAX_ONE_FILE = 1_800_000_000  # a file of ONNX has less than 2 GiB; weights beyond are beside it


@dataclass(frozen=True)
class Names:
    """Names of the flat inputs and outputs of a program.

    Attributes:
        inputs: Of its inputs.
        outputs: Of its outputs.
        axes: For each input, of its dimensions that may have any size.
    """

    inputs: list[str]
    outputs: list[str]
    axes: list[dict[int, str]]


class Format(ABC):
    """A format of exported files."""

    name: ClassVar[str]
    suffix: ClassVar[str]
    repeats_random_numbers: ClassVar[bool]
    """Whether a file draws the random numbers that the model draws from the same seed."""

    @abstractmethod
    def write(self, program: Any, path: Path, names: Names) -> None:
        """Write the program to a file.

        Args:
            program: What ``torch.export.export`` returned.
            path: The file.
            names: What a format that has names calls the inputs and outputs.
        """

    @abstractmethod
    def open(self, path: Path) -> Run:
        """Read the file; returns a function from values of the inputs to the tensors it returns."""


class TorchFormat(Format):
    """A program of torch, which ``torch.export.load`` opens and AOTInductor compiles."""

    name = 'torch'
    suffix = '.pt2'
    repeats_random_numbers = True

    def write(self, program: Any, path: Path, names: Names) -> None:
        """See :meth:`Format.write`. Names come from the program."""
        torch.export.save(program, path)

    def open(self, path: Path) -> Run:
        """See :meth:`Format.open`."""
        module = torch.export.load(path).module()

        def run(values: Sequence[Any]) -> list[Tensor]:
            with torch.no_grad():
                output = module(*values)
            return [one for one in tree_leaves(output) if isinstance(one, Tensor)]

        return run


class OnnxFormat(Format):
    """A graph of ONNX, which ONNX Runtime and other engines run.

    Args:
        opset: Version of the operators; None means torch's default.

    Raises:
        ArgumentError: If one of the packages is not installed.
    """

    name = 'onnx'
    suffix = '.onnx'
    repeats_random_numbers = False

    def __init__(self, opset: int | None = None) -> None:
        missing = [
            name
            for name in ('onnx', 'onnxscript', 'onnxruntime')
            if importlib.util.find_spec(name) is None
        ]
        if missing:
            raise ArgumentError(
                f"ONNX needs {', '.join(missing)}: pip install 'mmengine[onnx]'. --format torch "
                'needs no other package.'
            )
        self._opset = opset

    def write(self, program: Any, path: Path, names: Names) -> None:
        """See :meth:`Format.write`."""
        state = program.state_dict.values()
        size = sum(one.numel() * one.element_size() for one in state if isinstance(one, Tensor))
        graph = self._graph(program, names, self._opset)
        graph.save(path, external_data=size > _MAX_ONE_FILE)

    def _graph(self, program: Any, names: Names, opset: int | None) -> Any:
        """The program with operators of version ``opset``.

        Raises:
            ExportError: If the exporter cannot write them; it would write other ones in silence.
        """
        graph = _exported(program, names, opset)
        written = _opset_of(graph)
        if opset in (None, written):
            return graph
        assert opset is not None
        step, last = (1 if opset > written else -1), written
        while _opset_of(_exported(program, names, last + step)) == last + step:
            last += step
        raise ExportError(
            f'The exporter cannot write this model with operators of version {opset}: the '
            f'{"latest" if step > 0 else "earliest"} one that it can write is {last}.'
        )

    def open(self, path: Path) -> Run:
        """See :meth:`Format.open`."""
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
        inputs = [one.name for one in session.get_inputs()]

        def run(values: Sequence[Any]) -> list[Tensor]:
            flat = [one for one in tree_leaves(list(values)) if isinstance(one, Tensor)]
            given = {name: one.numpy() for name, one in zip(inputs, flat, strict=True)}
            return [torch.from_numpy(one) for one in session.run(None, given)]

        return run


def format_of(name: str | None, out: Path | None, opset: int | None) -> Format:
    """The format by its name, or by the suffix of the file.

    Raises:
        ArgumentError: If there is no such format, it is not the one of the suffix, or it has no
            opset.
    """
    formats: dict[str, type[Format]] = {'torch': TorchFormat, 'onnx': OnnxFormat}
    if name is not None and name not in formats:
        raise ArgumentError(
            f'The formats are {" and ".join(formats)}; got {name!r}.{did_you_mean(name, formats)}'
        )
    by_suffix = {kind.suffix: key for key, kind in formats.items()}
    meant = None if out is None else by_suffix.get(out.suffix)
    if out is not None and (meant is None or name not in (None, meant)):
        suffixes = ', '.join(f'{suffix} for {key}' for suffix, key in by_suffix.items())
        raise ArgumentError(f'The name of the file ends in {suffixes}; got {out}.')
    chosen = name or meant or 'torch'
    if chosen == 'onnx':
        return OnnxFormat(opset)
    if opset is not None:
        raise ArgumentError('Only ONNX has an opset: --format onnx, or leave --opset out.')
    return formats[chosen]()


def _exported(program: Any, names: Names, opset: int | None) -> Any:
    with _quiet():
        return torch.onnx.export(
            program,
            input_names=names.inputs,
            output_names=names.outputs,
            opset_version=opset,
            dynamic_shapes=names.axes if any(names.axes) else None,
            dynamo=True,
            verbose=False,
        )


def _opset_of(graph: Any) -> int:
    version: int = graph.model.opset_imports['']
    return version


@contextmanager
def _quiet() -> Iterator[None]:
    """Context without the remarks of the exporter, which are about its own code."""
    logger = logging.getLogger('torch.onnx')
    others = [logger, logging.getLogger('onnxscript'), logging.getLogger('onnx_ir')]
    levels = [one.level for one in others]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            for one in others:
                one.setLevel(logging.ERROR)
            yield
        finally:
            for one, level in zip(others, levels, strict=True):
                one.setLevel(level)
