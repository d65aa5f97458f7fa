"""Optimizer hooks."""

from mmcv.runner import HOOKS, OptimizerHook


@HOOKS.register_module()
class CappedOptimizerHook(OptimizerHook):
    """Minimises the loss up to a limit."""

    def __init__(self, limit, grad_clip=None):
        super().__init__(grad_clip)
        self.limit = limit

    def after_train_iter(self, runner):
        loss = runner.outputs['loss'].clamp(max=self.limit)
        runner.optimizer.zero_grad()
        loss.backward()
        if self.grad_clip is not None:
            grad_norm = self.clip_grads(runner.model.parameters())
            if grad_norm is not None:
                # Add grad norm to the logger
                runner.log_buffer.update(
                    {'grad_norm': float(grad_norm)}, runner.outputs['num_samples']
                )
        runner.optimizer.step()
