"""When hooks are called, and what decides whether it is their turn."""

from typing import Any

import pytest

from mmengine import hooks
from mmengine.hooks import CheckpointHook, Hook, LoggerHook
from mmengine.runner import Runner
from mmengine.runner._hook_list import HookList


class Spy(Hook):
    priority = 'LOWEST'

    def __init__(self) -> None:
        self.calls: list[str] = []


def _note(point: str) -> Any:
    def method(self: Spy, runner: Any, **kwargs: Any) -> None:
        self.calls.append(point)

    return method


for _point in Hook.stages:
    setattr(Spy, _point, _note(_point))


def test_the_points_of_an_epoch_with_validation_and_a_new_best(make_run, accs):
    spy = Spy()
    checkpoint = {'type': 'CheckpointHook', 'interval': 1, 'save_best': 'acc'}
    make_run(
        [spy], epochs=1, batches=2, scores=accs(0.5), default_hooks={'checkpoint': checkpoint}
    ).train()
    assert spy.calls == [
        'before_run', 'before_train', 'before_train_epoch',
        'before_train_iter', 'after_train_iter', 'before_train_iter', 'after_train_iter',
        'before_save_checkpoint', 'after_train_epoch',
        'before_val', 'before_val_epoch',
        'before_val_iter', 'after_val_iter', 'before_val_iter', 'after_val_iter',
        # The best is the file of this epoch under another name.
        'after_val_epoch', 'after_val', 'after_train', 'after_run',
    ]  # fmt: skip


def test_a_resumed_run_loads_between_before_run_and_before_train(make_run):
    checkpoint = {'type': 'CheckpointHook', 'interval': 1}
    make_run(epochs=1, default_hooks={'checkpoint': checkpoint}).train()
    spy = Spy()
    make_run([spy], epochs=1, resume=True).train()
    assert spy.calls[:3] == ['before_run', 'after_load_checkpoint', 'before_train']


def test_the_points_of_a_test_alone(make_run):
    from torch.utils.data import DataLoader

    spy = Spy()
    runner = make_run(
        [spy], test_dataloader=DataLoader([{'x': 1.0}]), test_cfg={},
        test_evaluator={'type': 'DumpResults', 'out_file_path': 'unused.pkl'},
    )  # fmt: skip
    runner.test_loop.evaluator.metrics.clear()
    runner.test()
    assert spy.calls == [
        'before_run', 'before_test', 'before_test_epoch', 'before_test_iter', 'after_test_iter',
        'after_test_epoch', 'after_test', 'after_run',
    ]  # fmt: skip


def test_stages_are_in_the_known_order():
    assert Hook.stages[:3] == ('before_run', 'after_load_checkpoint', 'before_train')
    assert Hook.stages[-1] == 'after_run'
    assert len(Hook.stages) == len(set(Hook.stages)) == 22


def test_a_hook_acts_only_where_it_overrides():
    class Two(Hook):
        def after_run(self, runner: Runner) -> None: ...
        def before_val(self, runner: Runner) -> None: ...

    assert Two().get_triggered_stages() == ['before_val', 'after_run']
    assert Hook().get_triggered_stages() == []


def test_a_shared_method_acts_in_all_three_modes():
    class Shared(Hook):
        def _after_iter(self, runner, batch_idx, data_batch=None, outputs=None, mode='train'): ...

    assert Shared().get_triggered_stages() == [
        'after_train_iter', 'after_val_iter', 'after_test_iter',
    ]  # fmt: skip


def test_a_shared_method_is_told_the_mode(make_run, accs):
    seen: list[tuple[str, str]] = []

    class Shared(Hook):
        def _before_epoch(self, runner, mode='train'):
            seen.append(('epoch', mode))

        def _before_iter(self, runner, batch_idx, data_batch=None, mode='train'):
            seen.append(('iter', mode))

    make_run([Shared()], epochs=1, batches=1, scores=accs(1)).train()
    assert seen == [('epoch', 'train'), ('iter', 'train'), ('epoch', 'val'), ('iter', 'val')]


@pytest.mark.parametrize(
    ('n', 'start', 'turns'),
    [
        (2, 0, [2, 4, 6]),
        (2, 1, [1, 3, 5]),
        (2, 2, [2, 4, 6]),
        (2, 3, [3, 5]),
        (-1, 0, []),
        (0, 0, []),
    ],
)
def test_turns_are_counted_from_start(n, start, turns):
    hook = Hook()

    class At:
        def __init__(self, finished: int) -> None:
            self.epoch = self.iter = finished

    by_epoch = [at + 1 for at in range(6) if hook.every_n_epochs(At(at), n, start)]
    by_iter = [at + 1 for at in range(6) if hook.every_n_train_iters(At(at), n, start)]
    assert by_epoch == by_iter == turns


def test_inner_turns_and_the_end_of_an_epoch():
    hook = Hook()
    assert [idx for idx in range(6) if hook.every_n_inner_iters(idx, 3)] == [2, 5]
    assert [idx for idx in range(3) if hook.end_of_epoch([0, 0, 0], idx)] == [2]


def test_default_priorities_are_the_known_ones(make_run):
    runner = make_run(default_hooks={'checkpoint': {'type': 'CheckpointHook'}})
    priorities = {type(hook).__name__: hook.priority for hook in runner.hooks}
    assert priorities == {
        'RuntimeInfoHook': 'VERY_HIGH', 'IterTimerHook': 'NORMAL', 'DistSamplerSeedHook': 'NORMAL',
        'LoggerHook': 'BELOW_NORMAL', 'NonFiniteLossHook': 'BELOW_NORMAL',
        'ParamSchedulerHook': 'LOW', 'CheckpointHook': 'VERY_LOW',
    }  # fmt: skip
    assert list(priorities)[-1] == CheckpointHook.__name__
    assert list(priorities).index('LoggerHook') < list(priorities).index('NonFiniteLossHook')
    assert LoggerHook.priority == 'BELOW_NORMAL'


def _every_hook() -> dict[str, type[Hook]]:
    """Hooks that are built without arguments."""
    needs_more = {'NPUProfilerHook', 'ProfilerHook', 'EarlyStoppingHook', 'PrepareTTAHook'}
    found = {name: getattr(hooks, name) for name in sorted(set(hooks.__all__) - needs_more)}
    return {name: cls for name, cls in found.items() if isinstance(cls, type)}


@pytest.mark.parametrize('cls', _every_hook().values(), ids=_every_hook())
def test_a_point_that_a_subclass_of_any_hook_overrides_acts(cls: type[Hook]) -> None:
    points = [*Hook.stages, 'on_exception']
    called: list[str] = []
    for point in points:

        def note(self: Hook, *args: Any, _point: str = point, **kwargs: Any) -> None:
            called.append(_point)

        registered = HookList()
        registered.register(type('Own', (cls,), {point: note})())
        for method in registered.acting[point]:
            method(None)
    assert called == points


@pytest.mark.parametrize('cls', _every_hook().values(), ids=_every_hook())
@pytest.mark.parametrize('shared', ['before_epoch', 'after_epoch', 'before_iter', 'after_iter'])
def test_a_shared_method_that_a_subclass_of_any_hook_overrides_acts(
    cls: type[Hook], shared: str
) -> None:
    moment, unit = shared.split('_')
    own = type('Own', (cls,), {f'_{shared}': lambda self, *args, **kwargs: None})
    points = {f'{moment}_{mode}_{unit}' for mode in ('train', 'val', 'test')}
    # A point that the hook has for itself does not call the shared method.
    points = {point for point in points if getattr(cls, point) is getattr(Hook, point)}
    assert points <= set(own().get_triggered_stages())
