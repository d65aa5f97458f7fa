"""A folder to run commands in, with a config of the toy project."""

from pathlib import Path

import pytest

CONFIG = """\
custom_imports = dict(imports=['cli_toy_project'])
model = dict(type='ToyLine', slope=0.5)
train_dataloader = dict(batch_size=4, dataset=dict(type='ToyPairs'))
train_cfg = dict(by_epoch=True, max_epochs=1)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
val_dataloader = dict(batch_size=4, dataset=dict(type='ToyPairs'))
val_cfg = dict()
val_evaluator = dict(type='ToyWeight')
test_dataloader = val_dataloader
test_cfg = dict()
test_evaluator = val_evaluator
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, holding ``toy.py``, the config above."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / 'toy.py').write_text(CONFIG)
    return tmp_path
