"""InitRecord: records which initialiser set each parameter while ``init_weights`` runs."""

import logging
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mmengine.logging import MMLogger

ATTRIBUTE = '_params_init_info'


class InitRecord(dict[nn.Parameter, dict[str, Any]]):
    """Maps each parameter of a model to a description of its initialisation (``init_info``).

    While the record is open, every module of the model refers to it, so that nested initialisers
    can write to it. A parameter counts as initialised when its values have changed.

    Args:
        model: The model whose ``init_weights`` was called from outside.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model = model
        self._modules = list(model.modules())
        untouched = f'not changed by init_weights of {type(model).__name__}'
        for parameter in model.parameters():
            self[parameter] = {'init_info': untouched, 'fingerprint': _fingerprint(parameter)}
        for module in self._modules:
            # This avoids nn.Module.__setattr__, because the record is not part of the module.
            module.__dict__[ATTRIBUTE] = self

    def note(self, module: nn.Module, init_info: str) -> None:
        """Record ``init_info`` for the parameters of ``module`` changed since the last note."""
        for parameter in module.parameters():
            fingerprint = _fingerprint(parameter)
            entry = self.setdefault(parameter, {'init_info': '', 'fingerprint': None})
            if entry['fingerprint'] != fingerprint:
                entry.update(init_info=init_info, fingerprint=fingerprint)

    def close(self) -> None:
        """Remove the record from the modules."""
        for module in self._modules:
            module.__dict__.pop(ATTRIBUTE, None)

    def log(self) -> None:
        """Log one line per parameter to the log files; without log files, one per initialiser."""
        logger = MMLogger.get_current_instance()
        named = [
            (name, p, self[p]['init_info'])
            for name, p in self._model.named_parameters()
            if p in self
        ]
        title = f'Initial weights of {type(self._model).__name__}'
        files = [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
        if not files:
            counts: dict[str, int] = {}
            for _, _, info in named:
                counts[info] = counts.get(info, 0) + 1
            logger.info(
                '\n'.join([f'{title}:', *(f'  {count} x {info}' for info, count in counts.items())])
            )
            return
        lines = [f'  {name} {tuple(parameter.shape)}: {info}' for name, parameter, info in named]
        record = logger.makeRecord(
            logger.name, logging.INFO, __file__, 0, '\n'.join([f'{title}:', *lines]), (), None
        )
        for handler in files:
            if handler.level <= logging.INFO:
                handler.handle(record)


def _fingerprint(parameter: Tensor) -> tuple[Any, ...]:
    """Mean and mean magnitude of the values, if they can be read; used to detect changes."""
    if parameter.is_meta or is_lazy(parameter):
        return (parameter._version,)
    with torch.no_grad():
        values = parameter.detach()
        if not (values.is_floating_point() or values.is_complex()) or not values.numel():
            return (parameter._version, values.numel())
        return (
            float(values.abs().mean()),
            float(values.real.mean() if values.is_complex() else values.mean()),
        )
