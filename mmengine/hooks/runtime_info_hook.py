"""RuntimeInfoHook: writes position, learning rates, losses and metrics to the message hub."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mmengine.hooks.hook import DataBatch, Hook
from mmengine.logging import print_log
from mmengine.logging._engine_names import RESERVED
from mmengine.logging._numbers import float_of
from mmengine.registry import HOOKS
from mmengine.version import __version__

if TYPE_CHECKING:
    from mmengine.hooks.run import Run
    from mmengine.logging import MessageHub

# Values of these keys in a checkpoint belong to another process, and are not loaded.
_OF_THIS_START = (
    'cfg', 'seed', 'experiment_name', 'mmengine_version', 'loop_stage', 'dataset_meta'
)  # fmt: skip


@HOOKS.register_module()
class RuntimeInfoHook(Hook):
    """Writes the progress of the run to ``runner.message_hub``, for logs and checkpoints."""

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        # Names are built once for each loss, not in every step.
        self._scalar_names: dict[str, str] = {}
        self._rate_names: dict[str, str] = {}
        self._stage_before: str | None = None

    def before_run(self, runner: Run) -> None:
        """Record the values of this start, which loading a checkpoint does not change."""
        runner.message_hub.follow_override()
        runner.message_hub.keep_on_load(*_OF_THIS_START)
        for key, value in (
            ('cfg', runner.config_text),
            ('seed', runner.seed),
            ('experiment_name', runner.experiment_name),
            ('mmengine_version', __version__),
        ):
            runner.message_hub.update_info(key, value)

    def before_train(self, runner: Run) -> None:
        """Record the start position and the length of the training."""
        hub = runner.message_hub
        hub.follow_override()
        hub.step_keys.update(self._scalar_names.values())
        hub.update_info('loop_stage', 'train')
        _record_seed(runner)
        hub.update_info('epoch', runner.epoch)
        hub.update_info('iter', runner.iter)
        hub.update_info('max_epochs', runner.max_epochs)
        hub.update_info('max_iters', runner.max_iters)
        metainfo = getattr(getattr(runner.train_dataloader, 'dataset', None), 'metainfo', None)
        if metainfo is not None:
            hub.update_info('dataset_meta', metainfo)

    def after_train(self, runner: Run) -> None:
        """Record that the training has ended."""
        runner.message_hub.pop_info('loop_stage')

    def before_train_epoch(self, runner: Run) -> None:
        """Record the epoch."""
        runner.message_hub.update_info('epoch', runner.epoch)

    def before_train_iter(self, runner: Run, batch_idx: int, data_batch: DataBatch = None) -> None:
        """Record the iteration and the first learning rate of each optimizer."""
        runner.message_hub.update_info('iter', runner.iter)
        self._record_rates(runner.message_hub, runner.optim_wrapper.leading_lr())

    def after_train_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Record the losses, which stay on their device."""
        if outputs is not None:
            self._record(runner.message_hub, outputs)

    def on_exception(self, runner: Run, error: BaseException) -> None:
        """Record that no stage is running."""
        runner.message_hub.pop_info('loop_stage')
        self._stage_before = None

    def before_val(self, runner: Run) -> None:
        """Record that a validation is running, during a training or separately."""
        self._begin_evaluation(runner, 'val')

    def after_val(self, runner: Run) -> None:
        """Restore the stage before the validation."""
        self._end_evaluation(runner)

    def before_test(self, runner: Run) -> None:
        """Record that a test is running, during a training or separately."""
        self._begin_evaluation(runner, 'test')

    def after_test(self, runner: Run) -> None:
        """Restore the stage before the test."""
        self._end_evaluation(runner)

    def on_evaluation_cut(self, runner: Run) -> None:
        """Restore the stage before the evaluation, which has not reached its end."""
        if runner.message_hub.get_info('loop_stage') in ('val', 'test'):
            self._end_evaluation(runner)

    def after_val_epoch(self, runner: Run, metrics: dict[str, float] | None = None) -> None:
        """Record the metrics."""
        _record_metrics(runner, 'val', metrics)

    def after_test_epoch(self, runner: Run, metrics: dict[str, float] | None = None) -> None:
        """Record the metrics."""
        _record_metrics(runner, 'test', metrics)

    def _begin_evaluation(self, runner: Run, stage: str) -> None:
        self._stage_before = runner.message_hub.get_info('loop_stage')
        runner.message_hub.update_info('loop_stage', stage)
        _record_seed(runner)

    def _end_evaluation(self, runner: Run) -> None:
        if self._stage_before is None:
            runner.message_hub.pop_info('loop_stage')
        else:
            runner.message_hub.update_info('loop_stage', self._stage_before)

    def _record(self, hub: MessageHub, values: Mapping[str, Any]) -> None:
        """Append log values of the user to their histories; called in every step."""
        names, histories = self._scalar_names, {} if hub.is_overridden else hub.log_scalars
        for key, value in values.items():
            name = names.get(key)
            if name is None:
                name = names[key] = f'train/{key}'
                hub.step_keys.add(name)
                if key in RESERVED or key in self._rate_names:
                    hub.claim(name)
                elif key == 'engine_loss':
                    _tell_about_total()
            history = histories.get(name)
            if history is None:
                hub.update_scalar(name, value)
            else:
                history.update(value)

    def _record_rates(self, hub: MessageHub, values: Mapping[str, float]) -> None:
        """Append learning rates to their histories; called in every step."""
        names, moved = self._rate_names, hub.engine_keys
        histories = {} if hub.is_overridden else hub.log_scalars
        for key, value in values.items():
            name = names.get(key)
            if name is None:
                name = names[key] = f'train/{key}'
            history = histories.get(moved.get(name, name))
            if history is None:
                hub.record(name, value)
            else:
                history.update(value)


def _tell_about_total() -> None:
    print_log(
        "The total loss and one of your losses have the name 'loss'. Your loss keeps the "
        "name; the total, which is minimized, is logged as 'engine_loss'.",
        logger='current',
        level=logging.WARNING,
    )


def _record_seed(runner: Run) -> None:
    """Record the seed. Called again after loading, which may set the seed of the checkpoint."""
    runner.message_hub.update_info('seed', runner.seed)


def _record_metrics(runner: Run, stage: str, metrics: dict[str, Any] | None) -> None:
    for key, value in (metrics or {}).items():
        if key in RESERVED:
            runner.message_hub.claim(f'{stage}/{key}')
        if _is_scalar(value):
            runner.message_hub.update_scalar(f'{stage}/{key}', value)
        else:
            runner.message_hub.update_info(f'{stage}/{key}', value)


def _is_scalar(value: Any) -> bool:
    """Whether ``value`` is one real number, as Python, NumPy or torch have it."""
    if isinstance(value, np.ndarray):
        return value.size == 1 and value.dtype.kind in 'biuf'
    if isinstance(value, torch.Tensor):
        return value.numel() == 1 and not value.is_complex()
    if isinstance(value, (complex, np.complexfloating)):
        return False
    if isinstance(value, (float, np.number)):
        return True
    # A number that no float can hold keeps its value, as information instead of a scalar.
    return isinstance(value, Number) and math.isfinite(float_of(value))
