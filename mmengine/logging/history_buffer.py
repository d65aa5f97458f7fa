"""One logged quantity over time, with smoothing over its latest values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.compiler import is_compiling

from mmengine.dist._dtensor import full_tensor
from mmengine.dist._warn import warn_once
from mmengine.logging._numbers import as_count, as_number, check_holds_one_number
from mmengine.logging._past import NO_PAST, Past
from mmengine.logging._pending import read_pending, reading
from mmengine.utils.errors import ArgumentError, did_you_mean

_FloatArray = npt.NDArray[np.float64]
_Statistic = TypeVar('_Statistic', bound=Callable[..., Any])

# Values that a bounded history keeps one by one.
NUM_KEPT = 4096
_MAX_PENDING = 1024
_PLAIN_NUMBERS = frozenset({float, int, bool})


class HistoryBuffer:
    """The latest ``max_length`` values of one quantity, each with its number of samples.

    Appending is one list append: a tensor is detached and kept on its device, unread. Reading
    (``mean``, ``data`` ...) transfers all pending values from the device at once. Memory is bounded
    by ``max_length`` values and 1,024 pending ones.

    A message hub keeps the latest 4,096 values or more of each quantity, and of older values the
    sums and extremes. Statistics over everything, and over a window of the latest values, do not
    change. A window that was used before and becomes longer is kept whole. ``data`` has the kept
    values only.

    Any thread may append values, and any thread may read them, at the same time.

    Values need not be finite: ``nan`` and ``inf`` are kept, and statistics over them show them.

    Args:
        log_history: Values to begin with, oldest first.
        count_history: The number of samples of each of those values.
        max_length: Upper bound of the values kept; older ones are dropped.

    Raises:
        ArgumentError: If the two histories differ in length, or ``max_length`` is below 1.

    Example:
        >>> buffer = HistoryBuffer()
        >>> for loss, batch_size in [(4.0, 2), (1.0, 2), (2.0, 1)]:
        ...     buffer.update(loss, batch_size)
        >>> float(buffer.mean()), float(buffer.weighted_mean()), float(buffer.min())
        (1.4, 2.4, 1.0)
    """

    _statistics: dict[str, Callable[..., Any]] = {}

    def __init__(
        self,
        log_history: npt.ArrayLike = [],  # noqa: B006  # a known default that nothing changes
        count_history: npt.ArrayLike = [],  # noqa: B006
        max_length: int = 1000000,
    ) -> None:
        values = np.asarray(log_history, dtype=np.float64).reshape(-1)
        counts = np.asarray(count_history).reshape(-1)
        if len(values) != len(counts):
            raise ArgumentError(
                f'Each value needs its count: log_history has {len(values)} entries, '
                f'count_history has {len(counts)}.'
            )
        if max_length < 1:
            raise ArgumentError(f'max_length must be at least 1, got {max_length}.')
        self.max_length = max_length
        self._values = np.empty(0, dtype=np.float64)
        # None while every count is 1, which is the usual case and needs no memory.
        self._counts: npt.NDArray[Any] | None = None
        self._begin = self._end = 0
        # A bounded history keeps so many values; the older ones are in `_past`.
        self._num_kept: int | None = None
        self._past = Past()
        # A value with a count that is not 1 is a pair. One append for both: threads may write.
        self._pending_values: list[float | Tensor | tuple[float | Tensor, float]] = []
        # Before the first tensor or count is appended this becomes False, and remains so.
        self._has_only_numbers = True
        #: ``append(number)`` is :meth:`update` for a float of count 1 at the price of a list
        #: append: nothing is checked, and pending values are bounded only by reads.
        self.append: Callable[[float], None] = self._pending_values.append
        self._extend(values, counts)

    def update(self, log_val: float | Tensor, count: float = 1) -> None:
        """Append a value, such as the mean of ``count`` samples.

        Args:
            log_val: A number, a numpy scalar, or a tensor or array of one element. A tensor is not
                read here. The fresh result of a computation with gradients is kept, so it must not
                be changed in place before the next read; another tensor is copied on its device. A
                ``DTensor`` is gathered here, so all ranks of its mesh must log it.
            count: How many samples the value stands for: what :meth:`mean` divides by.

        Raises:
            TypeError: If the value or its count is not a real number.
            ArgumentError: If a tensor or array does not have exactly one element.
        """
        if type(log_val) not in _PLAIN_NUMBERS:
            if isinstance(log_val, Tensor):
                log_val = _detached_scalar(log_val)
                self._has_only_numbers = False
            else:
                log_val = as_number(log_val)
        pending = self._pending_values
        if count == 1:
            pending.append(log_val)
        else:
            self._has_only_numbers = False
            pending.append((log_val, as_count(count)))
        if len(pending) >= _MAX_PENDING:
            read_pending((self,))

    @property
    def data(self) -> tuple[_FloatArray, npt.NDArray[Any]]:
        """Copies of the kept values and of their counts, oldest first."""
        values, counts = self._window(None)
        if counts is None:
            return values.copy(), np.ones(len(values), dtype=np.int64)
        return values.copy(), counts.copy()

    def curve(self) -> tuple[_FloatArray, _FloatArray]:
        """All values so far with their positions, from 1; older ones as means of blocks."""
        values, _, past = self._span(None)
        at, means = past.curve()
        first = len(past) + 1
        positions = np.arange(first, first + len(values), dtype=np.float64)
        return np.concatenate([at, positions]), np.concatenate([means, values])

    @classmethod
    def register_statistics(cls, method: _Statistic) -> _Statistic:
        """Make ``method(buffer, ...)`` available to :meth:`statistics` under its own name.

        Raises:
            ArgumentError: If that name is taken.
        """
        name = method.__name__
        if name in cls._statistics:
            raise ArgumentError(
                f'A statistic named {name!r} exists already: rename the new function. '
                f'Taken: {", ".join(cls._statistics)}.'
            )
        cls._statistics[name] = method
        return method

    def statistics(self, method_name: str, *arg: Any, **kwargs: Any) -> Any:
        """The registered statistic ``method_name``, called with the arguments that follow.

        Raises:
            KeyError: If no statistic has that name.
        """
        method = self._statistics.get(method_name)
        if method is None:
            raise KeyError(
                f'No statistic is named {method_name!r}.'
                f'{did_you_mean(str(method_name), self._statistics)} '
                f'Known: {", ".join(self._statistics)}; HistoryBuffer.register_statistics adds one.'
            )
        if vars(HistoryBuffer).get(method_name) is method:  # which a subclass may override
            method = getattr(type(self), method_name)
        return method(self, *arg, **kwargs)

    def mean(self, window_size: int | None = None) -> np.float64:
        """Sum of the latest ``window_size`` values over the sum of their counts; of all by default.

        A value is thus a sum over ``count`` samples; :meth:`weighted_mean` is for values that are
        means. It is ``nan`` where the counts sum to zero, an empty buffer included.
        """
        values, counts, past = self._span(window_size)
        with np.errstate(invalid='ignore', over='ignore'):
            total = values.sum() + past.total
        return _ratio(total, _total_count(values, counts) + past.count)

    def weighted_mean(self, window_size: int | None = None) -> np.float64:
        """Mean of the latest ``window_size`` values, each a mean over ``count`` samples itself.

        It is ``nan`` where the counts sum to zero, an empty buffer included.
        """
        values, counts, past = self._span(window_size)
        with np.errstate(invalid='ignore', over='ignore'):
            total = (values if counts is None else values * counts).sum() + past.weighted_total
        return _ratio(total, _total_count(values, counts) + past.count)

    def max(self, window_size: int | None = None) -> np.float64:
        """Largest of the latest ``window_size`` values; of all without a window."""
        values, past = self._filled_span(window_size)
        return _float64(np.maximum(values.max(), past.high))

    def min(self, window_size: int | None = None) -> np.float64:
        """Smallest of the latest ``window_size`` values; of all without a window."""
        values, past = self._filled_span(window_size)
        return _float64(np.minimum(values.min(), past.low))

    def current(self) -> np.float64:
        """The latest value."""
        return _float64(self._filled_span(1)[0][-1])

    def _extend(self, values: _FloatArray, counts: npt.NDArray[Any] | None) -> None:
        """Append to the stored columns, dropping what exceeds ``max_length``; no counts mean 1s.

        Columns have spare room at their end. A full column moves its live part to the front of one
        that is larger by half (a quarter over ``max_length`` at most), so each value is moved O(1)
        times on average.
        """
        values = values[-self.max_length :]
        if counts is not None:
            counts = counts[-self.max_length :]
        self._begin = max(self._begin, self._end + len(values) - self.max_length)
        if self._end + len(values) > len(self._values):
            self._make_room(len(values))
        stop = self._end + len(values)
        self._values[self._end : stop] = values
        if self._counts is None and counts is not None and (counts != 1).any():
            self._counts = np.ones(len(self._values), dtype=counts.dtype)
        if self._counts is not None:
            if counts is None:
                counts = np.ones(len(values), dtype=np.int64)
            if self._counts.dtype != counts.dtype:
                self._counts = self._counts.astype(np.result_type(self._counts, counts))
            self._counts[self._end : stop] = counts
        self._end = stop
        kept = self._num_kept
        # A quarter more is kept at times, so that older values are added up in large blocks.
        if kept is not None and stop - self._begin > kept + kept // 4:
            self._forget(stop - kept)

    def _forget(self, begin: int) -> None:
        """Add up the values before ``begin``, and stop keeping them."""
        for start in range(self._begin, begin, _MAX_PENDING):
            old = slice(start, min(start + _MAX_PENDING, begin))
            counts = None if self._counts is None else self._counts[old]
            self._past = self._past.plus(self._values[old], counts)
        self._begin = begin
        if len(self._values) > 4 * (self._end - begin):
            self._make_room(0)

    def bound(self, num_kept: int = NUM_KEPT) -> HistoryBuffer:
        """Keep the latest ``num_kept`` values only, and sums of the older ones; returns itself."""
        with reading:
            self._num_kept = min(max(num_kept, self._num_kept or 0), self.max_length)
            self._extend(np.empty(0), None)
        return self

    def _make_room(self, incoming: int) -> None:
        kept = slice(self._begin, self._end)
        length = self._end - self._begin
        needed = length + incoming
        most = self.max_length if self._num_kept is None else self._num_kept + self._num_kept // 4
        capacity = max(needed, min(needed + needed // 2, most + most // 4), 64)
        self._values = _moved_to_front(self._values[kept], capacity)
        if self._counts is not None:
            self._counts = _moved_to_front(self._counts[kept], capacity)
        self._begin, self._end = 0, length

    def _window(self, size: int | None) -> tuple[_FloatArray, npt.NDArray[Any] | None]:
        """Views of the latest ``size`` kept values and counts, pending ones folded in.

        Values that are appended later do not change what the views have.
        """
        if size is not None and (not isinstance(size, (int, np.integer)) or size < 0):
            raise ArgumentError(f'window_size must be a positive int or None, got {size!r}.')
        with reading:
            if self._pending_values:
                read_pending((self,))
            begin = self._begin if not size else max(self._begin, self._end - int(size))
            live = slice(begin, self._end)
            return self._values[live], None if self._counts is None else self._counts[live]

    def _span(self, size: int | None) -> tuple[_FloatArray, npt.NDArray[Any] | None, Past]:
        """The latest ``size`` kept values, and the older ones if the window has all of them."""
        with reading:
            values, counts = self._window(size)
            if self._num_kept is None or not len(self._past):
                return values, counts, NO_PAST
            length = len(self._past) + self._end - self._begin
            if not size or size >= length:
                return values, counts, self._past
            if 2 * size > self._num_kept:
                self._num_kept = min(2 * int(size), self.max_length)
        if size > len(values):
            warn_once(
                'A statistic over a window of a history is over the kept values only, because the '
                'window was never used before and is longer than these. From now on it is kept.'
            )
        return values, counts, NO_PAST

    def _filled_span(self, size: int | None) -> tuple[_FloatArray, Past]:
        values, _, past = self._span(size)
        if not len(values):
            raise ValueError('The history is empty: call update() before reading it.')
        return values, past

    def __getstate__(self) -> dict[str, Any]:
        with reading:  # the data and the past of one moment
            values, counts = self.data
            return {
                'max_length': self.max_length,
                '_log_history': values,
                '_count_history': counts,
                '_num_kept': self._num_kept,
                '_past': self._past.blocks,
            }

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Restore a pickled buffer, those inside checkpoints written by MMEngine 0.x included."""
        HistoryBuffer.__init__(
            self, state['_log_history'], state['_count_history'], state['max_length']
        )
        self._num_kept = state.get('_num_kept')
        self._past = Past(state.get('_past'))

    def state_dict(self) -> dict[str, Any]:
        """The history as tensors and plain values; no ``count_history`` when every count is 1."""
        values, counts, past = self._span(None)
        state = {
            'log_history': torch.from_numpy(values.copy()),
            'count_history': None if counts is None else torch.from_numpy(counts.copy()),
            'max_length': self.max_length,
        }
        if self._num_kept is not None:
            state['num_kept'] = self._num_kept
            state['past'] = torch.from_numpy(past.blocks.copy())
        return state

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> HistoryBuffer:
        """A buffer with the history in a :meth:`state_dict`."""
        values = np.asarray(state['log_history'], dtype=np.float64)
        counts = state.get('count_history')
        buffer = cls(
            values,
            np.ones(len(values), dtype=np.int64) if counts is None else np.asarray(counts),
            int(state.get('max_length', 1000000)),
        )
        buffer._num_kept = state.get('num_kept')
        if state.get('past') is not None:
            buffer._past = Past(np.asarray(state['past']))
        return buffer


for _method in (
    HistoryBuffer.mean,
    HistoryBuffer.weighted_mean,
    HistoryBuffer.max,
    HistoryBuffer.min,
    HistoryBuffer.current,
):
    HistoryBuffer.register_statistics(_method)
# These are exact over all values, because they need the sums and extremes of older values only.
BUILT_IN = frozenset(HistoryBuffer._statistics)


def _detached_scalar(value: Tensor) -> Tensor:
    """``value`` as a detached 0-d tensor that will not change before it is read."""
    # Runs in every training step: each call here costs 0.05 microseconds.
    if type(value) is not Tensor:
        value = full_tensor(value)
    num_dims = value.dim()
    if num_dims or value.is_complex():
        check_holds_one_number(value)
    # A leaf may be a parameter, a buffer, an array, a state of the optimizer, or share its memory.
    # So may a view, which would also keep a whole storage alive. The compiler follows neither.
    if is_compiling() or value.is_leaf or value._is_view() or value._version:
        # The copy of a tensor of inference mode counts its first value as a change; data does not.
        value = value.clone().data if value.is_inference() else value.clone()
    if value.requires_grad:
        value = value.detach()
    return value.reshape(()) if num_dims else value


def _float64(value: Any) -> np.float64:
    number: np.float64 = np.float64(value)
    return number


def _total_count(values: _FloatArray, counts: npt.NDArray[Any] | None) -> float:
    """The sum of ``counts``, which are all 1 when None."""
    return float(len(values) if counts is None else counts.sum())


def _ratio(total: Any, count: float) -> np.float64:
    if count == 0:
        return _float64(np.nan)
    with np.errstate(invalid='ignore', over='ignore'):
        return _float64(total / count)


def _moved_to_front(live: npt.NDArray[Any], capacity: int) -> npt.NDArray[Any]:
    column = np.empty(capacity, dtype=live.dtype)
    column[: len(live)] = live
    return column
