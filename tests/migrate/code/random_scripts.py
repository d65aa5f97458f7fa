"""Training scripts for MMCV 1.x, drawn at random: runners, schedules, hooks, styles.

Text for the recorder, which runs it under MMCV, and for the test, which migrates it first.
"""

import random

NUM_IN_SUITE = 30

_HEAD = '''\
"""Script {seed}, drawn at random."""

import argparse

import torch
from mmcv.runner import (
    CheckpointHook,
    CosineAnnealingLrUpdaterHook,
    EpochBasedRunner,
    Fp16OptimizerHook,
    GradientCumulativeOptimizerHook,
    Hook,
    IterBasedRunner,
    OptimizerHook,
    StepLrUpdaterHook,
    build_optimizer,
)
from mmcv.utils import get_logger
from parts import Notes, Plane, Points, outcome

LR = {lr}


class Turns(Hook):
    """Moves the model by what it sees."""

    def __init__(self, every=2):
        self.every = every
        self.count = 0

    def before_epoch(self, runner):
        self.count += 1

    def after_train_iter(self, runner):
        if self.every_n_iters(runner, self.every):
            runner.model.shift.data += 0.01 * runner.current_lr()[0] * self.count

    def after_iter(self, runner):
        self.count += 1


class Rates(Turns):
    """Sees all, and the position of the run."""

    def after_train_iter(self, runner):
        super().after_train_iter(runner)
        if self.end_of_epoch(runner) or self.is_last_iter(runner):
            runner.model.shift.data -= 0.001 * (runner.epoch + runner.inner_iter)


def main(args):
    parser = argparse.ArgumentParser()
    parser.add_argument('--work-dir')
    parser.add_argument('--total', type=int, default={total})
    parser.add_argument('--warmup', type=int, default={warmup})
    opts = parser.parse_args(args)
    model = Plane({start})
'''


def script(seed):
    """The text of one script."""
    chance = random.Random(seed)
    by_epoch = chance.random() < 0.6
    total = chance.choice([2, 3, 4]) if by_epoch else chance.choice([7, 11, 13])
    head = _HEAD.format(
        seed=seed,
        lr=chance.choice([0.05, 0.1, 0.2]),
        total=total,
        warmup=chance.choice([2, 3, 5]),
        start=chance.choice([0.125, 0.25, 0.5]),
    )
    length = chance.choice([str(total), 'opts.total', "int(vars(opts)['total'])"])
    lines = [
        *_optimizer(chance),
        f'runner = {"EpochBasedRunner" if by_epoch else "IterBasedRunner"}(',
        '    model,',
        '    optimizer=optimizer,',
        '    work_dir=opts.work_dir,',
        "    logger=get_logger('drawn', log_level='ERROR'),",
        '    meta=dict(),',
        f'    {"max_epochs" if by_epoch else "max_iters"}={length},',
        ')',
        *_hooks(chance, by_epoch, total),
        f'loader = torch.utils.data.DataLoader(Points({chance.choice([6, 8, 9])}), batch_size=2)',
        "runner.run([loader], [('train', 1)])",
        'return outcome(model)',
    ]
    return head + ''.join(f'    {line}\n' for line in lines)


def _optimizer(chance):
    momentum = chance.choice([0.0, 0.5, 0.9])
    return chance.choice(
        [
            [f'optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum={momentum})'],
            [f"optimizer = build_optimizer(model, dict(type='SGD', lr=LR, momentum={momentum}))"],
            ['optimizer = torch.optim.AdamW(model.parameters(), lr=LR)'],
        ]
    )


def _hooks(chance, by_epoch, total):
    lr, step, saving = _schedule(chance, by_epoch, total), _step(chance), _saving(chance)
    if chance.random() < 0.5:
        named = chance.random() < 0.5
        keys = ('lr_config', 'optimizer_config', 'checkpoint_config')
        given = (lr, step, saving)
        arguments = [
            f'{key}={text}' if named else text for key, text in zip(keys, given, strict=True)
        ]
        lines = [f'runner.register_training_hooks({", ".join(arguments)})']
    else:
        lines = [f'runner.register_lr_hook({lr})', f'runner.register_optimizer_hook({step})']
        lines += [] if saving == 'None' else [f'runner.register_checkpoint_hook({saving})']
    lines.append(_registered(chance, 'Notes()'))
    if chance.random() < 0.7:
        kind = chance.choice(['Turns', 'Rates'])
        lines.append(_registered(chance, f'{kind}(every={chance.choice([1, 2, 3])})'))
    return lines


def _registered(chance, hook):
    priority = chance.choice(['', 'NORMAL', 'BELOW_NORMAL', 'LOW', 'VERY_LOW', 'LOWEST'])
    if not priority:
        return f'runner.register_hook({hook})'
    given = f"'{priority}'" if chance.random() < 0.5 else f"priority='{priority}'"
    return f'runner.register_hook({hook}, {given})'


def _schedule(chance, by_epoch, total):
    step = max(total // 2, 1)
    counted = '' if by_epoch else ', by_epoch=False'
    policies = [
        "policy='fixed'",
        f"policy='step', step=[{step}]",
        f"policy='step', step={step}, gamma=0.5",
        "policy='exp', gamma=0.8",
        "policy='poly', power=0.9, min_lr=0.001",
        "policy='CosineAnnealing', min_lr=0.0",
        "policy='CosineAnnealing', min_lr_ratio=0.1",
        "policy='inv', gamma=0.2",
    ]
    warmup = chance.choice(
        [
            '',
            ", warmup='linear', warmup_iters=3, warmup_ratio=0.1",
            ", warmup='exp', warmup_iters=opts.warmup, warmup_ratio=0.2",
            ", warmup='constant', warmup_iters=opts.warmup + 1, warmup_ratio=0.5",
        ]
    )
    objects = [f'StepLrUpdaterHook([{step}], 0.5{counted})',
               f'CosineAnnealingLrUpdaterHook(0.01{counted})']  # fmt: skip
    if chance.random() < 0.25:
        return chance.choice(objects)
    return f'dict({chance.choice(policies)}{warmup}{counted if chance.random() < 0.6 else ""})'


def _step(chance):
    clip = 'grad_clip=dict(max_norm=0.3)'
    count = chance.choice([2, 3])
    return chance.choice(
        [
            'dict(grad_clip=None)',
            f'dict({clip})',
            'OptimizerHook()',
            'OptimizerHook(dict(max_norm=0.3))',
            f"dict(type='GradientCumulativeOptimizerHook', cumulative_iters={count})",
            f'GradientCumulativeOptimizerHook({count}, {clip})',
            f'Fp16OptimizerHook(loss_scale=64.0, distributed=False, {clip})',
            "dict(type='Fp16OptimizerHook', loss_scale=32.0, distributed=False)",
        ]
    )


def _saving(chance):
    return chance.choice(['None', 'dict(interval=1)', 'dict(interval=2)', 'CheckpointHook(2)'])
