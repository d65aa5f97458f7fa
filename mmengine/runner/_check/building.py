"""Builds the model of a config without numbers, to hear what its code says."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner._check.mistakes import Findings
from mmengine.runner._check.parts import is_described, raw_get
from mmengine.strategy._meta_init import needs_numbers, parameters_on_meta


def check_building(cfg: Config, findings: Findings) -> None:
    """Build the model on the meta device; the random state of the process stays as it was.

    Nothing is built if mistakes of the model are known already. A model that reads values of its
    parameters while it is built is not judged.
    """
    model = raw_get(cfg, 'model')
    is_known = any(mistake.path.startswith('model') for mistake in findings.mistakes)
    if is_known or not is_described(model):
        return
    state, numpys = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]), parameters_on_meta():
            MODELS.build(_with_preprocessor(cfg, model))
    except Exception as error:  # of code that a user wrote: whatever it is, the run would end
        if not needs_numbers(error):
            findings.add('model', _told(error))
    finally:
        random.setstate(state)
        np.random.set_state(numpys)


def _with_preprocessor(cfg: Config, model: Any) -> Any:
    preprocessor = raw_get(cfg, 'data_preprocessor')
    if preprocessor is None or 'data_preprocessor' in model:
        return model
    return {**model, 'data_preprocessor': preprocessor}


def _told(error: Exception) -> str:
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    lines = [f'it cannot be built: {type(error).__name__}: {text}']
    return '\n  '.join([*lines, *getattr(error, '__notes__', [])])
