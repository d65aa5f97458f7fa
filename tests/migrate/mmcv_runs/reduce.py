"""What policy Reduce does with given metrics.

It needs the project that brought the policy along, besides MMCV::

    env/bin/pip install --no-deps mmedit==0.16.1
    env/bin/python -m mmcv_runs.reduce

A hook reports one metric at each validation, and the rate is noted at every iteration.
"""

import copy
import importlib
import sys

import torch

from mmcv_runs import curves, under_mmcv
from mmcv_runs.fixtures import TESTS, write

under_mmcv.prepare()
mmcv_runner = importlib.import_module('mmcv.runner')

EPOCHS, EPOCH_LENGTH, INTERVAL = 14, 3, 2
RISING = [0.1, 0.2, 0.3, 0.3, 0.3, 0.3, 0.31, 0.31, 0.2, 0.31, 0.31005, 0.4, 0.4, 0.4]
FALLING = [round(1.0 - value, 5) for value in RISING]
BASE = dict(policy='Reduce', val_metric='score', factor=0.5, patience=1)
CASES = {
    'max': (dict(mode='max'), RISING),
    'min': (dict(mode='min'), FALLING),
    'patience-0': (dict(mode='max', patience=0), RISING),
    'absolute': (dict(mode='max', threshold=0.05, threshold_mode='abs'), RISING),
    'relative': (dict(mode='min', threshold=0.02, threshold_mode='rel'), FALLING),
    'cooldown': (dict(mode='max', patience=0, cooldown=2), RISING),
    'floor': (dict(mode='max', patience=0, factor=0.1, min_lr=0.02), RISING),
    'defaults': (dict(patience=10), [0.5] * EPOCHS),
}


class Report(mmcv_runner.Hook):
    def __init__(self, series, by_epoch):
        self.series, self.by_epoch = iter(series), by_epoch

    def _report(self, runner):
        runner.log_buffer.output['score'] = next(self.series)
        runner.call_hook('after_val_epoch')

    def after_train_epoch(self, runner):
        if self.by_epoch:
            self._report(runner)

    def after_train_iter(self, runner):
        if not self.by_epoch and self.every_n_iters(runner, INTERVAL):
            self._report(runner)


def record(by_epoch, lr_config, series):
    model = curves.Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    kind = dict(type='EpochBasedRunner', max_epochs=EPOCHS)
    if not by_epoch:
        kind = dict(type='IterBasedRunner', max_iters=EPOCHS * INTERVAL)
    runner = mmcv_runner.build_runner(
        kind,
        default_args=dict(
            model=model, optimizer=optimizer, logger=under_mmcv.quiet_logger(), work_dir=None
        ),
    )
    runner.register_training_hooks(copy.deepcopy(lr_config), dict(grad_clip=None))
    runner.register_hook(Report(series, by_epoch), priority='LOW')
    loader = torch.utils.data.DataLoader(torch.zeros(EPOCH_LENGTH, 1), batch_size=1)
    runner.run([loader], [('train', 1)])
    return [rates[0] for rates, _ in model.seen]


def main():
    del sys.modules['torchvision']
    curves.Absentees.NAMES += ['mmedit.models', 'mmedit.datasets', 'mmedit.apis']
    sys.meta_path.insert(0, curves.Absentees())
    importlib.import_module('mmedit.core.scheduler')
    recorded = {}
    for name, (options, series) in CASES.items():
        for by_epoch in (True, False):
            # On an iteration runner the policy is told that validations report as epochs do.
            runner = {} if by_epoch else dict(by_epoch=False, epoch_base_valid=True)
            config = {**BASE, **options, **runner}
            recorded[f'{name}/{"epochs" if by_epoch else "iters"}'] = dict(
                by_epoch=by_epoch,
                interval=EPOCH_LENGTH if by_epoch else INTERVAL,
                lr=config,
                series=series,
                values=[float(f'{v:.10g}') for v in record(by_epoch, config, series)],
            )
    write(TESTS / 'config' / 'reduce.json', recorded)


if __name__ == '__main__':
    main()
