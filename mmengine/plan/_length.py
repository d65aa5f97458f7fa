"""How long a run is, and what it saves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.hooks import CheckpointHook
from mmengine.plan._data import largest_batch
from mmengine.plan._step import averages_weights, bytes_of, states_of
from mmengine.runner._build_run import training_lengths


@dataclass(frozen=True)
class Length:
    """The length of a run; None where the config and the data do not say it.

    Attributes:
        epochs: None for a run that counts iterations.
        iterations: Batches of a rank.
        steps: Optimizer steps.
        samples: Samples of all ranks.
        iterations_of_epoch: Batches of a rank in a pass over the data.
        batch_size: Samples of the largest batch of a rank.
        samples_of_step: Samples of all ranks in an optimizer step, not more than the run has.
    """

    epochs: int | None
    iterations: int | None
    steps: int | None
    samples: int | None
    iterations_of_epoch: int | None
    batch_size: int | None
    samples_of_step: int | None


@dataclass(frozen=True)
class Checkpoints:
    """What a run saves.

    Attributes:
        written: Number of checkpoints; None if the length of the run is not known.
        kept: Number of them that are on disk at the end.
        bytes: Of one of them, all ranks together.
    """

    written: int | None
    kept: int | None
    bytes: int


def length_of(runner: Any, batches_of_step: int, data_ranks: int) -> Length:
    """The length of the run of ``runner``, which is prepared to train."""
    known = training_lengths(runner.train_loop)
    iterations = known['max_iters']
    size, samples = largest_batch(runner.train_loop.dataloader), known['max_samples']
    of_step = None if size is None else size * batches_of_step * data_ranks
    return Length(
        epochs=known['max_epochs'] if runner._counts_epochs is not False else None,
        iterations=iterations,
        steps=None if iterations is None else math.ceil(iterations / batches_of_step),
        samples=samples,
        iterations_of_epoch=known['epoch_length'],
        batch_size=size,
        samples_of_step=of_step if of_step is None or samples is None else min(of_step, samples),
    )


def checkpoints_of(runner: Any, length: Length) -> Checkpoints:
    """What the run saves, from its first ``CheckpointHook``. Its optimizers have their states."""
    model = unwrap_model(runner.model)
    weights = bytes_of(model.parameters(), whole=True) + bytes_of(model.buffers(), whole=True)
    size = weights * (2 if averages_weights(runner) else 1)
    hook = next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)
    if hook is None:
        return Checkpoints(0, 0, size)
    if hook.save_optimizer:
        size += bytes_of(states_of(runner.optim_wrapper), whole=True)
    total = {
        'step': length.steps,
        'sample': length.samples,
        None: length.epochs if hook.by_epoch else length.iterations,
    }[hook.unit]
    if total is None:
        return Checkpoints(None, None, size)
    # As the hook: at `save_begin`, or the first interval, and at multiples of it later.
    first = hook.save_begin or hook.interval
    turns, ends_at_turn = 0, False
    if hook.interval > 0 and total >= first:
        turns, rest = divmod(total - first, hook.interval)
        turns, ends_at_turn = turns + 1, rest == 0
    if length.iterations is not None:
        turns = min(turns, length.iterations)  # one iteration may pass several multiples
    written = turns + (1 if hook.save_last and not ends_at_turn else 0)
    kept = min(written, hook.max_keep_ckpts) if hook.max_keep_ckpts > 0 else written
    return Checkpoints(written, kept, size)
