"""What becomes of a loss that is no number."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mmengine.hooks import Hook, NonFiniteLossHook
from mmengine.hooks.non_finite_loss_hook import NonFiniteLossError
from mmengine.model import BaseModel


class Breaks(BaseModel):
    """loss_cls is NaN at one step, counted from 1."""

    def __init__(self, at: int, value: float = float('nan')) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0]))
        self.at, self.value, self.step = at, value, 0

    def forward(self, x: torch.Tensor, mode: str) -> Any:
        self.step += 1
        factor = self.value if self.step == self.at else 1.0
        return {'loss_box': self.weight.sum() * 2, 'loss_cls': self.weight.sum() * factor}


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_raise_names_the_loss_and_its_iteration(make_run, value):
    runner = make_run(
        model=Breaks(at=3, value=value), batches=6,
        default_hooks={'logger': {'type': 'LoggerHook', 'interval': 5}},
    )  # fmt: skip
    with pytest.raises(
        NonFiniteLossError, match=r"'loss_cls' became \w+ at iteration 3 \(epoch 1\)"
    ) as e:
        runner.train()
    # At that step: weight 1 - 2 x 0.1 x 3 = 0.4.
    assert 'loss_box 0.8' in str(e.value)
    assert runner.iter == 4  # found at the log point of iteration 5


def test_the_rest_of_an_epoch_is_looked_at_too(make_run):
    runner = make_run(model=Breaks(at=7), batches=4)
    with pytest.raises(NonFiniteLossError, match=r'iteration 7 \(epoch 2\)'):
        runner.train()


def test_broken_weights_never_take_the_place_of_a_good_checkpoint(make_run):
    runner = make_run(
        model=Breaks(at=4), iters=20, batches=20,
        default_hooks={
            'checkpoint': {
                'type': 'CheckpointHook', 'interval': 3, 'by_epoch': False, 'max_keep_ckpts': 1,
            },
        },
    )  # fmt: skip
    with pytest.raises(NonFiniteLossError, match='iteration 4'):
        runner.train()
    assert [path.name for path in Path(runner.work_dir).glob('*.pth')] == ['iter_3.pth']


def test_skip_leaves_the_step_out_and_goes_on(make_run):
    model = Breaks(at=2)
    runner = make_run(model=model, epochs=1, default_hooks={'non_finite_loss': {'policy': 'skip'}})
    runner.train()
    # Three of four steps, each of gradient 3 and rate 0.1.
    assert model.weight.item() == pytest.approx(0.1, abs=1e-6)


def test_ignore_goes_on(make_run):
    model = Breaks(at=2)
    make_run(model=model, epochs=1, default_hooks={'non_finite_loss': {'policy': 'ignore'}}).train()
    assert model.weight.isnan().all()


def test_a_run_without_bad_losses_ends_as_without_the_hook(make_run):
    with_hook, without = Breaks(at=0), Breaks(at=0)
    make_run(model=with_hook).train()
    make_run(model=without, default_hooks={'non_finite_loss': None}).train()
    assert torch.equal(with_hook.weight, without.weight)


class _LogsBest(Hook):
    """Logs a value that is infinite until the first improvement."""

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        runner.message_hub.update_scalar('train/best_loss', float('inf'))


def test_a_value_of_a_hook_is_not_a_loss(make_run):
    runner = make_run([_LogsBest()])
    runner.train()
    assert runner.iter == 8
    assert runner.message_hub.get_scalar('train/best_loss').current() == float('inf')


def test_a_loss_is_found_beside_a_value_of_a_hook(make_run):
    runner = make_run([_LogsBest()], model=Breaks(at=3))
    with pytest.raises(NonFiniteLossError, match=r"'loss_cls' became nan at iteration 3 "):
        runner.train()


@pytest.mark.parametrize('arguments', [{'policy': 'stop'}, {'interval': 0}])
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(
        ValueError, match=r'policy must be one of|interval must be a positive integer'
    ):
        NonFiniteLossHook(**arguments)
