"""Train with a class that holds a runner of iterations and accumulates gradients."""

import logging

import torch
from mmcv.runner import GradientCumulativeOptimizerHook, IterBasedRunner
from mmcv.utils import get_logger
from parts import Notes, Plane, Points, outcome

SETTINGS = dict(lr=0.1, max_iters=11, accumulate=3)


class Trainer:
    """Makes all parts and trains."""

    def __init__(self, work_dir, settings):
        self.work_dir = work_dir
        self.settings = settings
        self.model = Plane(0.125)

    def loader(self):
        return torch.utils.data.DataLoader(Points(8), batch_size=2)

    def fit(self):
        settings = self.settings
        optimizer = torch.optim.SGD(self.model.parameters(), lr=settings['lr'], momentum=0.9)
        self.runner = IterBasedRunner(
            self.model,
            optimizer=optimizer,
            work_dir=self.work_dir,
            logger=get_logger('by_class', log_level=logging.ERROR),
            max_iters=settings['max_iters'],
        )
        self.runner.register_training_hooks(
            dict(policy='poly', power=0.9, min_lr=1e-3, by_epoch=False),
            GradientCumulativeOptimizerHook(settings['accumulate'], grad_clip=dict(max_norm=1.0)),
            dict(interval=5),
        )
        self.runner.register_hook(Notes())
        self.runner.run([self.loader()], [('train', 1)])


def main(args):
    trainer = Trainer(args[-1], SETTINGS)
    trainer.fit()
    return outcome(trainer.model)
