"""Which checkpoint a run resumes when ``load_from`` and ``resume`` are both set."""

from pathlib import Path
from typing import Any

import pytest
import torch
from runner_toy import NO_TEST, NO_VALIDATION, parameters, toy_runner

from mmengine.runner import Runner

HOOKS = {'checkpoint': {'type': 'CheckpointHook', 'interval': 1}, 'logger': None}


def _make(folder: Path, epochs: int, **changes: Any) -> Runner:
    arguments: dict[str, Any] = {
        'train_cfg': {'by_epoch': True, 'max_epochs': epochs},
        'default_hooks': dict(HOOKS),
        **NO_VALIDATION,
        **NO_TEST,
        **changes,
    }
    return toy_runner(folder, **arguments)


def _run(folder: Path, epochs: int, **changes: Any) -> Runner:
    runner = _make(folder, epochs, **changes)
    runner.train()
    return runner


@pytest.fixture
def pretrained(tmp_path: Path) -> str:
    """Weights of another run."""
    path = tmp_path / 'pretrained.pth'
    torch.save({'state_dict': {'linear.weight': torch.full((1, 1), 9.0)}}, path)
    return str(path)


@pytest.mark.parametrize('resume', [True, 'auto', {'path': 'auto'}, {}])
def test_a_run_that_began_from_weights_goes_on_when_it_is_started_again(
    tmp_path, pretrained, resume
):
    whole = _run(tmp_path / 'whole', 4, load_from=pretrained)
    _run(tmp_path / 'run', 2, load_from=pretrained)
    again = _run(tmp_path / 'run', 4, load_from=pretrained, resume=resume)
    assert (again.epoch, again.iter) == (4, 16)
    assert parameters(again.model) == parameters(whole.model)
    assert parameters(whole.model) != parameters(_run(tmp_path / 'plain', 4).model)


def test_in_an_empty_work_dir_true_resumes_load_from(tmp_path):
    _run(tmp_path / 'a', 2)
    source = str(tmp_path / 'a' / 'epoch_1.pth')
    runner = _make(tmp_path / 'b', 2, load_from=source, resume=True)
    runner.load_or_resume()
    assert (runner.epoch, runner.iter) == (1, 4)
    # Started again, the run goes on from its own checkpoint, not from the source.
    _run(tmp_path / 'b', 3, load_from=source, resume=True)
    runner = _make(tmp_path / 'b', 3, load_from=source, resume=True)
    runner.load_or_resume()
    assert (runner.epoch, runner.iter) == (3, 12)


def test_in_an_empty_work_dir_auto_begins_anew_with_the_weights_of_load_from(tmp_path):
    first = _run(tmp_path / 'a', 2)
    source = str(tmp_path / 'a' / 'epoch_2.pth')
    runner = _make(tmp_path / 'b', 3, load_from=source, resume='auto')
    runner.load_or_resume()
    assert (runner.epoch, runner.iter) == (0, 0)
    assert parameters(runner.model) == parameters(first.model)
    assert not runner.state.is_resuming


def test_a_path_in_resume_always_wins(tmp_path, pretrained):
    _run(tmp_path, 3)
    runner = _make(tmp_path, 3, load_from=pretrained, resume=str(tmp_path / 'epoch_1.pth'))
    runner.load_or_resume()
    assert runner.epoch == 1


def test_going_back_to_an_earlier_checkpoint_of_the_run_is_done_once(tmp_path):
    _run(tmp_path, 4)
    earlier = str(tmp_path / 'epoch_1.pth')

    def resumed(epochs: int) -> Runner:
        return _make(tmp_path, epochs, load_from=earlier, resume=True)

    runner = resumed(3)
    runner.load_or_resume()
    assert runner.epoch == 1
    resumed(3).train()
    # Stopped and started again, with the same command: it goes on from what it has trained since.
    runner = resumed(5)
    runner.load_or_resume()
    assert runner.epoch == 3
    runner.train()
    runner = resumed(6)
    runner.load_or_resume()
    assert runner.epoch == 5


def test_a_validation_takes_the_weights_of_the_newest(tmp_path, pretrained):
    trained = _run(tmp_path, 2)
    runner = toy_runner(
        tmp_path, load_from=pretrained, resume=True, default_hooks=dict(HOOKS), **NO_TEST
    )
    runner.val()
    assert parameters(runner.model) == parameters(trained.model)


def test_which_one_is_taken_is_logged(tmp_path, pretrained, capsys):
    _run(tmp_path, 2)
    capsys.readouterr()
    _make(tmp_path, 3, load_from=pretrained, resume=True, log_level='INFO').load_or_resume()
    text = capsys.readouterr().out
    assert f'load_from={pretrained} is where it began' in text
    assert f'Resume checkpoint from {tmp_path / "epoch_2.pth"}' in text
