"""Train by a config, the way that train_model of the projects did."""

import argparse

from mmcv import Config
from mmcv.parallel import MMDataParallel
from mmcv.runner import (
    HOOKS,
    Fp16OptimizerHook,
    OptimizerHook,
    build_optimizer,
    build_runner,
)
from mmcv.utils import build_from_cfg, get_logger
from parts import Plane, Points, outcome
from torch.utils.data import DataLoader


def build_dataset(cfg):
    options = {key: cfg[key] for key in cfg if key != 'type'}
    return Points(**options)


def train_model(model, dataset, cfg, distributed=False, validate=False, meta=None):
    logger = get_logger('by_config', log_level='ERROR')
    # prepare data loaders
    dataset = dataset if isinstance(dataset, (list, tuple)) else [dataset]
    data_loaders = [
        DataLoader(ds, batch_size=cfg.data.samples_per_gpu, num_workers=cfg.data.workers_per_gpu)
        for ds in dataset
    ]
    # put model on gpus
    model = MMDataParallel(model, device_ids=[])
    # build runner
    optimizer = build_optimizer(model, cfg.optimizer)
    runner = build_runner(
        cfg.runner,
        default_args=dict(
            model=model, optimizer=optimizer, work_dir=cfg.work_dir, logger=logger, meta=meta
        ),
    )
    # fp16 setting
    fp16_cfg = cfg.get('fp16', None)
    if fp16_cfg is not None:
        optimizer_config = Fp16OptimizerHook(
            **cfg.optimizer_config, **fp16_cfg, distributed=distributed
        )
    elif distributed and 'type' not in cfg.optimizer_config:
        optimizer_config = OptimizerHook(**cfg.optimizer_config)
    else:
        optimizer_config = cfg.optimizer_config
    # register hooks
    runner.register_training_hooks(
        cfg.lr_config,
        optimizer_config,
        cfg.checkpoint_config,
        cfg.log_config,
        cfg.get('momentum_config', None),
    )
    # user-defined hooks
    if cfg.get('custom_hooks', None):
        custom_hooks = cfg.custom_hooks
        for hook_cfg in custom_hooks:
            hook_cfg = hook_cfg.copy()
            priority = hook_cfg.pop('priority', 'NORMAL')
            hook = build_from_cfg(hook_cfg, HOOKS)
            runner.register_hook(hook, priority=priority)
    if cfg.resume_from:
        runner.resume(cfg.resume_from)
    elif cfg.load_from:
        runner.load_checkpoint(cfg.load_from)
    runner.run(data_loaders, cfg.workflow)


def main(args):
    parser = argparse.ArgumentParser(description='Train a model')
    parser.add_argument('config')
    parser.add_argument('--work-dir')
    opts = parser.parse_args(args)
    cfg = Config.fromfile(opts.config)
    cfg.work_dir = opts.work_dir
    model = Plane(cfg['model']['start'])
    train_model(model, build_dataset(cfg.data.train), cfg, meta=dict(seed=0))
    return outcome(model)
