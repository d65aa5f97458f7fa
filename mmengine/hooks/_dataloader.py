"""How much data there is."""

from typing import Any


def num_batches(dataloader: Any) -> int | None:
    """Batches of one pass; None for a stream that does not know."""
    try:
        return len(dataloader)
    except TypeError:
        return None
