"""Many annotation records in one block of bytes.

Python objects carry reference counts, so a forked worker that merely reads a list of dicts copies
its memory page by page. One numpy array of bytes has no counts inside: all workers of a machine
share it, whatever the number of records. Forked workers do so by themselves. For spawned workers,
the bytes move to a :class:`SharedBlock` when the first of them is started.
"""

from __future__ import annotations

import io
import operator
import pickle
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from mmengine.utils._shared_block import SharedBlock
from mmengine.utils.errors import ArgumentError

# uint8: the pickled records, one after the other; int64: where each of them ends.
Packed = tuple['np.ndarray[Any, Any]', 'np.ndarray[Any, Any]']


def pack(records: Iterable[Any]) -> Packed:
    """The records as one array of bytes, and the array of their ends in it."""
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, protocol=pickle.HIGHEST_PROTOCOL)
    ends = []
    for record in records:
        pickler.dump(record)
        # Each record must be readable without the ones before it.
        pickler.clear_memo()
        ends.append(stream.tell())
    return np.frombuffer(stream.getbuffer(), dtype=np.uint8), np.asarray(ends, dtype=np.int64)


def unpack(packed: Packed, position: int) -> Any:
    """A fresh copy of the record at ``position``, which is not negative."""
    data, ends = packed
    start = ends[position - 1] if position else 0
    return pickle.loads(data[start : ends[position]].data)


class SharedRecords:
    """Packed records in memory that this process shares with the processes that it starts.

    Attributes:
        packed: The records; they cannot be written.
    """

    def __init__(self, packed: Packed) -> None:
        data, ends = packed
        self._layout = len(data), len(ends)
        self._block = SharedBlock(max(ends.nbytes + len(data), 1))
        parts = _parts(self._block, *self._layout)
        for part, values in zip(parts, packed, strict=True):
            part[:] = values
            part.flags.writeable = False
        self.packed: Packed = parts

    def for_new_process(self) -> tuple[_Part, _Part]:
        """The two arrays as values whose pickles are arrays in the shared memory."""
        return _Part(self._block, self._layout, 0), _Part(self._block, self._layout, 1)


class _Part:
    """One of the two arrays of packed records, to be pickled."""

    def __init__(self, block: SharedBlock, layout: tuple[int, int], number: int) -> None:
        self._arguments = block, layout, number

    def __reduce__(self) -> tuple[Any, ...]:
        return _part, self._arguments


def _part(block: SharedBlock, layout: tuple[int, int], number: int) -> np.ndarray[Any, Any]:
    part = _parts(block, *layout)[number]
    part.flags.writeable = False
    return part


def _parts(block: SharedBlock, num_bytes: int, num_ends: int) -> Packed:
    # The ends come first, where they are aligned.
    ends = np.frombuffer(block.memory, np.int64, num_ends)
    return np.frombuffer(block.memory, np.uint8, num_bytes, offset=8 * num_ends), ends


def take(packed: Packed, positions: Sequence[int] | np.ndarray[Any, Any]) -> Packed:
    """The records at ``positions``, in that order, without unpickling any."""
    data, ends = packed
    starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    chunks = [data[starts[position] : ends[position]] for position in positions]
    joined = np.concatenate(chunks) if chunks else np.empty(0, dtype=np.uint8)
    return joined, np.cumsum([len(chunk) for chunk in chunks], dtype=np.int64)


def positions_of(indices: int | Sequence[int], length: int, *, clip: bool) -> list[int]:
    """The positions, from 0, that the user's ``indices`` select.

    Args:
        indices: A number ``n`` for the first ``n`` records, ``-n`` for the last ``n``; or a
            sequence of positions, which may count from the end.
        length: Number of records.
        clip: Whether a number beyond ``length`` means all of them; otherwise it is an error.

    Raises:
        ArgumentError: If an index is out of range.
        TypeError: If ``indices`` is neither a whole number nor a sequence of them.
    """
    if isinstance(indices, Integral):
        count = int(indices)
        if abs(count) > length and not clip:
            raise ArgumentError(f'indices={count} selects more than the existing {length} samples.')
        everything = range(length)
        return list(everything[:count] if count >= 0 else everything[count:])
    if isinstance(indices, str) or not isinstance(indices, (Sequence, np.ndarray)):
        raise TypeError(
            'indices must be a whole number (the first n samples, or the last n when negative) '
            f'or a sequence of positions, got {type(indices).__name__}.'
        )
    positions = []
    for index in map(operator.index, indices):
        if not -length <= index < length:
            raise ArgumentError(f'indices holds {index}, but there are only {length} samples.')
        positions.append(index % length)
    return positions
