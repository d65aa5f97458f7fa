"""``migrate project --mmcv-python``: one training step of each config, on both sides.

The other side is a stand-in here, ``stand_in_mmcv``: what is tested is the comparison. The
benchmark ``migrate_soak`` does the same with MMCV itself.
"""

import sys
from pathlib import Path

import pytest

from mmengine.cli.__main__ import main

pytest.importorskip('libcst')
STAND_IN = Path(__file__).with_name('stand_in_mmcv')
MODELS = """\
import torch
from mmcv.utils import Registry
from torch import nn

MODELS = Registry('toy models')
DATASETS = Registry('toy data')


@DATASETS.register_module()
class Points:
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return dict(x=torch.tensor([1.0, index]), y=torch.tensor(2.0 * index))


@MODELS.register_module()
class Plane(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(2, 1)

    def forward(self, x, y):
        loss = (self.line(x).squeeze(1) - y).square().mean()
        return dict(loss=loss, log_vars=dict(loss=loss.item()), num_samples=len(x))

    def train_step(self, data, optimizer):
        return self(**data)


@MODELS.register_module()
class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(3, 2)

    def forward(self, img, gt_label):
        loss = nn.functional.cross_entropy(self.line(img.mean((2, 3))), gt_label)
        return dict(loss=loss, log_vars=dict(loss=loss.item()), num_samples=len(img))

    def train_step(self, data, optimizer):
        return self(**data)
"""
CONFIG = """\
model = dict(type='{model}')
data = dict(samples_per_gpu=2, workers_per_gpu=0, train=dict(type='{data}'))
train_pipeline = [dict(type='Resize', size=(32, 24))]
optimizer = dict(type='SGD', lr=0.1)
optimizer_config = dict(grad_clip=None)
lr_config = dict(policy='step', step=[1])
runner = dict(type='EpochBasedRunner', max_epochs=2)
"""


@pytest.fixture
def project(tmp_path):
    """Three configs: data that is there, data that is not, and a model that is nowhere."""
    root = tmp_path / 'legacy'
    (root / 'toys').mkdir(parents=True)
    (root / 'toys/__init__.py').write_text('from . import models  # noqa: F401\n')
    (root / 'toys/models.py').write_text(MODELS)
    (root / 'configs').mkdir()
    for name, model, data in (
        ('plane', 'Plane', 'Points'),
        ('images', 'Classifier', 'Elsewhere'),
        ('absent', 'Nowhere', 'Points'),
    ):
        (root / f'configs/{name}.py').write_text(CONFIG.format(model=model, data=data))
    return root


@pytest.fixture
def python(tmp_path):
    """A Python that has the stand-in for MMCV."""
    script = tmp_path / 'python'
    script.write_text(f'#!/bin/sh\nPYTHONPATH={STAND_IN} exec {sys.executable} "$@"\n')
    script.chmod(0o755)
    return str(script)


def command(*words):
    return main(['migrate', 'project', *map(str, words)])


def test_losses_of_one_step_are_on_the_page(project, python, tmp_path, capsys):
    command(project, tmp_path / 'new', '--mmcv-python', python)
    page = capsys.readouterr().out
    assert 'the losses of 2 of 2 configs are equal, 1 of them on stand-in data' in page
    assert 'configs/absent.py: no training step compared: under MMCV: LookupError: no reg' in page


def test_a_loss_that_differs_is_left_to_do(project, python, tmp_path, capsys):
    text = MODELS.replace("data['x'], ", '').replace(
        '.square().mean()', ".square().mean() * (1 if 'mmcv' in sys.modules else 3)"
    )
    (project / 'toys/models.py').write_text('import sys\n' + text)
    assert command(project, tmp_path / 'new', '--mmcv-python', python) == 1
    page = capsys.readouterr().out
    assert 'the losses of 1 of 2 configs are equal' in page
    assert '- configs/plane.py: the first training step differs: loss is ' in page


def test_a_python_without_mmcv_is_a_mistake(project, tmp_path, capsys):
    target = tmp_path / 'new'
    assert command(project, target, '--mmcv-python', tmp_path / 'nowhere') == 2
    assert 'cannot be run' in capsys.readouterr().err
    assert command(project, target, '--force', '--mmcv-python', sys.executable) == 2
    assert 'has no MMCV 1.x (it has none)' in capsys.readouterr().err
