"""What the live display shows, that it leaves log lines whole, and that it costs no device read."""

import io
import re
import sys
from typing import Any

import pytest
from rich.console import Console

from mmengine.hooks import ProgressHook
from mmengine.runner._preparing import prepare_training

_CONTROL = re.compile(r'\x1b\[[0-9;?]*[A-Za-z]')


@pytest.fixture
def terminal(monkeypatch):
    """A console that believes to be a terminal of 200 columns, and what was written to it."""
    monkeypatch.setenv('TERM', 'xterm-256color')
    monkeypatch.delenv('NO_COLOR', raising=False)
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=200, color_system=None)
    return console, lambda: _CONTROL.sub('', file.getvalue()).replace('\r', '\n').splitlines()


def _train(make_run: Any, console: Any, **kwargs: Any) -> ProgressHook:
    hook = ProgressHook(refresh_s=1e-6, console=console)
    make_run(
        [hook], default_hooks={'logger': {'type': 'LoggerHook', 'interval': 2}}, **kwargs
    ).train()
    return hook


def test_bars_count_the_run_and_the_epoch(make_run, terminal):
    console, lines = terminal
    _train(make_run, console, epochs=2, batches=4)
    shown = [re.sub('[━╸╺ ]+', ' ', line).strip() for line in lines()]
    training = [line for line in shown if line.startswith('Training')]
    assert list(dict.fromkeys(training)) == [f'Training {done}/8' for done in range(1, 9)]
    epochs = list(dict.fromkeys(line for line in shown if line.startswith('Epoch')))
    assert epochs == [
        f'Epoch {epoch}/2 {done}/4' for epoch in (1, 2) for done in range(1, 5)
    ]  # fmt: skip


def test_figures_are_those_of_the_log_point(make_run, terminal):
    console, lines = terminal
    _train(make_run, console, epochs=1, batches=5)
    figures = [line for line in lines() if 'eta' in line]
    # Losses 1, 0.9, 0.8 ...; the means at iterations 2 and 4 are 0.95 and 0.85.
    losses = [match.group(1) for line in figures if (match := re.search(r'loss (\S+)', line))]
    assert list(dict.fromkeys(losses)) == ['0.95', '0.85']
    assert 'loss' not in figures[0]
    assert 'lr 1.00e-01' in figures[-1]
    assert 'eta 0:00:00' in figures[-1]


def test_a_validation_has_a_bar_and_its_metrics_stay(make_run, terminal, accs):
    console, lines = terminal
    _train(make_run, console, epochs=2, scores=accs(0.25, 0.75))
    shown = [re.sub('[━╸╺ ]+', ' ', line).strip() for line in lines()]
    assert {'Validation 1/2', 'Validation 2/2'} <= set(shown)
    assert any('val acc 0.25' in line for line in shown)
    assert 'val acc 0.75' in shown[-1]


def test_log_lines_stay_whole(make_run, terminal):
    console, lines = terminal
    _train(make_run, console, epochs=1, batches=8, log_level='INFO')
    logged = [line for line in lines() if 'INFO - Epoch(train)' in line]
    assert [re.search(r'\[1\]\[(\d)/8\]', line).group(1) for line in logged] == ['2', '4', '6', '8']
    for line in logged:
        assert re.fullmatch(
            r'\d\d/\d\d [\d:]{8} - mmengine - INFO - Epoch\(train\) \[1\]\[\d/8\]  lr: 1.0000e-01  '
            r'eta: \d:\d\d:\d\d  time: \d\.\d{4}  data_time: \d\.\d{4}  '
            r'samples_per_s: [\d.]+  data_wait: \d+%  loss: \d\.\d{4}\s*',
            line,
        )


def test_standard_output_is_given_back(make_run, terminal):
    before = sys.stdout
    hook = _train(make_run, terminal[0])
    assert sys.stdout is before
    hook.close()


def test_a_run_that_fails_gives_the_terminal_back(make_run, terminal):
    from mmengine.hooks import Hook

    class Fail(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            raise RuntimeError('broken')

    before = sys.stdout
    hook = ProgressHook(console=terminal[0])
    with pytest.raises(RuntimeError, match='broken'):
        make_run([hook, Fail()]).train()
    assert sys.stdout is before


def test_nothing_is_shown_where_there_is_no_terminal(make_run, monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(sys, 'stdout', file)
    make_run([ProgressHook()]).train()
    assert file.getvalue() == ''


def test_a_dumb_terminal_gets_no_display(make_run, monkeypatch):
    monkeypatch.setenv('TERM', 'dumb')
    file = io.StringIO()
    _train(make_run, Console(file=file, force_terminal=True))
    assert file.getvalue() == ''


def test_between_refreshes_the_display_is_not_touched(make_run, terminal, monkeypatch):
    from mmengine.hooks._progress_display import ProgressDisplay

    calls: list[str] = []
    for name in ('refresh', 'advance'):
        monkeypatch.setattr(ProgressDisplay, name, lambda *args, _name=name: calls.append(_name))
    hook = ProgressHook(refresh_s=1000, console=terminal[0])
    runner = make_run([hook])
    prepare_training(runner)
    runner.call_hook('before_run')
    runner.call_hook('before_train')
    runner.call_hook('before_train_epoch')
    for batch_idx in range(9):
        hook.after_train_iter(runner, batch_idx)
    assert calls == []
    hook.close()


def test_a_time_of_zero_is_refused():
    with pytest.raises(ValueError, match='must be positive, got 0'):
        ProgressHook(refresh_s=0)
