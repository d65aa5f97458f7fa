"""What MMCV 1.7.2 does to rates and momenta, alone.

MMCV is driven from outside: a training of two parameters, whose every step notes the optimizer's
groups. Policies that projects brought along are recorded where these are installed::

    env/bin/pip install --no-deps mmdet==2.28.2 mmcls==0.25.0 mmselfsup==0.11.0
    env/bin/pip install --no-deps mmgen==0.7.3
    env/bin/python -m mmcv_runs.record projects
"""

import copy
import importlib.abc
import importlib.machinery
import itertools
import sys
import types

import torch

from mmcv_runs.under_mmcv import quiet_logger

BASE_RATES = (0.1, 0.004)
EPOCHS, EPOCH_LENGTH = 6, 10
WARMUPS = {
    'none': {},
    'linear': dict(warmup='linear', warmup_iters=13, warmup_ratio=0.001),
    'constant': dict(warmup='constant', warmup_iters=7, warmup_ratio=0.25),
    'exp': dict(warmup='exp', warmup_iters=12, warmup_ratio=0.05),
    'epochs': dict(warmup='linear', warmup_iters=2, warmup_ratio=0.1, warmup_by_epoch=True),
}
POLICIES = {
    'fixed': dict(policy='fixed'),
    'step-list': dict(policy='step', step=[2, 4]),
    'step-int': dict(policy='step', step=2, gamma=0.5),
    'step-min': dict(policy='step', step=[1, 2, 3], gamma=0.2, min_lr=0.001),
    'exp': dict(policy='exp', gamma=0.9),
    'poly': dict(policy='poly', power=0.9),
    'poly-min': dict(policy='poly', power=2.0, min_lr=1e-4),
    'inv': dict(policy='inv', gamma=0.1, power=0.75),
    'cosine': dict(policy='CosineAnnealing', min_lr=0),
    'cosine-min': dict(policy='CosineAnnealing', min_lr=1e-5),
    'cosine-ratio': dict(policy='CosineAnnealing', min_lr_ratio=0.01),
    'flat': dict(policy='FlatCosineAnnealing', start_percent=0.6, min_lr_ratio=0.05),
    'restart': dict(
        policy='CosineRestart', periods=[2, 1, 3], restart_weights=[1, 0.5, 0.2], min_lr=1e-5
    ),
    'linear': dict(policy='LinearAnnealing', min_lr_ratio=0.1),
    'linear-min': dict(policy='LinearAnnealing', min_lr=1e-4),
}
CYCLES = {
    'cyclic': dict(policy='cyclic', target_ratio=(10, 1e-4), cyclic_times=1, step_ratio_up=0.4),
    'cyclic-2': dict(
        policy='cyclic', target_ratio=(6, 0.01), cyclic_times=2, step_ratio_up=0.3, gamma=0.5
    ),
    'cyclic-linear': dict(
        policy='cyclic', target_ratio=(4,), cyclic_times=3, anneal_strategy='linear'
    ),
    'one-cycle': dict(policy='OneCycle', max_lr=0.5),
    'one-cycle-3': dict(
        policy='OneCycle', max_lr=0.3, three_phase=True, anneal_strategy='linear', pct_start=0.25
    ),
    'one-cycle-by-group': dict(policy='OneCycle', max_lr=[0.5, 0.02], total_steps=70),
}
MOMENTA = {
    'step': dict(policy='step', step=[2, 4], gamma=0.5),
    'cosine': dict(policy='CosineAnnealing', min_momentum=0.5),
    'cosine-ratio': dict(policy='CosineAnnealing', min_momentum_ratio=0.7),
    'linear': dict(policy='LinearAnnealing', min_momentum_ratio=0.5),
    'cyclic': dict(
        policy='cyclic', target_ratio=(0.85 / 0.95, 1), cyclic_times=1, step_ratio_up=0.4
    ),
    'one-cycle': dict(policy='OneCycle', base_momentum=0.85, max_momentum=0.95),
    'step-warm': dict(
        policy='step', step=[2, 4], warmup='linear', warmup_iters=13, warmup_ratio=0.9
    ),
}
PROJECT_POLICIES = {
    'yolox': dict(
        policy='YOLOX',
        num_last_epochs=2,
        min_lr_ratio=0.05,
        by_epoch=False,
        warmup='exp',
        warmup_ratio=1,
        warmup_iters=1,
        warmup_by_epoch=True,
    ),
    'yolox-iters': dict(
        policy='YOLOX',
        num_last_epochs=1,
        min_lr_ratio=0.1,
        by_epoch=False,
        warmup='exp',
        warmup_ratio=0.8,
        warmup_iters=7,
    ),
    'yolox-by-epoch': dict(
        policy='YOLOX',
        num_last_epochs=2,
        min_lr_ratio=0.05,
        warmup='exp',
        warmup_ratio=1,
        warmup_iters=1,
        warmup_by_epoch=True,
    ),
    'cooldown': dict(
        policy='CosineAnnealingCooldown', min_lr=1e-4, cool_down_time=2, cool_down_ratio=0.1
    ),
    'cooldown-ratio': dict(
        policy='CosineAnnealingCooldown',
        min_lr_ratio=0.02,
        cool_down_time=2,
        by_epoch=True,
        warmup='linear',
        warmup_iters=13,
        warmup_ratio=0.25,
    ),
    'cooldown-iters': dict(
        policy='CosineAnnealingCooldown',
        min_lr=1e-4,
        cool_down_time=9,
        by_epoch=False,
        warmup='linear',
        warmup_iters=13,
        warmup_ratio=0.25,
    ),
    'step-fix': dict(policy='StepFixCosineAnnealing', min_lr=0.0, by_epoch=False),
    'step-fix-min': dict(
        policy='StepFixCosineAnnealing',
        min_lr=1e-4,
        by_epoch=False,
        warmup='linear',
        warmup_iters=2,
        warmup_ratio=1e-4,
        warmup_by_epoch=True,
    ),
    'step-fix-ratio': dict(
        policy='StepFixCosineAnnealing',
        min_lr_ratio=0.05,
        warmup='linear',
        warmup_iters=7,
        warmup_ratio=0.01,
    ),
    'linear-target': dict(policy='Linear', target_lr=0, start=20, interval=1, by_epoch=False),
    'linear-interval': dict(policy='Linear', target_lr=1e-3, start=2, interval=7, by_epoch=False),
    'linear-by-epoch': dict(
        policy='Linear', target_lr=0, start=2, warmup='linear', warmup_iters=7, warmup_ratio=0.01
    ),
}
PROJECT_MODULES = ('mmdet.core.hook', 'mmcls.core', 'mmselfsup.core', 'mmgen.core')


def in_iterations(policy):
    """The same policy with its counts of epochs as iterations."""
    scaled = dict(policy)
    for key in ('step', 'periods'):
        if key in scaled:
            value = scaled[key]
            scaled[key] = (
                [v * EPOCH_LENGTH for v in value]
                if isinstance(value, list)
                else value * EPOCH_LENGTH
            )
    return scaled


def cases(with_projects):
    for (name, policy), (warm, warmup) in itertools.product(POLICIES.items(), WARMUPS.items()):
        yield f'{name}/{warm}/epochs', 'EpochBasedRunner', {**policy, **warmup}, None
        scaled = {**in_iterations(policy), **warmup, 'by_epoch': False}
        yield f'{name}/{warm}/iters-on-epochs', 'EpochBasedRunner', scaled, None
        yield f'{name}/{warm}/iters', 'IterBasedRunner', scaled, None
    for (name, policy), warm in itertools.product(CYCLES.items(), ('none', 'linear')):
        for runner in ('EpochBasedRunner', 'IterBasedRunner'):
            yield f'{name}/{warm}/{runner}', runner, {**policy, **WARMUPS[warm]}, None
    for name, policy in MOMENTA.items():
        by_iter = {**in_iterations(policy), 'by_epoch': False}
        yield f'momentum-{name}/iters', 'IterBasedRunner', None, by_iter
        if policy['policy'] not in ('cyclic', 'OneCycle'):
            yield f'momentum-{name}/epochs', 'EpochBasedRunner', None, dict(policy)
        else:
            yield f'momentum-{name}/default', 'EpochBasedRunner', None, dict(policy)
    if with_projects:
        import_projects()
        for name, policy in PROJECT_POLICIES.items():
            yield f'{name}/project/epochs', 'EpochBasedRunner', dict(policy), None
            if not policy.get('warmup_by_epoch') and 'by_epoch' in policy:
                yield (
                    f'{name}/project/iters',
                    'IterBasedRunner',
                    {**policy, 'by_epoch': False},
                    None,
                )
    for name, policy in POLICIES.items():
        for warm in ('none', 'linear'):
            asked = {**policy, **WARMUPS[warm], 'by_epoch': True}
            yield f'{name}/{warm}/epochs-on-iters', 'IterBasedRunner', asked, None


class Absent(types.ModuleType):
    """Stands for a package whose parts are imported along, and not used for rates."""

    __path__ = []
    __version__ = '99.0.0'

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        if name.islower():
            return importlib.import_module(f'{self.__name__}.{name}')
        stand_in = type(
            name, (), {'__call__': lambda self, *args, **kwargs: args[0] if args else None}
        )
        setattr(self, name, stand_in)
        return stand_in


class Absentees(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    NAMES = [
        'torchvision',
        'pycocotools',
        'terminaltables',
        'matplotlib',
        'scipy',
        'sklearn',
        'lmdb',
        'requests',
        'tqdm',
        'six',
        'prettytable',
        'rich',
        'einops',
        'timm',
        'lpips',
        'click',
        'ninja',
        'skimage',
        'ftfy',
        'mmcv.ops',
        'mmcv._ext',
        'mmgen.models',
        'mmgen.ops',
        'mmgen.datasets',
        'mmgen.apis',
        'facexlib',
        'av',
    ]

    def find_spec(self, name, path=None, target=None):
        if any(name == absent or name.startswith(f'{absent}.') for absent in self.NAMES):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return Absent(spec.name)

    def exec_module(self, module):
        pass


def import_projects():
    del sys.modules['torchvision']
    sys.meta_path.insert(0, Absentees())
    for module in PROJECT_MODULES:
        try:
            importlib.import_module(module)
        except (ImportError, AttributeError) as error:
            print(f'{module}: {type(error).__name__}: {error}')


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = torch.nn.ParameterList(
            [torch.nn.Parameter(torch.zeros(1)) for _ in BASE_RATES]
        )
        self.seen = []

    def train_step(self, data, optimizer, **kwargs):
        groups = optimizer.param_groups
        self.seen.append(([g['lr'] for g in groups], [g['momentum'] for g in groups]))
        loss = sum(w.sum() for w in self.weights)
        return dict(loss=loss, log_vars=dict(loss=0.0), num_samples=1)


def record(runner_type, lr_config, momentum_config):
    from mmcv.runner import build_runner

    # MMCV takes entries out of the dicts it is given.
    lr_config, momentum_config = copy.deepcopy((lr_config, momentum_config))
    model = Model()
    optimizer = torch.optim.SGD(
        [dict(params=[w], lr=lr) for w, lr in zip(model.weights, BASE_RATES, strict=True)],
        lr=BASE_RATES[0],
        momentum=0.9,
    )
    by_epoch = runner_type == 'EpochBasedRunner'
    length = dict(max_epochs=EPOCHS) if by_epoch else dict(max_iters=EPOCHS * EPOCH_LENGTH)
    runner = build_runner(
        dict(type=runner_type, **length),
        default_args=dict(model=model, optimizer=optimizer, logger=quiet_logger(), work_dir=None),
    )
    runner.register_training_hooks(
        lr_config, optimizer_config=dict(grad_clip=None), momentum_config=momentum_config
    )
    loader = torch.utils.data.DataLoader(torch.zeros(EPOCH_LENGTH, 1), batch_size=1)
    runner.run([loader], [('train', 1)])
    return model.seen


def curves(with_projects=False):
    """Every case by name: its configs, and the values of each iteration or MMCV's refusal."""
    recorded = {}
    for name, runner, lr_config, momentum_config in cases(with_projects):
        try:
            seen = record(runner, lr_config, momentum_config)
        except Exception as error:
            outcome = dict(error=f'{type(error).__name__}: {error}')
        else:
            key = 0 if momentum_config is None else 1
            outcome = dict(values=[[float(f'{v:.10g}') for v in step[key]] for step in seen])
        recorded[name] = dict(runner=runner, lr=lr_config, momentum=momentum_config, **outcome)
    return recorded
