"""What the loops need of any dataloader: its length, and a call when an epoch begins."""

from typing import Any

from torch.utils.data import IterableDataset

from mmengine.dataset._sample_order import TRAIN, begin_pass


def num_batches(dataloader: Any) -> int | None:
    """Number of batches in one pass; None for a stream without a length."""
    try:
        return len(dataloader)
    except TypeError:
        return None


def set_epoch(dataloader: Any, epoch: int) -> None:
    """Call ``set_epoch`` once on each sampler of ``dataloader`` that has it, and on a stream.

    A stream of Hugging Face shuffles by it, and uses a state that was loaded in that epoch only.
    """
    batch_sampler = getattr(dataloader, 'batch_sampler', None)
    inner = getattr(batch_sampler, 'sampler', None)
    notified: list[Any] = []
    for sampler in (getattr(dataloader, 'sampler', None), batch_sampler, inner):
        if hasattr(sampler, 'set_epoch') and not any(sampler is other for other in notified):
            sampler.set_epoch(epoch)  # type: ignore[union-attr]  # None has no such attribute
            notified.append(sampler)
    dataset = getattr(dataloader, 'dataset', None)
    if isinstance(dataset, IterableDataset) and hasattr(dataset, 'set_epoch'):
        dataset.set_epoch(epoch)
    begin_pass(dataloader, epoch, TRAIN)
