"""The base of migrated hooks that count epochs, in runs of iterations as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook

if TYPE_CHECKING:
    from mmengine.runner import Runner


class LegacyHook(Hook):
    """A hook that counts epochs and the iterations within one as runners of MMCV 1.x did.

    In a run of epochs it counts as :class:`Hook` does. ``Runner`` takes a run of iterations for one
    epoch. MMCV counted passes over the data there, one iteration late, from where the run was
    started or resumed; every iteration was the first within its epoch; there was no last epoch; and
    ``before_train_epoch`` and ``after_train_epoch`` were not called, but ``before_epoch`` and
    ``after_epoch`` once. Code for this engine counts ``runner.iter`` instead; this class runs what
    is there.
    """

    def counts_iterations(self, runner: Runner) -> bool:
        """Whether the run counts iterations."""
        return counts_iterations(runner)

    def epoch_of(self, runner: Runner) -> int:
        """The epochs, or the passes over the data, that are finished."""
        if not self.counts_iterations(runner):
            return runner.epoch
        # A pass counts as finished when the batch after its last one has been loaded.
        last = min(runner.iter, runner.max_iters - 1)
        return max(last - 1, 0) // len(runner.train_dataloader)

    def max_epochs_of(self, runner: Runner) -> int | None:
        """How many epochs the run has; None in a run of iterations."""
        return None if self.counts_iterations(runner) else runner.max_epochs

    def inner_iter_of(self, runner: Runner, batch_idx: int) -> int:
        """The place of a batch in its epoch: 0 in a run of iterations."""
        return 0 if self.counts_iterations(runner) else batch_idx

    def every_n_epochs(self, runner: Any, n: int, start: int = 0) -> bool:
        """Whether the epoch, or the pass over the data, is a multiple of ``n`` when it ends."""
        if not self.counts_iterations(runner):
            return super().every_n_epochs(runner, n, start)
        return n > 0 and (self.epoch_of(runner) + 1) % n == 0

    def is_last_train_epoch(self, runner: Any) -> bool:
        """Whether the epoch is the last: never in a run of iterations."""
        return not self.counts_iterations(runner) and super().is_last_train_epoch(runner)


def counts_iterations(runner: Any) -> bool:
    """Whether a run counts iterations."""
    from mmengine.runner import IterBasedTrainLoop

    return isinstance(runner.train_loop, IterBasedTrainLoop)
