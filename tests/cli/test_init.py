"""``mmengine init``: its projects run at once, and learn."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mmengine.cli.__main__ import main
from mmengine.cli.init import NAMES, create
from mmengine.testing._internal.forked_python import run_python
from mmengine.utils.errors import ArgumentError

# After two epochs: better than guessing one of three classes, and than points at the origin.
LEARNT = {'classification': ('accuracy', 0.5, 1.0), 'gan': ('radius_error', 0.0, 1.9)}


# Samples of the test data, the form of an input, and the form of an output.
SAMPLES = {'classification': (240, [1, 16, 16], [3]), 'gan': (1024, [2], [2])}


def assert_works(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trained model predicts, and runs from a file without its code."""
    count, form, output = SAMPLES[name]
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    try:
        assert main(['predict', 'config.py']) == 0
        assert main(['export', 'config.py', '--out', 'model.pt2']) == 0
    finally:
        sys.modules.pop('project', None)  # all projects have a module of this name
    lines = folder.joinpath('work_dirs/config/predictions/predictions.jsonl').read_text()
    assert len(lines.splitlines()) == count
    module = torch.export.load(folder / 'model.pt2').module()
    assert list(module(torch.zeros(5, *form)).shape) == [5, *output]


def trained(folder: Path, config: str, *options: str) -> str:
    done = run_python(['-m', 'mmengine', 'train', config, *options], cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize('name', LEARNT)
def test_project_trains_at_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = create(name, tmp_path / 'mine')
    trained(folder, 'config.py', '--cfg-options', 'train_cfg.max_epochs=2')
    metric, low, high = LEARNT[name]
    log = next(folder.glob('work_dirs/config/*/*.log')).read_text()
    values = [float(part.split()[0]) for part in log.split(f'{metric}: ')[1:]]
    assert low < values[-1] <= high
    assert_works(folder, name, monkeypatch)


def test_finetune_goes_on_from_weights(tmp_path: Path) -> None:
    folder = create('finetune', tmp_path / 'mine')
    trained(folder, 'pretrain.py')
    trained(folder, 'config.py', '--cfg-options', 'train_cfg.max_epochs=1')
    log = next(folder.glob('work_dirs/config/*/*.log')).read_text()
    assert 'epoch_3.pth' in log
    assert float(log.split('accuracy: ')[-1].split()[0]) > 0.5


def test_command_says_what_comes_next(
    tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(['init', 'finetune', '--out', 'mine']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'Wrote mine. Next:'
    assert [line.strip() for line in lines[1:4]] == [
        'cd mine', 'mmengine train pretrain.py', 'mmengine train config.py'
    ]  # fmt: skip
    assert {path.name for path in Path('mine').iterdir()} == {
        'config.py', 'pretrain.py', 'project.py'
    }  # fmt: skip


@pytest.mark.parametrize('name', NAMES)
def test_nothing_is_overwritten(name: str, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / 'config.py').write_text('mine = 1\n')
    assert main(['init', name, '--out', str(tmp_path)]) == 2
    assert 'already has config.py; nothing was written' in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['config.py']


def test_unknown_template(capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main(['init', 'detection'])
    with pytest.raises(ArgumentError, match='classification, gan, finetune'):
        create('detection')
