"""The options of ``mmengine train`` that try something out."""

from pathlib import Path

import pytest
import torch

from mmengine.cli.__main__ import main

X = torch.arange(8.0) / 8


def files_in(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.rglob('*') if path.is_file())


def test_fast_dev_run_leaves_only_the_log(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['train', 'toy.py', '--fast-dev-run']) == 0
    printed = capsys.readouterr().out
    assert 'Trained          1 batch: loss' in printed
    assert 'This was a check' in printed
    assert files_in(project / 'work_dirs') == ['.log']
    assert main(['train', 'toy.py', '--fast-dev-run', '2', '--quiet']) == 0
    assert 'This was a check' not in capsys.readouterr().out


def test_limits_shorten_the_training_and_the_validation(project: Path) -> None:
    words = ['train', 'toy.py', '--limit-train-batches', '1', '--limit-val-batches', '0.5']
    assert main(words) == 0
    (log,) = (project / 'work_dirs' / 'toy').glob('*/*.log')
    assert 'count: 4' in log.read_text()
    saved = torch.load(project / 'work_dirs' / 'toy' / 'epoch_1.pth', weights_only=True)
    # One step by hand, on the first four points.
    slope = 0.5 - 0.1 * 2 * (0.5 - 2) * float((X[:4] ** 2).mean())
    assert float(saved['state_dict']['weight']) == pytest.approx(slope)
    assert saved['meta']['iter'] == 1


def test_overfit_trains_in_a_folder_of_its_own(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ['--cfg-options', 'train_cfg.max_epochs=3']
    assert main(['train', 'toy.py', '--overfit', '1', *options]) == 0
    assert 'Overfitted 1 batch in 3 iterations.' in capsys.readouterr().out
    assert (project / 'work_dirs' / 'toy' / 'overfit' / 'epoch_3.pth').is_file()
    # A resumed training of the same work dir must not find the checkpoints.
    assert main(['train', 'toy.py', '--overfit', '1', '--work-dir', 'mine']) == 0
    assert (project / 'mine' / 'overfit' / 'epoch_1.pth').is_file()
    assert not list((project / 'mine').glob('*.pth'))


def test_lr_find_prints_the_curve_and_the_next_command(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('matplotlib')
    assert main(['train', 'toy.py', '--lr-find']) == 0
    printed = capsys.readouterr().out
    assert '<- steepest' in printed
    assert 'Next: mmengine train toy.py --cfg-options optim_wrapper.optimizer.lr=' in printed
    assert files_in(project / 'work_dirs') == ['.json', '.log', '.png']


def test_find_batch_size_prints_throughputs(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['train', 'toy.py', '--find-batch-size', '--memory', '1TB']) == 0
    printed = capsys.readouterr().out
    assert 'Largest that fits: 8' in printed
    assert 'Next: mmengine train toy.py --cfg-options train_dataloader.batch_size=' in printed


def test_profile_prints_the_phases(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ['--cfg-options', 'train_cfg.max_epochs=9']
    assert main(['train', 'toy.py', '--profile', '2', *options]) == 0
    printed = capsys.readouterr().out
    assert 'data wait' in printed
    assert 'Most time is' in printed
    assert files_in(project / 'work_dirs') == ['.json', '.json', '.log']


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--overfit', '0'], "argument --overfit: this is a positive number, got '0'."),
        (['--overfit', 'two'], "argument --overfit: this is a positive number, got 'two'."),
        (['--fast-dev-run', '-1'], "--fast-dev-run: this is a positive number, got '-1'."),
        (['--fast-dev-run', 'other.py'], 'Write CONFIG before --fast-dev-run.'),
        (['--limit-train-batches', '1.5'], 'a share of them such as 0.1'),
        (['--limit-val-batches', '0'], 'a share of them such as 0.1'),
        (['--fast-dev-run', '--profile'], 'not allowed with argument'),
        (['--lr-find', '--overfit', '1'], 'not allowed with argument'),
        (['--memory', '8GB'], '--memory belongs to --find-batch-size'),
        (['--fast-dev-run', '--limit-val-batches', '1'], 'so leave --limit-val-batches'),
        (['--overfit', '1', '--limit-train-batches', '1'], 'so leave --limit-train-batches'),
        (['--lr-find', 'los'], "no value 'los' to follow, but loss. Did you mean 'loss'?"),
        (['--find-batch-size', '--memory', 'much'], 'memory must be a positive number'),
        (['--profile', '--cfg-options', 'train_cfg.max_epochs=1'], 'ended after 2 iterations'),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else '',
)
def test_wrong_values_are_told_in_a_sentence(
    words: list[str], message: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(['train', 'toy.py', *words])
    except SystemExit as exit_:  # argparse
        code = int(exit_.code or 0)
    assert code == 2
    assert message in capsys.readouterr().err
    assert not [path for path in project.rglob('*') if path.suffix in ('.pth', '.png')]
