"""Options for dataloader workers, in a dataloader without workers."""

import logging
import threading
from typing import Any

import pytest
import torch
from runner_toy import Line, toy_config

from mmengine.config import Config
from mmengine.dataset import worker_init_fn
from mmengine.logging import MMLogger
from mmengine.runner import Runner

_OPTIONS: list[dict[str, Any]] = [
    {'persistent_workers': True},
    {'prefetch_factor': 4},
    {'timeout': 30},
    {'multiprocessing_context': 'spawn'},
    {'persistent_workers': True, 'prefetch_factor': 2, 'timeout': 5},
]


def _first_inputs(seed: int | None = None, **options: Any) -> list[torch.Tensor]:
    loader = {'dataset': Line(), 'batch_size': 2, 'sampler': {'type': 'DefaultSampler'}, **options}
    loader['sampler']['shuffle'] = False
    return next(iter(Runner.build_dataloader(loader, seed=seed)))['x']


def _fails_in_a_worker(worker_id: int) -> None:
    raise AssertionError('there is no worker')


@pytest.mark.parametrize('options', _OPTIONS, ids=lambda options: '-'.join(options))
@pytest.mark.parametrize('without', [{}, {'num_workers': 0}], ids=['default', 'zero'])
def test_a_loader_without_workers_takes_options_for_workers(options, without):
    assert _first_inputs(**without, **options) == [torch.tensor([0.0]), torch.tensor([0.1])]


@pytest.mark.parametrize(
    'init', [_fails_in_a_worker, {'type': worker_init_fn, 'disable_subprocess_warning': True}]
)
def test_a_worker_init_function_is_not_called_without_workers(init):
    assert _first_inputs(seed=1, num_workers=0, worker_init_fn=init)[0] == 0.0


def test_with_workers_the_options_are_used():
    loader = Runner.build_dataloader(
        {
            'dataset': Line(), 'batch_size': 2, 'num_workers': 1, 'persistent_workers': True,
            'prefetch_factor': 3, 'timeout': 60,
        }
    )  # fmt: skip
    assert (loader.persistent_workers, loader.prefetch_factor, loader.timeout) == (True, 3, 60)


def test_the_config_of_the_caller_keeps_the_options():
    config = {'dataset': Line(), 'batch_size': 2, 'persistent_workers': True}
    Runner.build_dataloader(config)
    assert config['persistent_workers'] is True


def test_the_log_names_the_options_that_are_not_used(caplog):
    logger = MMLogger.get_instance('options')
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO):
        _first_inputs(persistent_workers=True, prefetch_factor=2, timeout=0)
    assert 'persistent_workers=True, prefetch_factor=2 are not used' in caplog.text
    assert 'timeout' not in caplog.text


def test_a_run_with_workers_is_debugged_with_one_option(tmp_path):
    config = toy_config(tmp_path)
    for stage in ('train', 'val', 'test'):
        config[f'{stage}_dataloader'].update(
            num_workers=2, persistent_workers=True, prefetch_factor=2, timeout=60
        )
    cfg = Config(config)
    cfg.merge_from_dict({f'{stage}_dataloader.num_workers': 0 for stage in ('train', 'val')})
    cfg.test_dataloader = None
    cfg.test_cfg = cfg.test_evaluator = None
    before = threading.active_count()
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 8
    assert threading.active_count() == before
