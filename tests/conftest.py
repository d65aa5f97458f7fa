"""What every test gets: random numbers, environment and named instances of its own."""

import logging
import os
import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from mmengine.registry import DefaultScope
from mmengine.utils import ManagerMixin


def _manager_classes() -> list[type[ManagerMixin]]:
    found, pending = [], [ManagerMixin]
    while pending:
        for subclass in pending.pop().__subclasses__():
            found.append(subclass)
            pending.append(subclass)
    return found


@pytest.fixture(autouse=True)
def _isolated() -> Iterator[None]:
    """Put back environment, seeds, default scope and named instances; close log files."""
    environment = dict(os.environ)
    deterministic = torch.are_deterministic_algorithms_enabled()
    default_dtype = torch.get_default_dtype()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    yield
    os.environ.clear()
    os.environ.update(environment)
    torch.use_deterministic_algorithms(deterministic)
    torch.set_default_dtype(default_dtype)
    for cls in [*_manager_classes(), DefaultScope]:
        for instance in cls.__dict__.get('_instance_dict', {}).values():
            for handler in list(getattr(instance, 'handlers', [])):
                if isinstance(handler, logging.FileHandler):
                    handler.close()
        cls.__dict__.get('_instance_dict', {}).clear()
    assert not torch.distributed.is_initialized(), 'the test left a process group behind'
