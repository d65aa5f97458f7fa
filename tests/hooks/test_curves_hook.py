"""The picture of a run, and the series in it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmengine.hooks.curves_hook as module
from mmengine.hooks import CurvesHook


@pytest.fixture
def pictures(monkeypatch):
    """The series of each picture that is drawn."""
    drawn: list[dict[str, Any]] = []
    draw = module._picture

    def note(panels: dict[str, Any], kind: str) -> bytes:
        drawn.append(panels)
        return draw(panels, kind)

    monkeypatch.setattr(module, '_picture', note)
    return drawn


def test_a_picture_is_left_in_the_work_dir(make_run):
    runner = make_run([{'type': 'CurvesHook'}])
    runner.train()
    picture = Path(runner.work_dir, 'curves.png').read_bytes()
    assert picture.startswith(b'\x89PNG\r\n')


def test_series_are_losses_metrics_and_rates_over_iterations(make_run, pictures):
    scores = [{'acc': 0.25, 'loss': 2.0, 'table': {}}, {'acc': 0.75, 'loss': 1.0, 'table': {}}]
    make_run([{'type': 'CurvesHook'}], scores=scores).train()
    panels = pictures[-1]
    assert list(panels) == ['loss', 'validation', 'learning rate']
    at, losses = panels['loss']['loss']
    np.testing.assert_array_equal(at, np.arange(1, 9))
    np.testing.assert_allclose(losses, 1 - 0.1 * np.arange(8), rtol=1e-6)
    for name, values in (('val loss', [2.0, 1.0]),):
        np.testing.assert_array_equal(panels['loss'][name], [[4, 8], values])
    np.testing.assert_array_equal(panels['validation']['acc'], [[4, 8], [0.25, 0.75]])
    np.testing.assert_allclose(panels['learning rate']['lr'][1], [0.1] * 8)


def test_it_is_drawn_after_a_validation_and_at_the_end(make_run, pictures, accs, monkeypatch):
    monkeypatch.setattr(module, '_SHARE_OF_TIME', float('inf'))
    make_run([{'type': 'CurvesHook'}], scores=accs(0.5), epochs=3).train()
    assert len(pictures) == 4


def test_drawing_takes_a_small_share_of_a_fast_run(make_run, pictures, accs):
    make_run([{'type': 'CurvesHook'}], scores=accs(0.5), epochs=10, batches=1).train()
    assert 2 <= len(pictures) < 11


def test_a_resumed_run_goes_on_with_its_curves(make_run, pictures, accs):
    checkpoint = {'checkpoint': {'type': 'CheckpointHook', 'interval': 1, 'save_best': 'acc'}}
    hooks = [{'type': 'CurvesHook'}]
    make_run(hooks, scores=accs(0.25, 0.5), default_hooks=checkpoint, epochs=2).train()
    make_run(hooks, scores=accs(0.75), default_hooks=checkpoint, epochs=3, resume=True).train()
    at, losses = pictures[-1]['loss']['loss']
    np.testing.assert_array_equal(at, np.arange(1, 13))
    np.testing.assert_allclose(losses, 1 - 0.1 * np.arange(12), atol=1e-6)
    assert pictures[-1]['validation']['acc'][0][-1] == 12


def test_long_series_are_means_of_equal_stretches():
    values = np.random.default_rng(0).normal(size=2500)
    at, short = module._shortened(np.arange(2500.0), values)
    # 2500 values at most 1000 points: stretches of 3, the last of 1.
    np.testing.assert_allclose(short[:-1], values[:2499].reshape(-1, 3).mean(1))
    assert short[-1] == values[-1]
    assert len(short) == 834
    assert at[0] == 1.0


def test_another_format_can_be_chosen(make_run):
    runner = make_run([{'type': 'CurvesHook', 'filename': 'curves.svg'}])
    runner.train()
    assert '<svg' in Path(runner.work_dir, 'curves.svg').read_text()


def test_a_name_without_ending_is_refused():
    with pytest.raises(ValueError, match='needs a suffix such as'):
        CurvesHook('curves')


def test_without_matplotlib_one_warning_says_how_to_get_it(make_run, accs, monkeypatch):
    for name in ('matplotlib', 'matplotlib.figure', 'matplotlib.backends.backend_agg'):
        monkeypatch.setitem(sys.modules, name, None)
    runner = make_run([{'type': 'CurvesHook'}], scores=accs(0.5), log_level='WARNING')
    runner.train()
    log = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
    assert log.count('pip install matplotlib') == 1
    assert not Path(runner.work_dir, 'curves.png').exists()


def test_a_picture_that_cannot_be_written_ends_no_run(make_run, monkeypatch):
    def fail(path: str) -> Any:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(module, 'atomic_write', fail)
    runner = make_run([{'type': 'CurvesHook'}], log_level='WARNING')
    runner.train()
    log = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
    assert 'Cannot write curves.png' in log
    assert 'No space left on device' in log


def test_pyplot_is_not_imported():
    code = (
        'import sys, numpy as np\n'
        'from mmengine.hooks import curves_hook\n'
        "assert 'matplotlib' not in sys.modules\n"
        "curves_hook._picture({'loss': {'loss': (np.arange(3.0), np.arange(3.0))}}, 'png')\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, '-c', code], check=True, timeout=300)
