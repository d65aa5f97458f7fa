"""Training scripts as private code for MMCV 1.x has them, one a function.

Text for the recorder, which runs it under MMCV, and for the test, which migrates it first.
"""

import logging

from legacy_toy import Line, loader, sgd
from mmcv.runner import (
    CheckpointHook,
    CosineAnnealingLrUpdaterHook,
    EpochBasedRunner,
    Fp16OptimizerHook,
    Hook,
    IterBasedRunner,
    LrUpdaterHook,
    OptimizerHook,
    StepLrUpdaterHook,
    build_optimizer,
    build_runner,
)
from mmcv.utils import get_logger


def by_epoch(work_dir):
    model = Line()
    logger = get_logger('script', log_level=logging.ERROR)
    runner = EpochBasedRunner(
        model, optimizer=sgd(model), work_dir=work_dir, logger=logger, max_epochs=3
    )
    lr_config = dict(policy='step', step=[1, 2], warmup='linear', warmup_iters=4, warmup_ratio=0.1)
    runner.register_training_hooks(
        lr_config,
        optimizer_config=dict(grad_clip=dict(max_norm=0.3)),
        checkpoint_config=dict(interval=1),
        log_config=dict(interval=2, hooks=[dict(type='TextLoggerHook')]),
    )
    runner.run([loader()], [('train', 1)])
    return model


def by_iter(work_dir):
    model = Line()
    logger = get_logger('script', log_level=logging.ERROR)
    runner = IterBasedRunner(
        model, optimizer=sgd(model), work_dir=work_dir, logger=logger, max_iters=13
    )
    runner.register_training_hooks(
        dict(policy='poly', power=0.9, min_lr=1e-3, by_epoch=False),
        dict(type='GradientCumulativeOptimizerHook', cumulative_iters=3),
    )
    runner.run([loader()], [('train', 1)])
    return model


def built(work_dir):
    model = Line()
    optimizer = build_optimizer(model, dict(type='SGD', lr=0.1, momentum=0.8))
    runner = build_runner(
        dict(type='EpochBasedRunner', max_epochs=2),
        default_args=dict(
            model=model,
            optimizer=optimizer,
            work_dir=work_dir,
            logger=get_logger('script', log_level=logging.ERROR),
            meta=None,
        ),
    )
    runner.register_lr_hook(dict(policy='exp', gamma=0.7))
    runner.register_optimizer_hook(dict(grad_clip=None))
    runner.run([loader()], [('train', 1)])
    return model


def resumed(work_dir):
    model = by_epoch(work_dir)
    model = Line()
    runner = EpochBasedRunner(
        model,
        optimizer=sgd(model),
        work_dir=work_dir,
        logger=get_logger('script', log_level=logging.ERROR),
        max_epochs=3,
    )
    runner.register_training_hooks(
        dict(policy='step', step=[1, 2], warmup='linear', warmup_iters=4, warmup_ratio=0.1),
        dict(grad_clip=dict(max_norm=0.3)),
    )
    runner.resume(f'{work_dir}/epoch_1.pth')
    runner.run([loader()], [('train', 1)])
    return model


class Waves(LrUpdaterHook):
    """Up and down, by epochs or by iterations."""

    def get_lr(self, runner, base_lr):
        progress = runner.epoch if self.by_epoch else runner.iter
        return base_lr * (1 + 0.5 * (progress % 2))


def waves(work_dir, **options):
    model = Line()
    runner = EpochBasedRunner(
        model,
        optimizer=sgd(model),
        work_dir=work_dir,
        logger=get_logger('script', log_level=logging.ERROR),
        max_epochs=3,
    )
    runner.register_optimizer_hook(dict(grad_clip=None))
    runner.register_hook(Waves(**options), priority='VERY_HIGH')
    runner.run([loader()], [('train', 1)])
    return model


def waves_by_epoch(work_dir):
    return waves(work_dir, warmup='linear', warmup_iters=7, warmup_ratio=0.2)


def waves_by_epoch_exp(work_dir):
    return waves(work_dir, warmup='exp', warmup_iters=1, warmup_ratio=0.2, warmup_by_epoch=True)


def waves_by_iter(work_dir):
    return waves(work_dir, by_epoch=False, warmup='constant', warmup_iters=3, warmup_ratio=0.5)


def objects(work_dir):
    """Hooks as objects, arguments by position."""
    model = Line()
    runner = EpochBasedRunner(
        model,
        optimizer=sgd(model),
        work_dir=work_dir,
        logger=get_logger('script', log_level=logging.ERROR),
        max_epochs=3,
    )
    runner.register_training_hooks(
        StepLrUpdaterHook([1, 2], 0.5, warmup='linear', warmup_iters=4),
        OptimizerHook(dict(max_norm=0.3)),
        CheckpointHook(1),
    )
    runner.run([loader()], [('train', 1)])
    return model


def objects_one_by_one(work_dir):
    model = Line()
    runner = IterBasedRunner(
        model,
        optimizer=sgd(model),
        work_dir=work_dir,
        logger=get_logger('script', log_level=logging.ERROR),
        max_iters=13,
        meta=dict(),
    )
    runner.register_hook(CosineAnnealingLrUpdaterHook(0.01, by_epoch=False), 'VERY_HIGH')
    runner.register_hook(Fp16OptimizerHook(loss_scale=64.0, distributed=False), 'ABOVE_NORMAL')
    runner.run([loader()], [('train', 1)])
    return model


def computed_length(work_dir, epochs='3'):
    """The length of the run is no number in the text."""
    model = Line()
    runner = EpochBasedRunner(
        model,
        optimizer=sgd(model),
        work_dir=work_dir,
        logger=get_logger('script', log_level=logging.ERROR),
        max_epochs=int(epochs),
    )
    runner.register_training_hooks(dict(policy='CosineAnnealing', min_lr=0.0), dict(grad_clip=None))
    runner.run([loader()], [('train', 1)])
    return model


class AddRate(Hook):
    """Moves the line by the learning rate that the iteration was trained with."""

    def after_train_iter(self, runner):
        runner.model.shift.data += 0.1 * runner.current_lr()[0]


def low(work_dir, priority='LOW'):
    model = Line()
    runner = EpochBasedRunner(
        model,
        optimizer=sgd(model),
        work_dir=work_dir,
        logger=get_logger('script', log_level=logging.ERROR),
        max_epochs=3,
    )
    runner.register_training_hooks(
        dict(policy='exp', gamma=0.9, by_epoch=False),
        dict(grad_clip=None),
        dict(interval=1),
    )
    runner.register_hook(AddRate(), priority='LOW')
    runner.register_hook(AddRate(), priority='LOWEST')
    runner.run([loader()], [('train', 1)])
    return model


def assigned_late(work_dir, saves=False):
    """A name that the runner needs is assigned after a hook that may be registered."""
    model = Line()
    runner = EpochBasedRunner(
        model,
        optimizer=sgd(model),
        work_dir=work_dir,
        logger=get_logger('script', log_level=logging.ERROR),
        max_epochs=2,
    )
    # The runner saves at times.
    if saves:
        runner.register_hook(CheckpointHook(interval=1))
    data = loader()
    runner.register_training_hooks(dict(policy='fixed'), dict(grad_clip=None))
    runner.run([data], [('train', 1)])
    return model


CASES = [objects, objects_one_by_one, computed_length, low, assigned_late]
CASES += [by_epoch, by_iter, built, resumed, waves_by_epoch, waves_by_epoch_exp, waves_by_iter]
