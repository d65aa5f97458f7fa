"""At which points the cache is emptied."""

import pytest
import torch

from mmengine.hooks import EmptyCacheHook


class _Device:
    def __init__(self) -> None:
        self.count = 0

    def empty_cache(self) -> None:
        self.count += 1


@pytest.fixture
def device(monkeypatch):
    fake = _Device()
    monkeypatch.setattr(torch.accelerator, 'current_accelerator', lambda: 'fake')
    monkeypatch.setattr(torch, 'get_device_module', lambda name: fake)
    return fake


def _stages(hook: EmptyCacheHook) -> set[str]:
    return {
        stage.replace('train', '*') for stage in hook.get_triggered_stages() if 'train' in stage
    }


@pytest.mark.parametrize(
    ('settings', 'stages'),
    [
        ({}, {'after_*_epoch'}),
        ({'before_epoch': True}, {'before_*_epoch', 'after_*_epoch'}),
        ({'after_epoch': False, 'after_iter': True}, {'after_*_iter'}),
    ],
)
def test_it_is_called_only_where_it_has_to_act(settings, stages):
    assert _stages(EmptyCacheHook(**settings)) == stages


def test_calls_of_two_epochs_with_validation(make_run, accs, device):
    make_run(
        [EmptyCacheHook(before_epoch=True, after_iter=True)], epochs=2, batches=3, scores=accs(1)
    ).train()
    # An epoch: before and after of training and validation, 3 + 2 batches.
    assert device.count == 2 * (2 + 2 + 3 + 2)


def test_a_cpu_has_nothing_to_empty(make_run):
    if torch.accelerator.is_available():
        pytest.skip('this machine has an accelerator')
    runner = make_run([EmptyCacheHook(True, True, True)], epochs=1)
    runner.train()
    assert runner.iter == 4


@pytest.mark.parametrize('name', ['_before_epoch', '_after_epoch', '_after_iter'])
def test_a_method_of_a_subclass_is_called_whatever_the_settings(make_run, accs, name):
    modes = []

    class Own(EmptyCacheHook):
        pass

    setattr(Own, name, lambda self, runner, *args, mode, **kwargs: modes.append(mode))
    make_run([Own(False, False, False)], epochs=1, batches=2, scores=accs(1)).train()
    expected = 2 if name == '_after_iter' else 1
    assert modes == ['train'] * expected + ['val'] * expected
