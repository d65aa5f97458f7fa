"""What every loop has: its runner and its dataloader."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from mmengine.dataset._sample_order import number_samples

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner


class BaseLoop(metaclass=ABCMeta):
    """Base of train, val and test loops. Register a subclass in ``LOOPS`` and name it in
    ``train_cfg`` to use it.

    Args:
        runner: The run this loop belongs to.
        dataloader: A dataloader or its config.
    """

    def __init__(self, runner: Runner, dataloader: DataLoader[Any] | dict[str, Any]) -> None:
        self._runner = runner
        self.dataloader = dataloader_of(runner, dataloader)

    @property
    def runner(self) -> Runner:
        """The run this loop belongs to."""
        return self._runner

    @abstractmethod
    def run(self) -> Any:
        """Go through the data."""


def dataloader_of(runner: Runner, dataloader: DataLoader[Any] | dict[str, Any]) -> DataLoader[Any]:
    """A dataloader with the seed of ``runner`` from its config; an object is returned as it is."""
    if isinstance(dataloader, dict):
        differ = runner.randomness_cfg.get('diff_rank_seed', False)
        dataloader = runner.build_dataloader(dataloader, seed=runner.seed, diff_rank_seed=differ)
    is_seeded = runner.strategy.randomness.get('per_sample', True)
    number_samples(dataloader, runner.seed if is_seeded else None)
    return dataloader
