"""The demo: accuracy, what it leaves behind, and the same number again from the checkpoint."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mmengine.cli.__main__ import main

ROOT = Path(__file__).parents[2]
CONFIG = 'examples/digits/config.py'


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The work dir of the whole demo, run once for the tests of this file."""
    folder = tmp_path_factory.mktemp('digits')
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        assert main(['train', CONFIG, '--work-dir', str(folder)]) == 0
    yield folder
    torch.set_num_threads(threads)


def accuracies(work_dir: Path) -> list[float]:
    (scalars,) = work_dir.glob('*/vis_data/scalars.json')
    records = map(json.loads, scalars.read_text().splitlines())
    return [record['accuracy'] for record in records if 'accuracy' in record]


def test_it_reaches_97_percent(work_dir: Path) -> None:
    assert max(accuracies(work_dir)) >= 0.97


def test_it_leaves_config_log_scalars_checkpoints_and_curves(work_dir: Path) -> None:
    best = 1 + max(range(12), key=accuracies(work_dir).__getitem__)
    names = {path.name for path in work_dir.iterdir() if path.is_file()}
    assert names == {
        'config.py',
        'curves.png',
        'epoch_12.pth',
        'epoch_12.pth.after_val',
        f'best_accuracy_epoch_{best}.pth',
        f'best_accuracy_epoch_{best}.pth.after_val',
        'checkpoints.jsonl',
        'last_checkpoint',
    }
    (log,) = work_dir.glob('*/*.log')
    assert 'Epoch(val) [12][2/2]    accuracy: ' in log.read_text()


def test_testing_the_best_checkpoint_prints_the_same_accuracy(
    work_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    (best,) = work_dir.glob('best_*.pth')
    assert main(['test', CONFIG, str(best), '--work-dir', str(work_dir / 'test')]) == 0
    assert f'accuracy  {max(accuracies(work_dir)):.4f}' in capsys.readouterr().out.splitlines()


def test_every_image_is_in_one_of_the_two_parts() -> None:
    from sklearn.datasets import load_digits

    from examples.digits.digits import DigitsDataset

    parts = [DigitsDataset('train'), DigitsDataset('val')]
    assert [len(part) for part in parts] == [1438, 359]
    images = torch.cat([part.images for part in parts]).flatten(1)
    expected = torch.from_numpy(load_digits().data).float()
    assert sorted(images.tolist()) == sorted(expected.tolist())
