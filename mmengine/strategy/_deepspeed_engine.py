"""Makes the engine of DeepSpeed from a model and an optimizer of the run."""

from __future__ import annotations

import logging
import os
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as torch_dist
from torch import nn
from torch.nn.utils import clip_grad_norm_

from mmengine.device import get_device
from mmengine.dist import is_distributed
from mmengine.optim import AmpOptimWrapper, BaseOptimWrapper, OptimWrapper
from mmengine.strategy._deepspeed_wrappers import GROUP, DeepSpeedOptimWrapper
from mmengine.utils.errors import ArgumentError

_CHOICE = 'DS_ACCELERATOR'


def import_deepspeed() -> Any:
    """Import the package quietly, for the device of this run."""
    before = os.environ.get(_CHOICE)
    is_on_cpu = get_device() == 'cpu'
    if is_on_cpu:
        os.environ.setdefault(_CHOICE, 'cpu')  # else it warns that it has found no other
    try:
        import deepspeed
        from deepspeed.utils import logger
    finally:
        if before is None:
            os.environ.pop(_CHOICE, None)
    if is_on_cpu:
        # Serves inference only, and is compiled for half a minute when the first engine is made.
        deepspeed.ops.__compatible_ops__['deepspeed_shm_comm'] = False
    # DeepSpeed uses them until it requires a torch with the new names.
    old = '(all_gather_into|reduce_scatter)_tensor'
    warnings.filterwarnings('ignore', rf'`torch\.distributed\.{old}` is deprecated', FutureWarning)
    if logger.level < logging.WARNING:
        logger.setLevel(logging.WARNING)  # the Runner writes the log
    return deepspeed


def join_alone() -> None:
    """Make a process group of one rank, which an engine needs, if there is none."""
    if not is_distributed():
        store = torch_dist.HashStore()  # type: ignore[attr-defined]  # torch does not list it
        backend = 'nccl' if get_device() == 'cuda' else 'gloo'
        torch_dist.init_process_group(backend, store=store, rank=0, world_size=1)


def check_wrapper(built: BaseOptimWrapper) -> OptimWrapper:
    """``built``, an optimizer wrapper whose work an engine can do.

    Raises:
        ArgumentError: If it is another one.
    """
    if type(built) not in (OptimWrapper, AmpOptimWrapper, DeepSpeedOptimWrapper):
        raise ArgumentError(
            'DeepSpeedStrategy trains with one optimizer, in an OptimWrapper, AmpOptimWrapper or '
            f'DeepSpeedOptimWrapper; got {type(built).__name__}. With several optimizers, use '
            "strategy='ddp' or 'fsdp'."
        )
    return built  # type: ignore[return-value]  # checked above


def make_engine(model: nn.Module, optimizer: Any, config: dict[str, Any]) -> Any:
    """The engine for ``model``, with a copy of ``optimizer``. All ranks must call it.

    The engine replaces the parameters in the groups of its optimizer by flat parts of them, so
    ``optimizer`` keeps the parameters of the model.
    """
    deepspeed = import_deepspeed()
    own = object.__new__(type(optimizer))
    own.__dict__.update(optimizer.__dict__)
    own.param_groups = [
        {**group, 'params': list(group['params']), GROUP: number}
        for number, group in enumerate(optimizer.param_groups)
    ]
    own.state = defaultdict(dict)
    for param, entries in optimizer.state.items():
        own.state[param] = dict(entries)
    with _quiet(), _local_rank():
        engine = deepspeed.initialize(model=model, optimizer=own, config=config)[0]
    if not engine.zero_optimization():
        engine.clip_fp32_gradients = _Clip(engine)  # the engine's does not return the norm
    return engine


@contextmanager
def _local_rank() -> Iterator[None]:
    """The rank on this machine in the environment, where no launcher has set it."""
    name = 'LOCAL_RANK'
    is_set = name in os.environ
    os.environ.setdefault(name, str(torch.cuda.current_device() if get_device() == 'cuda' else 0))
    try:
        yield
    finally:
        if not is_set:
            del os.environ[name]


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of DeepSpeed, which has one for each optimizer of torch but Adam."""
    from deepspeed.utils import logger

    before = logger.level
    logger.setLevel(max(before, logging.ERROR))
    try:
        yield
    finally:
        logger.setLevel(before)


class _Clip:
    """Clips in stage 0, where an engine does not keep the norm of the gradients."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __call__(self) -> None:
        """Clip the gradients, which the ranks have exchanged."""
        engine = self._engine
        norm = clip_grad_norm_(engine.module.parameters(), engine.gradient_clipping())
        engine._global_grad_norm = norm
