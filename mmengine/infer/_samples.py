"""What the model of a config gets for a file: through the test pipeline, or as a sample itself."""

from __future__ import annotations

import inspect
import io
import json
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import nn

from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.fileio import get as read_bytes
from mmengine.runner._data_of_config import described_loaders, description_of
from mmengine.runner._unsuited import line_of
from mmengine.utils.errors import ArgumentError

_SAMPLE_FILES = ('.npy', '.npz', '.pt', '.pth', '.json')


def reader_of(cfg: Config, model: nn.Module, input_key: str) -> Callable[[Any], Any]:
    """The function that makes a sample of one input.

    Args:
        cfg: The whole config.
        model: The model, whose first argument gets a file that contains one array.
        input_key: The key under which the pipeline expects the path.
    """
    pipeline = pipeline_of(cfg)
    if pipeline is not None:
        return PipelineReader(pipeline, input_key)
    return SampleReader(model)


def pipeline_of(cfg: Config) -> list[Any] | None:
    """The transforms of the test data, or of the validation data; None if there are none."""
    for stage in ('test', 'val'):
        for loader in described_loaders(cfg, stage).values():
            found = _pipeline_in(description_of(loader).get('dataset'))
            if found:
                return found
    return None


def collate_of(cfg: Config) -> Any:
    """The collate function of the test data, or of the validation or training data; or None."""
    for stage in ('test', 'val', 'train'):
        for loader in described_loaders(cfg, stage).values():
            named = description_of(loader).get('collate_fn', getattr(loader, 'collate_fn', None))
            if named is not None:
                return named
    return None


def _pipeline_in(dataset: Any) -> list[Any] | None:
    """The pipeline of a dataset, or of one within its wrappers."""
    if not isinstance(dataset, Mapping):
        transforms = getattr(getattr(dataset, 'pipeline', None), 'transforms', None)
        return None if transforms is None else list(transforms)
    if dataset.get('pipeline'):
        return list(dataset['pipeline'])
    inner = dataset.get('datasets') or [dataset.get('dataset')]
    return next((found for one in inner if one is not None and (found := _pipeline_in(one))), None)


class PipelineReader:
    """Passes a path through the transforms of a dataset, as ``{'img_path': path}``.

    Args:
        transforms: Transforms, or their configs.
        input_key: The key under which the first transform expects the path.
    """

    def __init__(self, transforms: list[Any], input_key: str) -> None:
        self._pipeline = Compose(transforms)
        self._input_key = input_key

    def __call__(self, path: Any) -> Any:
        """The sample for one input.

        Raises:
            ArgumentError: If the transforms need another key, fail, or drop the sample.
        """
        try:
            sample = self._pipeline({self._input_key: path})
        except KeyError as error:
            raise ArgumentError(
                f'The pipeline of the test data fails for {path}: it needs the key {error}, and a '
                f'file is passed as {self._input_key!r} alone. Pass --input-key with the key of '
                'the path.'
            ) from error
        except Exception as error:  # a damaged file gives errors of many classes
            raise ArgumentError(
                f'The pipeline of the test data fails for {path}: {reason_of(error)} '
                f'({line_of(error)})'
            ) from error
        if sample is None:
            raise ArgumentError(f'The pipeline of the test data drops {path}.')
        return sample


class SampleReader:
    """Reads a file that contains a sample as the dataset would give it.

    ``.npz``, ``.pt`` and ``.json`` with a mapping are the whole sample. One array is the first
    argument of ``forward``. Fractions in arrays get the precision of the weights, because NumPy
    writes float64. Reading executes nothing that is in the file.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._key = first_argument(model)
        precisions = (one.dtype for one in model.parameters() if one.is_floating_point())
        self._precision = next(precisions, torch.get_default_dtype())

    def __call__(self, given: Any) -> Any:
        """The sample in a file, or an array or a mapping as a sample.

        Raises:
            ArgumentError: If the file is not one of a sample.
        """
        content = _read(given) if isinstance(given, (str, PurePath)) else given
        if isinstance(content, Mapping):
            return {str(key): self._as_tensor(value) for key, value in content.items()}
        value = self._as_tensor(content)
        return (value,) if self._key is None else {self._key: value}

    def _as_tensor(self, value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.dtype.kind in 'biufc':
            tensor = torch.from_numpy(np.ascontiguousarray(value))
            return tensor.to(self._precision) if tensor.is_floating_point() else tensor
        return _as_tensor(value)


def misfit(sample: Any, usual: Any) -> str | None:
    """The first entry of a sample whose type or shape another sample does not have, in words.

    Args:
        sample: A mapping or a sequence.
        usual: A sample of the test data.
    """
    known = _entries(usual)
    for name, value in _entries(sample).items():
        form, expected = _form(value), _form(known.get(name))
        if form is not None and form != expected:
            if name not in known:
                return f'it has {name!r}, but samples of the test data have {", ".join(known)}'
            return f'{name} is {form}, but {expected} in the test data'
    return None


def reason_of(error: BaseException) -> str:
    """The class of an error and the first line of its message."""
    first = next(iter(str(error).strip().splitlines()), '')
    return f'{type(error).__name__}: {first}' if first else type(error).__name__


def _entries(sample: Any) -> dict[str, Any]:
    if isinstance(sample, Mapping):
        return {str(key): value for key, value in sample.items()}
    values = sample if isinstance(sample, (list, tuple)) else [sample]
    return {f'entry {index}': value for index, value in enumerate(values)}


def _form(value: Any) -> str | None:
    if not isinstance(value, (torch.Tensor, np.ndarray)):
        return None if value is None else type(value).__name__
    return f'{str(value.dtype).removeprefix("torch.")} {list(value.shape)}'


def first_argument(model: nn.Module) -> str | None:
    """The name of the first argument of ``forward``; None if it takes any."""
    for name, parameter in inspect.signature(model.forward).parameters.items():
        if name == 'mode':
            continue
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            return name
        inner = getattr(model, 'inner', None)  # an AdaptedModel
        return first_argument(inner) if isinstance(inner, nn.Module) else None
    return None


def _read(path: Any) -> Any:
    suffix = PurePath(str(path)).suffix.lower()
    if suffix not in _SAMPLE_FILES:
        raise ArgumentError(
            f'{path} cannot be read: the test data of the config have no pipeline, so a file '
            f'contains a sample as it is ({", ".join(_SAMPLE_FILES)}). For other files give the '
            'dataset a pipeline that loads them, or the config an inferencer=dict(type=...).'
        )
    content = read_bytes(path)
    try:
        if suffix == '.json':
            return json.loads(content)
        if suffix in ('.pt', '.pth'):
            return torch.load(io.BytesIO(content), map_location='cpu', weights_only=True)
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        return dict(loaded) if suffix == '.npz' else loaded
    except Exception as error:  # each format has other errors
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ArgumentError(f'{path} is not a readable {suffix} file: {reason}') from error


def _as_tensor(value: Any) -> Any:
    if isinstance(value, (bool, int, float)):
        return torch.tensor(value)
    if isinstance(value, list):
        try:
            return torch.tensor(value)
        except (TypeError, ValueError, RuntimeError):  # texts, or lists of several lengths
            return value
    return value
