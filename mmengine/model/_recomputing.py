"""Methods whose activations are computed again in the backward pass."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from torch.utils.checkpoint import checkpoint


def wrap_forward(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``forward`` so that it keeps only its inputs and runs again in the backward pass."""

    @wraps(forward)
    def recomputing(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    return recomputing
