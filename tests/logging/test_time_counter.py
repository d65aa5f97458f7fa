from collections.abc import Iterator

import pytest

from mmengine.device import ACCELERATORS
from mmengine.logging import _time_counter
from mmengine.logging._time_counter import TimeCounter
from mmengine.utils import ArgumentError


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(_time_counter, 'perf_counter', clock)
    yield clock
    TimeCounter.instance_dict.clear()


def test_a_function_logs_its_mean_under_its_name(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    @TimeCounter()
    def work(seconds: float) -> str:
        clock.now += seconds
        return 'done'

    assert work(0.010) == 'done'
    work(0.030)
    assert capsys.readouterr().out.splitlines() == [
        'work: 10.0 ms a run, the mean of 1 run(s).',
        'work: 20.0 ms a run, the mean of 2 run(s).',
    ]


def test_runs_before_the_warm_up_are_not_measured(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for seconds in (9.0, 9.0, 0.002, 0.004):
        with TimeCounter(tag='loop', warmup_interval=3, log_interval=2):
            clock.now += seconds
    assert capsys.readouterr().out.splitlines() == ['loop: 3.0 ms a run, the mean of 2 run(s).']


def test_one_tag_is_one_counter(clock: Clock) -> None:
    first = TimeCounter(tag='a', log_interval=5)
    assert TimeCounter(tag='a') is first
    assert first.log_interval == 5
    assert TimeCounter(tag='b') is not first
    assert TimeCounter() is not TimeCounter()


def test_a_block_needs_a_tag(clock: Clock) -> None:
    with pytest.raises(ArgumentError, match='tag'):
        with TimeCounter():
            pass


@pytest.mark.parametrize('arguments', [{'log_interval': 0}, {'warmup_interval': 'a'}])
def test_intervals_are_positive_integers(clock: Clock, arguments: dict[str, int]) -> None:
    with pytest.raises(ArgumentError, match='at least 1'):
        TimeCounter(**arguments)


def test_the_accelerator_is_waited_for_before_the_clock_is_read(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    order: list[str] = []
    driver = SimpleNamespace(synchronize=lambda: order.append('wait'))
    monkeypatch.setattr(_time_counter, 'get_device', lambda: 'cuda')
    monkeypatch.setitem(ACCELERATORS, 'cuda', SimpleNamespace(module=lambda: driver))
    with TimeCounter(tag='synced'):
        order.append('work')
    assert order == ['wait', 'work', 'wait']
    with TimeCounter(tag='unsynced', with_sync=False):
        order.append('work')
    assert order == ['wait', 'work', 'wait', 'work']
