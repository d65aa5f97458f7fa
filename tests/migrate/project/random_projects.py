"""Legacy projects drawn at random: package, registry, configs with fragments, hooks, GANs, script.

Text for the recorder, which runs it under MMCV, and for the test, which migrates it first.
"""

import random
from pathlib import Path

import random_hooks

NUM_IN_SUITE = 24

_NOTES = '''\
"""What hooks saw, and what is compared."""

SEEN = []


def note(name, *values):
    SEEN.append([name, *map(float, values)])


def outcome(model):
    state = {name: value.tolist() for name, value in model.state_dict().items()}
    return dict(parameters=state, seen=[list(one) for one in SEEN])
'''
_DATA = '''\
"""Points whose coordinates are fractions of 64."""

import torch

from .registry import DATASETS


@DATASETS.register_module()
class Points(torch.utils.data.Dataset):
    def __init__(self, size=10, offset=0):
        self.size, self.offset = size, offset

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        i = index + self.offset
        x = [(23 * i % 61 - 30) / 64, (31 * i % 47 - 20) / 64]
        return dict(x=torch.tensor(x), y=torch.tensor((17 * i % 53 - 25) / 64))
'''
_DATASETS = "from mmcv.utils import Registry\n\nDATASETS = Registry('toy data')\n"
_REGISTRIES = [
    f"{_DATASETS}MODELS = Registry('toy models')\n",
    f'from mmcv.cnn import MODELS  # noqa: F401\n{_DATASETS}',
]
_SETUP = """\
from setuptools import find_packages, setup

setup(name='toys', packages=find_packages(), install_requires=['mmcv-full>=1.3.1,<=1.7.2', 'torch'])
"""


def write_project(seed, folder):
    """Write the project of a seed below ``folder``."""
    for name, text in project(seed).items():
        place = Path(folder, name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)


def project(seed):
    """The files of one project, by their names."""
    draw = random.Random(f'project {seed}')
    is_gan = draw.random() < 0.4
    by_epoch = draw.random() < 0.6
    total = draw.choice([2, 3, 4]) if by_epoch else draw.choice([7, 11, 13])
    is_wrapped = draw.random() < 0.5
    kinds = random_hooks.kinds(draw, is_gan=is_gan, by_epoch=by_epoch, is_wrapped=is_wrapped)
    files = {
        'toys/__init__.py': 'from . import data, hooks, models  # noqa: F401\n',
        'toys/notes.py': _NOTES,
        'toys/data.py': _DATA,
        'toys/registry.py': draw.choice(_REGISTRIES),
        'toys/models.py': _gan(draw) if is_gan else _plane(draw),
        'toys/hooks.py': random_hooks.module(kinds),
        'requirements.txt': 'torch>=1.6\nmmcv-full==1.7.2  # exactly\nnumpy\n',
        'setup.py': _SETUP,
    }
    steps_itself = is_gan or _STEPS_ITSELF in files['toys/models.py']
    schedule = _schedule(draw, by_epoch, total, is_gan, steps_itself)
    own = random_hooks.updaters(draw, schedule, steps_itself=steps_itself)
    files['toys/hooks.py'] += ''.join(own)
    hooks = [
        (kind, random_hooks.priority(draw)) for kind in kinds for _ in range(draw.choice([1, 1, 2]))
    ]
    if draw.random() < 0.55:
        files |= _by_config(draw, by_epoch, total, is_gan, is_wrapped, schedule, hooks)
    else:
        files['train.py'] = _by_script(draw, by_epoch, total, is_gan, is_wrapped, schedule, hooks)
    return files


_STEPS_ITSELF = 'Steps itself.'

# Models

_PLANE_HEAD = '''\
"""A plane."""

from collections import OrderedDict

import torch
from mmcv.runner import BaseModule
from torch import nn

from .registry import MODELS


@MODELS.register_module()
class Plane({base}):
    def __init__(self, start=0.25{argument}):
        super().__init__({initial})
        self.slopes = nn.Parameter(torch.tensor([start, -start]))
        self.shift = nn.Parameter(torch.zeros(1))
'''
_PLANE_BODIES = [
    '''
    def forward(self, x, y, return_loss=True):
        height = (x * self.slopes).sum(1) + self.shift
        if not return_loss:
            return height
        loss = (height - y).square().mean()
        return dict(loss=loss, log_vars=dict(loss=loss.item()), num_samples=len(x))

    def train_step(self, data, optimizer, **kwargs):
        return self(**data)

    def val_step(self, data, optimizer=None, **kwargs):
        return self(**data, return_loss=False)
''',
    '''
    def forward(self, x, y=None, return_loss=True):
        if return_loss:
            return self.forward_train(x, y)
        return self.height(x)

    def height(self, x):
        return (x * self.slopes).sum(1) + self.shift

    def forward_train(self, x, y):
        height = self.height(x)
        flat = 0.1 * self.slopes.abs().sum()
        return dict(loss_square=(height - y).square().mean(), loss_flat=flat)

    def _parse_losses(self, losses):
        log_vars = OrderedDict()
        for name, value in losses.items():
            log_vars[name] = value.mean()
        loss = sum(value for name, value in log_vars.items() if 'loss' in name)
        log_vars['loss'] = loss
        for name, value in log_vars.items():
            log_vars[name] = value.item()
        return loss, log_vars

    def train_step(self, data, optimizer):
        losses = self(**data)
        loss, log_vars = self._parse_losses(losses)
        outputs = dict(loss=loss, log_vars=log_vars, num_samples=len(data['x']))
        return outputs
''',
    '''
    def forward(self, x):
        return (x * self.slopes).sum(1) + self.shift

    def train_step(self, data, optimizer):
        x, y = data['x'], data['y']
        loss = (self(x) - y).abs().mean()
        return {'loss': loss, 'log_vars': {'loss': loss.item()}, 'num_samples': x.shape[0]}
''',
    '''
    def forward(self, x):
        return (x * self.slopes).sum(1) + self.shift

    def train_step(self, data, optimizer, **kwargs):
        """Steps itself."""
        loss = (self(data['x']) - data['y']).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return dict(log_vars=dict(loss=loss.item()), num_samples=len(data['x']))
''',
]  # fmt: skip


def _plane(draw):
    is_module = draw.random() < 0.7
    head = _PLANE_HEAD.format(
        base='nn.Module' if is_module else 'BaseModule',
        argument='' if is_module else ', init_cfg=None',
        initial='' if is_module else 'init_cfg',
    )
    return head + draw.choices(_PLANE_BODIES, [3, 3, 2, 1])[0]


_GAN_HEAD = '''\
"""Two nets with an optimizer each."""

import torch
from torch import nn

from .registry import MODELS


def set_requires_grad(net, flag):
    for parameter in net.parameters():
        parameter.requires_grad = flag


class Slopes(nn.Module):
    def __init__(self, start):
        super().__init__()
        self.slopes = nn.Parameter(torch.tensor([start, -start]))
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x * self.slopes + self.shift


@MODELS.register_module()
class Pair(nn.Module):
    def __init__(self, start=0.25, train_cfg=None):
        super().__init__()
        self.gen = Slopes(start)
        self.disc = Slopes(start / 2)
        self.train_cfg = train_cfg or {{}}
        self.disc_steps = self.train_cfg.get('disc_steps', {disc_steps})
        self.iteration = 0

    def forward(self, x{forward}):
        return self.gen(x)

    def disc_loss(self, x, y):
        with torch.no_grad():
            fake = self.gen(x)
        fake, real = self.disc(fake), self.disc(torch.stack([y, -y], 1))
        return (fake + 1).square().mean() + (real - 1).square().mean()

    def gen_loss(self, x):
        return (self.disc(self.gen(x)) - 1).square().mean()
'''
_DISC = {
    'zero-first': """
        optimizer['disc'].zero_grad()
        loss_disc = self.disc_loss(data['x'], data['y'])
        loss_disc.backward()
        optimizer['disc'].step()
""",
    'zero-between': """
        loss_disc = self.disc_loss(data['x'], data['y'])
        optimizer['disc'].zero_grad()
        loss_disc.backward()
        optimizer['disc'].step()
""",
    'zero-last': """
        loss_disc = self.disc_loss(data['x'], data['y'])
        loss_disc.backward()
        optimizer['disc'].step()
        optimizer['disc'].zero_grad()
""",
    'frozen': """
        set_requires_grad(self.disc, True)
        optimizer['disc'].zero_grad()
        loss_disc = self.disc_loss(data['x'], data['y'])
        loss_disc.backward()
        optimizer['disc'].step()
""",
    'several': """
        for _ in range(2):
            loss_disc = self.disc_loss(data['x'], data['y'])
            optimizer['disc'].zero_grad()
            loss_disc.backward()
            optimizer['disc'].step()
""",
    'two-losses': """
        optimizer['disc'].zero_grad()
        loss_disc = self.disc_loss(data['x'], data['y'])
        loss_disc.backward(retain_graph=True)
        penalty = 0.01 * self.disc.slopes.square().sum()
        penalty.backward()
        optimizer['disc'].step()
""",
    'clipped': """
        optimizer['disc'].zero_grad()
        loss_disc = self.disc_loss(data['x'], data['y'])
        loss_disc.backward()
        nn.utils.clip_grad_norm_(self.disc.parameters(), 0.2)
        optimizer['disc'].step()
""",
}
_GEN = {
    'zero-between': """
        loss_gen = self.gen_loss(data['x'])
        optimizer['gen'].zero_grad()
        loss_gen.backward()
        optimizer['gen'].step()
""",
    'zero-first': """
        optimizer['gen'].zero_grad()
        loss_gen = self.gen_loss(data['x'])
        loss_gen.backward()
        optimizer['gen'].step()
""",
    'zero-last': """
        loss_gen = self.gen_loss(data['x'])
        loss_gen.backward()
        optimizer['gen'].step()
        optimizer['gen'].zero_grad()
""",
    'frozen': """
        set_requires_grad(self.disc, False)
        optimizer['gen'].zero_grad()
        loss_gen = self.gen_loss(data['x'])
        loss_gen.backward()
        optimizer['gen'].step()
""",
    'rated': """
        rate = optimizer['gen'].param_groups[0]['lr']
        loss_gen = self.gen_loss(data['x']) * (1 + rate)
        optimizer['gen'].zero_grad()
        loss_gen.backward()
        optimizer['gen'].step()
""",
}


def _gan(draw):
    disc = draw.choices(list(_DISC), [3, 3, 2, 3, 2, 1, 1])[0]
    gen = 'frozen' if disc == 'frozen' else draw.choice([one for one in _GEN if one != 'frozen'])
    forward = draw.choice(
        [', **kwargs', ', y=None, **kwargs', ', y=None, return_loss=False, **kwargs', '']
    )
    text = _GAN_HEAD.format(disc_steps=draw.choice([1, 2, 3]), forward=forward)
    style = draw.choice(['inline', 'methods', 'every-other', 'keyword'])
    disc_text, gen_text = _DISC[disc].lstrip('\n'), _GEN[gen].lstrip('\n')
    if style in ('methods', 'keyword'):
        optimizer = 'optimizer=optimizer' if style == 'keyword' else 'optimizer'
        return (
            text
            + f"""
    def train_disc(self, data, optimizer):
{disc_text}        return loss_disc.item()

    def train_gen(self, data, optimizer):
{gen_text}        return loss_gen.item()

    def train_step(self, data, optimizer, **kwargs):
        log_vars = dict(loss_disc=self.train_disc(data, {optimizer}))
        log_vars['loss'] = log_vars['loss_disc']
        self.iteration += 1
        if self.iteration % self.disc_steps == 0:
            log_vars['loss_gen'] = self.train_gen(data, {optimizer})
        return dict(log_vars=log_vars, num_samples=len(data['x']))
"""
        )
    if style == 'every-other':
        indented = ''.join(f'    {line}\n' if line else '\n' for line in gen_text.splitlines())
        return (
            text
            + f"""
    def train_step(self, data, optimizer):
{disc_text}        log_vars = dict(loss=loss_disc.item())
        self.iteration += 1
        if self.iteration % self.disc_steps == 0:
{indented}            log_vars['loss_gen'] = loss_gen.item()
        outputs = dict(log_vars=log_vars, num_samples=len(data['x']), results=dict(x=data['x']))
        return outputs
"""
        )
    return (
        text
        + f"""
    def train_step(self, data, optimizer):
        # discriminator
{disc_text}
        # generator
{gen_text}
        log_vars = dict(loss=loss_disc.item(), loss_gen=loss_gen.item())
        return dict(log_vars=log_vars, num_samples=len(data['x']))
"""
    )


# Schedules, as text of Python


def _schedule(draw, by_epoch, total, is_gan, steps_itself):
    step = max(total // 2, 1)
    counted = '' if by_epoch else ', by_epoch=False'
    policy = draw.choice(
        [
            "policy='fixed'",
            f"policy='step', step=[{step}]",
            f"policy='step', step={step}, gamma=0.5, min_lr=0.01",
            "policy='exp', gamma=0.8",
            "policy='poly', power=0.9, min_lr=0.001",
            "policy='CosineAnnealing', min_lr=0.0",
            "policy='CosineAnnealing', min_lr_ratio=0.1",
            f"policy='CosineRestart', periods=[{step}, {total}], restart_weights=[1, 0.5], "
            'min_lr=0.01',
            "policy='FlatCosineAnnealing', start_percent=0.4, min_lr=0.001",
            "policy='inv', gamma=0.2",
            "policy='cyclic', target_ratio=(4, 0.1), cyclic_times=1, step_ratio_up=0.4",
        ]
    )
    warmup = draw.choice(
        ['', '', ", warmup='linear', warmup_iters=3, warmup_ratio=0.1",
         ", warmup='exp', warmup_iters=5, warmup_ratio=0.2",
         ", warmup='constant', warmup_iters=4, warmup_ratio=0.5"]
    )  # fmt: skip
    if 'cyclic' in policy:
        warmup = counted = ''
    lr = f'dict({policy}{warmup}{counted if draw.random() < 0.7 else ""})'
    momentum = 'None'
    if draw.random() < 0.2 and not is_gan:
        momentum = f"dict(policy='step', step=[{step}], gamma=0.8{counted})"
    optimizers = [
        "dict(type='SGD', lr=base_lr, momentum=0.9)",
        "dict(type='SGD', lr=base_lr * 2, momentum=0.5, weight_decay=0.01)",
        "dict(type='Adam', lr=base_lr / 2)",
        "dict(type='AdamW', lr=base_lr)",
        "dict(type='SGD', lr=base_lr, momentum=0.5, "
        "paramwise_cfg=dict(custom_keys={'shift': dict(lr_mult=0.5)}))",
    ]  # fmt: skip
    if is_gan:
        pair = ', '.join(f'{name}={draw.choice(optimizers)}' for name in ('gen', 'disc'))
        optimizer, step_config = f'dict({pair})', 'None'
        lr = draw.choice([lr, lr, 'None'])
    else:
        optimizer = draw.choice(optimizers)
        step_config = (
            'None'
            if steps_itself
            else draw.choice(
                [
                    'dict()',
                    'dict(grad_clip=None)',
                    'dict(grad_clip=dict(max_norm=0.3))',
                    "dict(type='GradientCumulativeOptimizerHook', cumulative_iters=2)",
                    "dict(type='GradientCumulativeOptimizerHook', cumulative_iters=3, "
                    'grad_clip=dict(max_norm=0.3))',
                ]
            )
        )
    saving = draw.choice(['None', 'dict(interval=1)', 'dict(interval=2)'])
    if not by_epoch and saving != 'None':
        saving = draw.choice([saving, f'dict(interval={draw.choice([3, 5])}, by_epoch=False)'])
    return dict(
        base_lr=draw.choice(['0.05', '0.1', '0.2']),
        optimizer=optimizer,
        optimizer_config=step_config,
        lr_config=lr,
        momentum_config=momentum,
        checkpoint_config=saving,
    )


# Scripts

_IMPORTS = '''\
"""Train."""

import argparse

import torch
from mmcv.parallel import MMDataParallel
from mmcv.runner import {names}
from mmcv.utils import get_logger
from toys.data import Points
from toys.hooks import *  # noqa: F403
from toys.models import {model}
from toys.notes import outcome


def main(args):
    parser = argparse.ArgumentParser()
    parser.add_argument('--work-dir')
    opts = parser.parse_args(args)
    model = {model}({start})
'''


def _by_script(draw, by_epoch, total, is_gan, is_wrapped, schedule, hooks):
    kind = 'EpochBasedRunner' if by_epoch else 'IterBasedRunner'
    unit = 'max_epochs' if by_epoch else 'max_iters'
    base = [f'base_lr = {schedule["base_lr"]}']
    if is_gan:
        built = (
            'optimizer = {name: build_optimizer(getattr(model, name), one) '
            f'for name, one in {schedule["optimizer"]}.items()}}'
        )
    else:
        built = f'optimizer = build_optimizer(model, {schedule["optimizer"]})'
    wrapped = ['model = MMDataParallel(model, device_ids=[])'] if is_wrapped else []
    is_first = draw.random() < 0.3
    lines = [
        *base,
        *(wrapped if is_first and not is_gan else []),
        built,
        *([] if is_first and not is_gan else wrapped),
    ]
    lines += [
        f'runner = {kind}(',
        '    model,',
        '    optimizer=optimizer,',
        '    work_dir=opts.work_dir,',
        "    logger=get_logger('drawn', log_level='ERROR'),",
        '    meta=dict(),',
        f'    {unit}={total},',
        ')',
    ]
    keys = ('lr_config', 'optimizer_config', 'checkpoint_config', 'log_config', 'momentum_config')
    given = {key: schedule.get(key, 'None') for key in keys}
    if draw.random() < 0.7:
        lines.append('runner.register_training_hooks(')
        lines += [
            f'    {key}={text},' for key, text in given.items() if text != 'None' or key in keys[:2]
        ]
        lines.append(')')
    else:
        names = ('lr', 'optimizer', 'checkpoint', 'logger', 'momentum')
        for name, text in zip(names, given.values(), strict=True):
            if text != 'None':
                lines.append(f'runner.register_{name}_hook({text})')
    lines += [random_hooks.registered(draw, kind, priority) for kind, priority in hooks]
    size = draw.choice([6, 8, 9])
    lines += [
        f'loader = torch.utils.data.DataLoader(Points({size}), batch_size=2)',
        "runner.run([loader], [('train', 1)])",
        f'return outcome({"model.module" if is_wrapped else "model"})',
    ]
    head = _IMPORTS.format(
        names=f'{kind}, build_optimizer',
        model='Pair' if is_gan else 'Plane',
        start=draw.choice([0.125, 0.25, 0.5]),
    )
    return head + ''.join(f'    {line}\n' for line in lines)


_TRAIN = '''\
"""Train by a config."""

import argparse

import toys  # noqa: F401
from mmcv import Config
from mmcv.parallel import MMDataParallel
from mmcv.runner import HOOKS, build_optimizer, build_runner
from mmcv.utils import build_from_cfg, get_logger
from toys.data import Points
from toys.notes import outcome
from toys.registry import MODELS
from torch.utils.data import DataLoader


def build_dataset(cfg):
    options = {{key: cfg[key] for key in cfg if key != 'type'}}
    return Points(**options)


def train_model(model, dataset, cfg, meta=None):
    logger = get_logger('by_config', log_level='ERROR')
    options = dict(batch_size=cfg.data.samples_per_gpu, num_workers=cfg.data.workers_per_gpu)
    data_loaders = [DataLoader(dataset, **options)]
    {optimizer}
    {wrapped}
    runner = build_runner(
        cfg.runner,
        default_args=dict(
            model=model, optimizer=optimizer, work_dir=cfg.work_dir, logger=logger, meta=meta
        ),
    )
    runner.register_training_hooks(
        cfg.lr_config,
        cfg.optimizer_config,
        cfg.checkpoint_config,
        cfg.log_config,
        cfg.get('momentum_config', None),
        {custom}
    )
    {hooks}
    runner.run(data_loaders, cfg.workflow)


def main(args):
    parser = argparse.ArgumentParser(description='Train a model')
    parser.add_argument('config')
    parser.add_argument('--work-dir')
    opts = parser.parse_args(args)
    cfg = Config.fromfile(opts.config)
    cfg.work_dir = opts.work_dir
    model = {build}
    train_model(model, build_dataset(cfg.data.train), cfg, meta=dict(seed=0))
    return outcome(model)
'''
_REGISTERED = """if cfg.get('custom_hooks', None):
        for hook_cfg in cfg.custom_hooks:
            hook_cfg = hook_cfg.copy()
            priority = hook_cfg.pop('priority', 'NORMAL')
            hook = build_from_cfg(hook_cfg, HOOKS)
            runner.register_hook(hook, priority=priority)"""


def _by_config(draw, by_epoch, total, is_gan, is_wrapped, schedule, hooks):
    if is_gan:
        optimizer = (
            'optimizer = {name: build_optimizer(getattr(model, name), cfg.optimizer[name]) '
            "for name in ('gen', 'disc')}"
        )
    else:
        optimizer = 'optimizer = build_optimizer(model, cfg.optimizer)'
    one_by_one = draw.random() < 0.5
    train = _TRAIN.format(
        optimizer=optimizer,
        wrapped='model = MMDataParallel(model, device_ids=[])' if is_wrapped else '# not wrapped',
        custom='' if one_by_one else "custom_hooks_config=cfg.get('custom_hooks', None),",
        hooks=_REGISTERED if one_by_one else '# and run',
        build=draw.choice(['MODELS.build(cfg.model)', 'build_from_cfg(cfg.model, MODELS)']),
    )
    return {'train.py': train, **_configs(draw, by_epoch, total, is_gan, schedule, hooks)}


def _configs(draw, by_epoch, total, is_gan, schedule, hooks):
    kind = 'EpochBasedRunner' if by_epoch else 'IterBasedRunner'
    unit = 'max_epochs' if by_epoch else 'max_iters'
    name = 'Pair' if is_gan else 'Plane'
    style = draw.choice(['split', 'leaf', 'whole'])
    start = draw.choice([0.125, 0.25, 0.5])
    keys = ('optimizer', 'optimizer_config', 'lr_config', 'momentum_config')
    variable = draw.choice(['total = {total}\n', 'num_{unit} = {total}\n']).format(
        unit=unit, total=total
    )
    length = f'{unit}={variable.partition(" =")[0]}'
    custom = ',\n    '.join(
        f"dict(type='{kind}'" + (f', priority={_spelled(priority)}' if priority else '') + ')'
        for kind, priority in hooks
    )
    texts = dict(
        model=f"model = dict(type='{name}', start={start})\n",
        data=(
            f'batch = {draw.choice([2, 3])}\n'
            'data = dict(samples_per_gpu=batch, workers_per_gpu=0, '
            f"train=dict(type='Points', size={draw.choice([6, 8, 9])}))\n"
        ),
        schedule=f'base_lr = {schedule["base_lr"]}\n'
        + ''.join(
            f'{key} = {schedule[key]}\n'
            for key in keys
            if schedule[key] != 'None' or key != 'momentum_config'
        ),
        runtime=(
            f'checkpoint_config = {schedule["checkpoint_config"]}\n'
            "log_config = dict(interval=50, hooks=[dict(type='TextLoggerHook')])\n"
            'load_from = None\nresume_from = None\n'
            "workflow = [('train', 1)]\n"
        ),
        length=f"{variable}runner = dict(type='{kind}', {length})\n",
        hooks=f'custom_hooks = [\n    {custom},\n]\n' if custom else '',
    )
    if style == 'whole':
        return {'configs/toy.py': ''.join(texts.values())}
    if style == 'leaf':
        leaf = f"_base_ = 'base.py'\n{texts['hooks']}"
        if draw.random() < 0.5:
            leaf += f'model = dict(start={start / 2})\n'
        base = ''.join(text for key, text in texts.items() if key != 'hooks')
        return {'configs/base.py': base, 'configs/toy.py': leaf}
    fragment = texts['schedule'] + f"runner = dict(type='{kind}')\n"
    leaf = (
        "_base_ = ['_base_/data.py', '_base_/schedule.py', '_base_/runtime.py']\n"
        f'{texts["model"]}{variable}runner = dict({length})\n{texts["hooks"]}'
    )
    if draw.random() < 0.3:
        leaf += "lr_config = dict(_delete_=True, policy='fixed')\n"
    if draw.random() < 0.3:
        leaf += 'data = dict(samples_per_gpu=1)\n'
    return {
        'configs/_base_/data.py': texts['data'],
        'configs/_base_/schedule.py': fragment,
        'configs/_base_/runtime.py': texts['runtime'],
        'configs/toy.py': leaf,
    }


def _spelled(priority):
    return priority if priority.isdigit() else repr(priority)
