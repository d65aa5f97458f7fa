"""Record trainings of MMCV 1.7.2, as the fixtures of these tests.

Not a test: it runs in an environment of its own and writes ``data/`` beside itself::

    python -m venv env && env/bin/pip install torch 'setuptools<81' wheel
    MMCV_WITH_OPS=0 env/bin/pip install --no-build-isolation mmcv==1.7.2
    env/bin/python record_mmcv_training.py

MMCV is driven from outside. The numbers are such that no sum has more than two terms, so that they
do not hang on the order in which a processor adds.
"""

import copy
import json
import logging
import sys
import tempfile
import time
import types
import warnings
from pathlib import Path

import torch
from torch import nn

HERE = Path(__file__).parent
NUM_SAMPLES, BATCH_SIZE = 9, 2
NUM_BATCHES = 5
MAX_EPOCHS, MAX_ITERS = 3, 13
POLICIES = {
    'fixed': dict(policy='fixed'),
    'step-warm': dict(
        policy='step', step=[1, 2], warmup='linear', warmup_iters=4, warmup_ratio=0.1
    ),
    'poly': dict(policy='poly', power=0.9, min_lr=1e-3),
    'cosine-exp': dict(
        policy='CosineAnnealing', min_lr=1e-4, warmup='exp', warmup_iters=3, warmup_ratio=0.2
    ),
    'cyclic': dict(policy='cyclic', target_ratio=(4, 0.1), cyclic_times=2, step_ratio_up=0.4),
}
HOOKS = {
    'plain': dict(grad_clip=None),
    'clip': dict(grad_clip=dict(max_norm=0.3)),
    'accumulate': dict(type='GradientCumulativeOptimizerHook', cumulative_iters=3),
    'accumulate-clip': dict(
        type='GradientCumulativeOptimizerHook', cumulative_iters=4, grad_clip=dict(max_norm=0.1)
    ),
}


class Line(nn.Module):
    """A line through points, as MMCV 1.x asked of a model."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([0.25]))
        self.shift = nn.Parameter(torch.tensor([-0.5]))

    def forward(self, x, y, return_loss=True):
        prediction = x * self.slope + self.shift
        if not return_loss:
            return prediction
        loss = (prediction - y).square().mean()
        log_vars = dict(loss=loss.item(), abs=(prediction - y).abs().mean().item())
        return dict(loss=loss, log_vars=log_vars, num_samples=len(x))

    def train_step(self, data, optimizer, **kwargs):
        return self(**data)


class TwoLines(nn.Module):
    """Two models in one, each with its own optimizer that it steps itself."""

    def __init__(self):
        super().__init__()
        self.a, self.b = Line(), Line()

    def train_step(self, data, optimizer, **kwargs):
        log_vars = {}
        for name, sign in (('a', 1), ('b', -1)):
            outputs = getattr(self, name)(data['x'], sign * data['y'])
            optimizer[name].zero_grad()
            outputs['loss'].backward()
            optimizer[name].step()
            log_vars[f'loss_{name}'] = outputs['loss'].item()
        return dict(log_vars=log_vars, num_samples=len(data['x']))


def samples():
    """Points whose coordinates are fractions of 128, exact in float32."""
    return [
        dict(
            x=torch.tensor([(37 * i % 101 - 50) / 128]),
            y=torch.tensor([(53 * i % 89 - 40) / 128]),
        )
        for i in range(NUM_SAMPLES)
    ]


def loader():
    return torch.utils.data.DataLoader(samples(), batch_size=BATCH_SIZE)


def sgd(module):
    return torch.optim.SGD(module.parameters(), lr=0.2, momentum=0.9, weight_decay=0.01)


def new_runner(by_epoch, model, optimizer, work_dir):
    from mmcv.runner import build_runner

    quiet = logging.getLogger('quiet')
    quiet.setLevel(logging.CRITICAL)
    length = dict(max_epochs=MAX_EPOCHS) if by_epoch else dict(max_iters=MAX_ITERS)
    kind = 'EpochBasedRunner' if by_epoch else 'IterBasedRunner'
    return build_runner(
        dict(type=kind, **length),
        default_args=dict(model=model, optimizer=optimizer, logger=quiet, work_dir=work_dir),
    )


def lr_config_of(name, by_epoch):
    policy = dict(POLICIES[name])
    if not by_epoch:
        policy['by_epoch'] = False
        if 'step' in policy:
            policy['step'] = [NUM_BATCHES * step for step in policy['step']]
    return policy


def record(by_epoch, policy, hook, work_dir, save=None):
    from mmcv.runner import Hook

    averages = []

    class Averages(Hook):
        def after_train_iter(self, runner):
            if (runner.iter + 1) % NUM_BATCHES == 0:
                runner.log_buffer.average(NUM_BATCHES)
                averages.append(runner.log_buffer.output['abs'])

    model = Line()
    runner = new_runner(by_epoch, model, sgd(model), work_dir)
    runner.register_training_hooks(
        copy.deepcopy(lr_config_of(policy, by_epoch)),
        optimizer_config=dict(HOOKS[hook]),
        checkpoint_config=save,
    )
    runner.register_hook(Averages(), priority='VERY_LOW')
    runner.run([loader()], [('train', 1)])
    parameters = [parameter.item() for parameter in model.parameters()]
    return dict(parameters=parameters, averages=averages)


def record_two(work_dir):
    model = TwoLines()
    optimizers = dict(a=sgd(model.a), b=sgd(model.b))
    runner = new_runner(True, model, optimizers, work_dir)
    runner.register_training_hooks(
        dict(policy='step', step=[1, 2]), checkpoint_config=dict(interval=1)
    )
    runner.run([loader()], [('train', 1)])
    return dict(parameters=[parameter.item() for parameter in model.parameters()])


def main():
    warnings.simplefilter('ignore')
    # MMCV pauses for two seconds between epochs, which nothing here depends on.
    time.sleep = lambda seconds: None
    sys.modules['torchvision'] = types.ModuleType('torchvision')
    sys.modules['torchvision'].__version__ = '0.0.0'
    data = HERE / 'data'
    data.mkdir(exist_ok=True)
    recorded = {}
    with tempfile.TemporaryDirectory() as folder:
        work_dir = Path(folder)
        for by_epoch in (True, False):
            kind = 'epochs' if by_epoch else 'iters'
            for policy in POLICIES:
                for hook in HOOKS:
                    save = None
                    if (policy, hook) == ('step-warm', 'plain'):
                        save = dict(interval=1 if by_epoch else 6, by_epoch=by_epoch)
                    recorded[f'{kind}/{policy}/{hook}'] = record(
                        by_epoch, policy, hook, folder, save
                    )
        (work_dir / 'epoch_1.pth').replace(data / 'mmcv_epoch_1.pth')
        (work_dir / 'iter_6.pth').replace(data / 'mmcv_iter_6.pth')
        recorded['two'] = record_two(folder)
        (work_dir / 'epoch_1.pth').replace(data / 'mmcv_two_optimizers.pth')
    lines = [f'{json.dumps(name)}: {json.dumps(case)}' for name, case in recorded.items()]
    (data / 'mmcv_training.json').write_text('{\n' + ',\n'.join(lines) + '\n}\n')
    print(len(recorded), 'trainings')


if __name__ == '__main__':
    main()
