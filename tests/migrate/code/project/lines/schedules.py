"""Learning rates."""

from mmcv.runner import HOOKS, LrUpdaterHook


@HOOKS.register_module()
class StairsLrUpdaterHook(LrUpdaterHook):
    """Goes down by a step a while."""

    def __init__(self, height=0.25, length=3, **kwargs):
        super().__init__(**kwargs)
        self.height = height
        self.length = length

    def get_lr(self, runner, base_lr):
        progress = runner.epoch if self.by_epoch else runner.iter
        left = 1 - progress / (runner.max_epochs if self.by_epoch else runner.max_iters)
        return base_lr * max(1 - self.height * (progress // self.length), left / 2)
