"""Real processes that get a signal or a stop file: they save, close, and go on to the same bits."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from rank_processes import RankProcesses, start, wait_until
from stoppable_run import make, state_of

SCRIPT = Path(__file__).with_name('stoppable_run.py')
ROOT = SCRIPT.parents[2]
LIMIT_S = 120.0

pytestmark = pytest.mark.skipif(os.name != 'posix', reason='signals of POSIX')


class Run(RankProcesses):
    """One run, of one or several processes."""

    def __init__(self, work_dir: Path, num_ranks: int = 1, **settings: Any) -> None:
        for name in ('ready', 'go'):
            (work_dir / name).unlink(missing_ok=True)
        super().__init__(SCRIPT, work_dir, num_ranks, settings, LIMIT_S)

    def until(self, is_true: Any) -> None:
        wait_until(is_true, self.processes, self.text, LIMIT_S)

    def until_ready(self) -> Run:
        self.until((self.work_dir / 'ready').exists)
        return self

    def send(self, number: int, rank: int = 0, group: bool = False) -> None:
        process = self.processes[rank]
        (os.killpg if group else os.kill)(process.pid, number)
        self.go_on()

    def go_on(self) -> None:
        (self.work_dir / 'go').touch()

    def codes(self) -> list[int]:
        try:
            return [process.wait(LIMIT_S) for process in self.processes]
        except subprocess.TimeoutExpired:
            raise AssertionError(f'The run does not end.\n{self.text()}') from None

    def text(self, rank: int | None = None) -> str:
        chosen = self.outputs if rank is None else [self.outputs[rank]]
        return '\n'.join(output.read_text() for output in chosen)

    def state(self, rank: int = 0) -> dict[str, Any]:
        assert self.codes() == [0] * len(self.processes), self.text()
        lines = [line for line in self.text(rank).splitlines() if line.startswith('STATE ')]
        return json.loads(lines[0].removeprefix('STATE '))

    def checkpoints(self) -> list[str]:
        return sorted(path.name for path in self.work_dir.glob('*.pth'))


def _unbroken(folder: Path, num_ranks: int = 1, **settings: Any) -> dict[str, Any]:
    if num_ranks == 1:  # in this process: it is faster
        runner = make(str(folder / 'unbroken'), settings)
        runner.train()
        return state_of(runner)
    with Run(folder / 'unbroken', num_ranks, **settings) as run:
        return run.state()


@pytest.mark.parametrize('name', ['SIGINT', 'SIGTERM', 'SIGUSR1', 'SIGHUP'])
def test_a_signal_saves_within_the_epoch_and_ends_in_order(tmp_path, name):
    with Run(tmp_path / 'run', at=13) as run:
        run.until_ready().send(getattr(signal, name))
        assert run.codes() == [0], run.text()
        text = run.text()
    assert f'The run stops for signal {name} after ' in text
    assert 'CALL after_run' in text
    assert 'on_exception' not in text
    assert 'Traceback' not in text
    assert 'AFTER' not in text  # SystemExit: what follows `train()` does not run
    (saved,) = run.checkpoints()
    iteration = int(saved.removeprefix('iter_').removesuffix('.pth'))
    assert 13 <= iteration < 40
    meta = torch.load(run.work_dir / saved)['meta']
    assert (meta['iter'], meta['epoch']) == (iteration, iteration // 10)


@pytest.mark.parametrize(
    'settings',
    [
        {},
        {'counts': 4},
        {'counts': 3, 'iters': 40},
        {'iters': 40, 'saves_by_epoch': True},
        {'workers': 2},
    ],
    ids=['epochs', 'epochs-window', 'iters-window', 'iters-saved-by-epoch', 'workers'],
)
def test_an_interrupted_run_goes_on_to_the_bits_of_the_unbroken_one(tmp_path, settings):
    expected = _unbroken(tmp_path, **settings)
    work_dir = tmp_path / 'run'
    for at in (6, 21):
        with Run(work_dir, at=at, resume=True, **settings) as run:
            run.until_ready().send(signal.SIGTERM)
            assert run.codes() == [0], run.text()
    with Run(work_dir, resume=True, **settings) as run:
        assert run.state() == expected
        assert 'resumed epoch' in run.text()


def test_a_stop_in_a_validation_saves_and_validates_first_when_resumed(tmp_path):
    expected = _unbroken(tmp_path, epochs=2)
    with Run(tmp_path / 'run', epochs=2, at=3, stage='val') as run:
        run.until_ready().send(signal.SIGTERM)
        assert run.codes() == [0], run.text()
    assert run.checkpoints() == ['epoch_1.pth']
    # The averaged weights were in the model: they are not what training goes on with.
    assert torch.load(run.work_dir / 'epoch_1.pth')['meta']['validation_due'] is True
    with Run(tmp_path / 'run', epochs=2, resume=True) as run:
        assert run.state() == expected
        validations = [line for line in run.text().splitlines() if 'Epoch(val)' in line]
    assert ['Epoch(val) [1]' in line for line in validations] == [True, False]


def test_a_signal_while_a_checkpoint_is_written_stops_after_it(tmp_path):
    with Run(tmp_path / 'run', at=0, stage='save', interval=1, pace_s=5) as run:
        run.until_ready().send(signal.SIGTERM)
        assert run.codes() == [0], run.text()
    assert run.checkpoints() == ['epoch_1.pth']
    assert torch.load(run.work_dir / 'epoch_1.pth')['meta']['validation_due'] is True


def test_a_test_is_cut_and_closed(tmp_path):
    with Run(tmp_path / 'run', at=2, stage='test', call='test', batches=100) as run:
        run.until_ready().send(signal.SIGTERM)
        assert run.codes() == [0], run.text()
    assert 'CALL after_run' in run.text()
    assert 'on_exception' not in run.text()
    assert 'AFTER' not in run.text()


def test_preempt_gives_the_exit_code_for_its_signals(tmp_path):
    preempt = {'signals': ['SIGUSR1'], 'exit_code': 85}
    with Run(tmp_path / 'run', at=3, more={'preempt': preempt}) as run:
        run.until_ready().send(signal.SIGUSR1)
        assert run.codes() == [85], run.text()
    assert len(run.checkpoints()) == 1
    with Run(tmp_path / 'other', at=3, more={'preempt': preempt}) as run:
        run.until_ready().send(signal.SIGTERM)
        assert run.codes() == [-signal.SIGTERM]


def test_a_run_that_does_not_save_in_time_is_ended(tmp_path):
    preempt = {'exit_code': 85, 'save_within_s': 0.5}
    with Run(tmp_path / 'run', at=3, pace_s=60, more={'preempt': preempt}) as run:
        run.until_ready().send(signal.SIGTERM)
        assert run.codes() == [85], run.text()
    assert 'did not save its state within 0.5 s' in run.text()
    assert 'time.sleep' in run.text() or 'after_train_iter' in run.text()  # the stacks


def test_a_second_ctrl_c_ends_at_once_with_whole_files(tmp_path):
    with Run(tmp_path / 'run', at=15, interval=1, pace_s=60) as run:
        run.until_ready().send(signal.SIGINT)
        time.sleep(1.5)  # the second within a second would count as the same
        run.send(signal.SIGINT)
        started = time.monotonic()
        assert run.codes() == [-signal.SIGINT], run.text()
        assert time.monotonic() - started < 50
    assert 'CALL on_exception' in run.text()
    assert 'CALL after_run' in run.text()
    assert run.checkpoints() == ['epoch_1.pth']
    torch.load(run.work_dir / 'epoch_1.pth')


def test_ctrl_c_on_the_terminal_reaches_the_workers_too(tmp_path):
    with Run(tmp_path / 'run', at=13, workers=2) as run:
        run.until_ready().send(signal.SIGINT, group=True)
        assert run.codes() == [0], run.text()
    assert 'Traceback' not in run.text()
    assert len(run.checkpoints()) == 1


def test_a_signal_to_all_processes_of_a_job_saves(tmp_path):
    # It ends the workers at once. The main process is in a batch, and finishes it.
    with Run(tmp_path / 'run', at=13, workers=2) as run:
        run.until_ready().send(signal.SIGTERM, group=True)
        assert run.codes() == [0], run.text()
    assert 'Traceback' not in run.text()
    assert run.checkpoints() == ['iter_13.pth']


@pytest.mark.parametrize('iters', [{}, {'iters': 40}], ids=['epochs', 'iters'])
@pytest.mark.parametrize('name', ['SIGTERM', 'SIGINT'])
def test_a_signal_to_the_group_while_a_worker_is_waited_for_saves(tmp_path, name, iters):
    settings = {'workers': 1, 'slow_sample': 13, **iters}
    expected = _unbroken(tmp_path, workers=1, **iters)
    with Run(tmp_path / 'run', **settings) as run:
        # The one worker is in a sample, and has been since the main process took its last batch.
        run.until_ready().send(getattr(signal, name), group=True)
        (run.work_dir / 'go_on').touch()
        assert run.codes() == [0], run.text()
    assert 'Traceback' not in run.text()
    assert len(run.checkpoints()) == 1
    with Run(tmp_path / 'run', resume=True, workers=1, **iters) as run:
        assert run.state() == expected


@pytest.mark.parametrize('iters', [{}, {'iters': 40}], ids=['epochs', 'iters'])
def test_a_signal_that_ends_the_workers_while_they_are_waited_for_saves(tmp_path, iters):
    """A scheduler may signal each process of a job, whatever its group."""
    settings = {'workers': 1, 'slow_sample': 13, **iters}
    expected = _unbroken(tmp_path, workers=1, **iters)
    with Run(tmp_path / 'run', **settings) as run:
        worker = int(run.until_ready().text().split('WORKER ')[1].split()[0])
        run.send(signal.SIGTERM)
        run.until(lambda: 'the run stops after this batch' in run.text())
        (run.work_dir / 'go_on').touch()  # for the worker that takes the place of the killed one
        os.kill(worker, signal.SIGTERM)
        assert run.codes() == [0], run.text()
    assert len(run.checkpoints()) == 1
    with Run(tmp_path / 'run', resume=True, workers=1, **iters) as run:
        assert run.state() == expected


def test_a_worker_that_is_killed_without_a_request_ends_the_run(tmp_path):
    with Run(tmp_path / 'run', workers=1, slow_sample=13) as run:
        worker = int(run.until_ready().text().split('WORKER ')[1].split()[0])
        os.kill(worker, signal.SIGKILL)
        assert run.codes() == [1], run.text()
    assert 'CALL on_exception' in run.text()
    assert run.checkpoints() == []


def test_a_worker_in_a_sample_ends_with_its_killed_parent(tmp_path):
    with Run(tmp_path / 'run', workers=1, slow_sample=13) as run:
        worker = int(run.until_ready().text().split('WORKER ')[1].split()[0])
        os.kill(run.processes[0].pid, signal.SIGKILL)
        assert run.codes() == [-signal.SIGKILL]
    deadline = time.monotonic() + LIMIT_S
    while Path(f'/proc/{worker}').exists():
        assert time.monotonic() < deadline, 'the worker is left behind'
        time.sleep(0.05)


@pytest.mark.distributed
@pytest.mark.parametrize('rank', [0, 1])
def test_a_signal_to_the_group_of_one_rank_stops_both_with_workers(tmp_path, rank):
    settings = {'workers': 1, 'slow_sample': 7}  # of the 10 of a rank
    with Run(tmp_path / 'run', num_ranks=2, **settings) as run:
        run.until_ready().send(signal.SIGTERM, rank, group=True)
        (run.work_dir / 'go_on').touch()
        assert run.codes() == [0, 0], run.text()
    assert len(run.checkpoints()) == 1


def test_a_stop_file_stops_a_run_and_is_used_up(tmp_path):
    with Run(tmp_path / 'run', at=3, epochs=40, pace_s=0.05) as run:
        run.until_ready()
        (run.work_dir / 'stop').write_text('maintenance')
        run.go_on()
        assert run.codes() == [0], run.text()
    assert 'The run stops for the stop file (maintenance)' in run.text()
    assert len(run.checkpoints()) == 1
    assert not (run.work_dir / 'stop').exists()


def test_a_stop_file_from_before_the_start_is_removed(tmp_path):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'stop').touch()
    with Run(tmp_path / 'run', epochs=1) as run:
        assert run.state()['epoch'] == 1
    assert 'was there before this start' in run.text()
    assert not (run.work_dir / 'stop').exists()


def test_the_checkpoint_within_an_epoch_goes_when_a_later_one_is_whole(tmp_path):
    settings = {'epochs': 2, 'interval': 1}
    with Run(tmp_path / 'run', at=3, max_keep=1, **settings) as run:
        run.until_ready().send(signal.SIGTERM)
        assert run.codes() == [0]
    assert run.checkpoints()[0].startswith('iter_')
    with Run(tmp_path / 'run', max_keep=1, resume=True, **settings) as run:
        run.state()
    assert run.checkpoints() == ['epoch_2.pth']


# -- several ranks ------------------------------------------------------------------------------


@pytest.mark.distributed
@pytest.mark.parametrize('settings', [{}, {'iters': 40, 'counts': 3}], ids=['epochs', 'iters'])
@pytest.mark.parametrize('rank', [0, 1])
def test_a_signal_to_one_rank_stops_all_at_one_batch(tmp_path, rank, settings):
    expected = _unbroken(tmp_path, num_ranks=2, **settings)
    with Run(tmp_path / 'run', num_ranks=2, at=4, **settings) as run:
        run.until_ready().send(signal.SIGTERM, rank)
        assert run.codes() == [0, 0], run.text()
    assert 'The run stops for signal SIGTERM' in run.text(0)
    assert len(run.checkpoints()) == 1
    with Run(tmp_path / 'run', num_ranks=2, resume=True, **settings) as run:
        assert run.state() == expected
        assert run.state(1)['weights'] == expected['weights']


@pytest.mark.distributed
@pytest.mark.parametrize('slow_rank', [0, 1])
def test_ranks_at_different_batches_of_a_validation_are_cut_together(tmp_path, slow_rank):
    settings = {'epochs': 2, 'at': 2, 'stage': 'val', 'slow_rank': slow_rank, 'pace_s': 0.3}
    with Run(tmp_path / 'run', num_ranks=2, batches=40, **settings) as run:
        run.until_ready().send(signal.SIGTERM, 1)
        assert run.codes() == [0, 0], run.text()
    assert run.checkpoints() == ['epoch_1.pth']
    with Run(tmp_path / 'run', num_ranks=2, batches=40, epochs=2, resume=True) as run:
        assert run.state()['epoch'] == 2


@pytest.mark.distributed
def test_a_stop_file_is_seen_by_rank_0_for_all(tmp_path):
    with Run(tmp_path / 'run', num_ranks=2, at=3, epochs=40, pace_s=0.05) as run:
        run.until_ready()
        (run.work_dir / 'stop').touch()
        run.go_on()
        assert run.codes() == [0, 0], run.text()
    assert len(run.checkpoints()) == 1


@pytest.mark.distributed
def test_a_signal_to_the_launcher_reaches_all_ranks(tmp_path):
    settings = json.dumps({'launcher': 'pytorch', 'at': 4})
    arguments = ['-W', 'ignore', '-m', 'torch.distributed.run', '--standalone']
    arguments += ['--nproc-per-node', '2', str(SCRIPT), str(tmp_path), settings]
    output = tmp_path / 'output.txt'
    process = start(arguments, output, {})
    try:
        wait_until((tmp_path / 'ready').exists, [process], output.read_text, LIMIT_S)
        process.send_signal(signal.SIGTERM)
        # The launcher takes its time to pass it on, and the rest of the run takes none.
        is_heard = lambda: 'SIGTERM: the run stops' in output.read_text()
        wait_until(is_heard, [process], output.read_text, LIMIT_S)
        (tmp_path / 'go').touch()
        process.wait(LIMIT_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(LIMIT_S)
    text = output.read_text()
    assert 'The run stops for signal SIGTERM' in text, text
    assert len(list(tmp_path.glob('iter_*.pth'))) == 1


def test_ctrl_c_typed_at_a_terminal_leaves_it_clean(tmp_path):
    """With a progress display, which hides the cursor, and workers, which get the signal too."""
    master, slave = os.openpty()
    settings = {'at': 3, 'workers': 2, 'progress': True}

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, '-W', 'ignore', str(SCRIPT), str(tmp_path), json.dumps(settings)],
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'TERM': 'xterm'},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=take_terminal,  # this process has no thread that holds a lock
    )
    os.close(slave)
    shown = b''
    deadline = time.monotonic() + LIMIT_S
    try:
        while process.poll() is None or select.select([master], [], [], 0)[0]:
            assert time.monotonic() < deadline, shown
            if (tmp_path / 'ready').exists():
                (tmp_path / 'ready').unlink()
                os.write(master, b'\x03')
                (tmp_path / 'go').touch()
            if select.select([master], [], [], 0.05)[0]:
                try:
                    shown += os.read(master, 65536)
                except OSError:  # the terminal is closed: the process has ended
                    break
        assert process.wait(LIMIT_S) == 0, shown
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(LIMIT_S)
        os.close(master)
    hides, shows = shown.rfind(b'\x1b[?25l'), shown.rfind(b'\x1b[?25h')
    assert 0 <= hides < shows
    assert b'Traceback' not in shown
    assert len(list(tmp_path.glob('iter_*.pth'))) == 1
