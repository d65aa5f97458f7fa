"""export: a trained model as a file, checked against the model before the file appears."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader

from mmengine.config import Config
from mmengine.export._compare import Difference, compare
from mmengine.export._errors import ExportError, reason_of
from mmengine.export._formats import Format, Names, format_of
from mmengine.export._free_sizes import with_free_sizes
from mmengine.export._program import (
    axes_of,
    capture,
    example_of,
    output_shapes_of,
    shapes_of,
)
from mmengine.export._target import (
    RESIZED,
    Target,
    batches_of,
    flat_names,
    prepare,
    seeded,
    target_of,
    tensors_of,
)
from mmengine.fileio._atomic import remove_path, sync_folder, temporary_beside
from mmengine.runner._data_of_config import first_loader, loader_in_order
from mmengine.runner._trained_model import (
    find_checkpoint,
    for_one_process,
    opened_config,
    scope_of,
    trained_model,
    work_dir_of,
)
from mmengine.utils.errors import ArgumentError

# The first is the example, the last the other size: torch takes 0 and 1 for constants.
_ANY_SIZE = (2, 1, 3)


@dataclass(frozen=True)
class Exported:
    """What :func:`export` has written, and how it was checked.

    Attributes:
        file: The file.
        format: ``'torch'`` or ``'onnx'``.
        bytes: Its size; files beside it count too.
        title: What it computes, such as ``'Classifier.forward'``.
        checkpoint: Path of the weights, and in words why they were taken; empty for a model object.
        inputs: For each input its name, and its dtype and shape in words.
        outputs: The same for the outputs.
        left_out: Entries of a batch on which no output depends.
        differences: For each batch size, how far the file is from the model; for 0 with the inputs
            of other sizes.
        resized: The inputs of other sizes than the samples have, in words, for which the file was
            compared too; empty if only the batch size may vary.
        notes: What else should be known, in sentences.
    """

    file: Path
    format: str
    bytes: int
    title: str
    checkpoint: str
    inputs: list[tuple[str, str]]
    outputs: list[tuple[str, str]]
    left_out: list[str]
    differences: dict[int, Difference]
    resized: str
    notes: list[str]


def export(
    config: Config | Mapping[str, Any] | str | Path,
    *,
    checkpoint: str | Path | None = None,
    format: str | None = None,
    out: str | Path | None = None,
    batch_size: int | None = None,
    opset: int | None = None,
    with_preprocessor: bool = False,
    module: str | None = None,
    inputs: Sequence[str] | None = None,
    dynamic: Mapping[str, Sequence[int]] | None = None,
    tolerance: float | None = None,
    work_dir: str | Path | None = None,
) -> Exported:
    """Export the model of a config with the weights that its run has saved.

    The file computes ``forward`` of the model with ``mode='tensor'``. It is written, read back and
    compared with the model on samples of the test data (or of the validation or training data), and
    gets its name only if it computes the same.

    Args:
        config: A config, or the path of one.
        checkpoint: A path or a URL; ``'best'`` or ``'last'`` of the work dir; None takes the best
            one if the run has saved one, and else the last one.
        format: ``'torch'`` (``.pt2``, by ``torch.export``) or ``'onnx'``; None follows the suffix
            of ``out``, and is ``'torch'`` without one.
        out: The file; by default in the work dir, with the name of the checkpoint.
        batch_size: The batch size of the file; None for any batch size.
        opset: Version of the operators of ONNX; None takes torch's default.
        with_preprocessor: The data preprocessor is in the file too, which then takes what the
            dataloader gives. By default the file takes the inputs of ``forward``.
        module: Name of a sub-module to export instead, such as ``'backbone'``. It is called with
            what ``forward`` passes to it.
        inputs: Entries of a batch that the file takes; by default those on which an output depends.
        dynamic: Dimensions that may have any size besides the batch size, by names of inputs, as in
            ``{'inputs': (2, 3)}``. The file is also compared on inputs of another size.
        tolerance: The largest difference from the model, relative to the largest number of an
            output, or to 1 if that is smaller. None takes 1e-4 for float32, 1e-2 for float16, 5e-2
            for bfloat16 and 1e-6 for float64.
        work_dir: The work dir of the run; by default the one that ``mmengine train`` takes.

    Raises:
        ExportError: If the model cannot be exported, or the file computes something else. Then
            nothing is written.
        ArgumentError: If an argument is wrong, there is no checkpoint or no data, the checkpoint
            has none of the weights of the model, or a package is missing.

    Example:
        >>> export('config.py', out='model.onnx').differences  # doctest: +SKIP
        {2: Difference(largest=2.4e-07, allowed=0.0001), ...}
    """
    cfg = opened_config(config)
    place = work_dir_of(cfg, work_dir)
    given = None if out is None else Path(out)
    chosen = format_of(format, given, opset)
    found = find_checkpoint(cfg, place, checkpoint)
    target_file = given or Path(place, f'{Path(found.path).stem or "model"}{chosen.suffix}')
    _check_place(target_file)
    data = first_loader(cfg)
    if data is None:
        raise ArgumentError(
            'The config has no test_dataloader, val_dataloader or train_dataloader, of whose '
            'samples the example inputs of an export are made.'
        )
    model = trained_model(cfg, found.path)
    with scope_of(cfg):
        loader = loader_in_order(data[1], 1, model)
    return _export(
        model,
        loader,
        target_file,
        chosen,
        str(found),
        batch_size=batch_size,
        with_preprocessor=with_preprocessor,
        module=module,
        inputs=inputs,
        dynamic=dynamic,
        tolerance=tolerance,
    )


def export_model(
    model: nn.Module,
    data: DataLoader[Any] | Mapping[str, Any],
    out: str | Path,
    *,
    batch_size: int | None = None,
    opset: int | None = None,
    with_preprocessor: bool = False,
    module: str | None = None,
    inputs: Sequence[str] | None = None,
    dynamic: Mapping[str, Sequence[int]] | None = None,
    tolerance: float | None = None,
) -> Exported:
    """Export a model object; see :func:`export` for the arguments that are not here.

    Args:
        model: The model, on the CPU. Its ``forward`` is called with ``mode='tensor'`` if it has
            such an argument. It is in evaluation mode meanwhile.
        data: A dataloader or its config, whose first samples are the example inputs.
        out: The file, which ends in ``.pt2`` or ``.onnx``.
        batch_size: See :func:`export`.
        opset: See :func:`export`.
        with_preprocessor: See :func:`export`.
        module: See :func:`export`.
        inputs: See :func:`export`.
        dynamic: See :func:`export`.
        tolerance: See :func:`export`.

    Raises:
        ExportError: As :func:`export`.
        ArgumentError: As :func:`export`.
    """
    file = Path(out)
    chosen = format_of(None, file, opset)
    _check_place(file)
    was_training = model.training
    model.eval()
    try:
        return _export(
            for_one_process(model),
            loader_in_order(data, 1, model),
            file,
            chosen,
            '',
            batch_size=batch_size,
            with_preprocessor=with_preprocessor,
            module=module,
            inputs=inputs,
            dynamic=dynamic,
            tolerance=tolerance,
        )
    finally:
        model.train(was_training)


def _export(
    model: nn.Module,
    loader: DataLoader[Any],
    file: Path,
    format: Format,
    checkpoint: str,
    *,
    batch_size: int | None,
    with_preprocessor: bool,
    module: str | None,
    inputs: Sequence[str] | None,
    dynamic: Mapping[str, Sequence[int]] | None,
    tolerance: float | None,
) -> Exported:
    if with_preprocessor and module is not None:
        raise ArgumentError(
            f'The preprocessor comes before the model, not before its module {module!r}: pass '
            'with_preprocessor (--with-preprocessor) or module (--module).'
        )
    if batch_size is not None and batch_size < 1:
        raise ArgumentError(f'batch_size should be a positive integer, got {batch_size}.')
    if tolerance is not None and not tolerance >= 0:
        raise ArgumentError(f'tolerance should be 0 or more, got {tolerance}.')
    sizes = _ANY_SIZE if batch_size is None else (batch_size,)
    given = (lambda batch: batch) if with_preprocessor else (lambda batch: prepare(model, batch))
    batches = batches_of(loader, sizes, given)
    target = target_of(
        model, batches, with_preprocessor=with_preprocessor, module=module, names=inputs
    )
    target = with_free_sizes(target, dynamic or {})
    notes = _notes(format, target, sizes[0])
    if not with_preprocessor and module is None:
        notes += _note_of_preprocessor(model, batches[sizes[0]])
    # Of whole batches, although the file may take less.
    outputs = {size: target.run(size) for size in target.inputs}
    program, target, left_out = capture(target, sizes)
    names = flat_names(target.inputs[sizes[0]])
    axes = axes_of(target, sizes)
    output_names = _output_names(outputs[sizes[0]], names)
    with _appearing(file) as draft:
        _write(format, program, draft, Names(names, output_names, axes), target.title)
        size = sum(one.stat().st_size for one in draft.parent.iterdir())
        differences = _differences(format, draft, target, outputs, tolerance)
    return Exported(
        file=file,
        format=format.name,
        bytes=size,
        title=target.title,
        checkpoint=checkpoint,
        inputs=shapes_of(target, sizes),
        outputs=list(zip(output_names, output_shapes_of(program, axes), strict=False)),
        left_out=left_out,
        differences=differences,
        resized=target.describe(RESIZED) if target.free else '',
        notes=notes,
    )


def _note_of_preprocessor(model: Any, batch: Any) -> list[str]:
    """That the data preprocessor is not in the file, if it changes more than names."""
    before, after = tree_leaves(batch), tree_leaves(prepare(model, batch))
    if len(before) == len(after) and all(
        one is other or (isinstance(one, Tensor) and torch.equal(one, other))
        for one, other in zip(before, after, strict=True)
    ):
        return []
    return [
        f'The inputs are expected after {type(model.data_preprocessor).__name__}, which is not in '
        'the file; --with-preprocessor puts it there.'
    ]


def _notes(format: Format, target: Target, size: int) -> list[str]:
    """What should be said about a target.

    Raises:
        ExportError: If its output cannot be compared with the output of a file.
    """
    notes = []
    first, again, other = (
        tensors_of(target.run(size, seed), target.title) for seed in (0, 0, 1)
    )  # fmt: skip
    if not _are_same(first, again):
        raise ExportError(
            f'{target.title} returns something else each time it is called with the same input, so '
            'a file cannot be compared with it. Does it change its own attributes?'
        )
    if not _are_same(first, other):
        what = f'{target.title} draws random numbers'
        if not format.repeats_random_numbers:
            raise ExportError(
                f'{what}, so a file of {format.name} cannot be compared with it. Export a part '
                'that draws none with --module, or use --format torch, which is compared with '
                'equal random numbers.'
            )
        notes.append(f'{what}, and so does the file; they were compared with equal ones.')
    return notes


def _write(format: Format, program: Any, draft: Path, names: Names, title: str) -> None:
    try:
        format.write(program, draft, names)
    except (OSError, ExportError):
        raise  # a full disk, and the like
    except Exception as error:  # exporters raise errors of many classes
        reason = reason_of(error, is_dynamic=False)
        raise ExportError(f'{title} cannot be written as {format.name}: {reason}') from error


def _differences(
    format: Format,
    draft: Path,
    target: Target,
    outputs: Mapping[int, Any],
    tolerance: float | None,
) -> dict[int, Difference]:
    """How far the file is from the model for each batch size.

    Raises:
        ExportError: If it is too far, or fails.
    """
    try:
        run = format.open(draft)
    except Exception as error:
        raise ExportError(f'The written file cannot be read: {reason_of(error, False)}') from error
    found = {}
    for size, output in outputs.items():
        values = example_of(target, size)
        try:
            own = seeded(lambda values=values: run(values))  # type: ignore[misc]  # bound now
        except Exception as error:
            raise ExportError(
                f'The file fails for {target.describe(size)}: {reason_of(error, len(outputs) > 1)}'
            ) from error
        difference = compare(tensors_of(output, target.title), own, tolerance)
        if not difference.is_small:
            raise ExportError(
                f'For {target.describe(size)} the output of the file differs from the output of '
                f'{target.title}, by {difference.largest:.3g} at most; {difference.allowed:.3g} is '
                'allowed. Nothing was written. If such a difference does not matter, pass a larger '
                '--tolerance.'
            )
        found[size] = difference
    return found


@contextmanager
def _appearing(file: Path) -> Iterator[Path]:
    """Context that yields a path to write to; what is there at its end gets the name ``file``."""
    file.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(temporary_beside(file))
    folder.mkdir()
    try:
        yield folder / file.name
        # The file that names others comes last.
        for one in sorted(folder.iterdir(), key=lambda path: path.name == file.name):
            with one.open('rb+') as written:
                os.fsync(written.fileno())
            os.replace(one, file.with_name(one.name))
        sync_folder(file.parent)
    finally:
        remove_path(folder)


def _check_place(file: Path) -> None:
    """Raise if the file cannot be written, before anything is loaded."""
    if file.is_dir():
        raise ArgumentError(f'{file} is a folder. Give the name of a file.')
    parent = next(folder for folder in file.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise NotADirectoryError(20, 'This is not a folder, in which a file could be', str(parent))
    if not os.access(parent, os.W_OK):
        raise PermissionError(13, 'Nothing can be written to this folder', str(parent))


def _output_names(output: Any, taken: Sequence[str]) -> list[str]:
    """A name for each tensor of the output, which no input has."""
    names = flat_names(output, 'output' if isinstance(output, (Tensor, list, tuple)) else '')
    return [f'{name}_out' if name in taken else name for name in names]


def _are_same(outputs: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return len(outputs) == len(others) and all(
        one.shape == other.shape and compare([one], [other], 0.0).largest == 0.0
        for one, other in zip(outputs, others, strict=True)
    )
