"""An account of when MMCV 1.7.2 sets learning rates and momenta, apart from the conversion.

``--check`` compares a converted config with this account. The account reads the legacy config by
itself and goes through the run event by event, so that a wrong reading in the conversion shows. The
two share only the formulas of the policies, which are tested against recorded runs of MMCV.

The events of a run, and what the hook of a schedule does at each::

    before_run           remember the initial value of every parameter group
    for each epoch:      (an iteration runner has no such event)
        before_train_epoch   by_epoch: compute the regular values and set them
        for each iteration:
            before_train_iter    not by_epoch: compute the regular values; set them, or within the
                                 warm-up the warmed-up ones
                                 by_epoch: set values within the warm-up, and at its end
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.migrate._schedule.options import bound
from mmengine.migrate._schedule.policies import (
    MOMENTUM_POLICIES,
    POLICIES,
    WITH_WARMUP_OF_THEIR_OWN,
    Moment,
)
from mmengine.utils.errors import ArgumentError

Curve = list[list[float]]

_ITERATION_RUNNERS = ('IterBasedRunner', 'DynamicIterBasedRunner')
_WARMUP = ('warmup', 'warmup_iters', 'warmup_ratio', 'warmup_by_epoch')
_BY_ITERATION_UNLESS_GIVEN = ('Cyclic', 'OneCycle')


@dataclass(frozen=True)
class LegacyRun:
    """The run of a legacy config.

    Args:
        counts_epochs: Whether its runner goes through epochs.
        total: Its epochs or iterations.
        epoch_length: Iterations of an epoch; an iteration runner does not use it.
    """

    counts_epochs: bool
    total: int
    epoch_length: int

    @property
    def max_iters(self) -> int:
        return self.total * self.epoch_length if self.counts_epochs else self.total

    @property
    def max_epochs(self) -> int:
        return self.total if self.counts_epochs else 1


def run_of(legacy: Mapping[str, Any], epoch_length: int) -> LegacyRun | None:
    """The run that MMCV's scripts made of ``legacy``; None if the config does not tell one."""
    runner = legacy.get('runner')
    if not isinstance(runner, Mapping):
        if legacy.get('total_epochs') is not None:
            return LegacyRun(True, int(legacy['total_epochs']), epoch_length)
        if legacy.get('total_iters') is not None:
            return LegacyRun(False, int(legacy['total_iters']), epoch_length)
        return None
    kind = runner.get('type', 'EpochBasedRunner')
    counts_epochs = kind not in _ITERATION_RUNNERS and runner.get('max_iters') is None
    total = runner.get('max_epochs' if counts_epochs else 'max_iters')
    if total is None:
        total = legacy.get('total_epochs' if counts_epochs else 'total_iters')
    return None if total is None else LegacyRun(counts_epochs, int(total), epoch_length)


def legacy_values(
    config: Mapping[str, Any], bases: Sequence[float], run: LegacyRun, *, of_momentum: bool
) -> Curve:
    """The value of every parameter group that MMCV trains each iteration with.

    Args:
        config: A ``lr_config`` or ``momentum_config``.
        bases: The initial value of each parameter group.
        run: The run.
        of_momentum: Whether ``config`` is a ``momentum_config``.

    Raises:
        ArgumentError: If MMCV stops with an error.
    """
    hook = _ScheduleHook(config, bases, run, of_momentum)
    curve: Curve = []
    iteration = 0
    for epoch in range(run.max_epochs):
        if run.counts_epochs:
            hook.before_train_epoch(epoch, iteration)
        for _ in range(run.epoch_length if run.counts_epochs else run.total):
            hook.before_train_iter(epoch, iteration)
            curve.append(list(hook.current))
            iteration += 1
    return curve


class _ScheduleHook:
    def __init__(
        self, config: Mapping[str, Any], bases: Sequence[float], run: LegacyRun, of_momentum: bool
    ) -> None:
        options = dict(config)
        self._name = _policy_name(options, of_momentum)
        self._warmup = {key: options.pop(key) for key in _WARMUP if key in options}
        # The runner of iterations changes the default for learning rates, not for momenta.
        by_epoch = self._name not in _BY_ITERATION_UNLESS_GIVEN
        if not of_momentum and not run.counts_epochs:
            by_epoch = False
        self._by_epoch = bool(options.pop('by_epoch', by_epoch))
        self._of_momentum = of_momentum
        self._bases, self._run = list(bases), run
        table = MOMENTUM_POLICIES if of_momentum else POLICIES
        if self._name not in table:
            raise ArgumentError(f'MMCV has no policy {self._name!r}.')
        self._policy: Any = bound(self._name, table[self._name], options)
        self.current = list(bases)
        self._regular: list[float] = []
        self._warmup_iters = self._length_of_warmup()

    def _length_of_warmup(self) -> int:
        if self._warmup.get('warmup') is None:
            return 0
        iters = int(self._warmup.get('warmup_iters', 0))
        if not self._warmup.get('warmup_by_epoch'):
            return iters
        if not self._run.counts_epochs:
            raise ArgumentError('warmup_by_epoch=True needs an epoch runner; MMCV stops here.')
        return iters * self._run.epoch_length

    def before_train_epoch(self, epoch: int, iteration: int) -> None:
        if self._by_epoch:
            self._regular = self._regular_at(epoch, iteration)
            self.current = self._regular

    def before_train_iter(self, epoch: int, iteration: int) -> None:
        is_warm = iteration >= self._warmup_iters
        has_own_warmup = self._name in WITH_WARMUP_OF_THEIR_OWN
        if not self._by_epoch:
            self._regular = self._regular_at(epoch, iteration)
        elif not self._warmup_iters or iteration > self._warmup_iters or not self._regular:
            # Without an event of epochs there are no regular values, so nothing is ever set.
            return
        if has_own_warmup:
            self.current = self._regular_at(epoch, iteration)
        else:
            self.current = self._regular if is_warm else self._warmed_up(iteration)

    def _regular_at(self, epoch: int, iteration: int) -> list[float]:
        run = self._run
        time, end = (epoch, run.max_epochs) if self._by_epoch else (iteration, run.max_iters)
        if self._name in WITH_WARMUP_OF_THEIR_OWN:
            ratio = self._warmup.get('warmup_ratio', 0.1)
            at = Moment(
                time, end, iteration, self._by_epoch, run.epoch_length, self._warmup_iters, ratio
            )
            return list(self._policy(self._bases, at))
        return list(self._policy(self._bases, time, end))

    def _warmed_up(self, iteration: int) -> list[float]:
        ratio = self._warmup.get('warmup_ratio', 0.1)
        left = 1 - iteration / self._warmup_iters
        kind = self._warmup['warmup']
        factor = {'constant': ratio, 'linear': 1 - left * (1 - ratio), 'exp': ratio**left}[kind]
        if self._of_momentum:
            return [value / factor for value in self._regular]
        return [value * factor for value in self._regular]


def _policy_name(options: dict[str, Any], of_momentum: bool) -> str:
    """Take the policy out of ``options``: its name, in title case unless it has capitals."""
    kind = options.pop('type', None)
    policy = options.pop('policy', None)
    if policy is None and isinstance(kind, str):
        policy = kind.removesuffix('MomentumUpdaterHook' if of_momentum else 'LrUpdaterHook')
    if not isinstance(policy, str):
        raise ArgumentError(f'MMCV needs the name of a policy, got {policy!r}.')
    return policy.title() if policy == policy.lower() else policy
