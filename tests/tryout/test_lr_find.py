"""lr_find: the curve of a quadratic in closed form, and a run that it leaves as it was."""

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from tryout_toy import Noisy, pair_config, tryout_config

from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.process.seed import rng_state
from mmengine.runner import Runner
from mmengine.tryout import LRFind, lr_find
from mmengine.utils.errors import ArgumentError


class Bowl(BaseModel):
    """The loss 0.5 a w^2 of its one weight, which begins at 1."""

    def __init__(self, a: float = 4.0) -> None:
        super().__init__()
        self.a = a
        self.weight = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x: Any, y: Any, mode: str = 'tensor') -> dict[str, torch.Tensor]:
        return {'loss': 0.5 * self.a * self.weight**2}


def bowl_curve(lrs: list[float], a: float = 4.0) -> list[float]:
    """A gradient step is w <- (1 - lr a) w; each loss is the one before the step."""
    weight, losses = 1.0, []
    for lr in lrs:
        losses.append(0.5 * a * weight**2)
        weight *= 1 - lr * a
    return losses


def growing(low: float, high: float, steps: int) -> list[float]:
    return [low * (high / low) ** (i / (steps - 1)) for i in range(steps)]


def found(tmp_path: Path, **changes: Any) -> tuple[Runner, dict[str, Any]]:
    changes.setdefault('model', {'type': Bowl})
    return Runner.from_cfg(tryout_config(tmp_path, **changes)), {}


def test_curve_of_a_quadratic_is_the_closed_form(tmp_path: Path) -> None:
    runner, _ = found(tmp_path)
    result = lr_find(runner, min_lr=1e-3, max_lr=0.45, num_steps=30)
    lrs = growing(1e-3, 0.45, 30)
    assert result.lrs == pytest.approx(lrs)
    # `loss` is logged as it is; the test reads it as float32.
    assert result.losses == pytest.approx(bowl_curve(lrs), rel=1e-6)
    # The curve is lowest after the step with lr = 1 / a = 0.25, and steepest before that.
    slopes = np.gradient(bowl_curve(lrs), np.log(lrs))
    steepest = lrs[int(np.argmin(slopes))]
    assert result.suggestion is not None
    assert steepest / 1.6 < result.suggestion < steepest * 1.6
    assert result.settings == {'optim_wrapper.optimizer.lr': result.suggestion}


def test_batches_that_differ_hide_no_fall() -> None:
    lrs = growing(1e-6, 10.0, 100)
    # Every other batch is twice as hard; above lr 1e-2 both fall, steepest at 0.1, to a tenth.
    falls = [1 - 0.9 / (1 + (0.1 / lr) ** 2) for lr in lrs]
    result = LRFind('loss', lrs, [(1 + i % 2) * fall for i, fall in enumerate(falls)])
    assert result.suggestion is not None
    assert 0.03 < result.suggestion < 0.3


def test_it_ends_where_the_loss_diverges(tmp_path: Path) -> None:
    runner, _ = found(tmp_path)
    result = lr_find(runner, min_lr=1e-3, max_lr=100.0, num_steps=50)
    lrs = growing(1e-3, 100.0, 50)
    curve = bowl_curve(lrs)
    assert len(result.lrs) < 50
    assert result.losses == pytest.approx(curve[: len(result.lrs)], rel=1e-5)
    # From lr = 2 / a = 0.5 on, each step makes the loss larger.
    assert lrs[len(result.lrs) - 1] > 0.5
    assert result.suggestion is not None
    assert result.suggestion < 0.5


def test_accumulated_steps_take_a_window_of_batches(tmp_path: Path) -> None:
    optim_wrapper = {'optimizer': {'type': 'SGD', 'lr': 0.1}, 'accumulative_counts': 3}
    runner, _ = found(tmp_path, optim_wrapper=optim_wrapper)
    result = lr_find(runner, min_lr=1e-3, max_lr=0.4, num_steps=10)
    assert result.losses == pytest.approx(bowl_curve(growing(1e-3, 0.4, 10)), rel=1e-6)


def test_groups_and_optimizers_keep_their_ratios(tmp_path: Path) -> None:
    cfg = pair_config(tmp_path)
    cfg.train_dataloader.batch_size = 8  # all points, so that batches do not differ
    result = lr_find(Runner.from_cfg(cfg), min_lr=1e-4, max_lr=0.3, num_steps=12, loss='loss_a')
    assert result.suggestion is not None
    assert result.settings == {
        'optim_wrapper.first.optimizer.lr': pytest.approx(result.suggestion),
        'optim_wrapper.second.optimizer.lr': pytest.approx(0.1 * result.suggestion),
    }


def test_the_setting_is_the_lr_of_the_config_also_with_multipliers(tmp_path: Path) -> None:
    optim_wrapper = {
        'optimizer': {'type': 'SGD', 'lr': 0.1},
        'paramwise_cfg': {'bias_lr_mult': 2.0},
    }
    cfg = tryout_config(tmp_path, optim_wrapper=optim_wrapper)
    cfg.train_dataloader.batch_size = 8
    result = lr_find(Runner.from_cfg(cfg), min_lr=1e-3, max_lr=0.3, num_steps=12)
    assert result.suggestion is not None
    assert result.settings['optim_wrapper.optimizer.lr'] == pytest.approx(result.suggestion / 2)


def noisy_config(work_dir: Path) -> Config:
    return tryout_config(
        work_dir,
        model={'type': Noisy},
        optim_wrapper={'optimizer': {'type': 'Adam', 'lr': 0.01}, 'clip_grad': {'max_norm': 1.0}},
        param_scheduler={'type': 'ExponentialLR', 'gamma': 0.9},
    )


def state_of(runner: Runner) -> Any:
    return copy.deepcopy(
        [
            runner.model.state_dict(),
            [each.grad for each in runner.model.parameters()],
            [each.requires_grad for each in runner.model.parameters()],
            [each.training for each in runner.model.modules()],
            runner.model.calls,
            runner.optim_wrapper.state_dict(),
            runner.message_hub.state_dict(),
            rng_state(),
        ]
    )


def assert_same(own: Any, other: Any) -> None:
    assert type(own) is type(other)
    if isinstance(own, torch.Tensor):
        assert torch.equal(own, other)
    elif isinstance(own, dict):
        assert own.keys() == other.keys()
        for key in own:
            assert_same(own[key], other[key])
    elif isinstance(own, (list, tuple)):
        assert len(own) == len(other)
        for pair in zip(own, other, strict=True):
            assert_same(*pair)
    else:
        assert own == other


def test_a_trained_run_is_left_to_the_bit(tmp_path: Path) -> None:
    runner = Runner.from_cfg(noisy_config(tmp_path))
    runner.train()
    before = state_of(runner)
    lr_find(runner, max_lr=1.0, num_steps=5)
    assert_same(state_of(runner), before)


def test_a_training_after_it_is_the_training_without_it(tmp_path: Path) -> None:
    plain = Runner.from_cfg(noisy_config(tmp_path / 'plain'))
    plain.train()
    other = Runner.from_cfg(noisy_config(tmp_path / 'other'))
    lr_find(other, max_lr=1.0, num_steps=5)
    other.train()
    assert_same(other.model.state_dict(), plain.model.state_dict())
    assert_same(other.optim_wrapper.state_dict(), plain.optim_wrapper.state_dict())


def test_an_optimizer_with_attributes_of_its_own_is_copied(tmp_path: Path) -> None:
    closure = {'type': 'ClosureOptimWrapper', 'optimizer': {'type': 'LBFGS', 'lr': 0.5}}
    runner = Runner.from_cfg(tryout_config(tmp_path, optim_wrapper=closure))
    result = lr_find(runner, min_lr=1e-3, max_lr=0.5, num_steps=4)
    assert len(result.losses) == 4
    assert not runner.optim_wrapper.optimizer.state


def test_a_failing_step_leaves_the_run_too(tmp_path: Path) -> None:
    runner = Runner.from_cfg(noisy_config(tmp_path))
    runner.train()
    before = state_of(runner)
    with pytest.raises(ArgumentError, match=r"no value 'los' to follow, but loss\. Did you mean"):
        lr_find(runner, loss='los', num_steps=5)
    assert_same(state_of(runner), before)


def test_a_ready_dataloader_goes_on_where_it_was(tmp_path: Path) -> None:
    def trained(folder: str, tries: bool) -> Any:
        cfg = noisy_config(tmp_path / folder)
        loader = Runner.build_dataloader(cfg.train_dataloader.to_dict(), seed=3)
        cfg = {**cfg.to_dict(), 'train_dataloader': loader}
        runner = Runner.from_cfg(cfg)
        if tries:
            lr_find(runner, max_lr=1.0, num_steps=7)
        return runner.train().state_dict()

    assert_same(trained('tried', True), trained('plain', False))


def test_it_is_written_as_json_and_picture(tmp_path: Path) -> None:
    pytest.importorskip('matplotlib')
    result = LRFind('loss', [0.1, 0.2, 0.4], [3.0, 2.0, 1.0])
    files = result.save(tmp_path / 'here')
    assert [file.name for file in files] == ['lr_find.json', 'lr_find.png']
    saved = json.loads(files[0].read_text())
    assert saved['lr'] == [0.1, 0.2, 0.4]
    assert saved['losses'] == [3.0, 2.0, 1.0]
    assert saved['suggestion'] == result.suggestion
    assert files[1].read_bytes().startswith(b'\x89PNG')


def test_a_loss_that_never_falls_has_no_suggestion() -> None:
    result = LRFind('loss', [0.1, 0.2, 0.4], [1.0, 2.0, 3.0])
    assert result.suggestion is None
    assert result.settings == {}
    assert 'loss falls at none of these' in str(result)


@pytest.mark.parametrize(
    'wrong',
    [
        dict(min_lr=0.0), dict(min_lr=1.0, max_lr=0.1), dict(max_lr=math.inf), dict(num_steps=1),
        dict(num_steps=0),
    ],
)  # fmt: skip
def test_wrong_numbers_are_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r'min_lr|steps'):
        lr_find(found(tmp_path)[0], **wrong)
