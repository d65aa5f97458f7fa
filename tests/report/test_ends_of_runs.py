"""How a training ended is in its log, and on the page of ``mmengine report``."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mmengine.hooks import Hook
from mmengine.logging._run_end import end_in
from mmengine.model import Regressor
from mmengine.process.signals import RunStopped
from mmengine.report import read_run, report
from mmengine.runner import Runner

SAMPLES = [(torch.tensor([float(index)]), torch.tensor([1.0])) for index in range(8)]


class At(Hook):
    """Does something in the third iteration."""

    def __init__(self, act: Callable[[Runner], Any]) -> None:
        self.act = act

    def after_train_iter(self, runner: Runner, batch_idx: int, *args: Any, **kwargs: Any) -> None:
        if runner.iter == 2:
            self.act(runner)


def fail(error: BaseException) -> Callable[[Runner], Any]:
    def act(runner: Runner) -> None:
        raise error

    return act


def run(
    work_dir: Path, act: Callable[[Runner], Any] = lambda runner: None, samples: Any = SAMPLES
) -> Runner:
    """A run of 4 iterations, with a log line after each."""
    loader = {'dataset': samples, 'batch_size': 2}
    return Runner(
        model=Regressor(nn.Linear(1, 1)), work_dir=str(work_dir), train_dataloader=loader,
        train_cfg={'max_epochs': 1}, optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.001}},
        test_dataloader=loader, test_cfg={}, test_evaluator='mse',
        default_hooks={'logger': {'interval': 1}}, custom_hooks=[At(act)],
    )  # fmt: skip


def log_of(runner: Runner) -> str:
    return Path(runner.log_dir, f'{runner.timestamp}.log').read_text()


def page_of(work_dir: Path) -> str:
    return report(work_dir, work_dir.parent / 'page.html').read_text()


def test_a_failure_is_in_the_log_with_its_traceback(tmp_path: Path, capsys: Any) -> None:
    runner = run(tmp_path / 'run', fail(OSError('the disk\nis away')))
    with pytest.raises(OSError, match='the disk'):
        runner.train()
    log = log_of(runner)
    assert 'ERROR' in log
    assert 'The training failed after 2 iterations: OSError: the disk\n' in log
    assert 'Traceback (most recent call last)' in log
    assert 'in act\n    raise error\nOSError: the disk\nis away\n' in log
    # Python itself shows the traceback there.
    assert 'Traceback' not in capsys.readouterr().out
    assert read_run(tmp_path / 'run').end == 'failed after 2 iterations: OSError: the disk'
    page = page_of(tmp_path / 'run')
    assert '<td>failed after 2 iterations: OSError: the disk</td>' in page
    assert '<li>ERROR: The training failed after 2 iterations: OSError: the disk</li>' in page


def test_a_failure_before_the_first_values_is_reported_too(tmp_path: Path) -> None:
    runner = run(tmp_path / 'run', samples=[None] * 8)
    with pytest.raises(TypeError):
        runner.train()
    found = read_run(tmp_path / 'run')
    assert found.end.startswith('failed after 0 iterations: TypeError: ')
    assert found.starts == [runner.timestamp]


def test_a_failing_test_within_a_training_ends_the_training(tmp_path: Path) -> None:
    def test(runner: Runner) -> None:
        runner.test_loop.evaluator.metrics[0].process = fail(ValueError('no'))
        runner.test()

    runner = run(tmp_path / 'run', test)
    with pytest.raises(TypeError):
        runner.train()
    assert log_of(runner).count('The training failed after 2 iterations: TypeError: ') == 1


def test_an_explained_error_is_logged_as_the_user_sees_it(tmp_path: Path) -> None:
    runner = run(tmp_path / 'run')
    runner._train_dataloader = {
        'dataset': [{'x': torch.ones(1), 'y': torch.ones(1)}] * 4,
        'collate_fn': 'pseudo_collate',
    }
    with pytest.raises(TypeError, match='got a list where it needs a tensor'):
        runner.train()
    assert 'UnsuitedModelError: Regressor got a list' in read_run(tmp_path / 'run').end


@pytest.mark.parametrize(('error', 'end'), [
    (KeyboardInterrupt(), 'stopped by Ctrl-C after 2 iterations'),
    (SystemExit(3), 'stopped by SystemExit(3) after 2 iterations'),
], ids=['Ctrl-C', 'exit'])  # fmt: skip
def test_what_ends_it_at_once_is_named(error: BaseException, end: str, tmp_path: Path) -> None:
    with pytest.raises(type(error)):
        run(tmp_path / 'run', fail(error)).train()
    assert read_run(tmp_path / 'run').end == end


@pytest.mark.skipif(not hasattr(signal, 'SIGKILL'), reason='signals of POSIX')
def test_a_stop_on_request_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunStopped):
        run(tmp_path / 'run', lambda runner: os.kill(os.getpid(), signal.SIGTERM)).train()
    end = 'stopped by signal SIGTERM after 3 of 4 iterations'
    assert read_run(tmp_path / 'run').end == end
    assert f'<td>{end}</td>' in page_of(tmp_path / 'run')


@pytest.mark.skipif(not hasattr(signal, 'SIGKILL'), reason='signals of POSIX')
def test_a_signal_before_the_first_batch_is_named(tmp_path: Path) -> None:
    class Before(Hook):
        def before_run(self, runner: Runner) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    runner = run(tmp_path / 'run')
    runner.register_hook(Before())
    with pytest.raises(RunStopped):
        runner.train()
    assert read_run(tmp_path / 'run').end == 'stopped by signal SIGTERM after 0 iterations'


def test_a_training_that_came_to_its_end_says_so(tmp_path: Path) -> None:
    runner = run(tmp_path / 'run')
    runner.train()
    runner.test()
    assert read_run(tmp_path / 'run').end == 'ended after 4 of 4 iterations'


def test_an_early_end_is_no_failure(tmp_path: Path) -> None:
    def stop(runner: Runner) -> None:
        runner.train_loop.stop_training = True

    run(tmp_path / 'run', stop).train()
    # The epoch is trained to its end.
    assert read_run(tmp_path / 'run').end == 'ended after 4 of 4 iterations'


def test_a_killed_run_has_no_end(tmp_path: Path) -> None:
    runner = run(tmp_path / 'run')
    runner.train()
    (log,) = Path(runner.log_dir).glob('*.log')
    log.write_text(log.read_text().split('The training ended')[0])
    assert read_run(tmp_path / 'run').end == ''
    assert '<td>not in its log: it is at work, or was killed</td>' in page_of(tmp_path / 'run')


def test_of_several_ranks_the_one_that_failed_first_counts() -> None:
    logs = [
        'The training failed after 5 iterations: ValueError: here',
        'The training failed after 5 iterations: RankFailedError: Rank 0 failed:',
    ]
    assert end_in('\n'.join(logs)) == 'failed after 5 iterations: ValueError: here'
    assert end_in('\n'.join(reversed(logs))) == 'failed after 5 iterations: ValueError: here'
    assert end_in(logs[1]) == 'failed after 5 iterations: RankFailedError: Rank 0 failed:'


def test_a_test_and_a_tryout_are_no_starts_of_the_run(tmp_path: Path) -> None:
    runner = run(tmp_path / 'run')
    runner.train()
    folder = tmp_path / 'run' / '29990101_000000'
    folder.mkdir()
    log = '2999/01/01 00:00:00 - mmengine - {}\n'
    for text in ('INFO - The training ended after 1 of 4 iterations.',
                 'ERROR - file.py - f - 1 - The test failed after 0 iterations: E: e'):  # fmt: skip
        (folder / 'x.log').write_text(log.format(text))
        assert read_run(tmp_path / 'run').starts == [runner.timestamp]
