"""What runs of the command line tell that passed in silence, or as a traceback of torch."""

from pathlib import Path

import pytest
import torch

from mmengine.cli.__main__ import main
from mmengine.config import Config

CaptureFixture = pytest.CaptureFixture[str]


def add_lines(project: Path, lines: str) -> None:
    with (project / 'toy.py').open('a') as file:
        file.write(lines + '\n')


@pytest.mark.parametrize(
    'state', [{'other.weight': torch.ones(1)}, {'weight': torch.ones(3)}], ids=['names', 'shapes']
)
def test_a_test_needs_a_weight_of_the_model(
    project: Path, capsys: CaptureFixture, state: dict[str, torch.Tensor]
) -> None:
    torch.save({'state_dict': state}, project / 'other.pth')
    assert main(['test', 'toy.py', 'other.pth']) == 2
    assert 'has none of the weights of ToyLine' in capsys.readouterr().err


def test_a_resumed_run_needs_a_weight_of_the_model(project: Path, capsys: CaptureFixture) -> None:
    assert main(['train', 'toy.py']) == 0
    path = project / 'work_dirs/toy/epoch_1.pth'
    saved = torch.load(path, weights_only=False)
    torch.save({**saved, 'state_dict': {'other': torch.ones(1)}}, project / 'other.pth')
    assert main(['train', 'toy.py', '--resume', 'other.pth']) == 2
    assert 'has none of the weights of ToyLine' in capsys.readouterr().err


@pytest.mark.parametrize(
    'state', [{'other.weight': torch.ones(1)}, {'weight': torch.ones(3)}], ids=['names', 'shapes']
)
def test_a_new_run_needs_a_weight_of_load_from(
    project: Path, capsys: CaptureFixture, state: dict[str, torch.Tensor]
) -> None:
    torch.save({'state_dict': state}, project / 'other.pth')
    assert main(['train', 'toy.py', '--cfg-options', 'load_from=other.pth']) == 2
    assert 'has none of the weights of ToyLine' in capsys.readouterr().err


def test_weights_to_begin_with_may_be_a_part_which_is_counted(
    project: Path, capsys: CaptureFixture
) -> None:
    lines = """
from torch import nn
from cli_toy_project import ToyLine

class Longer(ToyLine):
    def __init__(self):
        super().__init__()
        self.extra = nn.Linear(1, 1)
"""
    (project / 'longer.py').write_text(lines)
    torch.save({'state_dict': {'weight': torch.ones(1), 'b': torch.ones(1)}}, project / 'a.pth')
    add_lines(project, "model = dict(type='longer.Longer')\nload_from = 'a.pth'")
    assert main(['train', 'toy.py']) == 0
    printed = capsys.readouterr()
    # The model has `weight`, `extra.weight` and `extra.bias`.
    assert '1 of the 3 tensors of the model are loaded' in printed.out + printed.err


def test_only_a_training_replaces_the_config_in_the_work_dir(project: Path) -> None:
    main(['train', 'toy.py'])
    main(['test', 'toy.py', 'work_dirs/toy/epoch_1.pth'])
    path = project / 'work_dirs/toy/toy.py'
    assert 'load_from' not in Config.fromfile(path)
    main(['train', 'toy.py', '--cfg-options', 'train_cfg.max_epochs=2'])
    assert Config.fromfile(path).train_cfg.max_epochs == 2


def test_a_work_dir_that_is_a_url_is_refused(project: Path, capsys: CaptureFixture) -> None:
    assert main(['train', 'toy.py', '--work-dir', 's3://bucket/run']) == 2
    assert 'work_dir is a local folder' in capsys.readouterr().err
    assert sorted(path.name for path in project.iterdir()) == ['toy.py']


def test_a_model_without_a_step_is_told_with_the_key_to_set(
    project: Path, capsys: CaptureFixture
) -> None:
    add_lines(project, "model = dict(type='torch.nn.Linear', in_features=1, out_features=1)")
    assert main(['train', 'toy.py']) == 2
    message = capsys.readouterr().err
    assert "model=dict(type='AdaptedModel', module=dict(type='torch.nn." in message
    assert 'Linear has no train_step' in message
    torch.save({'state_dict': {'weight': torch.ones(1, 1)}}, project / 'linear.pth')
    assert main(['test', 'toy.py', 'linear.pth']) == 2
    assert 'Linear has no test_step' in capsys.readouterr().err


def test_a_model_that_gets_lists_is_told_the_collate_fn(
    project: Path, capsys: CaptureFixture
) -> None:
    (project / 'stacked.py').write_text(
        'from cli_toy_project import ToyLine\n'
        'class Stacked(ToyLine):\n'
        "    def forward(self, inputs, target=None, mode='tensor'):\n"
        "        return {'loss': (inputs.mean() * self.weight).sum()}\n"
    )
    add_lines(project, "model = dict(type='stacked.Stacked')\nval_cfg = val_dataloader = None")
    add_lines(project, 'val_evaluator = None')
    assert main(['train', 'toy.py']) == 2
    message = capsys.readouterr().err
    assert 'stacked.py:4' in message
    assert "set train_dataloader.collate_fn=dict(type='default_collate')" in message
    option = 'train_dataloader.collate_fn.type=default_collate'
    assert main(['train', 'toy.py', '--cfg-options', option]) == 0


def test_validation_data_without_a_sample_is_warned_of(project: Path) -> None:
    (project / 'empty.py').write_text(
        'from cli_toy_project import ToyPairs, ToyWeight\n'
        'class Empty(ToyPairs):\n'
        '    def __len__(self):\n'
        '        return 0\n'
        'class Tolerant(ToyWeight):\n'
        '    def compute_metrics(self, results):\n'
        "        return {'count': len(results)}\n"
    )
    add_lines(project, "val_dataloader = dict(batch_size=4, dataset=dict(type='empty.Empty'))")
    add_lines(project, "val_evaluator = dict(type='empty.Tolerant')")
    assert main(['train', 'toy.py']) == 0
    log = next((project / 'work_dirs/toy').glob('*/*.log')).read_text()
    told = 'The dataset of val_dataloader, a Empty, has no sample'
    assert log.count(told) == 1
    assert log.index(told) < log.index('Epoch(train)')


def test_too_few_predictions_and_empty_metrics_are_warned_of(
    project: Path, capsys: CaptureFixture
) -> None:
    (project / 'quiet.py').write_text(
        'from cli_toy_project import ToyLine, ToyWeight\n'
        'class Few(ToyLine):\n'
        '    def val_step(self, data):\n'
        '        return super().val_step(data)[:1]\n'
        'class Nothing(ToyWeight):\n'
        '    def compute_metrics(self, results):\n'
        '        return {}\n'
    )
    add_lines(project, "model = dict(type='quiet.Few')\nval_evaluator = dict(type='quiet.Nothing')")
    assert main(['train', 'toy.py', '--cfg-options', 'train_cfg.max_epochs=2']) == 0
    log = next((project / 'work_dirs/toy').glob('*/*.log')).read_text()
    assert log.count('The model returned 2 predictions for 8 samples in val') == 1
    assert log.count('compute_metrics of Nothing returned an empty dict') == 1
