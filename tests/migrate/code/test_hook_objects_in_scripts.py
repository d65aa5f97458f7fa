"""Hooks of a project's own that scripts hand over as objects, and marks that hold what went."""

from textwrap import dedent

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from mmengine.model import BaseModel

convert = pytest.importorskip('mmengine.migrate._code.convert')
SCRIPT = """\
import torch
from mmcv.runner import EpochBasedRunner, IterBasedRunner, LrUpdaterHook, OptimizerHook
from mmcv.runner.hooks import MomentumUpdaterHook


class Drop(LrUpdaterHook):
    def __init__(self, at, **kw):
        self.at = at
        super().__init__(**kw)

    def get_lr(self, runner, base_lr):
        return base_lr * (0.1 if runner.epoch >= self.at else 1)


class Halving(MomentumUpdaterHook):
    def get_momentum(self, runner, base_momentum):
        return base_momentum / 2


class ClipByValue(OptimizerHook):
    def __init__(self, limit=0.1):
        super().__init__()
        self.limit = limit

    def after_train_iter(self, runner):
        runner.optimizer.zero_grad()
        runner.outputs['loss'].backward()
        torch.nn.utils.clip_grad_value_(runner.model.parameters(), self.limit)
        runner.optimizer.step()


class Inheriting(ClipByValue):
    pass


def main(model, loader, work_dir, late=True):
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    runner = EpochBasedRunner(model, optimizer={optimizer}, work_dir=work_dir, max_epochs=3)
    {register}
    runner.run([loader], [('train', 1)])
    return runner
"""


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.rates = []

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return inputs

    def train_step(self, data, optim_wrapper):
        self.rates.append(optim_wrapper.param_groups[0]['lr'])
        loss = (5 * self.weight).sum()
        optim_wrapper.update_params(loss)
        return {'loss': loss}


def converted(register, optimizer='sgd'):
    return convert.convert_source(SCRIPT.format(register=register, optimizer=optimizer))


def trained(result, work_dir):
    # The hook of momenta is MMCV's still: the mark above it says so.
    text = '\n'.join(
        line for line in result.new.splitlines() if not line.startswith('from mmcv')
    ).replace('(MomentumUpdaterHook)', '')
    space = {'__name__': 'told'}
    exec(text, space)
    model = Line()
    space['main'](model, DataLoader(torch.ones(2, 1), 1), str(work_dir))
    return model


@pytest.mark.parametrize(
    'register',
    [
        'runner.register_lr_hook(Drop(1, {}))',
        'runner.register_training_hooks(Drop(1, {}), None)',
        'drop = Drop(1, {})\n    runner.register_lr_hook(drop)',
    ],
)
def test_an_own_hook_of_learning_rates_sets_them(register, tmp_path):
    options = "warmup='constant', warmup_iters=1, warmup_ratio=0.5"
    register = register.format(options) + '\n    runner.register_optimizer_hook(dict())'
    result = converted(register)
    assert not [why for _, why in result.todo if 'lr_config' in why]
    # Half of it in the one iteration of the warm-up, a tenth from epoch 1 on; 2 batches an epoch.
    expected = [0.05, 0.1, 0.01, 0.01, 0.01, 0.01]
    assert trained(result, tmp_path).rates == pytest.approx(expected)


@pytest.mark.parametrize('optimizer', ['sgd', "build_optimizer(model, dict(type='SGD', lr=0.1))"])
@pytest.mark.parametrize(
    'hook', ['ClipByValue(0.05)', 'ClipByValue(limit=0.05)', 'Inheriting(0.05)']
)
def test_an_own_optimizer_hook_is_the_wrapper(hook, optimizer, tmp_path):
    register = f'runner.register_training_hooks(None, {hook})'
    text = SCRIPT.format(register=register, optimizer='optimizer')
    text = text.replace('    runner = ', f'    optimizer = {optimizer}\n    runner = ')
    text = text.replace('import EpochBased', 'import build_optimizer, EpochBased')
    result = convert.convert_source(text)
    assert not [why for _, why in result.todo if 'Momentum' not in why]
    # The gradient, 5, is clipped to 0.05: six steps of 0.1 * 0.05 down from 0.
    assert trained(result, tmp_path).weight.item() == pytest.approx(-6 * 0.1 * 0.05)


@pytest.mark.parametrize(
    ('register', 'held'),
    [
        ('runner.register_momentum_hook(Halving(by_epoch=True))',
         'momentum_config=Halving(by_epoch=True)'),
        ("runner.register_lr_hook(dict(policy='fixed' if late else 'step', step=[8], gamma=0.5))",
         "lr_config=dict(policy='fixed' if late else 'step', step=[8], gamma=0.5)"),
        ("runner.register_lr_hook(dict(policy=late,  # known late\n        step=[8]))",
         'lr_config=dict(policy=late, step=[8])'),
        ('runner.register_lr_hook(schedule_of(late, 3))', 'lr_config=schedule_of(late, 3)'),
        ('runner.register_checkpoint_hook(saver_of(late))', 'checkpoint_config=saver_of(late)'),
        ('runner.register_training_hooks(None, ClipByValue(*late))', 'ClipByValue(*late)'),
    ],
)  # fmt: skip
def test_a_mark_holds_what_went_from_the_script(register, held):
    assert any(held in why for _, why in converted(register).todo)


MODEL = """\
from torch import nn
from mmcv.runner import BaseModule


class Net(BaseModule):
    def train_step(self, data, optimizer):
        loss = self(data)
        return dict(loss=loss, log_vars=dict(loss=loss.item()))

    {line}


class Other(Net):
    {other}
"""


@pytest.mark.parametrize(
    ('line', 'other', 'gone'),
    [
        ('val_step = train_step', 'pass', ['val_step was train_step']),
        ('test_step = train_step', 'pass', ['test_step was train_step']),
        ('val_step = test_step = train_step', 'pass',
         ['val_step was train_step', 'test_step was train_step']),
        ('pass', 'val_step = Net.train_step', ['val_step was Net.train_step']),
    ],
)  # fmt: skip
def test_another_name_of_train_step_goes(line, other, gone):
    result = convert.convert_source(MODEL.format(line=line, other=other))
    assert '_step = ' not in result.new
    marks = [why for _, why in result.todo]
    assert all(any(one in why for why in marks) for one in gone)


@pytest.mark.parametrize(
    'line', ['Net.val_step = Net.train_step', "setattr(Net, 'test_step', Net.train_step)"]
)
def test_another_name_of_train_step_from_outside_is_marked(line):
    result = convert.convert_source(MODEL.format(line='pass', other='pass') + f'\n\n{line}\n')
    assert [why for _, why in result.todo if 'which trains' in why]
    assert line in result.new


def test_what_sets_which_parameters_train_is_no_reader_of_gradients():
    text = dedent("""\
        from torch import nn


        class Pair(nn.Module):
            def train_step(self, data, optimizer):
                optimizer['critic'].zero_grad()
                d = self.critic(data).mean()
                d.backward()
                nn.utils.clip_grad_norm_(self.critic.parameters(), 1.0)
                optimizer['critic'].step()
                self.set_grad(self.critic, False)
                return dict(log_vars=dict(d=d.item()), num_samples=1)
        """)
    marks = [why for _, why in convert.convert_source(text).todo]
    assert not [why for why in marks if 'gradients are used' in why]


COUNTING = """\
from mmcv.runner import Hook, IterBasedRunner


class Stop(Hook):
    def after_train_iter(self, runner):
        runner._max_epochs = runner.epoch + 1


KIND = IterBasedRunner
"""


def test_a_mark_says_which_runs_a_number_of_epochs_ends():
    marks = [why for _, why in convert.convert_source(COUNTING).todo]
    assert len([why for why in marks if 'ends a run of epochs alone' in why]) == 1


def test_a_mark_says_how_a_constructor_builds_its_wrapper():
    text = dedent("""\
        from mmcv.runner import OPTIMIZER_BUILDERS


        @OPTIMIZER_BUILDERS.register_module()
        class Own:
            def __call__(self, model):
                return None
        """)
    (mark,) = [why for _, why in convert.convert_source(text).todo if '__call__' in why]
    assert 'OPTIM_WRAPPERS.build(' in mark
