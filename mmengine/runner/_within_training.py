"""An evaluation within a training leaves the training as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def unchanged_training(evaluation: Any, is_within: bool | None = None) -> Iterator[None]:
    """Run ``evaluation`` so that the training around it goes on as if nothing had been.

    All modules of the model get their modes back, each its own: a frozen layer stays in eval mode.
    If the evaluation does not reach its end, because it is cut or fails, hooks get
    ``on_evaluation_cut``, in which they undo what they have changed for the evaluation. A training
    that catches the error goes on; the error ends it otherwise, with ``on_exception``.

    Nothing is done for an evaluation without a training: its model stays in eval mode.

    Args:
        evaluation: The loop of the evaluation. It may be in this context already, as a loop whose
            class has a custom ``run`` enters the context outside of ``run``.
        is_within: Whether a training is around the evaluation; by default, whether
            ``runner.train()`` runs.
    """
    runner = evaluation.runner
    is_within = runner.state.is_training if is_within is None else is_within
    if not is_within or getattr(evaluation, '_leaves_training', False):
        yield
        return
    was_training = runner.model.training
    modes = [(module, module.training) for module in runner.model.modules()]
    evaluation._leaves_training = True
    try:
        yield
    except BaseException:
        runner.call_hook('on_evaluation_cut')
        raise
    finally:
        evaluation._leaves_training = False
        # `train` may do more than set the modes: layers of low rank merge their weights in it.
        runner.model.train(was_training)
        for module, mode in modes:  # a module comes before the modules in it
            if module.training is not mode:
                module.train(mode)
