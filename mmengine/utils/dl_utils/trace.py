"""Whether torch is tracing."""

import torch


def is_jit_tracing() -> bool:
    """Whether ``torch.jit.trace`` is recording what runs now."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined,no-untyped-call]  # no stubs
