"""Runs optimizer steps of a prepared run under a tracer: what one of them needs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.dist._dtensor import is_dtensor
from mmengine.hooks import EMAHook
from mmengine.optim.optimizer.optimizer_wrapper_dict import wrappers_of
from mmengine.plan._data import tensors_in, with_fake_tensors
from mmengine.plan._memory import (
    AVERAGE,
    BATCH,
    BUFFERS,
    GRADIENTS,
    KEPT,
    PARAMETERS,
    STATES,
)
from mmengine.plan._model import explained
from mmengine.plan._tracer import StepTracer
from mmengine.plan._traffic import Message
from mmengine.utils.errors import ArgumentError


@dataclass(frozen=True)
class StepCosts:
    """What an optimizer step needs on a rank, with the states that the first step has made.

    Attributes:
        batches: Batches of a step.
        flops: Floating-point operations of products.
        messages: Collective operations, with their number.
        peak: Bytes by kind when the sum is largest.
        most: Bytes by kind when that kind is largest.
        without_gradient: Names of trained parameters to which the step gives no gradient.
    """

    batches: int
    flops: int
    messages: Counter[Message]
    peak: dict[str, int]
    most: dict[str, int]
    without_gradient: list[str]


def trace_step(
    runner: Any, batch: Any, iterations: int | None, tracer: StepTracer, mode: Any
) -> StepCosts:
    """Take two steps of ``runner``; the second one is measured.

    Args:
        runner: Prepared to train.
        batch: From the dataloader.
        iterations: Of the run, in which a window may not become full; None if unknown.
        tracer: Which has seen how the model was placed, or will see its tensors now.
        mode: The ``FakeTensorMode`` of its tensors; None if they have numbers.

    Raises:
        ArgumentError: If the step reads a number that there is not.
    """
    model, memory = runner.model, tracer.memory
    wrappers = wrappers_of(runner.optim_wrapper)
    longest = math.inf if iterations is None else iterations
    sizes = [int(min(wrapper._accumulative_counts, longest)) for wrapper in wrappers]
    batches = max(sizes)
    for wrapper, size in zip(wrappers, sizes, strict=True):
        # A window has a last batch, and others that are alike: two show all there is.
        wrapper._accumulative_counts = min(size, 2)
    batch = with_fake_tensors(batch, mode)
    _count_tensors(runner, tracer, batch)
    missing = _gradients_as_such(runner, tracer)
    model.train()
    runner.optim_wrapper.initialize_count_status(model, 0, 1000)
    costs: list[tuple[int, Counter[Message]]] = []
    with ExitStack() as stack:
        stack.enter_context(_steps_without_numbers(mode))
        stack.enter_context(memory.watching_resizes())
        if mode is not None:
            stack.enter_context(mode)
        stack.enter_context(tracer)
        for _ in range(2):
            memory.forget_peak()
            costs = []
            for left in reversed(range(min(batches, 2))):
                _train_step(model, batch, runner.optim_wrapper, mode)
                _count_states(wrappers, tracer)
                memory.assign_rest(GRADIENTS if left else KEPT)
                costs.append((tracer.take_flops(), tracer.traffic.take()))
    flops, messages = costs[-1]
    for _ in range(batches - 1):
        flops += costs[0][0]
        messages = messages + costs[0][1]
    names = {id(param): name for name, param in unwrap_model(model).named_parameters()}
    return StepCosts(
        batches, flops, messages, dict(memory.peak), dict(memory.most),
        sorted(names.get(key, '') for key in missing),
    )  # fmt: skip


def bytes_of(tensors: Any, *, whole: bool = False) -> int:
    """Bytes of ``tensors`` on this rank, or on all ranks together; each is counted once."""
    found = {id(tensor): tensor for tensor in tensors}
    total = 0
    for tensor in found.values():
        part = tensor.to_local() if is_dtensor(tensor) and not whole else tensor
        total += part.numel() * part.element_size()
    return total


def states_of(optim_wrapper: Any) -> list[Tensor]:
    """The tensors in the states of all optimizers."""
    return [
        value
        for wrapper in wrappers_of(optim_wrapper)
        for entries in wrapper.optimizer.state.values()
        for value in entries.values()
        if isinstance(value, Tensor)
    ]


def averages_weights(runner: Any) -> bool:
    """Whether the run keeps an average of its weights."""
    return any(isinstance(hook, EMAHook) for hook in runner.hooks)


def _train_step(model: Any, batch: Any, optim_wrapper: Any, mode: Any) -> None:
    from torch._subclasses import fake_tensor

    reads = (
        fake_tensor.DataDependentOutputException,
        fake_tensor.DynamicOutputShapeException,
        fake_tensor.UnsupportedFakeTensorException,
    )
    try:
        model.train_step(batch, optim_wrapper=optim_wrapper)
    except Exception as error:
        about_numbers = isinstance(error, reads) or 'data pointer' in str(error).lower()
        if mode is None or not (about_numbers or 'Fake' in str(error)):
            raise
        raise ArgumentError(
            'The training step reads numbers, which a plan does not have: '
            f'{explained(error)} Plan with real numbers on this machine: --real, or real=True.'
        ) from error


def _count_tensors(runner: Any, tracer: StepTracer, batch: Any) -> None:
    model, memory = runner.model, tracer.memory
    memory.assign(model.parameters(), PARAMETERS)
    memory.assign(model.buffers(), BUFFERS)
    memory.assign(tensors_in(batch), BATCH)
    if averages_weights(runner):
        inner = unwrap_model(model)
        memory.hold(AVERAGE, bytes_of(inner.parameters()) + bytes_of(inner.buffers()))


def _count_states(wrappers: Any, tracer: StepTracer) -> None:
    for wrapper in wrappers:
        tracer.memory.assign(states_of(wrapper), STATES)


def _gradients_as_such(runner: Any, tracer: StepTracer) -> set[int]:
    """Count gradients under their kind; the result keeps parameters that get none."""
    missing: set[int] = set()

    def arrive(param: Tensor) -> None:
        missing.discard(id(param))
        if param.grad is not None:
            tracer.memory.assign([param.grad], GRADIENTS)

    for wrapper in wrappers_of(runner.optim_wrapper):
        for group in wrapper.optimizer.param_groups:
            for param in group['params']:
                if isinstance(param, nn.Parameter) and param.requires_grad:
                    missing.add(id(param))
                    leaf: Any = param
                    leaf.register_post_accumulate_grad_hook(arrive)
    return missing


@contextmanager
def _steps_without_numbers(mode: Any) -> Iterator[None]:
    """Context in which a loss scaler takes its steps without looking for an overflow."""
    if mode is None:
        yield
        return

    def step(scaler: Any, optimizer: Any, state: Any, *args: Any, **kwargs: Any) -> Any:
        return optimizer.step(*args, **kwargs)

    def update(scaler: Any, *args: Any) -> None:
        scaler._per_optimizer_states.clear()

    scaler = torch.amp.GradScaler
    with (
        patch.object(scaler, '_maybe_opt_step', step),
        patch.object(scaler, 'update', update),
    ):
        yield
