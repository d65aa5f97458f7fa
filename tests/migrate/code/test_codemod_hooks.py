"""Hooks of MMCV 1.x, migrated: they see and do under Runner what they did under MMCV 1.7.2."""

import json
import platform
from typing import Any

import pytest
from migrate_code_helpers import HERE, load, migrated

from mmengine.registry import HOOKS, OPTIM_WRAPPERS
from mmengine.runner import Runner

RECORDED = json.loads((HERE / 'mmcv_code.json').read_text())
# Processors of other makers fuse a multiplication and an addition elsewhere.
ROUNDING = 0 if platform.machine() == 'x86_64' else 1e-6
SCRIPTS = [name for name in RECORDED if name.startswith('script/')]
OPTIMIZER_HOOKS = [name for name in RECORDED if name.startswith('optimizer/')]


@pytest.fixture
def toy(monkeypatch):
    return load('legacy_toy', migrated(HERE / 'legacy_toy.py'), monkeypatch)


@pytest.fixture(autouse=True)
def registries(monkeypatch):
    # What is imported when it is asked for is to stay.
    HOOKS.get('LegacyParamSchedulerHook')
    for registry in (HOOKS, OPTIM_WRAPPERS):
        monkeypatch.setattr(registry, '_module_dict', dict(registry._module_dict))


def _runner(toy: Any, work_dir: Any, optim_wrapper: Any = None) -> Runner:
    model = toy.Line()
    sgd = toy.sgd(model)
    return Runner(
        model,
        str(work_dir),
        train_dataloader=toy.loader(),
        train_cfg={'by_epoch': True, 'max_epochs': 3},
        optim_wrapper=optim_wrapper(sgd) if optim_wrapper else {'optimizer': sgd},
        log_level='ERROR',
    )


def _parameters(runner: Runner) -> list[float]:
    return [parameter.item() for parameter in runner.model.parameters()]


def test_hooks_see_and_do_what_they_did_under_mmcv(toy, tmp_path, monkeypatch):
    text = migrated(HERE / 'legacy_hooks.py')
    assert 'TODO' not in text
    hooks = load('legacy_hooks', text, monkeypatch)
    runner = _runner(toy, tmp_path)
    for kind, options, priority in hooks.HOOKS_TO_REGISTER:
        runner.register_hook(kind(**options), priority)
    runner.train()

    recorded = RECORDED['hooks']
    assert len(hooks.SEEN) == len(recorded['seen'])
    for ours, theirs in zip(hooks.SEEN, recorded['seen'], strict=True):
        for value, expected in zip(ours, theirs, strict=True):
            is_number = isinstance(expected, float)
            assert value == (pytest.approx(expected, abs=2e-6) if is_number else expected), ours
    assert _parameters(runner) == pytest.approx(recorded['parameters'], rel=ROUNDING, abs=0)


def test_what_hooks_log_is_what_mmcv_logged(toy, tmp_path, monkeypatch):
    hooks = load('legacy_hooks', migrated(HERE / 'legacy_hooks.py'), monkeypatch)
    runner = _runner(toy, tmp_path)
    runner.register_hook(hooks.Logs())
    runner.train()

    twice = runner.message_hub.get_scalar('train/twice').data[0]
    averages = [twice[max(0, end - 2) : end].mean() for end in range(1, len(twice) + 1)]
    assert averages == [average for average, _ in RECORDED['hooks']['logged']]
    latest = runner.message_hub.get_scalar('train/latest').data[0]
    assert latest.tolist() == [last for _, last in RECORDED['hooks']['logged'] if last is not None]


@pytest.mark.parametrize('name', OPTIMIZER_HOOKS)
def test_an_optimizer_hook_moves_parameters_as_it_did_under_mmcv(name, toy, tmp_path, monkeypatch):
    text = migrated(HERE / 'legacy_optimizer_hooks.py')
    module = load('legacy_optimizer_hooks', text, monkeypatch)
    kind, options = module.CASES[name.removeprefix('optimizer/')]
    names = {'grad_clip': 'clip_grad', 'cumulative_iters': 'accumulative_counts'}
    options = {names.get(key, key): options[key] for key in options}
    runner = _runner(toy, tmp_path, lambda optimizer: kind(optimizer, **options))
    runner.train()
    expected = RECORDED[name]['parameters']
    assert _parameters(runner) == pytest.approx(expected, rel=ROUNDING, abs=0)


def test_an_optimizer_hook_that_only_scales_and_clips_accumulates_too(toy, tmp_path, monkeypatch):
    text = migrated(HERE / 'legacy_optimizer_hooks.py')
    module = load('legacy_optimizer_hooks', text, monkeypatch)
    ends = []
    for factor, lr in ((2.0, 0.1), (1.0, 0.2)):
        model = toy.Line()
        optimizer = toy.torch.optim.SGD(model.parameters(), lr=lr)
        wrapper = module.ScaledLoss(optimizer, factor, accumulative_counts=2)
        for batch in list(toy.loader())[:4]:
            wrapper.update_params(model(**batch)['loss'])
        ends.append([parameter.item() for parameter in model.parameters()])
    # Twice the loss at half the rate is the same step.
    assert ends[0] == pytest.approx(ends[1])


@pytest.mark.parametrize('name', SCRIPTS)
def test_a_script_trains_as_it_did_under_mmcv(name, toy, tmp_path, monkeypatch):
    text = migrated(HERE / 'legacy_script.py')
    assert 'TODO' not in text
    script = load('legacy_script', text, monkeypatch)
    model = getattr(script, name.removeprefix('script/'))(str(tmp_path))
    assert [each.item() for each in model.parameters()] == pytest.approx(
        RECORDED[name]['parameters'], rel=ROUNDING, abs=0
    )
