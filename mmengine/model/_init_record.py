"""InitRecord: records which initialiser set each parameter while ``init_weights`` runs."""

import logging
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mmengine.logging import MMLogger

ATTRIBUTE = '_params_init_info'
_HAVE_MEAN = {
    torch.float16, torch.bfloat16, torch.float32, torch.float64,
    torch.complex32, torch.complex64, torch.complex128,
}  # fmt: skip

Record = dict[nn.Parameter, dict[str, Any]]
"""By parameter: ``init_info``, how it got its value, and ``tmp_mean_value``, its mean just then."""


class InitRecord(defaultdict[nn.Parameter, dict[str, Any]]):
    """Maps each parameter of a model to how it got its value (``init_info``).

    While it is open, every module of the model refers to it, so that an initialiser deep inside can
    write to it.

    Args:
        model: The model whose ``init_weights`` was called from outside.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(dict)
        self._modules = list(model.modules())
        note(self, model, f'not changed by init_weights of {type(model).__name__}')
        for module in self._modules:
            # This avoids nn.Module.__setattr__, because the record is not part of the module.
            module.__dict__[ATTRIBUTE] = self

    def close(self) -> None:
        """Remove the record from the modules."""
        for module in self._modules:
            module.__dict__.pop(ATTRIBUTE, None)


def note(record: Record, module: nn.Module, init_info: str) -> None:
    """Put ``init_info`` down for those parameters of ``module`` that changed since their last note.

    Whether one changed is read off its values: their mean and their mean size. A record that a
    project fills by itself has the mean alone.
    """
    for parameter in module.parameters():
        mean, size = _fingerprint(parameter)
        entry = record.setdefault(parameter, {})
        known_mean = entry.get('tmp_mean_value')
        measured, known_size = entry.get('mean_size', (None, None))
        # The size belongs to one note; where somebody wrote a mean after it, the mean alone counts.
        same_size = measured is not known_mean or size == known_size
        if known_mean is None or not same_size or not bool(mean == known_mean):
            entry.update(init_info=init_info, tmp_mean_value=mean, mean_size=(mean, size))


def log_record(model: nn.Module, record: Record) -> None:
    """Write a line a parameter to the log files; without any, a line an initialiser."""
    logger = MMLogger.get_current_instance()
    named = [
        (name, p, record[p].get('init_info', 'not noted'))
        for name, p in model.named_parameters()
        if p in record
    ]
    title = f'Initial weights of {type(model).__name__}'
    files = [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
    if not files:
        counts: dict[str, int] = {}
        for _, _, info in named:
            counts[info] = counts.get(info, 0) + 1
        logger.info(
            '\n'.join([f'{title}:', *(f'  {count} x {info}' for info, count in counts.items())])
        )
        return
    lines = [f'  {name} {_shape(parameter)}: {info}' for name, parameter, info in named]
    line_record = logger.makeRecord(
        logger.name, logging.INFO, __file__, 0, '\n'.join([f'{title}:', *lines]), (), None
    )
    for handler in files:
        if handler.level <= logging.INFO:
            handler.handle(line_record)


def _fingerprint(parameter: Tensor) -> tuple[Tensor, float]:
    """The mean of the values and the mean of their sizes; where there are none to read, a count.

    The count of changes in place stands for the mean where torch takes no mean: of a parameter
    without values, of integers, of a sparse tensor, of floats of 8 bits or less.
    """
    if not (parameter.is_meta or is_lazy(parameter)):
        values = parameter.detach()
        is_dense = values.layout == torch.strided and not values.is_quantized
        if is_dense and values.numel() and values.dtype in _HAVE_MEAN:
            mean = values.real.mean() if values.is_complex() else values.mean()
            return mean, float(values.abs().mean())
    return torch.tensor(parameter._version), 0.0


def _shape(parameter: Tensor) -> tuple[int, ...] | str:
    return '(not known yet)' if is_lazy(parameter) else tuple(parameter.shape)
