"""Scopes of a trace: under which module an operator is recorded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def open_scope(name: str) -> Iterator[None]:
    """Record the operators that run inside under ``name``. Needs a trace in progress."""
    state = tracing_state()
    state.push_scope(name)
    try:
        yield
    finally:
        state.pop_scope()


def tracing_state() -> Any:
    """torch's record of the trace in progress; None outside of a trace."""
    return torch._C._get_tracing_state()
