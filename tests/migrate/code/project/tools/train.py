"""Train a model: ``python tools/train.py configs/line.py --work-dir work``."""

import argparse
import os.path as osp
import time

import mmcv
from lines import build_dataset
from mmcv import Config
from mmcv.cnn import MODELS
from mmcv.parallel import MMDataParallel
from mmcv.runner import build_optimizer, build_runner
from mmcv.utils import build_from_cfg, get_logger
from torch.utils.data import DataLoader


def parse_args(args=None):
    parser = argparse.ArgumentParser(description='Train a model')
    parser.add_argument('config')
    parser.add_argument('--work-dir')
    return parser.parse_args(args)


def main(args=None):
    args = parse_args(args)
    cfg = Config.fromfile(args.config)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    mmcv.mkdir_or_exist(osp.abspath(cfg.work_dir))
    timestamp = time.strftime('%Y%m%d_%H%M%S', time.localtime())
    logger = get_logger('lines', log_level='ERROR')

    dataset = build_dataset(cfg.data.train)
    data_loaders = [DataLoader(dataset, batch_size=cfg.data.samples_per_gpu)]
    model = build_from_cfg(cfg.model, MODELS)
    optimizer = build_optimizer(model, cfg.optimizer)
    # put model on gpus
    model = MMDataParallel(model, device_ids=[])

    runner = build_runner(
        cfg.runner,
        default_args=dict(
            model=model,
            optimizer=optimizer,
            work_dir=cfg.work_dir,
            logger=logger,
            meta=dict(seed=0),
        ),
    )
    # an ugly workaround to make .log and .log.json filenames the same
    runner.timestamp = timestamp
    runner.register_training_hooks(
        cfg.lr_config,
        cfg.optimizer_config,
        cfg.checkpoint_config,
        cfg.log_config,
        cfg.get('momentum_config', None),
        custom_hooks_config=cfg.get('custom_hooks', None),
    )
    if cfg.resume_from:
        runner.resume(cfg.resume_from)
    elif cfg.load_from:
        runner.load_checkpoint(cfg.load_from)
    runner.run(data_loaders, cfg.workflow)
    return model


if __name__ == '__main__':
    main()
