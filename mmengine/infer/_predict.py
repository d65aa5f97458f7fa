"""predict: the model of a config at work on files, or on the test data of the config."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import IterableDataset

from mmengine._checkpoint.files import is_remote
from mmengine._checkpoint.loader import _load_checkpoint, weights_of
from mmengine.config import Config
from mmengine.device import ACCELERATORS, autocast, get_device
from mmengine.fileio import get_file_backend
from mmengine.infer._prefetch import prefetched
from mmengine.infer._records import LINES, RecordWriter, writing_records
from mmengine.infer._samples import collate_of, misfit, reader_of, reason_of
from mmengine.infer._sources import is_folder
from mmengine.infer.infer import BaseInferencer
from mmengine.process.seed import set_random_seed, untouched_rng
from mmengine.registry import INFERENCERS
from mmengine.runner._build import _build_collate
from mmengine.runner._data_of_config import described_loaders, first_loader, loader_in_order
from mmengine.runner._model_collate import collate_of_model
from mmengine.runner._trained_model import (
    FoundCheckpoint,
    find_checkpoint,
    for_one_process,
    opened_config,
    work_dir_of,
)
from mmengine.runner._unsuited import UnsuitedModelError, explain_step, without_step
from mmengine.utils._quantities import counted
from mmengine.utils.errors import ArgumentError, did_you_mean

_SHOWN = 3


@dataclass
class Predictions:
    """What :func:`predict` has done.

    Attributes:
        values: The predictions as the model returned them, in the order of the samples. Empty if
            they were written to a folder.
        count: How many there are.
        checkpoint: Path or URL of the weights, and in words why they were taken.
        model: Name of the class of the model.
        device: Where it ran.
        data: What it ran on, in words.
        file: The file with a line of JSON for each prediction; None if there is no folder.
        num_arrays: Number of large arrays, which are in files beside it.
        as_text: Names of types whose values are written as text.
        first: The first lines of the file.
        seconds: Time of loading samples, predicting and writing.
    """

    values: list[Any]
    count: int
    checkpoint: FoundCheckpoint
    model: str
    device: str
    data: str
    file: Path | None
    num_arrays: int
    as_text: list[str]
    first: list[str]
    seconds: float


def predict(
    config: Config | Mapping[str, Any] | str | Path,
    inputs: Any = (),
    *,
    checkpoint: str | Path | None = None,
    out: str | Path | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    work_dir: str | Path | None = None,
    input_key: str = 'img_path',
    show_progress: bool = False,
) -> Predictions:
    """Predict with the model of a config and the weights that its run has saved.

    How a file becomes what the model gets is decided by the config: ``inferencer``, the config of a
    :class:`BaseInferencer`, if it has that key; else the pipeline of its test dataset; without a
    pipeline a file is itself a sample of the dataset (``.npy``, ``.npz``, ``.pt``, ``.json``).

    Args:
        config: A config, or the path of one.
        inputs: Files, URLs, arrays or folders, which mean their files in the order of names,
            without sub-folders. Without any, the model predicts on ``test_dataloader`` of the
            config, in the order of the dataset.
        checkpoint: A path or a URL; ``'best'`` or ``'last'`` of the work dir; None takes the best
            one if the run has saved one, and else the last one.
        out: A folder. It gets ``predictions.jsonl``, with a line for each prediction, and
            ``predictions_arrays``, with arrays of more than 1000 numbers. None keeps the
            predictions in ``values`` of the result.
        batch_size: Samples of a batch; by default as in the dataloader, and 1 for files.
        device: Where the model runs; by default the best there is.
        work_dir: The work dir of the run; by default the one that ``mmengine train`` takes.
        input_key: The key under which the pipeline expects the path of a file.
        show_progress: Show a progress bar.

    Raises:
        ArgumentError: If there is no checkpoint, nothing to predict on, a file that cannot be read,
            or the checkpoint has none of the weights of the model.
        FileNotFoundError: If an input or the checkpoint does not exist.
        UnsuitedModelError: If the model has no ``test_step``, or does not return one prediction for
            each sample.

    Example:
        >>> predict('config.py', ['a.png', 'b.png']).values  # doctest: +SKIP
        [tensor(3), tensor(1)]
    """
    cfg = opened_config(config)
    place = work_dir_of(cfg, work_dir)
    listed = [inputs] if isinstance(inputs, (str, PurePath)) or _is_array(inputs) else list(inputs)
    files = _listed(listed)
    if not files and not described_loaders(cfg, 'test'):
        raise ArgumentError(
            'The config has no test_dataloader to predict on. Pass files, folders or arrays.'
        )
    if batch_size is not None and batch_size < 1:
        raise ArgumentError(f'batch_size should be a positive integer, got {batch_size}.')
    chosen = checked_device(device)
    found = find_checkpoint(cfg, place, checkpoint)
    inferencer = _inferencer(cfg, found.path, chosen, bool(files), input_key)
    begun = perf_counter()
    values: list[Any] = []
    first: list[str] = []
    with ExitStack() as stack:
        writer = None if out is None else stack.enter_context(writing_records(Path(out)))
        stack.enter_context(inferencer._in_scope())
        stack.enter_context(_seeded(cfg))
        pairs = stack.enter_context(
            closing(_predicted(inferencer, cfg, files, batch_size, show_progress))
        )
        for source, value in pairs:
            if writer is None:
                values.append(value)
                continue
            line = writer.write(source, value)
            if len(first) < _SHOWN:
                first.append(line)
        if not values and not first:
            raise ArgumentError(f'There is nothing to predict on: {_told(cfg, files)} is empty.')
        written = writer or RecordWriter(None, Path())
    return Predictions(
        values=values,
        count=writer.count if writer is not None else len(values),
        checkpoint=found,
        model=type(inferencer.model).__name__,
        device=chosen,
        data=_told(cfg, files),
        file=None if out is None else Path(out, LINES),
        num_arrays=written.num_arrays,
        as_text=sorted(written.as_text),
        first=first,
        seconds=perf_counter() - begun,
    )


def checked_device(device: str | None) -> str:
    """``device``, or the best there is.

    Raises:
        ArgumentError: If there is no such device.
    """
    if device is None:
        return get_device()
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        near = did_you_mean(device, ['cpu', *ACCELERATORS])
        raise ArgumentError(f'There is no device {device!r}, as in cpu or cuda:0.{near}') from error
    if kind in ACCELERATORS and not ACCELERATORS[kind].is_available():
        raise ArgumentError(f'This machine has no {kind} device that torch can use: --device cpu.')
    return device


class ConfigInferencer(BaseInferencer):
    """The inferencer of a config that names none.

    Args:
        cfg: The config.
        checkpoint: Path or URL of the weights.
        device: Where the model runs.
        reads_files: Whether it gets files; otherwise it gets batches of a dataloader.
        input_key: The key under which the pipeline expects a path.
    """

    def __init__(
        self, cfg: Config, checkpoint: str, device: str, reads_files: bool, input_key: str
    ) -> None:
        self._opened = (checkpoint, _load_checkpoint(checkpoint, 'cpu', 'current'))
        weights_of(self._opened[1], checkpoint)
        self._reads_files = reads_files
        self._input_key = input_key
        super().__init__(cfg, checkpoint, device, show_progress=False)
        test_cfg = cfg.get('test_cfg')
        self._fp16 = bool(isinstance(test_cfg, Mapping) and test_cfg.get('fp16'))
        self._device_type = torch.device(device).type

    def _init_model(self, cfg: Any, weights: str | None, device: str = 'cpu') -> nn.Module:
        model = for_one_process(super()._init_model(cfg, weights, device))
        if not hasattr(model, 'test_step'):
            raise UnsuitedModelError(without_step(type(model), 'test'))
        return model

    def _init_pipeline(self, cfg: Any) -> Any:
        return reader_of(cfg, self.model, self._input_key) if self._reads_files else None

    def _init_collate(self, cfg: Any) -> Any:
        named = collate_of(cfg)
        return _build_collate(collate_of_model(self.model) if named is None else named)

    def _init_visualizer(self, cfg: Any) -> Any:
        return None

    def forward(self, inputs: Any, **kwargs: Any) -> Any:
        """The predictions for a batch; see :meth:`BaseInferencer.forward`.

        Raises:
            UnsuitedModelError: If the model cannot use the batch, with the key of the config to
                set.
        """
        try:
            with autocast(device_type=self._device_type, enabled=self._fp16):
                return super().forward(inputs, **kwargs)
        except (TypeError, AttributeError) as error:
            known = explain_step(self.model, 'test', self.collate_fn, error)
            if known is None:
                raise
            raise known from error

    def visualize(self, inputs: list[Any], preds: Any, show: bool = False, **kwargs: Any) -> None:
        """None: predictions are written, not drawn."""

    def postprocess(
        self, preds: Any, visualization: Any, return_datasample: bool = False, **kwargs: Any
    ) -> Any:
        """The predictions as they are."""
        return preds


@contextmanager
def _seeded(cfg: Config) -> Iterator[None]:
    """Context with random numbers from the seed of the config, if it has one."""
    randomness = cfg.get('randomness')
    seed = randomness.get('seed') if isinstance(randomness, Mapping) else None
    with untouched_rng():
        if seed is not None:
            set_random_seed(seed)
        yield


def _inferencer(
    cfg: Config, checkpoint: str, device: str, reads_files: bool, input_key: str
) -> BaseInferencer:
    described = cfg.get('inferencer')
    if described is None or not reads_files:
        return ConfigInferencer(cfg, checkpoint, device, reads_files, input_key)
    given = {'model': cfg, 'weights': checkpoint, 'device': device, 'show_progress': False}
    built: BaseInferencer = INFERENCERS.build(described, default_args=given)
    return built


def _predicted(
    inferencer: BaseInferencer,
    cfg: Config,
    files: Sequence[Any],
    batch_size: int | None,
    show_progress: bool,
) -> Generator[tuple[dict[str, Any], Any], None, None]:
    """Each prediction with the entries of its line that say what it is for."""
    inferencer.show_progress = show_progress
    if files and not isinstance(inferencer, ConfigInferencer):
        found = inferencer(files, batch_size=batch_size or 1)
        if isinstance(found, Mapping):
            found = found.get('predictions', found)
        yield from zip(map(_named, files), _by_sample(found, len(files), inferencer), strict=True)
        return
    if files:
        yield from _of_files(inferencer, cfg, files, batch_size or 1)
        return
    for name, loader in described_loaders(cfg, 'test').items():
        for index, value in enumerate(_of_loader(inferencer, loader, batch_size)):
            yield ({} if name is None else {'data': name}) | {'index': index}, value


def _of_files(
    inferencer: BaseInferencer, cfg: Config, files: Sequence[Any], batch_size: int
) -> Iterator[tuple[dict[str, Any], Any]]:
    batches = prefetched(inferencer.preprocess(list(files), batch_size))
    chunks = inferencer._get_chunk_data(files, batch_size)
    tracked = inferencer._tracked(batches, len(files), batch_size)
    for chunk, batch in zip(chunks, tracked, strict=True):
        try:
            found = inferencer.forward(batch)
        except Exception as error:  # what a model raises for a batch that it cannot use
            unfit = _unfit(inferencer, cfg, chunk, error)
            if unfit is None:
                raise
            raise unfit from error
        values = _by_sample(found, len(chunk), inferencer.model)
        yield from zip(map(_named, chunk), values, strict=True)


def _unfit(
    inferencer: BaseInferencer, cfg: Config, chunk: Sequence[Any], error: Exception
) -> ArgumentError | None:
    """The error for a file whose sample has not the form of the test data; None if all have."""
    described = first_loader(cfg)
    if described is None:
        return None
    try:
        usual = loader_in_order(described[1], 1, inferencer.model).dataset[0]
    except Exception:  # the data are not on this machine, or a stream; the first error counts
        return None
    for given in chunk:
        difference = misfit(inferencer.pipeline(given), usual)
        if difference is not None:
            return ArgumentError(
                f'{_named(given)["input"]} does not fit the model: {difference}. {reason_of(error)}'
            )
    return None


def _of_loader(inferencer: BaseInferencer, loader: Any, batch_size: int | None) -> Iterator[Any]:
    built = loader_in_order(loader, batch_size, inferencer.model)
    inferencer.collate_fn = built.collate_fn
    size, dataset = built.batch_size or 1, built.dataset
    rest = None if isinstance(dataset, IterableDataset) else len(dataset)  # type: ignore[arg-type]  # sized
    batches: Iterable[Any] = inferencer._tracked(built, rest or 0, size)
    for batch in batches:
        expected = None if rest is None else min(rest, size)
        yield from _by_sample(inferencer.forward(batch), expected, inferencer.model)
        rest = None if rest is None else rest - size


def _by_sample(predictions: Any, expected: int | None, source: object) -> list[Any]:
    """The predictions as a list with an entry for each sample of a batch.

    Raises:
        UnsuitedModelError: If they are not that.
    """
    count, values = None, predictions
    if isinstance(values, Mapping) and values:
        lengths = {_length(one) for one in values.values()}
        count = lengths.pop() if len(lengths) == 1 else None
        if count is not None:
            names = list(values)
            rows = zip(*values.values(), strict=True)
            values = [dict(zip(names, row, strict=True)) for row in rows]
    elif _length(values) is not None:
        count, values = len(values), list(values)
    if count is not None and expected in (None, count):
        return list(values)
    found = type(predictions).__name__ + ('' if count is None else f' of length {count}')
    wanted = 'each sample' if expected is None else f'each of {expected} samples'
    kind = type(source).__name__
    what = f"{kind}.forward(mode='predict')" if isinstance(source, nn.Module) else kind
    raise UnsuitedModelError(
        f'{what} returned a {found}, which is not one prediction for {wanted}. Return a list with '
        'an entry for each sample of the batch.'
    )


def _length(value: Any) -> int | None:
    if isinstance(value, (list, tuple)):
        return len(value)
    return len(value) if isinstance(value, Tensor) and value.dim() else None


def _listed(inputs: Sequence[Any]) -> list[Any]:
    """The inputs with the files of folders in their place.

    Raises:
        ArgumentError: If a folder has no files.
        FileNotFoundError: If there is nothing at a local path.
    """
    found: list[Any] = []
    for one in inputs:
        if not isinstance(one, (str, PurePath)):
            found.append(one)
            continue
        path = str(one)
        if not is_remote(path) and not os.path.exists(path):
            raise FileNotFoundError(2, 'There is no file or folder at this path', path)
        backend = get_file_backend(path)
        if not is_folder(backend, path):
            found.append(path)
            continue
        names = sorted(backend.list_dir_or_file(path, list_dir=False))
        inside = [backend.join_path(path, name) for name in names if name[0] != '.']
        if not inside:
            raise ArgumentError(f'The folder {path} has no files. Sub-folders are not searched.')
        found += inside
    return found


def _is_array(value: Any) -> bool:
    return hasattr(value, 'shape') and hasattr(value, 'dtype')


def _named(given: Any) -> dict[str, Any]:
    return {'input': given if isinstance(given, str) else f'{type(given).__name__}'}


def _told(cfg: Config, files: Sequence[Any]) -> str:
    if files:
        return counted(len(files), 'file')
    names = [name for name in described_loaders(cfg, 'test') if name is not None]
    return f'test_dataloader{": " + ", ".join(names) if names else ""} of the config'
