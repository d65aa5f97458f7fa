"""plan_run: what a training will need, worked out without training."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.config import Config
from mmengine.plan._data import Shapes, batch_of
from mmengine.plan._ddp import PlannedReducer, planned_ddp
from mmengine.plan._length import Checkpoints, Length, checkpoints_of, length_of
from mmengine.plan._model import fake_memory_for_shards
from mmengine.plan._parameters import (
    GroupRow,
    ModuleRow,
    parameters_by_group,
    parameters_by_module,
)
from mmengine.plan._ranks import rank_0_of
from mmengine.plan._run import build_run
from mmengine.plan._schedule import Schedule, schedule_of
from mmengine.plan._step import StepCosts, trace_step
from mmengine.plan._tracer import StepTracer
from mmengine.runner._build_run import training_lengths
from mmengine.utils._quantities import parse_quantity
from mmengine.utils.errors import ArgumentError


@dataclass(frozen=True)
class Sent:
    """Messages of one kind in an optimizer step.

    Attributes:
        kind: ``all_reduce``, ``all_gather``, ``reduce_scatter``, ``broadcast`` or ``all_to_all``.
        ranks: Ranks that take part.
        is_in_node: Whether they are all in one machine.
        count: Number of operations.
        payload: Bytes of the whole tensors.
        sent: Bytes that a rank sends, with a ring.
    """

    kind: str
    ranks: int
    is_in_node: bool
    count: int
    payload: int
    sent: float


@dataclass(frozen=True)
class Times:
    """How long it takes; None where a speed was not given.

    Attributes:
        compute: Seconds of a step for the products of matrices.
        send: Seconds of a step for the messages.
        step: Seconds of a step: at best if all messages are sent while the rank computes, and at
            worst if none is.
        run: The same for the whole run, without validations, checkpoints and waiting for data.
    """

    compute: float | None
    send: float | None
    step: tuple[float, float] | None
    run: tuple[float, float] | None


@dataclass(frozen=True)
class Plan:
    """What a training will need.

    Attributes:
        world_size: Ranks.
        strategy: Name of the strategy.
        model: Name of the model.
        modules: Parameters by module; the first row is the model.
        groups: Parameters by settings of the optimizers.
        length: Epochs, iterations, steps and samples.
        checkpoints: How many, and how large.
        schedule: Learning rate and momentum.
        batches_of_step: Batches of a rank in an optimizer step.
        flops_of_step: Floating-point operations of a rank in an optimizer step.
        memory: Bytes of a rank by kind, when their sum is largest.
        most: Bytes of a rank by kind, each when it is largest.
        sent: Messages of an optimizer step.
        times: How long it takes.
        capacity: Bytes that a rank has; None if it was not given.
        notes: What else matters.
    """

    world_size: int
    strategy: str
    model: str
    modules: list[ModuleRow]
    groups: list[GroupRow]
    length: Length
    checkpoints: Checkpoints
    schedule: Schedule
    batches_of_step: int
    flops_of_step: int
    memory: dict[str, int]
    most: dict[str, int]
    sent: list[Sent]
    times: Times
    capacity: float | None
    notes: list[str]

    @property
    def peak_bytes(self) -> int:
        """The most bytes that a rank holds at once."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool | None:
        """Whether a rank has memory enough; None if its memory was not given."""
        return None if self.capacity is None else self.peak_bytes <= self.capacity

    def to_dict(self) -> dict[str, Any]:
        """All of it in plain values, for JSON."""
        return {**asdict(self), 'peak_bytes': self.peak_bytes, 'fits': self.fits}


def plan_run(
    cfg: Config | Mapping[str, Any],
    *,
    world_size: int | None = None,
    mesh: Mapping[str, int] | None = None,
    ranks_per_node: int | None = None,
    flops: float | str | None = None,
    bandwidth: float | str | None = None,
    node_bandwidth: float | str | None = None,
    memory: float | str | None = None,
    shapes: Shapes | None = None,
    num_samples: int | None = None,
    depth: int = 1,
    real: bool = False,
) -> Plan:
    """What the training of ``cfg`` will need, without training.

    The run is built as rank 0 of ranks that do not exist, with tensors that have shapes but no
    numbers. Two optimizer steps of one batch show what is allocated, computed and sent. Hooks,
    validation and compilation are left out. The process group must not be initialised.

    Args:
        cfg: Config of a training.
        world_size: Ranks. None means the product of ``mesh``, or 1.
        mesh: Sizes of the device mesh of the strategy, such as ``dict(replicate=2, shard=8)``.
        ranks_per_node: Ranks of a machine. None means all.
        flops: Floating-point operations that a rank makes in a second, as ``'150T'``; what it
            reaches in practice, not what its data sheet says.
        bandwidth: Bytes that a rank sends in a second, as ``'25GB'``.
        node_bandwidth: The same between ranks of one machine; None means ``bandwidth``.
        memory: Bytes that a rank has, as ``'24GB'``.
        shapes: Shapes of the entries of a sample, such as ``dict(inputs=(3, 224, 224),
            label=':int64')``, in place of the dataset.
        num_samples: Length of the dataset, with ``shapes``.
        depth: Levels of modules to count parameters for.
        real: Build and step the model with numbers on this machine, for models that read values
            of tensors.

    Raises:
        ArgumentError: If an argument is wrong, the config does not train, the model or its step
            need numbers, or the data is not there.
    """
    speeds = {
        name: None if value is None else parse_quantity(name, value)
        for name, value in (
            ('flops', flops), ('bandwidth', bandwidth), ('node_bandwidth', node_bandwidth),
            ('memory', memory),
        )
    }  # fmt: skip
    ranks = prod((mesh or {}).values()) if world_size is None else world_size
    if ranks < 1:
        raise ArgumentError(f'world_size must be a positive integer, got {world_size!r}.')
    per_node = ranks if ranks_per_node is None else ranks_per_node
    if per_node < 1:
        raise ArgumentError(f'ranks_per_node must be a positive integer, got {per_node!r}.')
    config = cfg if isinstance(cfg, Config) else Config(dict(cfg))
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix='mmengine_plan_'))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter('ignore')
        stack.enter_context(rank_0_of(ranks, per_node))
        found = _look(config, folder, ranks, per_node, mesh, shapes, num_samples, depth, real)
    runner_facts, costs = found
    sent = _sent(costs)
    times = _times(costs, sent, speeds, runner_facts['length'])
    return Plan(
        **runner_facts,
        world_size=ranks,
        batches_of_step=costs.batches,
        flops_of_step=costs.flops,
        memory={kind: size for kind, size in costs.peak.items() if costs.most[kind]},
        most={kind: size for kind, size in costs.most.items() if size},
        sent=sent,
        times=times,
        capacity=speeds['memory'],
    )


def _look(
    config: Config,
    folder: str,
    ranks: int,
    ranks_per_node: int,
    mesh: Mapping[str, int] | None,
    shapes: Shapes | None,
    num_samples: int | None,
    depth: int,
    real: bool,
) -> tuple[dict[str, Any], StepCosts]:
    """Build the run, take its steps, and read everything that the plan needs from it."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    mode = None if real else FakeTensorMode(allow_non_fake_inputs=True)
    tracer = StepTracer(ranks_per_node)
    reducers: list[PlannedReducer] = []
    with ExitStack() as stack:
        stack.enter_context(planned_ddp(tracer.memory, reducers, mode))
        if mode is not None:
            stack.enter_context(fake_memory_for_shards(mode))
        runner, notes = build_run(
            config, folder, mode,
            mesh=mesh, shapes=shapes, num_samples=num_samples, world_size=ranks,
        )  # fmt: skip
        batch = batch_of(runner.train_loop.dataloader)
        iterations = training_lengths(runner.train_loop)['max_iters']
        costs = trace_step(runner, batch, iterations, tracer, mode)
        length = length_of(runner, costs.batches, runner.strategy.data_parallel_info[1])
        facts = {
            'strategy': type(runner.strategy).__name__,
            'model': runner.model_name,
            'modules': parameters_by_module(unwrap_model(runner.model), depth),
            'groups': parameters_by_group(runner.optim_wrapper),
            'length': length,
            'checkpoints': checkpoints_of(runner, length),
            'schedule': schedule_of(runner, length),
            'notes': notes + _notes(costs, reducers),
        }
    return facts, costs


def _notes(costs: StepCosts, reducers: list[PlannedReducer]) -> list[str]:
    notes = []
    if costs.without_gradient:
        names = ', '.join(costs.without_gradient[:5])
        more = f' and {len(costs.without_gradient) - 5} more' if costs.without_gradient[5:] else ''
        notes.append(f'The step gives no gradient to {names}{more}.')
        if any(not reducer._finds_unused for reducer in reducers):
            notes.append('DDP needs find_unused_parameters=True for that.')
    return notes


def _sent(costs: StepCosts) -> list[Sent]:
    rows: dict[tuple[str, int, bool], list[float]] = {}
    for message, count in costs.messages.items():
        key = message.kind, message.ranks, message.is_in_node
        row = rows.setdefault(key, [0, 0, 0.0])
        row[0] += count
        row[1] += count * message.payload
        row[2] += count * message.sent
    return [
        Sent(*key, count=int(row[0]), payload=int(row[1]), sent=row[2])
        for key, row in sorted(rows.items())
    ]


def _times(
    costs: StepCosts, sent: list[Sent], speeds: Mapping[str, float | None], length: Length
) -> Times:
    flops, between, inside = (speeds[name] for name in ('flops', 'bandwidth', 'node_bandwidth'))
    compute = None if flops is None else costs.flops / flops
    send: float | None = 0.0
    for row in sent:
        speed = (inside or between) if row.is_in_node else between
        send = None if speed is None or send is None else send + row.sent / speed
    if compute is None or send is None:
        return Times(compute, send, None, None)
    step = (max(compute, send), compute + send)
    run = None if length.steps is None else (step[0] * length.steps, step[1] * length.steps)
    return Times(compute, send, step, run)
