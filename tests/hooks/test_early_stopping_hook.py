"""When training ends early. Numbers of epochs are those MMEngine 0.10.7 stopped at."""

from pathlib import Path

import pytest

from mmengine.hooks import EarlyStoppingHook

INF = float('inf')


def _epochs(make_run, scores, **arguments):
    hook = EarlyStoppingHook(**arguments)
    runner = make_run([hook], scores=scores, epochs=len(scores), batches=1)
    runner.train()
    return runner.epoch, hook


@pytest.mark.parametrize(
    ('values', 'settings', 'epochs', 'best'),
    [
        ((0.1, 0.3, 0.35, 0.3, 0.9, 0.95), {'patience': 2}, 4, 0.3),
        ((0.1, 0.1, 0.1, 0.1), {'patience': 2, 'min_delta': 0}, 4, 0.1),
        ((0.1, 0.1, 0.1), {'patience': 0}, 2, 0.1),
        ((0.1, float('nan'), 0.1), {}, 2, 0.1),
        ((0.1, INF, 0.1, 0.1, 0.1), {'check_finite': False, 'patience': 2}, 4, INF),
        ((0.1, 0.5, 0.9, 0.95), {'stopping_threshold': 0.9}, 4, 0.95),
        ((0.1, 0.5, 0.91, 0.95), {'stopping_threshold': 0.9}, 3, 0.91),
    ],
)  # fmt: skip
def test_epochs_of_a_metric_that_should_grow(make_run, accs, values, settings, epochs, best):
    done, hook = _epochs(make_run, accs(*values), monitor='acc', **settings)
    assert (done, hook.best_score) == (epochs, best)


@pytest.mark.parametrize(
    ('values', 'settings', 'epochs'),
    [
        ((1.0, 0.95, 0.5, 0.45, 0.44, 0.43), {'patience': 2}, 5),
        ((1.0, 0.6, 0.3, 0.2), {'stopping_threshold': 0.5}, 3),
    ],
)
def test_epochs_of_a_metric_that_should_fall(make_run, values, settings, epochs):
    scores = [{'loss': value} for value in values]
    assert _epochs(make_run, scores, monitor='loss', **settings)[0] == epochs


def test_an_iteration_run_stops_too(make_run, accs):
    hook = EarlyStoppingHook(monitor='acc', patience=1)
    runner = make_run([hook], scores=accs(0.5, 0.4), iters=10, val_interval=2)
    runner.train()
    assert runner.iter == 4


def test_the_log_says_why(make_run, accs):
    hook = EarlyStoppingHook(monitor='acc', patience=1)
    runner = make_run([hook], scores=accs(0.5, 0.4), epochs=3, log_level='INFO')
    runner.train()
    log = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
    assert 'Training ends early: acc has not improved on 0.5 by 0.1 for 1 validation.' in log


def test_a_missing_metric_is_a_warning(make_run, accs):
    hook = EarlyStoppingHook(monitor='accs', rule='less')
    runner = make_run([hook], scores=accs(0.5), epochs=3, log_level='WARNING')
    runner.train()
    log = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
    assert "not among the metrics (acc). Did you mean 'acc'?" in log
    assert runner.epoch == 3


def test_a_missing_metric_is_an_error_when_strict(make_run, accs):
    with pytest.raises(RuntimeError, match="watches 'loss'"):
        _epochs(make_run, accs(0.5), monitor='loss', strict=True)


def test_what_was_seen_comes_back():
    hook, other = EarlyStoppingHook(monitor='acc'), EarlyStoppingHook(monitor='acc')
    hook.best_score, hook.wait_count = 0.7, 3
    other.load_state_dict(hook.state_dict())
    assert (other.best_score, other.wait_count) == (0.7, 3)


@pytest.mark.parametrize(
    ('arguments', 'error'),
    [
        ({'monitor': 'foo'}, ValueError),
        ({'monitor': 'foo', 'rule': 'up'}, ValueError),
        ({'monitor': 'acc', 'patience': -1}, ValueError),
        ({'monitor': ['acc']}, TypeError),
    ],
)
def test_wrong_arguments_are_refused(arguments, error):
    with pytest.raises(error):
        EarlyStoppingHook(**arguments)
