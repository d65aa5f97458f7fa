"""A base class for tests of a Runner, with a small model, dataset and metric."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from typing import Any
from unittest import TestCase
from uuid import uuid4

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmengine.config import Config
from mmengine.dist import is_distributed
from mmengine.evaluator import BaseMetric
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS, DefaultScope, Registry
from mmengine.runner import Runner
from mmengine.utils.errors import ArgumentError
from mmengine.utils.manager import ManagerMixin
from mmengine.visualization import Visualizer


class ToyModel(BaseModel):
    """Two linear layers that learn to predict a label."""

    def __init__(self, data_preprocessor: Any = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.linear1 = nn.Linear(2, 2)
        self.linear2 = nn.Linear(2, 1)

    def forward(
        self,
        inputs: Tensor | list[Tensor],
        data_samples: Tensor | list[Tensor] | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """The outputs of shape (batch, 1), or for mode 'loss' their squared error."""
        batch = torch.stack(inputs) if isinstance(inputs, list) else inputs
        outputs = self.linear2(self.linear1(batch))
        if mode in ('tensor', 'predict'):
            return outputs
        if mode != 'loss' or data_samples is None:
            raise ArgumentError(
                "ToyModel has the modes 'tensor', 'predict' and, with data_samples, 'loss'; "
                f'got {mode!r}.'
            )
        labels = torch.stack(data_samples) if isinstance(data_samples, list) else data_samples
        return {'loss': (labels - outputs.squeeze(1)).square().mean()}


class ToyDataset(Dataset[dict[str, Tensor]]):
    """Twelve points with the label 1."""

    METAINFO: dict[str, Any] = {}
    data = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    label = torch.ones(12)

    @property
    def metainfo(self) -> dict[str, Any]:
        """Metainfo of the dataset."""
        return self.METAINFO

    def __len__(self) -> int:
        return self.data.size(0)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {'inputs': self.data[index], 'data_samples': self.label[index]}


class ToyMetric(BaseMetric):
    """Reports a fixed accuracy.

    Args:
        collect_device: See :class:`~mmengine.evaluator.BaseMetric`.
        dummy_metrics: Metrics to report instead.
    """

    def __init__(
        self, collect_device: str = 'cpu', dummy_metrics: dict[str, Any] | None = None
    ) -> None:
        super().__init__(collect_device=collect_device)
        self.dummy_metrics = dummy_metrics

    def process(self, data_batch: Any, predictions: Any) -> None:
        """Add one result for each batch."""
        self.results.append({'acc': 1})

    def compute_metrics(self, results: list[Any]) -> dict[str, Any]:
        """``dummy_metrics``, or an accuracy of 1."""
        return {'acc': 1} if self.dummy_metrics is None else self.dummy_metrics


_TOYS: tuple[tuple[Registry, type], ...] = (
    (MODELS, ToyModel),
    (DATASETS, ToyDataset),
    (METRICS, ToyMetric),
)


class RunnerTestCase(TestCase):
    """Base of tests of hooks, strategies and whatever else needs a Runner.

    Each test finds ``self.epoch_based_cfg`` (two epochs, validated after each) and
    ``self.iter_based_cfg`` (twelve iterations) to change and to build a Runner from, writes to a
    temporary folder, and removes it, named instances and environment variables afterwards.

    Example:
        >>> class TestMyHook(RunnerTestCase):
        ...     def test_is_called(self):
        ...         self.epoch_based_cfg.custom_hooks = [dict(type='MyHook')]
        ...         self.build_runner(self.epoch_based_cfg).train()
    """

    dist_cfg: dict[str, Any] = {
        'MASTER_ADDR': '127.0.0.1',
        'MASTER_PORT': 29600,
        'RANK': '0',
        'WORLD_SIZE': '1',
        'LOCAL_RANK': '0',
    }
    """Environment variables of a distributed run of one process; the port is chosen anew."""

    def setUp(self) -> None:
        """Make the folder and the configs; register the toys."""
        self.temp_dir = tempfile.TemporaryDirectory()
        self._store: Any = None
        self._environment = dict(os.environ)
        self._replaced = [registry.module_dict.get(toy.__name__) for registry, toy in _TOYS]
        for registry, toy in _TOYS:
            registry.register_module(module=toy, force=True)
        self.epoch_based_cfg = _config(self.temp_dir.name, by_epoch=True)
        self.iter_based_cfg = _config(self.temp_dir.name, by_epoch=False)

    def tearDown(self) -> None:
        """Restore what the test and :meth:`setUp` changed."""
        self._close_log_files()
        for manager in (MMLogger, Visualizer, DefaultScope, MessageHub):
            _named_instances(manager).clear()
        for (registry, toy), before in zip(_TOYS, self._replaced, strict=True):
            if before is None:
                del registry.module_dict[toy.__name__]
            else:
                registry.module_dict[toy.__name__] = before
        if is_distributed():
            torch.distributed.destroy_process_group()
        self._store = None
        os.environ.clear()
        os.environ.update(self._environment)
        self.temp_dir.cleanup()

    def build_runner(self, cfg: Config) -> Runner:
        """A Runner with a unique name, so that it does not share a logger with another one."""
        cfg.experiment_name = self.experiment_name
        return Runner.from_cfg(cfg)

    @property
    def experiment_name(self) -> str:
        """A new name at each access."""
        return f'{self._testMethodName}_{time.time()} + {uuid4()}'

    def setup_dist_env(self) -> None:
        """Set the environment variables of a distributed run, as ``torchrun`` does."""
        # The store of rank 0 is opened here, on a port that the system gives it, and is shared with
        # the process group: a port that is only looked up may be taken before the group binds it.
        self._store = torch.distributed.TCPStore(  # type: ignore[attr-defined]  # not in its stubs
            self.dist_cfg['MASTER_ADDR'],
            0,
            is_master=True,
            wait_for_workers=False,
            multi_tenant=True,
        )
        os.environ.update({key: str(value) for key, value in self.dist_cfg.items()})
        os.environ['MASTER_PORT'] = str(self._store.port)

    def clear_work_dir(self) -> None:
        """Empty the folder of the test."""
        self._close_log_files()
        with os.scandir(self.temp_dir.name) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    os.remove(entry.path)

    def _close_log_files(self) -> None:
        for logger in _named_instances(MMLogger).values():
            for handler in logger.handlers:
                if isinstance(handler, logging.FileHandler):
                    handler.close()


def _named_instances(manager: type[ManagerMixin]) -> dict[str, Any]:
    instances: dict[str, Any] = manager._instance_dict
    return instances


def _config(work_dir: str, by_epoch: bool) -> Config:
    def loader(sampler: str, shuffle: bool) -> dict[str, Any]:
        return {
            'dataset': {'type': 'ToyDataset'},
            'sampler': {'type': sampler, 'shuffle': shuffle},
            'batch_size': 3,
            'num_workers': 0,
        }

    hooks: dict[str, Any] = {'logger': {'type': 'LoggerHook', 'interval': 1}}
    if by_epoch:
        train_cfg = {'by_epoch': True, 'max_epochs': 2, 'val_interval': 1}
    else:
        train_cfg = {'by_epoch': False, 'max_iters': 12}
        hooks['checkpoint'] = {'type': 'CheckpointHook', 'interval': 12, 'by_epoch': False}
    return Config(
        {
            'work_dir': work_dir,
            'model': {'type': 'ToyModel'},
            'train_dataloader': loader('DefaultSampler' if by_epoch else 'InfiniteSampler', True),
            'val_dataloader': loader('DefaultSampler', False),
            'val_evaluator': [{'type': 'ToyMetric'}],
            'test_dataloader': loader('DefaultSampler', False),
            'test_evaluator': [{'type': 'ToyMetric'}],
            'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 0.1}},
            'train_cfg': train_cfg,
            'val_cfg': {},
            'test_cfg': {},
            'default_hooks': hooks,
            'custom_hooks': [],
            'env_cfg': {
                'dist_cfg': {'backend': 'nccl' if torch.cuda.is_available() else 'gloo'},
            },
            **({} if by_epoch else {'log_processor': {'by_epoch': False}}),
        }
    )
