"""Histories that keep their latest values, and sums of the older ones."""

import copy
import io
import pickle
import tracemalloc
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.logging._past import Past
from mmengine.logging.history_buffer import NUM_KEPT
from mmengine.runner.log_processor import LogProcessor

_STATISTICS = ('mean', 'weighted_mean', 'max', 'min')


def _expected(name: str, values: Any, counts: Any) -> float:
    if name == 'mean':
        return values.sum() / counts.sum()
    if name == 'weighted_mean':
        return (values * counts).sum() / counts.sum()
    return getattr(values, name)()


def _filled(values: Any, counts: Any = None, kept: int = 8, read_every: int = 3) -> HistoryBuffer:
    buffer = HistoryBuffer().bound(kept)
    for index, value in enumerate(values):
        buffer.update(float(value), 1 if counts is None else int(counts[index]))
        if index % read_every == 0:
            buffer.current()
    return buffer


def _saved_bytes(state: Any) -> int:
    file = io.BytesIO()
    torch.save(state, file)
    return file.tell()


@given(
    series=st.lists(st.tuples(st.integers(-100, 100), st.integers(1, 5)), min_size=1, max_size=200),
    kept=st.integers(1, 30),
    read_every=st.integers(1, 40),
    reload=st.booleans(),
)
def test_statistics_over_everything_and_over_kept_values_equal_numpy(
    series, kept, read_every, reload
):
    values, counts = (np.array(column, dtype=float) for column in zip(*series, strict=True))
    buffer = _filled(values, counts, kept, read_every)
    if reload:
        buffer = HistoryBuffer.from_state_dict(buffer.state_dict())
    for name in _STATISTICS:
        for window in (None, len(series), len(series) + 5):
            found = buffer.statistics(name, window)
            assert found == pytest.approx(_expected(name, values, counts))
        for window in range(1, min(kept, len(series)) + 1):
            expected = _expected(name, values[-window:], counts[-window:])
            assert buffer.statistics(name, window) == pytest.approx(expected)
    assert buffer.current() == values[-1]


@pytest.mark.parametrize('bad', [float('nan'), float('inf'), -float('inf')])
def test_a_value_that_is_not_finite_shows_in_the_statistics_over_everything(bad):
    buffer = _filled([1.0, bad, *range(100)])
    values = np.array([1.0, bad, *range(100)])
    for name in _STATISTICS:
        expected = _expected(name, values, np.ones(len(values)))
        np.testing.assert_equal(float(buffer.statistics(name)), float(expected))
        assert np.isfinite(buffer.statistics(name, 5))


def test_opposite_infinities_give_nan_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert np.isnan(_filled([float('inf'), -float('inf'), *range(50)]).mean())


def test_a_window_that_grows_with_an_epoch_is_exact_in_every_epoch():
    """Epochs are longer than the values that are kept, and are read as LogProcessor reads them."""
    buffer = HistoryBuffer().bound(16)
    for epoch in range(3):
        for batch in range(100):
            buffer.update(float(batch * (epoch + 1)))
            if batch % 5 == 4:
                # (0 + 1 + ... + batch) (epoch + 1) / (batch + 1) = batch / 2 (epoch + 1)
                assert buffer.mean(batch + 1) == pytest.approx(batch / 2 * (epoch + 1))


def test_a_window_that_was_used_before_is_exact_after_a_resume():
    buffer = HistoryBuffer().bound(16)
    for value in range(150):
        buffer.update(float(value))
        if value >= 50 and value % 5 == 0:
            buffer.mean(value - 50 + 1)
    twin = HistoryBuffer.from_state_dict(buffer.state_dict())
    for value in range(150, 160):
        twin.update(float(value))
    assert twin.mean(110) == np.arange(50, 160).mean()


def test_a_longer_window_warns_and_is_over_the_kept_values(monkeypatch):
    monkeypatch.setattr('mmengine.dist._warn._shown', set())
    buffer = _filled(range(100), kept=8)
    kept = len(buffer.data[0])
    assert 8 <= kept <= 10
    with pytest.warns(UserWarning, match='over the kept values only'):
        assert buffer.mean(50) == np.arange(100 - kept, 100).mean()
    for value in range(100, 200):
        buffer.update(float(value))
    assert buffer.mean(50) == np.arange(150, 200).mean()  # from then on it is kept


def test_the_running_mean_of_a_long_run_is_over_all_of_it():
    hub = MessageHub.get_instance('global')
    hub.log_scalars['train/loss'] = HistoryBuffer().bound(16)
    hub._resumed_keys['train/loss'] = True
    processor = LogProcessor(
        by_epoch=False,
        custom_cfg=[{'data_src': 'loss', 'log_name': 'all', 'window_size': 'global'}],
    )
    run = SimpleNamespace(message_hub=hub, epoch=0, iter=0, max_iters=1000, train_dataloader=[])
    for value in range(1000):
        hub.update_scalar('train/loss', float(value))
        run.iter = value
    tag, _ = processor.get_log_after_iter(run, 999, 'train')
    assert tag['all'] == 499.5  # (0 + 1 + ... + 999) / 1000
    assert tag['loss'] == 994.5  # of the last ten


def test_a_hub_bounds_its_histories_but_not_those_it_is_given():
    hub = MessageHub('bounded', log_scalars={'own': HistoryBuffer()})
    hub._resumed_keys['own'] = True
    for key in ('own', 'made'):
        for value in range(3 * NUM_KEPT):
            hub.update_scalar(key, float(value))
    assert len(hub.get_scalar('own').data[0]) == 3 * NUM_KEPT
    assert NUM_KEPT <= len(hub.get_scalar('made').data[0]) <= 1.25 * NUM_KEPT
    assert hub.get_scalar('made').mean() == hub.get_scalar('own').mean()


@pytest.mark.parametrize('clone', [copy.deepcopy, lambda b: pickle.loads(pickle.dumps(b))])
def test_copies_have_the_past(clone):
    twin = clone(_filled(range(100)))
    twin.update(100.0)
    assert twin.mean() == 50.0
    assert len(twin.data[0]) <= 11


@pytest.mark.parametrize('form', ['dict', 'buffer'])
def test_the_long_history_of_an_older_checkpoint_is_bounded_when_loaded(form):
    values = np.arange(300_000, dtype=float)
    old = HistoryBuffer(values, np.ones(len(values), dtype=np.int64))
    saved = old.state_dict() if form == 'dict' else old
    assert form == 'buffer' or len(saved['log_history']) == 300_000
    hub = MessageHub('old')
    hub.load_state_dict(
        {'log_scalars': {'x': saved}, 'runtime_info': {}, 'resumed_keys': {'x': True}}
    )
    buffer = hub.get_scalar('x')
    assert (buffer.mean(), buffer.min(), buffer.max()) == (149_999.5, 0, 299_999)
    assert buffer.data[0].tolist() == values[-NUM_KEPT:].tolist()
    assert buffer._values.nbytes < 100_000


@pytest.mark.parametrize('counted', [False, True], ids=['counts of 1', 'other counts'])
def test_a_million_iterations_add_less_than_two_megabytes_to_a_checkpoint(counted):
    """20 scalars; the values come in arrays, as from the history of an older checkpoint."""
    hub = MessageHub('long')
    tracemalloc.start()
    counts = np.full(1_000_000, 2 if counted else 1)
    for number in range(20):
        key = f'train/loss_{number}'
        hub.log_scalars[key] = HistoryBuffer(np.ones(1_000_000), counts).bound()
        hub._resumed_keys[key] = True
    del counts
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 30e6
    assert _saved_bytes(hub.state_dict()) < 2e6
    assert torch.load(io.BytesIO(_bytes(hub.state_dict())), weights_only=True)['log_scalars']


def _bytes(state: Any) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def test_the_state_stops_growing():
    buffer = HistoryBuffer().bound(64)
    sizes = []
    for value in range(200_000):
        buffer.append(1.0 / (value + 1))
        if value % 1000 == 999:
            buffer.current()
            sizes.append(_saved_bytes(buffer.state_dict()) if value % 50_000 == 49_999 else 0)
    assert max(sizes) < 64 * 8 * 1.25 + 512 * 6 * 8 + 3000
    assert buffer.mean() == pytest.approx((1 / np.arange(1, 200_001)).mean())


# The blocks of older values


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(2, 12))
def test_blocks_are_few_and_lose_no_value(lengths, most):
    past = Past()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.logging._past._MOST_BLOCKS', most)
        start = 0
        for length in lengths:
            past = past.plus(np.arange(start, start + length, dtype=float), None)
            start += length
    assert len(past.blocks) <= most
    assert len(past) == past.count == start
    assert past.total == past.weighted_total == start * (start - 1) / 2
    assert (past.low, past.high) == (0, start - 1)


def test_the_curve_has_the_middle_of_each_block():
    past = Past()
    past = past.plus(np.array([1.0, 2.0, 3.0]), None)  # at 1, 2, 3
    past = past.plus(np.array([4.0, 6.0, 8.0]), None)  # at 4, 5, 6
    at, values = past.curve()
    assert at.tolist() == [2, 5]
    assert values.tolist() == [2, 6]


def test_the_curve_of_a_history_goes_over_all_values():
    buffer = _filled(range(1, 1001), kept=16)
    at, values = buffer.curve()
    np.testing.assert_allclose(at, values)  # the value at position n is n
    assert at[-1] == 1000
    assert at[0] > 1
