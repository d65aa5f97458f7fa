"""BaseLoop: the base class of loops, with a runner and a dataloader."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from mmengine.dataset._sample_order import number_samples
from mmengine.runner._model_collate import with_collate_of
from mmengine.runner._split_data import split_over_ranks

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner


class BaseLoop(metaclass=ABCMeta):
    """Base class of train, val and test loops.

    To use a custom loop, register a subclass in ``LOOPS`` and set it as ``type`` in ``train_cfg``.

    Args:
        runner: The run to which the loop belongs.
        dataloader: A dataloader or its config.
    """

    def __init__(self, runner: Runner, dataloader: DataLoader[Any] | dict[str, Any]) -> None:
        self._runner = runner
        self.dataloader = dataloader_of(runner, dataloader)

    @property
    def runner(self) -> Runner:
        """The run to which the loop belongs."""
        return self._runner

    @abstractmethod
    def run(self) -> Any:
        """Run the loop over the data."""


def dataloader_of(runner: Runner, dataloader: DataLoader[Any] | dict[str, Any]) -> DataLoader[Any]:
    """A dataloader with the seed of ``runner`` from its config; an object is returned as it is.

    Where every rank would read all of its data, each gets a part, unless ``split_data=False`` is in
    the config of ``runner``. All ranks call it, unless its dataset was given to ``runner``.
    """
    if isinstance(dataloader, Mapping):
        dataloader = dict(with_collate_of(runner.model, dataloader))
        differ = runner.randomness_cfg.get('diff_rank_seed', False)
        dataloader = runner.build_dataloader(dataloader, seed=runner.seed, diff_rank_seed=differ)
    is_wanted = runner.cfg.get('split_data', True)
    given = getattr(runner, '_given_data', None)  # a Runner of a user may build loops by itself
    loader: DataLoader[Any] = split_over_ranks(dataloader, runner.seed, is_wanted, given)
    number_samples_of(runner, loader)
    return loader


def number_samples_of(runner: Runner, dataloader: Any) -> None:
    """Load each sample in its own random state, unless ``runner`` is configured otherwise.

    Called again before each pass: the run may have adopted another seed from a checkpoint, and a
    dataloader may be shared by runs.
    """
    is_seeded = runner.strategy.randomness.get('per_sample', True)
    number_samples(dataloader, runner.seed if is_seeded else None)
