"""Explains errors of a model that does not fit the engine, or the batches that it gets."""

from __future__ import annotations

import re
import traceback
from typing import TYPE_CHECKING, Any

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.dataset import pseudo_collate
from mmengine.model.base_model._refused_values import RefusedValueError

if TYPE_CHECKING:
    from torch import nn

    from mmengine.runner.runner import Runner

_STEPS = {'train': 'train_step', 'val': 'val_step', 'test': 'test_step'}
_OF_LISTS = re.compile(
    r"must be Tensor, not (list|tuple)|^'(list|tuple)' object has no attribute"
    r"|not '?(list|tuple)'?$|arguments - got \((list|tuple)\b"
    r'|expected Tensor as element \d+ in argument \d+, but got (list|tuple)'
)
_OF_DEVICE = 'CUDA error: device-side assert'
_OF_LIBRARIES = re.compile(r'[/\\](torch|mmengine)[/\\]')


class UnsuitedModelError(TypeError, AttributeError):
    """The model has no step for the engine, or cannot use the batches of the dataloader."""


def explained(
    runner: Runner, error: BaseException
) -> UnsuitedModelError | RefusedValueError | None:
    """An error that says what to do about ``error``, or None if it says so itself."""
    if str(error).startswith(_OF_DEVICE):
        return RefusedValueError(
            'A kernel of the device refused an index, most often a label or a token out of range. '
            'The device does not say which: on the CPU, with CUDA_VISIBLE_DEVICES= before the '
            'command, the message names the value.'
        )
    stage = runner.state.stage
    if stage not in _STEPS:
        return None
    loop: Any = getattr(runner, f'_{stage}_loop')
    collate = getattr(getattr(loop, 'dataloader', None), 'collate_fn', None)
    return explain_step(unwrap_model(runner.model), stage, collate, error)


def explain_step(
    model: nn.Module, stage: str, collate: Any, error: BaseException
) -> UnsuitedModelError | None:
    """The same for a step of ``model`` with a batch that ``collate`` has made."""
    if not isinstance(error, (TypeError, AttributeError)) or isinstance(error, UnsuitedModelError):
        return None
    kind, step, text = type(model), _STEPS[stage], str(error)
    if f'{step!r}' in text and not hasattr(model, step):
        return UnsuitedModelError(without_step(kind, stage))
    if collate is pseudo_collate and _OF_LISTS.search(text.splitlines()[0] if text else ''):
        return UnsuitedModelError(
            f'{kind.__name__} got a list where it needs a tensor ({text.splitlines()[0]}; '
            f'{line_of(error)}). The default collate_fn gives a list of samples for each key: set '
            f"{stage}_dataloader.collate_fn=dict(type='default_collate') to stack them."
        )
    return None


def check_has_step(model: nn.Module, stage: str) -> None:
    """Check, before the first batch, that ``model`` has the step of ``stage``.

    Raises:
        UnsuitedModelError: If it has not.
    """
    unwrapped = unwrap_model(model)
    if not hasattr(unwrapped, _STEPS[stage]):
        raise UnsuitedModelError(without_step(type(unwrapped), stage))


def without_step(kind: type, stage: str) -> str:
    """The message for a model class that has no step for ``stage``."""
    return (
        f'{kind.__name__} has no {_STEPS[stage]}, which {stage} calls. Wrap it in the config: '
        f"model=dict(type='AdaptedModel', module=dict(type='{kind.__module__}."
        f"{kind.__qualname__}'), loss=dict(type='torch.nn.CrossEntropyLoss'), target='labels'), or "
        'derive it from mmengine.model.BaseModel.'
    )


def line_of(error: BaseException) -> str:
    """The last line outside of torch and this package that the error comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _OF_LIBRARIES.search(frame.filename)]
    return f'{own[-1].filename}:{own[-1].lineno}' if own else 'in a library'
