"""Subclasses of OptimizerHook as private code for MMCV 1.x has them.

Text for the recorder, which runs it under MMCV, and for the test, which migrates it first.
"""

from mmcv.runner import (
    HOOKS,
    Fp16OptimizerHook,
    GradientCumulativeOptimizerHook,
    OptimizerHook,
)
from torch.nn.utils import clip_grad_value_


@HOOKS.register_module()
class ScaledLoss(OptimizerHook):
    """Minimises a multiple of the loss."""

    def __init__(self, factor=1.0, grad_clip=None):
        super().__init__(grad_clip=grad_clip)
        self.factor = factor

    def after_train_iter(self, runner):
        runner.optimizer.zero_grad()
        loss = runner.outputs['loss'] * self.factor
        loss.backward()
        if self.grad_clip is not None:
            grad_norm = self.clip_grads(runner.model.parameters())
            if grad_norm is not None:
                runner.log_buffer.update(
                    {'grad_norm': float(grad_norm)}, runner.outputs['num_samples']
                )
        runner.optimizer.step()


@HOOKS.register_module()
class ClippedByValue(OptimizerHook):
    """Clips each gradient on its own."""

    def __init__(self, limit):
        super().__init__()
        self.limit = limit

    def after_train_iter(self, runner):
        runner.optimizer.zero_grad()
        runner.outputs['loss'].backward()
        clip_grad_value_(runner.model.parameters(), self.limit)
        runner.optimizer.step()


@HOOKS.register_module()
class Accumulated(OptimizerHook):
    """Steps after some batches."""

    def __init__(self, update_interval=1, **kwargs):
        super().__init__(**kwargs)
        self.update_interval = update_interval

    def before_run(self, runner):
        runner.optimizer.zero_grad()

    def after_train_iter(self, runner):
        loss = runner.outputs['loss'] / self.update_interval
        loss.backward()
        if self.every_n_iters(runner, self.update_interval):
            if self.grad_clip is not None:
                self.clip_grads(runner.model.parameters())
            runner.optimizer.step()
            runner.optimizer.zero_grad()


@HOOKS.register_module()
class TwoLosses(OptimizerHook):
    """Two backward passes to a step."""

    def after_train_iter(self, runner):
        runner.optimizer.zero_grad()
        loss = runner.outputs['loss']
        loss.backward(retain_graph=True)
        (0.5 * loss).backward()
        runner.optimizer.step()


@HOOKS.register_module()
class DoubledWindows(GradientCumulativeOptimizerHook):
    """Changes the loss and leaves the rest to its base."""

    def __init__(self, factor, cumulative_iters=2, **kwargs):
        super().__init__(cumulative_iters=cumulative_iters, **kwargs)
        self.factor = factor

    def after_train_iter(self, runner):
        runner.outputs['loss'] = runner.outputs['loss'] * self.factor
        super().after_train_iter(runner)


@HOOKS.register_module()
class ScaledHalf(Fp16OptimizerHook):
    """Half precision written out, with a factor."""

    def __init__(self, factor, **kwargs):
        super().__init__(distributed=False, **kwargs)
        self.factor = factor

    def after_train_iter(self, runner):
        runner.model.zero_grad()
        runner.optimizer.zero_grad()
        self.loss_scaler.scale(runner.outputs['loss'] * self.factor).backward()
        self.loss_scaler.unscale_(runner.optimizer)
        if self.grad_clip is not None:
            self.clip_grads(runner.model.parameters())
        self.loss_scaler.step(runner.optimizer)
        self.loss_scaler.update(self._scale_update_param)


CASES = {
    'scaled': (ScaledLoss, {'factor': 0.5}),
    'scaled-clipped': (ScaledLoss, {'factor': 2.0, 'grad_clip': {'max_norm': 0.1}}),
    'by-value': (ClippedByValue, {'limit': 0.05}),
    'accumulated': (Accumulated, {'update_interval': 2}),
    'accumulated-clipped': (
        Accumulated,
        {'update_interval': 2, 'grad_clip': {'max_norm': 0.1}},
    ),
    'two-losses': (TwoLosses, {}),
    'doubled': (DoubledWindows, {'factor': 2.0}),
    'doubled-of-three': (
        DoubledWindows,
        {'factor': 0.5, 'cumulative_iters': 3, 'grad_clip': {'max_norm': 0.1}},
    ),
    'half': (ScaledHalf, {'factor': 0.5}),
    'half-clipped': (
        ScaledHalf,
        {'factor': 2.0, 'loss_scale': 64.0, 'grad_clip': {'max_norm': 0.1}},
    ),
}
