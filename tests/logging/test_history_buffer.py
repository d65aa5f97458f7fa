"""Histories of scalars, compared with numpy on the full series."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmengine.logging import HistoryBuffer
from mmengine.logging.history_buffer import read_pending


def _filled(values, counts=None, **kwargs):
    buffer = HistoryBuffer(**kwargs)
    for value, count in zip(values, counts or [1] * len(values), strict=True):
        buffer.update(value, count)
    return buffer


class _CountReads(torch.utils._python_dispatch.TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls.append(str(func))
        return func(*args, **(kwargs or {}))


@settings(max_examples=50)
@given(
    series=st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(0, 9)), min_size=1, max_size=200),
    window=st.integers(1, 250),
    max_length=st.integers(1, 120),
)
def test_statistics_equal_numpy_on_the_kept_series(series, window, max_length):
    values = np.array([value for value, _ in series])[-max_length:][-window:]
    counts = np.array([count for _, count in series])[-max_length:][-window:]
    buffer = _filled(*zip(*series, strict=True), max_length=max_length)

    assert buffer.max(window) == np.max(values)
    assert buffer.min(window) == np.min(values)
    assert buffer.current() == values[-1]
    if counts.sum():
        assert buffer.mean(window) == np.sum(values) / np.sum(counts)
        assert buffer.weighted_mean(window) == np.sum(values * counts) / np.sum(counts)
    else:
        assert np.isnan(buffer.mean(window))
        assert np.isnan(buffer.weighted_mean(window))


@settings(max_examples=30)
@given(pieces=st.lists(st.integers(1, 700), min_size=1, max_size=8), max_length=st.integers(1, 900))
def test_reading_between_updates_changes_nothing(pieces, max_length):
    buffer = HistoryBuffer(max_length=max_length)
    expected: list[int] = []
    for piece in pieces:
        start = len(expected)
        expected += range(start, start + piece)
        for value in expected[start:]:
            buffer.update(value)
        assert buffer.data[0].tolist() == expected[-max_length:]


def test_the_mean_takes_values_for_sums_over_their_counts():
    # (6 + 2 + 10) / (3 + 1 + 4); of the last two (2 + 10) / (1 + 4): what mmengine 0.10.7 gives.
    buffer = _filled([6, 2, 10], [3, 1, 4])
    assert buffer.mean() == 2.25
    assert buffer.mean(2) == 2.4


def test_the_weighted_mean_takes_values_for_means_over_their_counts():
    # (1 * 1 + 4 * 3) / (1 + 3)
    assert _filled([1, 4], [1, 3]).weighted_mean() == 3.25


def test_window_of_zero_means_no_window():
    assert _filled([1, 2, 6]).mean(0) == 3


def test_memory_stays_bounded_by_max_length():
    buffer = HistoryBuffer(max_length=5000)
    for value in range(100_000):
        buffer.update(float(value))
    assert buffer.current() == 99_999
    assert len(buffer.data[0]) == 5000
    assert buffer._values.nbytes <= 8 * 5000 * 1.25
    assert buffer._counts is None


def test_constructor_keeps_the_latest_values():
    values, counts = HistoryBuffer([1, 2, 3], [4, 5, 6], max_length=2).data
    assert values.tolist() == [2, 3]
    assert counts.tolist() == [5, 6]


def test_constructor_rejects_histories_of_different_lengths():
    with pytest.raises(AssertionError, match=r'3 entries.*2'):
        HistoryBuffer([1, 2, 3], [1, 1])


@pytest.mark.parametrize('statistic', ['min', 'max', 'current'])
def test_an_empty_buffer_has_no_extremes(statistic):
    with pytest.raises(ValueError, match='empty'):
        HistoryBuffer().statistics(statistic)


def test_mean_of_an_empty_buffer_is_nan():
    assert np.isnan(HistoryBuffer().mean())


@pytest.mark.parametrize('window', ['global', 2.0, -1])
def test_bad_windows_are_rejected(window):
    with pytest.raises(AssertionError, match='window_size'):
        _filled([1.0]).mean(window)


@pytest.mark.parametrize('value', ['1', None, [1.0], 1j, np.array(['a'])], ids=str)
def test_a_value_that_is_no_number_is_rejected(value):
    with pytest.raises(TypeError, match='number'):
        HistoryBuffer().update(value)


@pytest.mark.parametrize('value', [torch.ones(2), np.ones(2), torch.tensor(1j)], ids=repr)
def test_a_value_of_other_than_one_real_number_is_rejected(value):
    buffer = HistoryBuffer()
    with pytest.raises(ValueError, match='one'):
        buffer.update(value)
    assert len(buffer.data[0]) == 0


def test_a_count_that_is_no_number_is_rejected():
    with pytest.raises(TypeError, match='count'):
        HistoryBuffer().update(1.0, 'many')


@pytest.mark.parametrize(
    'value',
    [
        2,
        True,
        np.float32(1.5),
        np.int64(3),
        np.array([1.5]),
        torch.tensor(1.5),
        torch.tensor([[7]]),
        torch.tensor(0.5, dtype=torch.bfloat16),
        torch.tensor(True),
    ],
    ids=repr,
)
def test_every_kind_of_number_keeps_its_value(value):
    expected = value.item() if hasattr(value, 'item') else value
    assert _filled([value]).current() == expected


def test_numbers_and_tensors_keep_their_order():
    values = [1.0, torch.tensor(2.0), 3, torch.tensor(4), np.float64(5), torch.tensor(6.0).half()]
    assert _filled(values).data[0].tolist() == [1, 2, 3, 4, 5, 6]


def test_int64_tensors_are_not_rounded_to_float32():
    values = [torch.tensor(2**24 + 1), torch.tensor(0.5)]
    assert _filled(values).data[0].tolist() == [2**24 + 1, 0.5]


@pytest.mark.parametrize('bad', [float('nan'), float('inf'), float('-inf')])
def test_non_finite_values_pass_through_unharmed(bad):
    buffer = _filled([1.0, torch.tensor(bad), 3.0])
    assert np.array_equal(buffer.data[0], [1.0, bad, 3.0], equal_nan=True)
    assert buffer.mean(1) == 3.0
    assert not np.isfinite(buffer.mean())


def test_the_mean_of_opposite_infinities_is_nan_without_a_warning():
    assert np.isnan(_filled([float('inf'), float('-inf')]).mean())


def test_updating_reads_nothing_and_reading_reads_once():
    losses = [torch.tensor(float(i), requires_grad=True) * 1 for i in range(10)]
    with _CountReads() as mode:
        buffer = _filled(losses)
        assert not [call for call in mode.calls if 'local_scalar' in call or 'copy' in call]
        buffer.mean()
        assert [call for call in mode.calls if 'stack' in call] == ['aten.stack.default']


def test_several_buffers_are_read_together():
    buffers = [_filled([torch.tensor(float(i))] * 3) for i in range(4)]
    with _CountReads() as mode:
        read_pending(buffers)
    assert [call for call in mode.calls if 'stack' in call] == ['aten.stack.default']
    assert [buffer.current() for buffer in buffers] == [0, 1, 2, 3]


def test_pending_tensors_are_bounded():
    buffer = HistoryBuffer()
    for _ in range(3000):
        buffer.update(torch.tensor(1.0))
    assert len(buffer._pending_values) < 1024


def test_a_pending_tensor_holds_no_graph():
    weight = torch.ones((), requires_grad=True)
    buffer = _filled([weight * 2])
    assert not buffer._pending_values[0].requires_grad


def test_a_parameter_is_logged_with_its_value_of_that_time():
    scale = torch.nn.Parameter(torch.tensor(1.0))
    buffer = HistoryBuffer()
    for _ in range(3):
        buffer.update(scale)
        with torch.no_grad():
            scale.mul_(2)
    assert buffer.data[0].tolist() == [1, 2, 4]


def test_a_running_total_is_logged_with_its_value_of_that_time():
    total = torch.zeros(1)
    buffer = HistoryBuffer()
    for _ in range(3):
        total += 1
        buffer.update(total)
    assert buffer.data[0].tolist() == [1, 2, 3]


def test_changing_a_fresh_tensor_before_it_is_read_warns():
    loss = torch.ones((), requires_grad=True) * 1
    buffer = _filled([loss])
    loss.div_(2)
    with pytest.warns(UserWarning, match=r'clone\(\)'):
        buffer.mean()


def test_a_tensor_of_inference_mode_can_be_logged():
    with torch.inference_mode():
        value = torch.tensor(2.0)
    assert _filled([value]).current() == 2


def test_a_small_view_does_not_keep_a_large_tensor_alive():
    buffer = _filled([torch.ones(100_000)[3]])
    assert buffer._pending_values[0].untyped_storage().nbytes() == 4


def test_data_is_a_copy():
    buffer = _filled([1.0])
    buffer.data[0][0] = 9
    assert buffer.current() == 1


def test_a_registered_statistic_is_found_by_name(monkeypatch):
    monkeypatch.setattr(HistoryBuffer, '_statistics', dict(HistoryBuffer._statistics))

    @HistoryBuffer.register_statistics
    def spread(buffer, window_size, scale=1):
        return (buffer.max(window_size) - buffer.min(window_size)) * scale

    assert _filled([9, 1, 4]).statistics('spread', 2, scale=10) == 30
    with pytest.raises(AssertionError, match='spread'):
        HistoryBuffer.register_statistics(spread)


def test_an_unknown_statistic_names_the_near_one():
    with pytest.raises(KeyError, match="Did you mean 'mean'"):
        _filled([1.0]).statistics('maen')


@pytest.mark.parametrize('clone', [copy.deepcopy, lambda b: pickle.loads(pickle.dumps(b))])
def test_copies_hold_the_history_and_are_independent(clone):
    buffer = _filled([1.0, torch.tensor(2.0)], [1, 5], max_length=7)
    twin = clone(buffer)
    twin.update(3.0)
    assert [array.tolist() for array in buffer.data] == [[1, 2], [1, 5]]
    assert [array.tolist() for array in twin.data] == [[1, 2, 3], [1, 5, 1]]
    assert twin.max_length == 7


def test_the_pickled_state_of_mmengine_0x_is_understood():
    # The attributes such a buffer has in a checkpoint, as seen in a pickle of MMEngine 0.10.7.
    state = {
        'max_length': 2,
        '_log_history': np.array([2.0, 3.0]),
        '_count_history': np.array([1, 1]),
        '_statistics_methods': {},
    }
    buffer = HistoryBuffer.__new__(HistoryBuffer)
    buffer.__setstate__(state)
    assert buffer.mean() == 2.5


@pytest.mark.parametrize('counts', [[1, 1, 1], [2, 1, 3], [0.5, 1, 2]], ids=str)
def test_state_dict_round_trips(counts):
    buffer = _filled([1.0, float('nan'), 3.0], counts, max_length=10)
    twin = HistoryBuffer.from_state_dict(buffer.state_dict())
    for mine, theirs in zip(buffer.data, twin.data, strict=True):
        np.testing.assert_array_equal(mine, theirs)
        assert mine.dtype == theirs.dtype
    assert twin.max_length == 10
