"""Threads that read or write histories while another thread writes them."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.logging._pending import reading


@pytest.fixture(autouse=True)
def _frequent_switches() -> Iterator[None]:
    """Threads take turns 5,000 times as often as usual."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def _while_running(others: list[Callable[[], Any]], work: Callable[[], None]) -> None:
    """Call each of ``others`` again and again in a thread, while ``work`` runs in this one."""
    stop, errors = threading.Event(), []

    def repeat(call: Callable[[], Any]) -> None:
        try:
            while not stop.is_set():
                call()
        except Exception as error:  # raised in the test
            errors.append(error)

    threads = [threading.Thread(target=repeat, args=(call,)) for call in others]
    for thread in threads:
        thread.start()
    try:
        work()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not errors


def _numbers(buffer: HistoryBuffer, length: int) -> None:
    for value in range(length):
        buffer.update(float(value))


def _appended(buffer: HistoryBuffer, length: int) -> None:
    for value in range(length):
        buffer.append(float(value))


def _tensors(buffer: HistoryBuffer, length: int) -> None:
    scale = torch.ones((), requires_grad=True)
    for value in range(length):
        buffer.update(scale * value)


def _mixed(buffer: HistoryBuffer, length: int) -> None:
    scale = torch.ones((), requires_grad=True)
    for value in range(length):
        buffer.update(scale * value if value % 3 else value, 1)


@pytest.mark.parametrize('write', [_numbers, _appended, _tensors, _mixed])
def test_a_thread_that_reads_takes_no_value_away(write):
    buffer = HistoryBuffer()
    reads = [lambda: buffer.mean(10), lambda: buffer.data, lambda: buffer.state_dict()]
    _while_running(reads, lambda: write(buffer, 4000))
    assert buffer.data[0].tolist() == list(range(4000))


def test_counts_stay_with_their_values():
    buffer = HistoryBuffer()

    def write() -> None:
        for value in range(4000):
            buffer.update(float(value), value % 3 + 1)

    _while_running([buffer.mean, lambda: buffer.data], write)
    values, counts = buffer.data
    assert values.tolist() == list(range(4000))
    assert counts.tolist() == [value % 3 + 1 for value in range(4000)]


def test_two_threads_write_one_history():
    buffer = HistoryBuffer()
    others = []

    def other() -> None:
        others.append(1)
        buffer.update(-1.0)

    _while_running([other, buffer.max], lambda: _numbers(buffer, 4000))
    values = buffer.data[0]
    assert values[values >= 0].tolist() == list(range(4000))
    assert (values < 0).sum() == len(others)


def test_a_reader_sees_kept_values_and_sums_of_one_moment():
    buffer = HistoryBuffer().bound(64)

    def check() -> None:
        state = HistoryBuffer.from_state_dict(buffer.state_dict())
        length = len(state.curve()[0]) and int(state.curve()[0][-1])
        # Value n is at position n + 1: the sum of the first n values is n (n - 1) / 2.
        assert state.mean() * length == pytest.approx(length * (length - 1) / 2)

    buffer.update(0.0)
    _while_running([check], lambda: [buffer.update(float(value)) for value in range(1, 20_000)])


def test_a_thread_may_log_new_keys():
    hub = MessageHub('threads')
    hub.update_scalar('train/loss', 1.0)
    written = []

    def write_new() -> None:
        if len(written) < 3000:
            hub.update_scalar(f'sys/{len(written)}', 1.0)
            hub.update_info(f'info/{len(written)}', 1)
            written.append(1)

    def read() -> None:
        for _ in range(300):
            hub.read_scalars()
            hub.state_dict()

    _while_running([write_new], read)
    assert sum(key.startswith('sys/') for key in hub.log_scalars) == len(written) > 0


def test_threads_that_create_the_same_key_lose_no_value():
    for attempt in range(50):
        hub = MessageHub(f'same {attempt}')
        barrier = threading.Barrier(4)

        def write(hub: MessageHub = hub, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            for _ in range(5):
                hub.update_scalar('sys/load', 1.0)

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(hub.get_scalar('sys/load').data[0]) == 20


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
@pytest.mark.filterwarnings('ignore:.*multi-threaded.*:DeprecationWarning')
def test_a_process_that_is_forked_while_a_thread_reads_can_read():
    buffer = HistoryBuffer([1.0, 3.0], [1, 1])
    holds = threading.Event()

    def hold() -> None:
        with reading:
            holds.set()
            time.sleep(0.2)

    thread = threading.Thread(target=hold)
    thread.start()
    holds.wait()
    child = os.fork()
    if not child:
        os._exit(int(buffer.mean()))
    thread.join()
    deadline = time.monotonic() + 20
    done, status = 0, 0
    while not done and time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    if not done:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert done
    assert os.waitstatus_to_exitcode(status) == 2


def test_a_system_that_cannot_fork_has_histories() -> None:
    """As on Windows, where ``os`` has no ``register_at_fork``."""
    program = (
        'import os, torch\n'
        'del os.register_at_fork\n'
        'from mmengine.logging import HistoryBuffer\n'
        'history = HistoryBuffer()\n'
        'history.update(3.0)\n'
        'print(history.current())\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=False
    )
    assert done.stdout == '3.0\n', done.stderr
