"""What a terminal shows of a run: a header, rows, a summary; everything long is in the log file."""

import logging
from pathlib import Path
from typing import Any

import pytest

from mmengine.cli import _screen
from mmengine.cli.__main__ import main
from mmengine.logging import MMLogger
from mmengine.logging.logger import console_rule

CaptureFixture = pytest.CaptureFixture[str]


def labels(text: str) -> list[str]:
    known = ('Run', 'Work dir', 'Device', 'Model', 'Training data', 'Validation data',
             'Optimizer', 'Schedule', 'Log')  # fmt: skip
    return [line[:16].strip() for line in text.splitlines() if line[:16].strip() in known]


def test_a_pipe_gets_a_header_lines_and_a_summary(project: Path, capsys: CaptureFixture) -> None:
    assert main(['train', 'toy.py']) == 0
    out = capsys.readouterr().out
    assert labels(out)[:9] == ['Run', 'Work dir', 'Device', 'Model', 'Training data',
                               'Validation data', 'Optimizer', 'Schedule', 'Log']  # fmt: skip
    rows = {line[:16].strip(): line[17:] for line in out.splitlines()}
    assert rows['Model'] == 'ToyLine, 1 parameter'
    assert rows['Training data'] == 'ToyPairs, 8 samples, 2 batches of 4'
    assert rows['Optimizer'] == 'SGD, lr 0.1'
    assert rows['Schedule'] == 'constant; 1 epoch'
    assert 'Epoch(train) [1][2/2]' in out
    assert 'Epoch(val) [1][2/2]' in out
    assert len(out.splitlines()) < 30
    (log,) = (project / 'work_dirs/toy').glob('*/*.log')
    text = log.read_text()
    for long in ('System environment', "type='ToyLine'", 'Hooks will be executed'):
        assert long in text
        assert long not in out


def test_quiet_prints_nothing_and_verbose_prints_all(project: Path, capsys: CaptureFixture) -> None:
    assert main(['train', 'toy.py', '--quiet']) == 0
    assert capsys.readouterr().out == ''
    assert main(['train', 'toy.py', '--verbose']) == 0
    assert 'Hooks will be executed' in capsys.readouterr().out
    checkpoint = 'work_dirs/toy/epoch_1.pth'
    assert main(['test', 'toy.py', checkpoint]) == 0
    assert 'Hooks will be executed' not in capsys.readouterr().out


def test_a_run_of_python_is_not_changed(capsys: CaptureFixture, tmp_path: Path) -> None:
    logger = MMLogger('screen', log_file=str(tmp_path / 'log'))
    with console_rule(lambda record: record.levelno > logging.INFO):
        logger.info('hidden')
        logger.warning('warned')
    logger.info('shown')
    out = capsys.readouterr().out
    assert 'hidden' not in out
    assert 'warned' in out
    assert 'shown' in out
    assert 'hidden' in (tmp_path / 'log').read_text()
    logger.close()


def test_a_terminal_gets_a_row_for_each_validation(
    project: Path, capsys: CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('mmengine.cli.train._is_live', lambda: True)
    monkeypatch.setenv('NO_COLOR', '1')
    checkpoint = 'default_hooks.checkpoint'
    options = [f'{checkpoint}.save_best=slope', f'{checkpoint}.rule=less', 'train_cfg.max_epochs=3']
    assert main(['train', 'toy.py', '--cfg-options', *options]) == 0
    out = capsys.readouterr().out.splitlines()
    (head,) = (at for at, line in enumerate(out) if line.split()[:1] == ['epoch'])
    assert out[head].split() == ['epoch', 'train', 'loss', 'slope', 'count', 'time']
    rows = [line.split() for line in out[head + 1 : head + 4]]
    assert [row[0] for row in rows] == ['1', '2', '3']
    # The slope grows to 2, so by this rule the first is the best.
    assert [row[-1] == '*' for row in rows] == [True, False, False]
    assert not any('Epoch(train)' in line for line in out)


@pytest.mark.parametrize(
    ('width', 'expected'),
    [(200, ['epoch', 'a', 'b', 'c', 'time']), (60, ['epoch', 'a', 'b', 'c', 'time']),
     (40, ['epoch', 'a', 'time']), (10, ['epoch', 'time'])],
)  # fmt: skip
def test_columns_are_left_out_where_the_terminal_is_narrow(width: int, expected: list[str]) -> None:
    # Columns of 8 letters and 2 between them, and 5 for the star.
    row = dict.fromkeys(('epoch', 'a', 'b', 'c', 'time'), '0')
    assert _screen._fitting(row, width) == expected


def test_an_interrupted_run_says_how_to_go_on(project: Path, capsys: CaptureFixture) -> None:
    (project / 'stopping.py').write_text(
        'from mmengine.hooks import Hook\n'
        'from mmengine.utils._stop_file import write_stop_file\n'
        'class Stop(Hook):\n'
        '    def after_train_epoch(self, runner):\n'
        '        write_stop_file(runner.work_dir)\n'
        '        runner.state.stops.look_at = 0\n'
    )
    words = ['train', 'toy.py', '--cfg-options', 'train_cfg.max_epochs=50']
    with (project / 'toy.py').open('a') as file:
        file.write("custom_hooks = [dict(type='stopping.Stop')]\n")
    with pytest.raises(SystemExit):
        main(words)
    rows: dict[str, Any] = {
        line[:16].strip(): line[17:] for line in capsys.readouterr().out.splitlines()
    }
    assert rows['Stopped'].startswith(f'saved {project / "work_dirs/toy"}')
    assert rows['Go on with'] == f'mmengine {" ".join(words)} --resume'
