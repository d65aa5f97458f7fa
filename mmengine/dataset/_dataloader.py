"""What is asked of any dataloader: its length, and to hear of a new epoch."""

from typing import Any

from mmengine.dataset._sample_order import TRAIN, begin_pass


def num_batches(dataloader: Any) -> int | None:
    """Batches of one pass; None for a stream that does not know."""
    try:
        return len(dataloader)
    except TypeError:
        return None


def set_epoch(dataloader: Any, epoch: int) -> None:
    """Tell every sampler of ``dataloader`` that wants to know which epoch begins, each once."""
    batch_sampler = getattr(dataloader, 'batch_sampler', None)
    inner = getattr(batch_sampler, 'sampler', None)
    told: list[Any] = []
    for sampler in (getattr(dataloader, 'sampler', None), batch_sampler, inner):
        if hasattr(sampler, 'set_epoch') and not any(sampler is other for other in told):
            sampler.set_epoch(epoch)  # type: ignore[union-attr]  # None has no such attribute
            told.append(sampler)
    begin_pass(dataloader, epoch, TRAIN)
