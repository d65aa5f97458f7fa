from collections.abc import Iterator

import pytest

from mmengine.utils import Timer, TimerError, check_time, timer


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(timer, 'perf_counter', clock)
    yield clock
    timer._last_calls.clear()


def test_seconds_since_start_and_since_the_last_check(clock: Clock) -> None:
    watch = Timer()
    clock.now += 2
    assert watch.since_start() == 2
    clock.now += 3
    assert watch.since_last_check() == 3
    clock.now += 1
    assert watch.since_last_check() == 1
    assert watch.since_start() == 6


def test_a_timer_that_is_not_started_cannot_be_read() -> None:
    watch = Timer(start=False)
    assert not watch.is_running
    for read in (watch.since_start, watch.since_last_check):
        with pytest.raises(TimerError, match=r'Call start\(\)'):
            read()
    watch.start()
    assert watch.is_running


def test_starting_twice_keeps_the_first_start(clock: Clock) -> None:
    watch = Timer()
    clock.now += 2
    watch.start()
    clock.now += 1
    assert watch.since_last_check() == 1
    assert watch.since_start() == 3


def test_a_block_prints_how_long_it_took(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Timer():
        clock.now += 1.5
    with Timer(print_tmpl='{:.1f} seconds') as watch:
        clock.now += 2.25
        assert watch.is_running
    assert capsys.readouterr().out == '1.500\n2.2 seconds\n'
    assert not watch.is_running


def test_check_time_measures_between_its_calls(clock: Clock) -> None:
    assert check_time('a') == 0
    clock.now += 4
    assert check_time('b') == 0
    assert check_time('a') == 4
    clock.now += 1
    assert check_time('a') == 1
