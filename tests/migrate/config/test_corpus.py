"""A corpus of legacy configs: each converts, loads, builds, and follows its old curve."""

import corpus
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.migrate._config.migrate import migrate_configs
from mmengine.migrate._config.report.check import TOLERANCE
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, MODELS
from mmengine.runner import Runner

TEXTS = corpus.configs()


class CorpusModel(BaseModel):
    def __init__(self, width, norm, train_cfg, test_cfg, data_preprocessor=None):
        super().__init__(data_preprocessor)
        assert (train_cfg, test_cfg) == (dict(assigner=dict(threshold=0.5)), dict(mode='whole'))
        self.backbone = nn.Linear(1, width)
        self.head = nn.Linear(width, 1)

    def forward(self, *inputs, mode='tensor'):
        out = self.head(self.backbone(torch.tensor([[float(len(inputs))]])))
        return dict(loss=out.mean()) if mode == 'loss' else [out]

    def train_step(self, data, optim_wrapper):
        # One loss for all of several optimizers.
        loss = self(data, mode='loss')['loss']
        for wrapper in getattr(optim_wrapper, 'optim_wrappers', {'all': optim_wrapper}).values():
            wrapper.update_params(loss)
            loss = self(data, mode='loss')['loss']
        return dict(loss=loss.detach())


class CorpusDataset(Dataset):
    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return index


class StopAfterTwo(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter >= 1:
            runner.train_loop.stop_training = True


@pytest.fixture(autouse=True)
def registered():
    HOOKS.register_module(module=StopAfterTwo)
    MODELS.register_module(module=CorpusModel)
    DATASETS.register_module(module=CorpusDataset)
    yield
    HOOKS.module_dict.pop('StopAfterTwo')
    MODELS.module_dict.pop('CorpusModel')
    DATASETS.module_dict.pop('CorpusDataset')


def test_the_corpus_has_every_policy_with_every_warmup_and_runner():
    assert len(TEXTS) >= 60
    assert {name.split('-')[-1] for name in TEXTS} == set(corpus.RUNNERS)


@pytest.mark.parametrize('name', TEXTS)
def test_a_config_converts_loads_and_keeps_its_curve(name, tmp_path):
    (tmp_path / 'old.py').write_text(TEXTS[name])
    report = migrate_configs(tmp_path / 'old.py', tmp_path / 'new.py', check=True)
    assert report.failed == []
    (checks,) = report.checks.values()
    assert all(check.comparison.largest < TOLERANCE for check in checks)
    new = Config.fromfile(tmp_path / 'new.py')
    assert not {'optimizer', 'optimizers', 'lr_config', 'runner', 'data', 'total_epochs'} & set(new)
    text = (tmp_path / 'new.py').read_text()
    assert all(c in text for c in ('# A model that learns nothing', '# everywhere', '# channels'))


@pytest.mark.parametrize('name', list(TEXTS)[::12])
def test_a_converted_config_trains(name, tmp_path):
    (tmp_path / 'old.py').write_text(TEXTS[name])
    migrate_configs(tmp_path / 'old.py', tmp_path / 'new.py')
    cfg = Config.fromfile(tmp_path / 'new.py')
    cfg.work_dir = str(tmp_path / 'run')
    cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    cfg.custom_hooks = []
    length = 'max_epochs' if cfg.train_cfg.by_epoch else 'max_iters'
    total = cfg.train_cfg[length]
    runner = Runner.from_cfg(cfg)
    runner.register_hook(dict(type='StopAfterTwo'))
    runner.train()
    assert getattr(runner.train_loop, f'_{length}') == total
    assert runner.iter >= 2
