"""RuntimeInfoHook, IterTimerHook, ParamSchedulerHook and DistSamplerSeedHook."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader

from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.hooks import DistSamplerSeedHook, Hook, IterTimerHook, ParamSchedulerHook
from mmengine.hooks.runtime_info_hook import _is_scalar
from mmengine.runner._preparing import prepare_training

# -- runtime info --------------------------------------------------------------------------------


class _Look(Hook):
    """Writes down, at its points, what the message hub knows."""

    priority = 'LOWEST'

    def __init__(self, *keys: str) -> None:
        self.keys = keys
        self.seen: list[tuple] = []

    def _look(self, runner):
        self.seen.append(tuple(runner.message_hub.get_info(key) for key in self.keys))

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self._look(runner)

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        self._look(runner)


def test_the_position_is_known_at_every_iteration(make_run, accs):
    look = _Look('epoch', 'iter', 'loop_stage')
    make_run([look], batches=2, scores=accs(1)).train()
    assert look.seen == [
        (0, 0, 'train'), (0, 1, 'train'), (0, 1, 'val'), (0, 1, 'val'),
        (1, 2, 'train'), (1, 3, 'train'), (1, 3, 'val'), (1, 3, 'val'),
    ]  # fmt: skip


def test_scalars_and_infos_of_a_run_have_the_known_names(make_run):
    scores = [{'acc': 0.5, 'table': {'a': 1}}]
    runner = make_run(scores=scores, default_hooks={'checkpoint': {'type': 'CheckpointHook'}})
    runner.train()
    hub = runner.message_hub
    assert list(hub.log_scalars) == [
        'train/lr', 'train/data_time', 'train/loss', 'train/time',
        'val/data_time', 'val/time', 'val/acc',
    ]  # fmt: skip
    assert set(hub.runtime_info) == {
        'cfg', 'seed', 'experiment_name', 'mmengine_version', 'epoch', 'iter', 'max_epochs',
        'max_iters', 'eta', 'last_ckpt', 'val/table',
    }  # fmt: skip
    assert hub.get_info('val/table') == {'a': 1}
    assert (hub.get_info('max_epochs'), hub.get_info('max_iters')) == (2, 8)
    np.testing.assert_allclose(
        hub.get_scalar('train/loss').data[0], [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3], rtol=1e-6
    )


def _facts_of_start(runner):
    return [runner.message_hub.get_info(key) for key in ('cfg', 'seed', 'experiment_name')]


@pytest.mark.parametrize('stage', ['train', 'val', 'test'])
def test_a_resumed_run_is_described_by_its_own_start(make_run, accs, stage):
    saving = {'checkpoint': {'type': 'CheckpointHook'}}
    first = make_run(
        epochs=1, scores=accs(1), default_hooks=saving, experiment_name='first',
        randomness={'seed': 3},
    )  # fmt: skip
    first.train()
    look = _Look('seed', 'experiment_name')
    second = make_run(
        [look], epochs=2, scores=accs(1), default_hooks=saving, experiment_name='second',
        randomness={'seed': 4}, resume=True, test_dataloader=DataLoader([{'x': torch.ones(1)}]),
        test_cfg={}, test_evaluator=[],
    )  # fmt: skip
    getattr(second, stage)()
    config, seed, name = _facts_of_start(second)
    assert (config, seed, name) == (second.config_text, 4, second.experiment_name)
    assert name.startswith('second')
    assert second.message_hub.get_info('loop_stage') is None  # not the stage of the checkpoint
    assert set(look.seen) <= {(4, second.experiment_name)}


def test_a_run_without_a_seed_is_described_by_the_seed_it_resumes(make_run):
    saving = {'checkpoint': {'type': 'CheckpointHook'}}
    first = make_run(epochs=1, default_hooks=saving, randomness={'seed': 3})
    first.train()
    second = make_run(epochs=2, default_hooks=saving, resume=True)
    second.train()
    assert second.message_hub.get_info('seed') == second.seed == 3


def test_rates_are_those_of_the_step_that_follows(make_run):
    runner = make_run(
        epochs=3, batches=2, param_scheduler={'type': 'StepLR', 'step_size': 1, 'gamma': 0.5}
    )
    runner.train()
    rates = runner.message_hub.get_scalar('train/lr').data[0]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.05, 0.05, 0.025, 0.025])


def test_several_optimizers_have_their_names_on_their_rates(make_run):
    from mmengine.model import BaseModel
    from mmengine.optim import OptimWrapper, OptimWrapperDict

    class Two(BaseModel):
        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)

        def forward(self, x, mode):
            return {'loss': self.b(self.a(x)).sum()}

        def train_step(self, data, optim_wrapper):
            loss = self.b(self.a(torch.ones(1))).sum()
            optim_wrapper['a'].update_params(loss)
            return {'loss': loss}

    model = Two()
    wrappers = OptimWrapperDict(
        a=OptimWrapper(torch.optim.SGD(model.a.parameters(), lr=0.1)),
        b=OptimWrapper(torch.optim.SGD(model.b.parameters(), lr=0.2)),
    )
    runner = make_run(model=model, optim_wrapper=wrappers, epochs=1)
    runner.train()
    current = {
        key: float(buffer.current())
        for key, buffer in runner.message_hub.log_scalars.items()
        if 'lr' in key
    }
    assert current == {'train/a.lr': 0.1, 'train/b.lr': 0.2}


def test_losses_are_not_read_in_a_step(make_run):
    """Reading a tensor is one aten call that a dispatch mode sees."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Count(TorchDispatchMode):
        reads = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            Count.reads += '_local_scalar_dense' in str(func)
            return func(*args, **(kwargs or {}))

    runner = make_run(
        [{'type': 'ProgressHook'}, {'type': 'CurvesHook'}],
        epochs=1, batches=9, default_hooks={'logger': {'type': 'LoggerHook', 'interval': 1000}},
    )  # fmt: skip
    prepare_training(runner)
    runner.call_hook('before_run')
    runner.call_hook('before_train')
    runner.call_hook('before_train_epoch')
    with Count():
        for idx in range(8):
            runner.train_loop.run_iter(idx, {'x': torch.ones(1)})
    assert Count.reads == 0


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (1, True), (0.5, True), (True, True), (np.float32(1), True), (np.ones(1), True),
        (torch.ones(1), True), (np.ones(2), False), (torch.ones(2), False), ('1', False),
        ([1], False), (None, False), ({}, False),
    ],
)  # fmt: skip
def test_what_counts_as_one_number(value, expected):
    assert _is_scalar(value) is expected


# -- timer ---------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves only when told to."""
    import mmengine.hooks.iter_timer_hook as module

    now = SimpleNamespace(s=100.0)
    monkeypatch.setattr(module, 'time', lambda: now.s)
    return now


def test_times_and_eta_of_three_iterations(clock):
    from mmengine.logging import MessageHub

    hub = MessageHub.get_instance('timer')
    runner = SimpleNamespace(message_hub=hub, iter=0, max_iters=4)
    hook = IterTimerHook()
    hook.before_train(runner)
    hook.before_train_epoch(runner)
    etas = []
    for wait, step in ((1.0, 2.0), (0.5, 0.5), (1.0, 3.0)):
        clock.s += wait
        hook.before_train_iter(runner, 0)
        clock.s += step
        hook.after_train_iter(runner, 0)
        etas.append(hub.get_info('eta'))
    assert hub.get_scalar('train/data_time').data[0].tolist() == [1.0, 0.5, 1.0]
    assert hub.get_scalar('train/time').data[0].tolist() == [3.0, 1.0, 4.0]
    # The mean so far times what is left: 3 x 3, 2 x 2, 8/3 x 1.
    assert etas == pytest.approx([9.0, 4.0, 8 / 3])


def test_a_resumed_run_estimates_what_it_has_left(clock):
    from mmengine.logging import MessageHub

    runner = SimpleNamespace(message_hub=MessageHub.get_instance('t'), iter=90, max_iters=100)
    hook = IterTimerHook()
    hook.before_train(runner)
    hook.before_train_epoch(runner)
    clock.s += 2
    hook.after_train_iter(runner, 0)
    assert runner.message_hub.get_info('eta') == 18.0


def test_time_between_epochs_belongs_to_no_iteration(clock):
    from mmengine.logging import MessageHub

    runner = SimpleNamespace(message_hub=MessageHub.get_instance('t'), iter=0, max_iters=2)
    hook = IterTimerHook()
    hook.before_train(runner)
    for _ in range(2):
        hook.before_train_epoch(runner)
        clock.s += 1
        hook.before_train_iter(runner, 0)
        hook.after_train_iter(runner, 0)
        clock.s += 1000  # validation, checkpoint
    assert runner.message_hub.get_scalar('train/time').data[0].tolist() == [1.0, 1.0]


# -- parameter schedulers ------------------------------------------------------------------------


def test_schedulers_step_by_what_they_count(make_run):
    runner = make_run(
        epochs=2, batches=3,
        param_scheduler=[
            {'type': 'StepLR', 'step_size': 1, 'gamma': 0.1, 'by_epoch': True},
            {'type': 'ExponentialLR', 'gamma': 0.5, 'by_epoch': False, 'end': 100},
        ],
    )  # fmt: skip
    runner.train()
    rates = runner.message_hub.get_scalar('train/lr').data[0]
    expected = [0.1 * 0.5**step * (0.1 if step >= 3 else 1) for step in range(6)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_a_plateau_scheduler_steps_after_validation(make_run, accs):
    runner = make_run(
        epochs=4, batches=1, scores=accs(0.5, 0.4, 0.4, 0.4),
        param_scheduler={
            'type': 'ReduceOnPlateauLR', 'monitor': 'acc', 'rule': 'greater', 'factor': 0.1,
            'patience': 1,
        },
    )  # fmt: skip
    runner.train()
    # Epochs 2 and 3 are no better; more than one such epoch lowers the rate for epoch 4.
    np.testing.assert_allclose(
        runner.message_hub.get_scalar('train/lr').data[0], [0.1, 0.1, 0.1, 0.01]
    )


def test_a_validation_without_training_steps_nothing(make_run, accs):
    runner = make_run(
        scores=accs(0.5), param_scheduler=[{'type': 'ReduceOnPlateauLR', 'monitor': 'acc'}]
    )
    assert runner.val() == {'acc': 0.5}


# -- sampler seeds -------------------------------------------------------------------------------


def test_the_sampler_hears_of_each_epoch(make_run):
    data = [{'x': torch.ones(1)} for _ in range(4)]
    told = []

    class Sampler(DefaultSampler):
        def set_epoch(self, epoch):
            told.append(epoch)
            super().set_epoch(epoch)

    make_run(train_dataloader=DataLoader(data, sampler=Sampler(data)), epochs=3).train()
    assert sorted(set(told)) == [0, 1, 2]


def test_the_sampler_under_a_batch_sampler_hears_once():
    told = []
    data = list(range(4))
    sampler = DefaultSampler(data)
    sampler.set_epoch = told.append
    loader = DataLoader(data, batch_sampler=BatchSampler(sampler, 2, False))
    runner = SimpleNamespace(train_loop=SimpleNamespace(dataloader=loader), epoch=5)
    DistSamplerSeedHook().before_train_epoch(runner)
    assert told == [5]


@pytest.mark.parametrize(
    'not_built',
    [
        {'type': 'StepLR', 'step_size': 1},
        [{'type': 'StepLR', 'step_size': 1}],
        {'generator': [{'type': 'StepLR', 'step_size': 1}]},
        Config({'type': 'StepLR', 'step_size': 1}),
        None,
    ],
    ids=['config', 'list', 'by name', 'Config', 'none'],
)
def test_hook_points_called_by_hand_before_schedulers_are_built_do_nothing(not_built):
    runner = SimpleNamespace(param_schedulers=not_built)
    hook = ParamSchedulerHook()
    hook.before_train(runner)
    hook.after_train_iter(runner, 0)
    hook.after_train_epoch(runner)
    hook.after_val_epoch(runner, {'acc': 1.0})
    built = SimpleNamespace(by_epoch=True, steps=0)
    built.step = lambda: setattr(built, 'steps', built.steps + 1)
    runner.param_schedulers = [built]
    hook.after_train_epoch(runner)
    assert built.steps == 1
