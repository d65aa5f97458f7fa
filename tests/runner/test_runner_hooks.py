"""Which hooks a run has, in what order they are called, and that only those that act are."""

import pytest
from runner_toy import Recorder, toy_runner

from mmengine.hooks import CheckpointHook, Hook, LoggerHook
from mmengine.registry import HOOKS
from mmengine.runner import Priority, get_priority

DEFAULT = [
    ('RuntimeInfoHook', 'VERY_HIGH'),
    ('IterTimerHook', 'NORMAL'),
    ('DistSamplerSeedHook', 'NORMAL'),
    ('LoggerHook', 'BELOW_NORMAL'),
    ('NonFiniteLossHook', 'BELOW_NORMAL'),
    ('ParamSchedulerHook', 'LOW'),
    ('CheckpointHook', 'VERY_LOW'),
]
DEFAULT_KEYS = (
    'runtime_info', 'timer', 'sampler_seed', 'logger', 'non_finite_loss', 'param_scheduler',
    'checkpoint',
)  # fmt: skip
EVERYTHING = {'default_hooks': {}, 'val_cfg': None, 'val_dataloader': None, 'val_evaluator': None}


def _names(runner) -> list[str]:
    return [type(hook).__name__ for hook in runner.hooks]


def _named(name: str) -> Hook:
    """A hook of a class of its own that notes its calls."""

    def note(self, runner):
        CALLS.append(name)

    return type(name, (Hook,), {'before_run': note})()


CALLS: list[str] = []


@pytest.fixture(autouse=True)
def _no_calls():
    CALLS.clear()


def test_the_default_hooks_and_their_order(tmp_path):
    runner = toy_runner(tmp_path, **EVERYTHING)
    assert [(type(hook).__name__, hook.priority) for hook in runner.hooks] == DEFAULT


def test_a_checkpoint_is_saved_after_every_epoch_by_default(tmp_path):
    toy_runner(tmp_path, **EVERYTHING).train()
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['epoch_1.pth', 'epoch_2.pth']


def test_none_drops_a_default_hook(tmp_path):
    runner = toy_runner(tmp_path, default_hooks={'timer': None, 'checkpoint': None})
    assert _names(runner) == [
        name for name, _ in DEFAULT if name not in ('IterTimerHook', 'CheckpointHook')
    ]


def test_a_config_with_type_replaces_a_default_hook(tmp_path):
    runner = toy_runner(tmp_path, default_hooks={'logger': {'type': 'LoggerHook', 'interval': 3}})
    (logger,) = (hook for hook in runner.hooks if isinstance(hook, LoggerHook))
    assert logger.interval == 3


def test_a_config_without_type_changes_a_default_hook(tmp_path):
    runner = toy_runner(tmp_path, default_hooks={'checkpoint': {'max_keep_ckpts': 2}})
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
    assert (hook.interval, hook.max_keep_ckpts) == (1, 2)


def test_a_new_key_adds_a_hook_and_needs_a_type(tmp_path):
    runner = toy_runner(tmp_path, default_hooks={'recorder': {'type': 'ToyRecorder'}})
    assert 'Recorder' in _names(runner)
    with pytest.raises(ValueError, match="has 'chekpoint', which names no default hook"):
        toy_runner(tmp_path, default_hooks={'chekpoint': {'interval': 2}})


def test_hooks_are_called_by_priority_and_then_by_registration(tmp_path):
    runner = toy_runner(tmp_path)
    for name, priority in [
        ('a', None), ('b', 'HIGH'), ('c', 50), ('d', 'LOWEST'), ('e', 0), ('f', Priority.HIGH),
        ('g', 100),
    ]:  # fmt: skip
        runner.register_hook(_named(name), priority)
    runner.call_hook('before_run')
    assert CALLS == ['e', 'b', 'f', 'a', 'c', 'd', 'g']


def test_a_priority_may_stand_in_the_config_and_is_overridden_by_the_argument(tmp_path):
    runner = toy_runner(
        tmp_path, custom_hooks=[{'type': 'ToyRecorder', 'priority': 'VERY_LOW'}, _named('x')]
    )
    recorder = next(hook for hook in runner.hooks if isinstance(hook, Recorder))
    assert recorder.priority == 'VERY_LOW'
    assert Recorder.priority == 'NORMAL'
    runner.register_hook({'type': 'ToyRecorder', 'priority': 'VERY_LOW'}, priority=3)
    assert runner.hooks[0].priority == 3


@pytest.mark.parametrize(
    ('priority', 'error', 'message'),
    [
        (101, ValueError, 'between 0 and 100, got 101'),
        (-1, ValueError, 'between 0 and 100, got -1'),
        ('SOON', KeyError, "There is no priority 'SOON'; the names are HIGHEST, VERY_HIGH"),
        (1.5, TypeError, 'got float'),
        (True, TypeError, 'got bool'),
    ],
)
def test_a_wrong_priority_is_named(tmp_path, priority, error, message):
    with pytest.raises(error, match=message):
        toy_runner(tmp_path, custom_hooks=[{'type': 'ToyRecorder', 'priority': priority}])


def test_priorities_by_name_and_number():
    known = {
        'HIGHEST': 0, 'VERY_HIGH': 10, 'HIGH': 30, 'ABOVE_NORMAL': 40, 'NORMAL': 50,
        'BELOW_NORMAL': 60, 'LOW': 70, 'VERY_LOW': 90, 'LOWEST': 100,
    }  # fmt: skip
    assert {level.name: level.value for level in Priority} == known
    assert {name: get_priority(name) for name in known} == known
    assert [get_priority(value) for value in ('very_low', 33, Priority.LOW)] == [90, 33, 70]


@pytest.mark.parametrize('hook', [3, 'ToyRecorder', object()])
def test_what_is_no_hook_is_refused(tmp_path, hook):
    with pytest.raises(TypeError, match='A hook is a Hook or its config'):
        toy_runner(tmp_path, custom_hooks=[hook])


def test_a_config_must_build_a_hook(tmp_path):
    HOOKS.register_module(name='ToyNoHook', module=dict, force=True)
    with pytest.raises(TypeError, match='A hook is a Hook or its config, got dict'):
        toy_runner(tmp_path, custom_hooks=[{'type': 'ToyNoHook'}])


def test_a_point_of_ones_own_reaches_the_hooks_that_have_it(tmp_path):
    class Listening(Hook):
        def on_my_event(self, runner, value):
            CALLS.append(value)

        def after_inner_iter(self, runner, value):
            CALLS.append(value)

    runner = toy_runner(tmp_path, custom_hooks=[_named('deaf'), Listening()])
    runner.call_hook('on_my_event', value='heard')
    runner.call_hook('on_nothing', value=1)
    runner.call_hook('after_inner_iter', value='as well')
    assert CALLS == ['heard', 'as well']


def test_a_hook_for_iterations_of_all_modes_hears_the_mode(tmp_path):
    class Acting(Hook):
        def _before_iter(self, runner, batch_idx, data_batch=None, mode='train'):
            CALLS.append(('before', batch_idx, data_batch, mode))

        def _after_iter(self, runner, batch_idx, data_batch=None, outputs=None, mode='train'):
            CALLS.append(('after', batch_idx, outputs, mode))

    class Louder(Acting):
        def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            super().after_val_iter(runner, batch_idx, data_batch, outputs)
            CALLS.append('louder')

    runner = toy_runner(tmp_path, custom_hooks=[Louder()])
    runner.call_hook('before_test_iter', batch_idx=3, data_batch='batch')
    runner.call_hook('after_val_iter', batch_idx=4, data_batch='batch', outputs='seen')
    assert CALLS == [('before', 3, 'batch', 'test'), ('after', 4, 'seen', 'val'), 'louder']


def test_checkpoints_by_epoch_act_at_no_iteration_unless_a_subclass_does(tmp_path):
    class Own(CheckpointHook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            CALLS.append(batch_idx)

    assert 'after_train_iter' not in CheckpointHook(by_epoch=True).get_triggered_stages()
    assert 'after_train_iter' in CheckpointHook(by_epoch=False).get_triggered_stages()
    assert 'after_train_iter' in Own(by_epoch=True).get_triggered_stages()


def test_a_hook_registered_later_is_called_from_then_on(tmp_path):
    runner = toy_runner(tmp_path)
    runner.call_hook('before_run')
    runner.register_hook(_named('late'))
    runner.call_hook('before_run')
    assert CALLS == ['late']


def test_a_method_set_on_one_hook_counts(tmp_path):
    hook = Hook()
    hook.before_run = lambda runner: CALLS.append('set')
    toy_runner(tmp_path, custom_hooks=[hook]).call_hook('before_run')
    assert CALLS == ['set']


def test_the_list_of_hooks_shows_who_acts_where(tmp_path):
    class Acting(Hook):
        priority = 'LOW'

        def before_val(self, runner):
            pass

        def _after_iter(self, runner, batch_idx, data_batch=None, outputs=None, mode='train'):
            pass

    runner = toy_runner(
        tmp_path,
        default_hooks=dict.fromkeys(DEFAULT_KEYS),
        custom_hooks=[Acting()],
    )
    row = f'({"LOW":<12}) {"Acting":<35}'
    rule = ' -------------------- '
    points = ['after_train_iter', 'before_val', 'after_val_iter', 'after_test_iter']
    assert runner.get_hooks_info() == '\n'.join(f'{point}:\n{row}\n{rule}' for point in points)


def test_a_number_without_name_is_shown_as_number(tmp_path):
    runner = toy_runner(tmp_path, custom_hooks=[{'type': 'ToyRecorder', 'priority': 33}])
    assert f'({33:<12}) Recorder' in runner.get_hooks_info()


def test_the_points_of_an_epoch_are_called_in_their_order(tmp_path):
    class All(Hook):
        pass

    def note(point):
        return lambda self, runner, **kwargs: CALLS.append(point)

    for point in Hook.stages:
        setattr(All, point, note(point))
    runner = toy_runner(
        tmp_path,
        train_cfg={'by_epoch': True, 'max_epochs': 1},
        custom_hooks=[All()],
        default_hooks={'checkpoint': {'type': 'CheckpointHook', 'interval': 1}, 'logger': None},
    )
    runner.train()
    train = ['before_train_iter', 'after_train_iter'] * 4
    val = ['before_val_iter', 'after_val_iter'] * 4
    assert [
        'before_run', 'before_train', 'before_train_epoch', *train, 'after_train_epoch',
        'before_save_checkpoint',
        'before_val', 'before_val_epoch', *val, 'after_val_epoch', 'after_val',
        'after_train', 'after_run',
    ] == CALLS  # fmt: skip
    CALLS.clear()
    runner.test()
    test = ['before_test_iter', 'after_test_iter'] * 4
    assert [
        'before_run', 'before_test', 'before_test_epoch', *test, 'after_test_epoch', 'after_test',
        'after_run',
    ] == CALLS  # fmt: skip
