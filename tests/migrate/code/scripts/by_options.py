"""Train without a config: options of the command line, hooks registered one by one."""

import argparse
import os

import torch
from mmcv.parallel import MMDataParallel
from mmcv.runner import CheckpointHook, EpochBasedRunner, OptimizerHook
from mmcv.utils import get_logger
from parts import Notes, Plane, Points, outcome


def parse(args):
    parser = argparse.ArgumentParser()
    parser.add_argument('--lr', type=float, default=0.2)
    parser.add_argument('--epochs', type=int, default=3)
    parser.add_argument('--step', type=int, default=2)
    parser.add_argument('--warmup-iters', type=int, default=5)
    parser.add_argument('--work-dir')
    return parser.parse_args(args)


def main(args):
    options = parse(args)
    os.makedirs(options.work_dir, exist_ok=True)
    model = Plane()
    optimizer = torch.optim.SGD(model.parameters(), lr=options.lr, momentum=0.5)
    runner = EpochBasedRunner(
        MMDataParallel(model, device_ids=[]),
        optimizer=optimizer,
        work_dir=options.work_dir,
        logger=get_logger('by_options', log_level='ERROR'),
        max_epochs=options.epochs,
    )
    # The runner is told its parts one by one.
    runner.register_lr_hook(
        dict(
            policy='step',
            step=[1, options.step],
            gamma=0.5,
            warmup='linear',
            warmup_iters=options.warmup_iters,
            warmup_ratio=0.1,
        )
    )
    runner.register_hook(OptimizerHook(dict(max_norm=0.5, norm_type=2)), priority='ABOVE_NORMAL')
    runner.register_hook(CheckpointHook(2))
    runner.register_hook(Notes())
    loader = torch.utils.data.DataLoader(Points(), batch_size=4)
    runner.run([loader], [('train', 1)])
    return outcome(model)
