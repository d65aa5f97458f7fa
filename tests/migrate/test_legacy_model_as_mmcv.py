"""The same trainings under Runner and under the runners of MMCV 1.7.2, parameter for parameter."""

import importlib.util
import json
import platform
from pathlib import Path
from typing import Any

import pytest

from mmengine.migrate.legacy_model import LegacyModel
from mmengine.runner import Runner

HERE = Path(__file__).parent
RECORDED = json.loads((HERE / 'data' / 'mmcv_training.json').read_text())
# Processors of other makers fuse a multiplication and an addition elsewhere.
ROUNDING = 0 if platform.machine() == 'x86_64' else 1e-6


def _load_recorder() -> Any:
    spec = importlib.util.spec_from_file_location(
        'record_mmcv_training', HERE / 'record_mmcv_training.py'
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


legacy = _load_recorder()


def scheduler_of(policy: dict[str, Any], by_epoch: bool) -> dict[str, Any]:
    """The tool's own scheduler for a legacy ``lr_config``."""
    policy = dict(policy)
    # Cyclic counts iterations wherever it runs, every other policy as its runner does.
    counts_epochs = by_epoch and policy['policy'] != 'cyclic'
    policy.pop('by_epoch', None)
    scheduler = {'type': 'LegacyLRScheduler', 'policy_by_epoch': counts_epochs, **policy}
    if by_epoch:
        length = {'by_epoch': True, 'end': legacy.MAX_EPOCHS, 'convert_to_iter_based': True}
    else:
        length = {'by_epoch': False, 'end': legacy.MAX_ITERS}
    return {**scheduler, **length}


def runner_like(by_epoch: bool, policy: str, hook: str, work_dir: Path, **kwargs: Any) -> Runner:
    """What ``register_training_hooks`` of MMCV was told, told to Runner."""
    options = legacy.HOOKS[hook]
    length = {'max_epochs': legacy.MAX_EPOCHS} if by_epoch else {'max_iters': legacy.MAX_ITERS}
    return Runner(
        LegacyModel(legacy.Line()),
        str(work_dir),
        train_dataloader=legacy.loader(),
        train_cfg={'by_epoch': by_epoch, **length},
        optim_wrapper={
            'optimizer': {'type': 'SGD', 'lr': 0.2, 'momentum': 0.9, 'weight_decay': 0.01},
            'accumulative_counts': options.get('cumulative_iters', 1),
            'clip_grad': options.get('grad_clip'),
        },
        param_scheduler=scheduler_of(legacy.lr_config_of(policy, by_epoch), by_epoch),
        log_level='ERROR',
        **kwargs,
    )


@pytest.mark.parametrize('name', [name for name in RECORDED if name != 'two'])
def test_a_legacy_model_ends_with_the_parameters_and_averages_of_mmcv(name, tmp_path):
    kind, policy, hook = name.split('/')
    runner = runner_like(kind == 'epochs', policy, hook, tmp_path)
    runner.train()
    parameters = [parameter.item() for parameter in runner.model.parameters()]
    assert parameters == pytest.approx(RECORDED[name]['parameters'], rel=ROUNDING, abs=0)

    values, counts = runner.message_hub.get_scalar('train/abs').data
    size = legacy.NUM_BATCHES
    windows = [slice(end - size, end) for end in range(size, len(values) + 1, size)]
    averages = [(values[w] * counts[w]).sum() / counts[w].sum() for w in windows]
    # MMCV logged numbers of double precision, here they wait as the tensors they are made of.
    assert averages == pytest.approx(RECORDED[name]['averages'], rel=1e-6)
