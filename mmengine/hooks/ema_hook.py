"""EMAHook: averages the weights during training, and uses the average to validate and test."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmengine._checkpoint.state_dict import load_state_dict, weights_to_cpu
from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.hooks._units import Interval, check_unit, steps_of_each
from mmengine.hooks.hook import DataBatch, Hook
from mmengine.logging import print_log
from mmengine.model._copying import reshard
from mmengine.registry import HOOKS, MODELS
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from mmengine.hooks.run import Run
    from mmengine.model.averaged_model import BaseAveragedModel

_PREFIX = 'module.'


@HOOKS.register_module()
class EMAHook(Hook):
    """Averages the weights over the optimizer steps; validation and test use the average.

    With gradient accumulation the average changes once per window, so that it equals the average of
    a training with the large batch.

    In a checkpoint, ``state_dict`` holds the averaged weights, so that other programs load the
    average, and ``ema_state_dict`` holds the raw weights, from which a resumed run continues.
    Before the average begins, the raw weights are used everywhere.

    Buffers that are not averaged (all buffers with ``update_buffers=False``, and integer counters)
    always have the values of the trained model.

    Args:
        ema_type: Class of the averaged model.
        strict_load: Raise an error if the averaged weights of a resumed checkpoint do not match
            the model, instead of a warning.
        begin_iter: The average begins with this iteration, counted from 1.
        begin_epoch: The average begins with this epoch, counted from 1. Pass only one of the two.
        unit: What ``interval`` of the averaged model counts: 'step' (iterations in which an
            optimizer stepped), 'iter' (all iterations, as in the MMEngine API) or 'sample'.
        **kwargs: Arguments of the averaged model, such as ``momentum`` or ``update_buffers``.

    Raises:
        ArgumentError: If ``begin_iter`` or ``begin_epoch`` is negative, or both are given, or
            training ends before the average begins, or ``unit`` is unknown.
    """

    priority = 'NORMAL'
    changes_saved_weights = True

    def __init__(
        self,
        ema_type: str = 'ExponentialMovingAverage',
        strict_load: bool = False,
        begin_iter: int = 0,
        begin_epoch: int = 0,
        *,
        unit: str = 'step',
        **kwargs: Any,
    ) -> None:
        check_unit(self, unit, ('step', 'iter', 'sample'))
        for name, number in (('begin_iter', begin_iter), ('begin_epoch', begin_epoch)):
            if number < 0:
                raise ArgumentError(f'{name} of EMAHook must be 0 or more, got {number}.')
        if begin_iter and begin_epoch:
            raise ArgumentError(
                f'The average begins once: pass begin_iter ({begin_iter}) or begin_epoch '
                f'({begin_epoch}), not both.'
            )
        self.unit = unit
        # The averaged model counts its updates, and an update comes every so many samples.
        self._interval = Interval(kwargs.pop('interval', 1) if unit == 'sample' else 1)
        self._steps_seen: tuple[int, ...] | None = None
        self.ema_cfg = {'type': ema_type, **kwargs}
        self.strict_load = strict_load
        self.begin_iter = begin_iter
        self.begin_epoch = begin_epoch
        self.enabled_by_epoch = begin_epoch > 0
        self._has_begun = False
        self._is_swapped = False

    def before_run(self, runner: Run) -> None:
        """Copy the model, unless an average of it already exists."""
        self._follow(runner)

    def before_train(self, runner: Run) -> None:
        """Check that the average begins before training ends."""
        begin, end, unit = (
            (self.begin_epoch, runner.max_epochs, 'epoch')
            if self.enabled_by_epoch
            else (self.begin_iter, runner.max_iters, 'iter')
        )
        if begin > end >= 0:
            hint = ' Pass begin_iter instead.' if self.enabled_by_epoch and end == 1 else ''
            raise ArgumentError(
                f'EMAHook has begin_{unit}={begin}, but training ends at {unit} {end}: the average '
                f'would never begin.{hint}'
            )
        self._has_begun = False
        if self.unit == 'step' and self._steps_seen is None:  # else a failed training goes on
            self._steps_seen = steps_of_each(runner)
        if self.unit == 'sample':
            self._interval.begin(runner.state.finished('sample'))

    def after_train_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Add the new weights to the average."""
        is_due = self._is_due(runner)
        if (self._has_begun or self._begins(runner)) and is_due:
            self.ema_model.update_parameters(self.src_model)

    def after_train_epoch(self, runner: Run) -> None:
        """Add the weights of a step that was taken after the last iteration."""
        self._add_late_step(runner)

    def after_train(self, runner: Run) -> None:
        """Add the weights of a step that was taken after the last iteration."""
        self._add_late_step(runner)
        self._steps_seen = None

    def before_val_epoch(self, runner: Run) -> None:
        """Validate with the average."""
        self._add_late_step(runner)
        self._swap()

    def after_val_epoch(self, runner: Run, metrics: dict[str, float] | None = None) -> None:
        """Restore the raw weights."""
        self._swap_back()

    def before_test_epoch(self, runner: Run) -> None:
        """Test with the average."""
        self._swap()

    def after_test_epoch(self, runner: Run, metrics: dict[str, float] | None = None) -> None:
        """Restore the raw weights."""
        self._swap_back()

    def on_evaluation_cut(self, runner: Run) -> None:
        """Restore the raw weights: an evaluation within the training has not reached its end."""
        self._swap_back()

    def on_exception(self, runner: Run, error: BaseException) -> None:
        """Restore the raw weights of the model."""
        if hasattr(self, 'src_model'):
            self._swap_back()

    def before_save_checkpoint(self, runner: Run, checkpoint: dict[str, Any]) -> None:
        """Put the averaged weights in ``state_dict``, and the raw ones in ``ema_state_dict``."""
        self._follow(runner)
        own = _updated(checkpoint['state_dict'], {})
        other = own
        if self._has_average():
            kept = weights_to_cpu(self.ema_model.module.state_dict())
            other = _updated(own, {name: kept[name] for name in self._averaged_names()})
        # During a validation the model has the averaged weights, and the average the raw ones.
        averaged, raw = (own, other) if self._is_swapped else (other, own)
        checkpoint['state_dict'] = raw
        checkpoint['ema_state_dict'] = OrderedDict(
            steps=self.ema_model.steps.clone(), **_prefixed(averaged)
        )
        self._swap_ema_state_dict(checkpoint)

    def after_load_checkpoint(self, runner: Run, checkpoint: dict[str, Any]) -> None:
        """When resuming, load both models; otherwise start a new average.

        Loading without resuming uses ``state_dict`` only: the averaged weights, if the checkpoint
        was saved with an average.
        """
        self._follow(runner)
        self._steps_seen = None
        if not runner.state.is_resuming:
            self.ema_model.steps.fill_(0)
            return
        if 'ema_state_dict' not in checkpoint:
            print_log(
                'The resumed checkpoint was saved without EMAHook (it has no ema_state_dict), so '
                'the average starts from its weights.',
                logger='current',
                level=logging.WARNING,
            )
            return
        average = checkpoint['state_dict'] = _updated(checkpoint['state_dict'], {})
        names = list(average)
        saved = checkpoint['ema_state_dict']
        only_raw = {
            key.removeprefix(_PREFIX): value
            for key, value in saved.items()
            if key.startswith(_PREFIX) and key.removeprefix(_PREFIX) not in average
        }
        checkpoint['ema_state_dict'] = {
            **saved,
            **{key: value for key, value in _prefixed(average).items() if key not in saved},
        }
        self._swap_ema_state_dict(checkpoint)
        saved = checkpoint.pop('ema_state_dict')
        average = _updated(average, {name: saved[f'{_PREFIX}{name}'] for name in names})
        load_state_dict(self.ema_model.module, average, self.strict_load, runner.logger)
        self.ema_model.steps.fill_(int(saved.get('steps', 0)))
        checkpoint['state_dict'].update(only_raw)

    # -- the average ------------------------------------------------------------------------------

    def _is_due(self, runner: Run) -> bool:
        """Whether the iteration that ends now changes the average."""
        if self.unit == 'sample':
            return self._interval.reaches(runner.state.finished('sample'))
        if self.unit == 'iter':
            return True
        seen, self._steps_seen = self._steps_seen, steps_of_each(runner)
        return seen is None or seen != self._steps_seen

    def _add_late_step(self, runner: Run) -> None:
        """Add the weights if an open accumulation window has been closed since the iteration."""
        has_begun = self._has_begun or self._begins(runner, ahead=0)
        if self._steps_seen is not None and has_begun and self._is_due(runner):
            self.ema_model.update_parameters(self.src_model)

    def _begins(self, runner: Run, ahead: int = 1) -> bool:
        if self.enabled_by_epoch:
            self._has_begun = runner.epoch + ahead >= self.begin_epoch
        else:
            self._has_begun = runner.iter + ahead >= self.begin_iter
        return self._has_begun

    def _has_average(self) -> bool:
        return int(self.ema_model.steps) > 0

    def _averaged_names(self) -> set[str]:
        """Names of the averaged tensors, including all names of shared tensors."""
        module = self.ema_model.module
        names = {name for name, _ in module.named_parameters(remove_duplicate=False)}
        if self.ema_model.update_buffers:
            names |= {
                name
                for name, buffer in module.named_buffers(remove_duplicate=False)
                if buffer.is_floating_point()
            }
        return names

    def _follow(self, runner: Run) -> None:
        """Create an average of the runner's model, unless there is one for the same model."""
        model = unwrap_model(runner.model)
        if getattr(self, 'src_model', None) is model:
            return
        self.src_model: nn.Module = model
        self.ema_model: BaseAveragedModel = MODELS.build(  # type: ignore[assignment]  # an average
            self.ema_cfg, default_args={'model': model}
        )
        self._is_swapped = False

    def _swap(self) -> None:
        if not self._is_swapped and self._has_average():
            self._swap_ema_parameters()
            self._is_swapped = True

    def _swap_back(self) -> None:
        if self._is_swapped:
            self._swap_ema_parameters()
            self._is_swapped = False

    def _swap_ema_state_dict(self, checkpoint: dict[str, Any]) -> None:
        """Exchange raw and averaged weights between ``state_dict`` and ``ema_state_dict``.

        Called with a checkpoint before it is saved, and after it was loaded to be resumed.
        """
        own, other = checkpoint['state_dict'], checkpoint['ema_state_dict']
        for name in list(own):
            averaged = f'{_PREFIX}{name}'
            if averaged in other:
                own[name], other[averaged] = other[averaged], own[name]

    @torch.no_grad()
    def _swap_ema_parameters(self) -> None:
        """Exchange raw and averaged values between the model and its average.

        Only the values are exchanged: optimizers and compiled code hold references to the tensors.
        """
        reshard(self.src_model)
        for ours, theirs in self._pairs():
            value = theirs.clone()
            theirs.copy_(ours)
            ours.copy_(value)

    def _pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Pairs of averaged tensors and tensors of the model; a shared tensor appears once."""
        averaged, source = self.ema_model.module, self.src_model
        pairs: list[tuple[Tensor, Tensor]] = list(
            zip(averaged.parameters(), source.parameters(), strict=True)
        )
        if self.ema_model.update_buffers:
            buffers = zip(averaged.buffers(), source.buffers(), strict=True)
            pairs += [pair for pair in buffers if pair[0].is_floating_point()]
        return pairs


def _prefixed(state: Mapping[str, Any]) -> dict[str, Any]:
    """``state`` under the names of an averaged model."""
    return {f'{_PREFIX}{name}': value for name, value in state.items()}


def _updated(state: Mapping[str, Any], changes: Mapping[str, Any]) -> OrderedDict[str, Any]:
    """A copy of ``state`` with the values of ``changes``."""
    result: Any = OrderedDict({**state, **changes})
    if hasattr(state, '_metadata'):  # torch stores the versions of modules in it
        result._metadata = state._metadata
    return result  # type: ignore[no-any-return]  # made above
