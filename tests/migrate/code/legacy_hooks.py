"""Hooks as private code for MMCV 1.x has them, and what they saw, in ``SEEN``.

Text for the recorder, which runs it under MMCV, and for the test, which migrates it first.
"""

import torch
from mmcv.runner import HOOKS, Hook
from mmcv.runner.hooks import LoggerHook as _LoggerHook  # noqa: F401
from mmcv.utils import print_log  # noqa: F401

SEEN = []


def see(hook, moment, *values):
    plain = [round(value, 6) if isinstance(value, float) else value for value in values]
    SEEN.append([type(hook).__name__, moment, *plain])


@HOOKS.register_module()
class Position(Hook):
    """Where the run is, at each moment."""

    def before_run(self, runner):
        see(self, 'before_run', runner.epoch, runner.iter, runner.max_epochs, runner.max_iters)

    def after_run(self, runner):
        see(self, 'after_run', runner.epoch, runner.iter)

    def before_train_epoch(self, runner):
        see(self, 'before_train_epoch', runner.epoch, runner.iter)

    def after_train_epoch(self, runner):
        see(self, 'after_train_epoch', runner.epoch, runner.iter, self.is_last_epoch(runner))

    def before_train_iter(self, runner):
        see(self, 'before_train_iter', runner.epoch, runner.iter, runner.inner_iter)

    def after_train_iter(self, runner):
        see(self, 'after_train_iter', runner.epoch, runner.iter, runner.inner_iter)


@HOOKS.register_module()
class Turns(Hook):
    """Which turn it is."""

    def after_train_iter(self, runner):
        see(
            self,
            'after_train_iter',
            self.every_n_iters(runner, 3),
            self.every_n_inner_iters(runner, 2),
            self.end_of_epoch(runner),
            self.is_last_iter(runner),
        )

    def after_train_epoch(self, runner):
        see(self, 'after_train_epoch', self.every_n_epochs(runner, 2))


class Every(Hook):
    """The moments that train and val share."""

    def before_epoch(self, runner):
        see(self, 'before_epoch', runner.epoch)

    def after_epoch(self, runner):
        see(self, 'after_epoch', runner.epoch)

    def before_iter(self, runner):
        see(self, 'before_iter', runner.iter)

    def after_iter(self, runner):
        see(self, 'after_iter', runner.iter)


class Louder(Every):
    """Builds on another hook."""

    def after_train_iter(self, runner):
        super().after_train_iter(runner)
        see(self, 'after_train_iter', runner.inner_iter)

    def before_iter(self, runner):
        super().before_iter(runner)
        see(self, 'before_iter, again', runner.iter)


@HOOKS.register_module()
class Outputs(Hook):
    """What the step returned, and what went in."""

    def __init__(self, key='loss'):
        self.key = key

    def after_train_iter(self, runner):
        value = runner.outputs['log_vars'][self.key]
        see(self, 'after_train_iter', float(value), float(runner.data_batch['x'].sum()))
        log_vars = runner.outputs['log_vars']
        see(self, 'log_vars', sorted(log_vars), len(runner.data_batch['x']))


@HOOKS.register_module()
class Parts(Hook):
    """What the runner has."""

    def before_run(self, runner):
        module = runner.model.module if hasattr(runner.model, 'module') else runner.model
        see(self, 'model', type(module).__name__)
        see(self, 'work_dir', isinstance(runner.work_dir, str), runner.rank, runner.world_size)
        see(self, 'logger', callable(runner.logger.info))

    def before_train_epoch(self, runner):
        see(self, 'data_loader', len(runner.data_loader))
        names = [type(hook).__name__ for hook in runner.hooks]
        see(self, 'hooks', names.index('Outputs') > names.index('Parts'))

    def after_train_epoch(self, runner):
        see(self, 'model', float(runner.model.slope.detach()))


@HOOKS.register_module()
class HalveRate(Hook):
    """Changes the learning rate by hand."""

    def before_train_epoch(self, runner):
        if runner.epoch > 0:
            for group in runner.optimizer.param_groups:
                group['lr'] *= 0.5

    def before_train_iter(self, runner):
        see(self, 'lr', float(runner.current_lr()[0]), float(runner.current_momentum()[0]))
        see(self, 'group', runner.optimizer.param_groups[0]['lr'])


@HOOKS.register_module()
class Freeze(Hook):
    """Changes the model and its gradients."""

    def __init__(self, epoch):
        self.epoch = epoch

    def before_train_epoch(self, runner):
        if runner.epoch == self.epoch:
            runner.model.shift.requires_grad = False
            runner.optimizer.zero_grad()

    def after_train_iter(self, runner):
        with torch.no_grad():
            for parameter in runner.model.parameters():
                parameter.clamp_(min=-0.6, max=0.6)


@HOOKS.register_module()
class Logs(Hook):
    """Adds to the log."""

    def after_train_iter(self, runner):
        runner.log_buffer.update({'twice': 2 * runner.iter}, 1)
        if self.every_n_iters(runner, 2):
            runner.log_buffer.output['latest'] = runner.iter
            runner.log_buffer.ready = True


class Early(Hook):
    """Registered with a priority of its own."""

    def before_train_iter(self, runner):
        see(self, 'before_train_iter', runner.iter)


class Late(Early):
    """Registered with another."""


HOOKS_TO_REGISTER = [
    (Position, {}, None),
    (Turns, {}, None),
    (Every, {}, None),
    (Louder, {}, None),
    (Outputs, {'key': 'loss'}, 'LOW'),
    (Parts, {}, None),
    (HalveRate, {}, 'HIGH'),
    (Freeze, {'epoch': 1}, 'LOWEST'),
    (Logs, {}, None),
    (Late, {}, 'VERY_LOW'),
    (Early, {}, 'HIGHEST'),
]
