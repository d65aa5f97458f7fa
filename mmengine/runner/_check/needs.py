"""Checks what parts of a config need of its other parts: validations, and optimizers by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.optim.optimizer.builder import _is_by_submodule
from mmengine.runner._arguments import TRIOS
from mmengine.runner._check.mistakes import Findings
from mmengine.runner._check.parts import Parts, is_of, raw_get, raw_items
from mmengine.runner._named_optimizers import wrong_optimizers
from mmengine.runner._units import counts_epochs
from mmengine.runner._unread_results import NO_VALIDATION, reads_results, unread, why_never

_TRAIN = ('default_hooks.', 'custom_hooks.', 'param_scheduler')


def check_needs(cfg: Config, parts: Parts, findings: Findings) -> None:
    """Check the parts of a training that were found; objects are taken as they are."""
    check_validations(cfg, parts, findings)
    check_optimizer_names(cfg, parts, findings)


def check_validations(cfg: Config, parts: Parts, findings: Findings) -> None:
    """Check that the training validates if parts of it act on the results.

    A custom train loop may validate in its own way.
    """
    loop, kind = parts.found.get('train_cfg', ({}, None))
    if not is_of(kind, 'mmengine.runner'):
        return
    why = why_never(counts_epochs(loop), {'val_begin': 1, **dict(raw_items(loop))}.get)
    begin_is_wrong = why is not None
    if all(raw_get(cfg, name) is None for name in TRIOS['val'][1]):
        why, begin_is_wrong = NO_VALIDATION, False
    if why is None:
        return
    readers = 0
    for path, (part, component) in parts.found.items():
        if path.startswith(_TRAIN) and isinstance(component, type):
            how = reads_results(component, dict(raw_items(part)).get)
            if how is not None:
                readers += 1
                findings.add(path, unread(how, why), key='save_best' if 'save_best' in how else '')
    if begin_is_wrong and not readers:
        findings.add('train_cfg', f'{why}.', key='val_begin', is_certain=False)


def check_optimizer_names(cfg: Config, parts: Parts, findings: Findings) -> None:
    """Check that ``optim_wrapper`` has the names that the train step of the model takes."""
    _, model = parts.found.get('model', ({}, None))
    given: Any = raw_get(cfg, 'optim_wrapper')
    if not isinstance(given, Mapping) or raw_get(given, 'constructor') is not None:
        return
    names = [str(name) for name in given] if _is_by_submodule(given) else None
    message = wrong_optimizers(model, names) if isinstance(model, type) else None
    if message is not None:
        findings.add('optim_wrapper', message)
