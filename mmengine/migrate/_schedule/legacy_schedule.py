"""The learning rates and momenta of MMCV 1.x, as mathematics.

A *policy* gives the regular values (:mod:`.policies`), and a *warm-up* is a factor on what the
policy gives at that very iteration. Nothing depends on the values before, so any iteration can be
asked for alone.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmengine.migrate._schedule.options import bound
from mmengine.migrate._schedule.policies import (
    MOMENTUM_POLICIES,
    POLICIES,
    WITH_WARMUP_OF_THEIR_OWN,
    Moment,
    Values,
)
from mmengine.utils.errors import ArgumentError, did_you_mean

WARMUPS = ('constant', 'linear', 'exp')


def is_own_policy(config: Mapping[str, Any], own: Container[str] = ()) -> bool:
    """Whether a policy is none of MMCV's and no slip in the name of one: a project's own.

    Args:
        config: A schedule.
        own: Classes of the project, one of which may have the name of the policy's hook.
    """
    policy = config.get('policy')
    if not isinstance(policy, str) or not policy.isidentifier() or policy == 'Reduce':
        return False
    name = canonical_name(policy)
    if name == 'Reduce' or name in POLICIES:
        return False
    return f'{name}LrUpdaterHook' in own or not did_you_mean(name, POLICIES)


@dataclass(frozen=True)
class Run:
    """How long a training is.

    Args:
        max_iters: Its iterations.
        epoch_length: Iterations in one of its epochs; an iteration run is one epoch.
        max_epochs: Its epochs.
    """

    max_iters: int
    epoch_length: int
    max_epochs: int

    @classmethod
    def of_epochs(cls, max_epochs: int, epoch_length: int) -> Run:
        return cls(max_epochs * epoch_length, epoch_length, max_epochs)

    @classmethod
    def of_iters(cls, max_iters: int, epoch_length: int | None = None) -> Run:
        return cls(max_iters, epoch_length or max_iters, 1)


@dataclass(frozen=True)
class LegacySchedule:
    """One ``lr_config`` or ``momentum_config``.

    Args:
        policy: Name of the policy, as written in a config.
        options: The policy's own arguments.
        by_epoch: Whether the policy counts epochs.
        warmup: 'constant', 'linear', 'exp', or None for none.
        warmup_iters: Length of the warm-up.
        warmup_ratio: Factor at its first iteration.
        warmup_by_epoch: Whether ``warmup_iters`` counts epochs.
        of_momentum: Whether the values are momenta: warm-up then divides by the factor.

    Raises:
        ArgumentError: If the policy is unknown or MMCV would have refused an option.
    """

    policy: str
    options: Mapping[str, Any] = field(default_factory=dict)
    by_epoch: bool = True
    warmup: str | None = None
    warmup_iters: int = 0
    warmup_ratio: float = 0.1
    warmup_by_epoch: bool = False
    of_momentum: bool = False

    def __post_init__(self) -> None:
        table = MOMENTUM_POLICIES if self.of_momentum else POLICIES
        name = canonical_name(self.policy)
        if name not in table:
            raise ArgumentError(
                f'policy {self.policy!r} is none of those known: {", ".join(sorted(table))}.'
                f'{did_you_mean(name, table)}'
            )
        object.__setattr__(self, '_regular', bound(name, table[name], self.options))
        if self.warmup is None:
            if name == 'YOLOX':
                raise ArgumentError("policy YOLOX needs warmup='exp'.")
            return
        if name in WITH_WARMUP_OF_THEIR_OWN and self.warmup != WITH_WARMUP_OF_THEIR_OWN[name]:
            raise ArgumentError(
                f'policy {name} warms up in its own way, which its configs call '
                f'{WITH_WARMUP_OF_THEIR_OWN[name]!r}; got {self.warmup!r}.'
            )
        if self.warmup not in WARMUPS:
            raise ArgumentError(
                f'warmup is {", ".join(map(repr, WARMUPS))} or None, got {self.warmup!r}.'
                f'{did_you_mean(str(self.warmup), WARMUPS)}'
            )
        whole = isinstance(self.warmup_iters, int) and not isinstance(self.warmup_iters, bool)
        if not whole or self.warmup_iters <= 0:
            raise ArgumentError(
                f'a warm-up needs a positive integer for warmup_iters, got {self.warmup_iters!r}.'
            )
        ratio = self.warmup_ratio
        if not isinstance(ratio, (int, float)) or not 0 < ratio <= 1:
            raise ArgumentError(f'warmup_ratio lies in (0, 1], got {self.warmup_ratio!r}.')

    def values(
        self, bases: Sequence[float], iteration: int, run: Run, *, warms_up: bool = True
    ) -> Values:
        """The value of every group with which ``iteration`` (from 0) is trained.

        Args:
            bases: The values to begin with.
            iteration: The iteration.
            run: The run.
            warms_up: Whether the warm-up counts; else the policy alone.
        """
        if self.by_epoch:
            time, length = iteration // run.epoch_length, run.max_epochs
        else:
            time, length = iteration, run.max_iters
        policy: Any = self._regular  # type: ignore[attr-defined]  # set in __post_init__
        if canonical_name(self.policy) in WITH_WARMUP_OF_THEIR_OWN:
            at = Moment(
                time, length, iteration, self.by_epoch, run.epoch_length,
                self.warmup_length(run), self.warmup_ratio,
            )  # fmt: skip
            own_values: Values = policy(bases, at)
            return own_values
        values: Values = policy(bases, time, length)
        factor = self._warmup_factor(iteration, run) if warms_up else None
        if factor is None:
            return values
        if self.of_momentum:
            return [value / factor for value in values]
        return [value * factor for value in values]

    def warmup_length(self, run: Run) -> int:
        """Iterations until the warm-up is over."""
        if self.warmup is None:
            return 0
        return self.warmup_iters * (run.epoch_length if self.warmup_by_epoch else 1)

    def _warmup_factor(self, iteration: int, run: Run) -> float | None:
        length = self.warmup_length(run)
        if iteration >= length:
            return None
        left = 1 - iteration / length
        if self.warmup == 'constant':
            return self.warmup_ratio
        if self.warmup == 'linear':
            return 1 - left * (1 - self.warmup_ratio)
        return float(self.warmup_ratio**left)


def canonical_name(policy: str) -> str:
    """The name by which MMCV finds a policy: title-cased, unless it holds capitals.

    Example:
        >>> canonical_name('step'), canonical_name('CosineAnnealing')
        ('Step', 'CosineAnnealing')
    """
    return policy.title() if policy == policy.lower() else policy
