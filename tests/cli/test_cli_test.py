"""``mmengine test`` in this process."""

import pickle
from pathlib import Path

import pytest
import torch

from mmengine.cli.__main__ import main


@pytest.fixture
def checkpoint(project: Path) -> str:
    """Weights with the slope 1.25."""
    torch.save({'state_dict': {'weight': torch.tensor([1.25])}}, project / 'slope.pth')
    return 'slope.pth'


def printed_metrics(output: str) -> dict[str, float]:
    lines = [line.split() for line in output.splitlines()]
    return {
        words[0]: float(words[1])
        for words in lines
        if len(words) == 2 and words[0] in ('slope', 'count')
    }


def test_metrics_of_the_checkpoints_weights_are_printed(
    project: Path, checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['test', 'toy.py', checkpoint]) == 0
    assert printed_metrics(capsys.readouterr().out) == {'slope': 1.25, 'count': 8}


def test_out_writes_the_predictions_in_the_order_of_the_dataset(
    project: Path, checkpoint: str
) -> None:
    main(['test', 'toy.py', checkpoint, '--out', 'predictions.pkl'])
    with (project / 'predictions.pkl').open('rb') as file:
        predictions = pickle.load(file)
    assert [float(one['y']) for one in predictions] == [1.25 * index / 8 for index in range(8)]


def test_out_writes_a_file_for_each_of_several_dataloaders(project: Path, checkpoint: str) -> None:
    with (project / 'toy.py').open('a') as file:
        file.write(
            'test_dataloader = dict(near=test_dataloader, far=test_dataloader)\n'
            'test_evaluator = dict(near=test_evaluator, far=test_evaluator)\n'
        )
    main(['test', 'toy.py', checkpoint, '--out', 'predictions.pkl'])
    assert sorted(path.name for path in project.glob('*.pkl')) == [
        'predictions_far.pkl', 'predictions_near.pkl',
    ]  # fmt: skip


def test_out_joins_the_metrics_of_a_written_out_evaluator(
    project: Path, checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with (project / 'toy.py').open('a') as file:
        file.write("test_evaluator = dict(type='Evaluator', metrics=[dict(type='ToyWeight')])\n")
    main(['test', 'toy.py', checkpoint, '--out', 'predictions.pkl'])
    assert (project / 'predictions.pkl').is_file()
    assert printed_metrics(capsys.readouterr().out)['count'] == 8


def test_what_only_training_needs_is_not_built(project: Path, checkpoint: str) -> None:
    options = ['--cfg-options', 'train_dataloader.dataset.type=NotInstalledHere']
    assert main(['test', 'toy.py', checkpoint, *options]) == 0


def test_a_config_that_asks_to_resume_is_tested_all_the_same(
    project: Path, checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(['test', 'toy.py', checkpoint, '--cfg-options', 'resume=True', 'load_from=other.pth'])
    assert printed_metrics(capsys.readouterr().out)['slope'] == 1.25
