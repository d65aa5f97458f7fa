"""Training steps that leave no trace in the weights, the optimizer and the rest of a run."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmengine.dataset._dataloader import num_batches, set_epoch
from mmengine.dataset._order_source import order_source
from mmengine.logging import MessageHub
from mmengine.optim.optimizer.optimizer_wrapper_dict import wrappers_of
from mmengine.process.seed import rng_state, set_rng_state
from mmengine.runner._preparing import prepare_training
from mmengine.runner.base_loop import dataloader_of
from mmengine.utils.errors import ArgumentError

_PLAIN = (bool, int, float, str)
_OF_HUB = ('_log_scalars', '_runtime_info', '_resumed_keys', 'engine_keys', '_of_engine')


def prepare(runner: Any, what: str) -> None:
    """Prepare ``runner`` as ``train`` would, with its weights or its checkpoint.

    Raises:
        ArgumentError: If it has nothing to train.
    """
    if runner._train_loop is None:
        raise ArgumentError(f'{what} needs a training, but the runner was made without train_cfg.')
    prepare_training(runner)
    runner._init_weights()
    runner.load_or_resume()


class TrialSteps:
    """Training steps with a copy of the optimizer of a run.

    Attributes:
        optim_wrapper: The copy.
        window: Batches of an optimizer step.
    """

    def __init__(self, runner: Any, model_bytes: int) -> None:
        self._runner = runner
        self._run = _TrialRun(runner.strategy)
        self.optim_wrapper = _copy_of(runner)
        self.optim_wrapper.attach_run(self._run)
        for wrapper in wrappers_of(self.optim_wrapper):
            wrapper._assigned_hub = None
        self.model_bytes = model_bytes
        self.window = max(
            getattr(each, '_accumulative_counts', 1) for each in wrappers_of(self.optim_wrapper)
        )

    def begin(self, num_batches: int) -> None:
        """Begin a training of ``num_batches`` batches."""
        self._run.finished_iters = 0
        self._runner.model.train()
        self.optim_wrapper.initialize_count_status(self._runner.model, 0, num_batches)

    def take(self, batch: Any) -> dict[str, Any]:
        """A training step; returns what ``train_step`` does."""
        outputs = self._runner.model.train_step(batch, optim_wrapper=self.optim_wrapper)
        self._run.finished_iters += 1
        return outputs if isinstance(outputs, dict) else {}


@contextmanager
def untouched(runner: Any) -> Iterator[TrialSteps]:
    """Restore ``runner`` afterwards, to the bit; within, train by the steps that are returned.

    Parameters, buffers, gradients, modes and plain attributes of modules, the message hub and the
    random state are restored. The optimizer is a copy.
    """
    model: nn.Module = runner.model
    tensors = [(each, _copied(each)) for each in (*model.parameters(), *model.buffers())]
    grads = [(each, each.grad, _copied(each.grad)) for each in model.parameters()]
    trained = [(each, each.requires_grad) for each in model.parameters()]
    modules = [
        (each, dict(each._buffers), _plain_attributes(each))
        for each in model.modules()
        if not isinstance(each, torch.jit.ScriptModule)
    ]
    hub, rng = _hub_state(runner.message_hub), rng_state()
    steps = TrialSteps(runner, sum(saved.nbytes for _, saved in tensors))
    try:
        yield steps
    finally:
        for module, buffers, attributes in modules:
            module._buffers.update(buffers)
            vars(module).update(attributes)
        with torch.no_grad():
            for tensor, saved in tensors:
                tensor.copy_(saved)
            for parameter, grad, value in grads:
                parameter.grad = grad
                if grad is not None:
                    grad.copy_(value)
        for parameter, requires_grad in trained:
            parameter.requires_grad_(requires_grad)
        vars(runner.message_hub).update(hub)
        set_rng_state(rng)


def training_batches(runner: Any) -> Iterator[Any]:
    """The batches of the training from its begin, pass after pass.

    A dataloader that is described by a config is built anew, so that the run's own one does not
    move; an object is iterated and put back.
    """
    given, present = runner._train_dataloader, runner.train_loop.dataloader
    if isinstance(given, Mapping) and isinstance(present, DataLoader):
        loader = dataloader_of(runner, {**given, 'dataset': present.dataset})
        yield from _passes(loader)
        return
    source = order_source(present)
    kept = None if source is None else source.state_of_kept()
    try:
        yield from _passes(present)
    finally:
        if source is not None and kept is not None:
            source.load_kept(kept)
        if hasattr(present, '_iterator'):
            present._iterator = None  # persistent workers are in the middle of a pass
        set_epoch(present, runner.epoch)


def _passes(loader: Any) -> Iterator[Any]:
    number = 0
    while True:
        set_epoch(loader, number)
        is_empty = True
        for batch in loader:
            is_empty = False
            yield batch
        if is_empty or num_batches(loader) == 0:
            raise ArgumentError('The training dataloader gave no batch.')
        number += 1


class _TrialRun:
    """The run of the copied optimizer: its own position and messages, else the strategy."""

    def __init__(self, strategy: Any) -> None:
        self._strategy = strategy
        self.message_hub = MessageHub('tryout')
        self.finished_iters = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or name == '_strategy':
            raise AttributeError(name)
        return getattr(self._strategy, name)


def _copy_of(runner: Any) -> Any:
    """A copy of the optimizer wrapper, of the same parameters."""
    wrapper = runner.optim_wrapper
    kept = [runner.model, runner.strategy, runner.message_hub, *runner.model.parameters()]
    memo = {id(each): each for each in kept}
    try:
        copied = copy.deepcopy(wrapper, memo)
        for own, other in zip(wrappers_of(wrapper), wrappers_of(copied), strict=True):
            _copy_attributes(own.optimizer, other.optimizer, memo)
    except Exception as error:
        raise ArgumentError(
            f'{type(wrapper).__name__} cannot be copied ({error}), so nothing can be tried out '
            'without changing it.'
        ) from error
    return copied


def _copy_attributes(optimizer: Any, copied: Any, memo: dict[int, Any]) -> None:
    """Copy what torch leaves out when it copies an optimizer: attributes of its subclass."""
    for name, value in vars(optimizer).items():
        if name not in vars(copied) and not callable(value):
            setattr(copied, name, copy.deepcopy(value, memo))


def _copied(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.detach().clone()


def _plain_attributes(module: nn.Module) -> dict[str, Any]:
    """Modes and counters of a module."""
    return {name: value for name, value in vars(module).items() if type(value) in _PLAIN}


def _hub_state(hub: MessageHub) -> dict[str, Any]:
    state = {name: copy.copy(vars(hub)[name]) for name in _OF_HUB if name in vars(hub)}
    state['_log_scalars'] = OrderedDict(
        (key, copy.deepcopy(buffer)) for key, buffer in hub.log_scalars.copy().items()
    )
    return state
