"""AccumulationWindow against a list of batches that is chunked by hand."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmengine.optim.optimizer._window import AccumulationWindow

PROPERTY = settings(max_examples=50, deadline=None)
SIZES = st.integers(1, 6)


@dataclass
class Run:
    """Feeds a window as a wrapper does, and keeps the batches of each step and their weights.

    The gradient of batch ``i`` is the unit vector ``i``, so a step is a dict of coefficients.
    """

    window: AccumulationWindow
    steps: list[dict[int, float]] = field(default_factory=list)
    held: dict[int, float] = field(default_factory=dict)

    def scale(self, factor: float) -> None:
        self.held = {batch: weight * factor for batch, weight in self.held.items()}

    def feed(self, iteration: int | None = None) -> None:
        window = self.window
        batch = window.count
        self.scale(window.fit(batch))
        self.held[batch] = 1 / window.divisor
        if window.advance(iteration):
            self.scale(window.fit(window.count - 1))
        if window.is_full:
            self.step()

    def step(self) -> None:
        self.steps.append(self.held)
        self.held = {}
        self.window.close()

    def flush(self) -> None:
        if self.window.is_open:
            batches, factor = self.window.cut()
            assert batches == len(self.held)
            self.scale(factor)
            self.step()


def chunks(first: int, last: int, size: int) -> list[range]:
    """Batches ``first`` up to ``last``, cut at the multiples of ``size``."""
    parts: list[list[int]] = []
    for batch in range(first, last):
        if not parts or batch % size == 0:
            parts.append([])
        parts[-1].append(batch)
    return [range(part[0], part[-1] + 1) for part in parts]


def means(parts: list[range]) -> list[dict[int, float]]:
    return [{batch: pytest.approx(1 / len(part)) for batch in part} for part in parts]


@PROPERTY
@given(size=SIZES, first=st.integers(0, 12), length=st.integers(1, 20))
def test_steps_of_an_announced_run_are_means_of_its_chunks(
    size: int, first: int, length: int
) -> None:
    run = Run(AccumulationWindow(size))
    run.window.begin(first, first + length)
    for _ in range(length):
        run.feed()
    assert run.steps == means(chunks(first, first + length, size))
    assert not run.window.is_open


@PROPERTY
@given(size=SIZES, length=st.integers(0, 20), more=st.integers(0, 20))
def test_flush_makes_a_mean_wherever_the_run_stops(size: int, length: int, more: int) -> None:
    run = Run(AccumulationWindow(size))
    run.window.begin(0, length + more)
    for _ in range(length):
        run.feed()
    run.flush()
    run.flush()
    assert run.steps == means(chunks(0, length, size))
    for _ in range(more):
        run.feed()
    assert run.steps == means(chunks(0, length, size) + chunks(length, length + more, size))


@PROPERTY
@given(
    size=SIZES,
    calls=st.lists(st.integers(0, 3), min_size=1, max_size=15),
    first=st.integers(0, 5),
)
def test_every_step_is_a_mean_however_often_an_iteration_calls(
    size: int, calls: list[int], first: int
) -> None:
    """Iteration ``i`` feeds ``calls[i]`` batches; the run announces its iterations."""
    run = Run(AccumulationWindow(size))
    run.window.begin(first, first + len(calls), first)
    for iteration, batches in enumerate(calls, start=first):
        for _ in range(batches):
            run.feed(iteration)
    run.flush()
    last, end = first + sum(calls), first + len(calls)
    # Only if all calls but the last ones came once an iteration, the announced end made a step.
    if set(calls[:-1]) <= {1} and calls[-1] > 1:
        assert run.steps == means(chunks(first, end, size) + chunks(end, last, size))
    else:
        assert run.steps == means(chunks(first, last, size))


@PROPERTY
@given(size=SIZES, ends=st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_an_end_that_moves_leaves_no_batch_out_and_no_mean_wrong(
    size: int, ends: list[int]
) -> None:
    run = Run(AccumulationWindow(size))
    for more in ends:
        count = run.window.count
        run.window.begin(count, count + more + 1)
        for _ in range(more):
            run.feed()
    run.flush()
    assert [batch for step in run.steps for batch in step] == list(range(sum(ends)))
    for step in run.steps:
        assert step == {batch: pytest.approx(1 / len(step)) for batch in step}


@PROPERTY
@given(size=SIZES, length=st.integers(1, 20), stop=st.integers(0, 20), longer=st.integers(0, 8))
def test_resumed_run_makes_the_steps_of_one_run(
    size: int, length: int, stop: int, longer: int
) -> None:
    stop = min(stop, length)
    first = Run(AccumulationWindow(size))
    first.window.begin(0, length, 0)
    for iteration in range(stop):
        first.feed(iteration)
    state = first.window.state_dict()

    second = Run(AccumulationWindow(size), first.steps, dict(first.held))
    kept = second.window.load_state_dict(state, has_gradients=bool(first.held))
    assert kept == bool(first.held)
    end = max(length + longer, stop)
    second.window.begin(stop, end, stop)
    for iteration in range(stop, end):
        second.feed(iteration)
    # A run that had ended before stepped at its end.
    parts = [*chunks(0, stop, size), *chunks(stop, end, size)]
    expected = means(parts if stop == length else chunks(0, end, size))
    assert second.steps == expected


@PROPERTY
@given(
    size=SIZES,
    parts=st.lists(st.tuples(SIZES, st.integers(0, 9)), min_size=1, max_size=5),
)
def test_a_size_that_changes_leaves_no_batch_out_and_no_mean_wrong(
    size: int, parts: list[tuple[int, int]]
) -> None:
    run = Run(AccumulationWindow(size))
    for other_size, batches in parts:
        run.window.resize(other_size)
        for _ in range(batches):
            run.feed()
        resumed = AccumulationWindow(other_size)
        resumed.load_state_dict(run.window.state_dict(), has_gradients=bool(run.held))
        run.window = resumed
    run.flush()
    fed = [batch for step in run.steps for batch in step]
    assert fed == list(range(sum(batches for _, batches in parts)))
    for step in run.steps:
        assert step == {batch: pytest.approx(1 / len(step)) for batch in step}


@PROPERTY
@given(size=SIZES, end=st.one_of(st.none(), st.integers(1, 20)), first=st.integers(0, 10))
def test_windows_tile_the_batches_without_gap_or_overlap(
    size: int, end: int | None, first: int
) -> None:
    window = AccumulationWindow(size)
    window.begin(first, end)
    bounds = [window.bounds(batch) for batch in range(first, 30)]
    for batch, (start, stop) in enumerate(bounds, start=first):
        assert start <= batch < stop <= start + size
        assert all(bounds[other - first] == (start, stop) for other in range(start, min(stop, 30)))
    stops = {stop for _, stop in bounds}
    assert end is None or end <= first or end in stops


@PROPERTY
@given(size=SIZES, length=st.integers(1, 20))
def test_is_last_tells_before_a_batch_what_is_full_tells_after_it(size: int, length: int) -> None:
    window = AccumulationWindow(size)
    window.begin(0, length)
    for batch in range(length):
        is_last = (batch + 1) % size == 0 or batch + 1 == length
        assert window.is_last is is_last
        window.advance()
        assert window.is_full is is_last
        assert window.is_open is not is_last


def test_present_window_is_that_of_the_next_batch() -> None:
    window = AccumulationWindow(4)
    window.begin(0, 10)
    for _ in range(9):
        window.advance()
    assert (window.start, window.end) == (8, 10)


def test_end_is_dropped_at_the_first_iteration_that_differs() -> None:
    window = AccumulationWindow(4)
    window.begin(2, 9, finished_iters=2)
    assert [window.advance(iteration) for iteration in (2, 3)] == [False, False]
    assert window.run_end == 9
    assert window.advance(5) is True  # the third batch came in the fourth iteration
    assert window.run_end is None
    assert window.advance(4) is False


def test_end_is_believed_without_a_position() -> None:
    window = AccumulationWindow(4)
    window.begin(0, 9)
    for _ in range(9):
        assert window.advance() is False
    assert window.run_end == 9


def test_end_counts_iterations_of_a_stage_that_begins_anew() -> None:
    # The second stage of a run: iterations 100 to 105, counted from 0 by its own loop.
    run = Run(AccumulationWindow(4))
    run.window.begin(0, 6, finished_iters=100)
    for iteration in range(100, 106):
        run.feed(iteration)
    assert run.steps == means(chunks(0, 6, 4))


def test_restored_count_that_differs_from_the_iterations_drops_the_end_within_a_run() -> None:
    for finished_iters, expected in ((7, None), (None, 16)):
        window = AccumulationWindow(4)
        state = {**AccumulationWindow(4).state_dict(), 'inner_count': 14}
        window.load_state_dict(state, has_gradients=False)
        assert window.begin(7, 16, finished_iters)
        assert (window.count, window.run_end) == (14, expected)


def test_state_of_an_earlier_version_opens_the_window_where_it_was() -> None:
    # Batches 3 and 4 of windows of three; the floor is where the run began.
    state = dict(
        accumulative_counts=3, inner_count=5, window_floor=0, window_size=3, batches_skipped=1
    )
    window = AccumulationWindow(3)
    assert window.load_state_dict(state, has_gradients=True)
    assert (window.start, window.end, window.divisor, window.skipped) == (3, 6, 3, 1)
