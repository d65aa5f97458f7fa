"""Settings of requests to stop, and which signals are handled."""

import multiprocessing
import os
import signal
import threading
import time

import pytest

from mmengine.process._stop_requests import StopRequests
from mmengine.process.signals import Preempt, RunInterrupted, RunStopped, handled
from mmengine.utils.errors import ArgumentError

pytestmark = pytest.mark.skipif(os.name != 'posix', reason='signals of POSIX')


def test_settings_are_checked():
    assert Preempt.of(None) == Preempt()
    assert Preempt.of({'signals': [10, 'SIGTERM'], 'exit_code': 85}) == Preempt(
        ('SIGUSR1', 'SIGTERM'), 85
    )
    assert Preempt.of({'signals': []}).signals == ()


@pytest.mark.parametrize(
    ('settings', 'text'),
    [
        ({'signal': ['SIGTERM']}, "Did you mean 'signals'"),
        ({'signals': ['SIGTRM']}, "Did you mean 'SIGTERM'"),
        ({'signals': ['SIGKILL']}, 'no process can handle'),
        ({'exit_code': 256}, 'from 0 to 255'),
        ({'save_within_s': 0}, 'must be positive'),
        (['SIGTERM'], 'preempt is a dict'),
    ],
)
def test_wrong_settings_are_refused(settings, text):
    with pytest.raises(ArgumentError, match=text):
        Preempt.of(settings)


def test_a_handler_of_the_program_stays():
    seen = []

    def own(number, frame):
        seen.append(number)

    before = signal.signal(signal.SIGUSR1, own)
    try:
        with handled(['SIGUSR1', 'SIGTERM'], lambda number, frame: seen.append(-number)):
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGUSR1) is own
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1, -signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_handler_that_is_set_meanwhile_stays():
    before = signal.getsignal(signal.SIGUSR1)
    try:
        with handled(['SIGUSR1'], lambda number, frame: None):
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_another_thread_handles_no_signal():
    present = []

    def work():
        with handled(['SIGUSR1'], lambda number, frame: None):
            present.append(signal.getsignal(signal.SIGUSR1))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert present == [signal.SIG_DFL]


def test_a_signal_before_a_loop_looks_ends_the_program_where_it_is(tmp_path):
    stops = StopRequests(Preempt(exit_code=7), str(tmp_path))
    with stops.active():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(RunStopped) as caught:
            os.kill(os.getpid(), signal.SIGTERM)
    assert (caught.value.code, caught.value.reason) == (7, 'signal SIGTERM')


@pytest.mark.parametrize(('name', 'kind'), [('SIGINT', RunInterrupted), ('SIGHUP', RunStopped)])
def test_a_signal_is_seen_at_the_next_batch(tmp_path, name, kind, capfd):
    stops = StopRequests(Preempt(), str(tmp_path))
    with stops.active():
        stops.watch(None)
        assert not stops.is_due(1)
        os.kill(os.getpid(), getattr(signal, name))
        assert stops.is_due(2)
        assert stops.interrupts
        assert stops.is_due(2)  # also when asked again
    with pytest.raises(kind):
        stops.raise_if_asked()
    assert f'{name}: the run stops after this batch' in capfd.readouterr().err


def test_a_child_that_was_forked_within_a_stage_can_be_terminated(tmp_path):
    stops = StopRequests(Preempt(), str(tmp_path))
    with stops.active():
        stops.watch(None)
        child = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))
        child.start()
        os.kill(child.pid, signal.SIGINT)  # as from the terminal: the parent decides
        child.terminate()
        child.join(30)
        assert child.exitcode == -signal.SIGTERM
        assert not stops.is_due(1)


def test_ctrl_c_is_caught_as_such_and_leaves_with_a_code():
    error = RunInterrupted('signal SIGINT', 3)
    assert isinstance(error, KeyboardInterrupt)
    assert isinstance(error, SystemExit)
    assert error.code == 3
