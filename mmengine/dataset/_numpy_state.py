"""The state of numpy's global generator, kept and put back faster than by numpy's own functions.

``numpy.random.get_state`` and ``set_state`` turn 624 words into an array and back one by one, which
takes 100 times as long as to copy them. numpy gives the address of the words for that
(``BitGenerator.ctypes``). Whether they lie there as expected is found out before the first use.

Beside the words there is the second of a pair of normal numbers, which waits to be drawn. It has no
address, so one normal number is drawn: if the words stay as they were, it is the one that waited.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

_WORDS = 624
_SIZE = 4 * _WORDS + 4  # and the position in them

# Older versions of numpy have no such function, and their states are copied word by word.
_get_bit_generator: Callable[[], Any] = getattr(np.random, 'get_bit_generator', lambda: None)


class NumpyState(NamedTuple):
    """The state of numpy's global generator at a moment."""

    words: bytes | None
    waiting: float | None
    whole: Any
    """As numpy gives it, where the words cannot be copied."""


def take_numpy_state() -> NumpyState:
    """The present state. It is used up by this: seed the generator, or put the state back."""
    address = _address_of_words()
    if address is None:
        return NumpyState(None, None, np.random.get_state(legacy=False))
    words = ctypes.string_at(address, _SIZE)
    number = float(np.random.standard_normal())
    is_waiting = ctypes.string_at(address, _SIZE) == words
    return NumpyState(words, number if is_waiting else None, None)


def put_numpy_state(state: NumpyState) -> None:
    """Let the global generator go on from ``state``."""
    address = _address_of_words()
    if state.words is None or address is None:
        np.random.set_state(state.whole)
        return
    np.random.seed(0)  # no normal number waits any more
    ctypes.memmove(address, state.words, _SIZE)
    if state.waiting is not None:
        np.random.set_state(
            {**np.random.get_state(legacy=False), 'has_gauss': 1, 'gauss': state.waiting}
        )


def _address_of_words() -> int | None:
    # Users may exchange the global bit generator.
    generator = _get_bit_generator()
    return _address_in(generator) if type(generator) is np.random.MT19937 else None


@lru_cache(maxsize=4)
def _address_in(generator: np.random.MT19937) -> int | None:
    """Where the words and the position are; None if this numpy keeps them in another way."""
    address = int(generator.ctypes.state_address)
    state: Any = generator.state['state']
    expected = state['key'].astype(np.uint32).tobytes() + np.int32(state['pos']).tobytes()
    return address if ctypes.string_at(address, _SIZE) == expected else None
