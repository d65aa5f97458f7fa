"""NaN and infinity that come in by a gradient, while the loss is finite."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from mmengine.hooks import EMAHook, NonFiniteLossHook
from mmengine.hooks._finite import FiniteCheck, weights_by_name
from mmengine.hooks.non_finite_loss_hook import NonFiniteLossError
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from mmengine.testing._internal.distributed import run_distributed

NAN = float('nan')


class _TimesInBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grad * ctx.factor, None


class Breaks(BaseModel):
    """The gradient of ``weight`` is 1; times ``value`` at the given steps, counted from 1.

    The losses do not depend on the weights, so that they stay finite for ever.
    """

    def __init__(self, *at: int, value: float = NAN) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0]))
        self.other = nn.Parameter(torch.tensor([1.0]))
        self.at, self.value, self.step = at, value, 0

    def forward(self, x: torch.Tensor, mode: str) -> Any:
        self.step += 1
        factor = self.value if self.step in self.at else 1.0
        weight = _TimesInBackward.apply(self.weight, factor)
        return {'loss': (weight - weight.detach() + self.other - self.other.detach()).sum() + 0.5}


def _train(make_run: Any, model: Any, policy: str = 'raise', **kwargs: Any) -> Runner:
    options = {'policy': policy}
    for name in ('give_up_after', 'snapshot_interval'):
        if name in kwargs:
            options[name] = kwargs.pop(name)
    hooks = {'non_finite_loss': options, **kwargs.pop('default_hooks', {})}
    runner = make_run(model=model, default_hooks=hooks, **kwargs)
    runner.train()
    return runner


def _every(iterations: int) -> dict[str, Any]:
    return {
        'checkpoint': {
            'type': 'CheckpointHook', 'interval': iterations, 'by_epoch': False,
            'max_keep_ckpts': 1,
        }
    }  # fmt: skip


def _log(runner: Runner) -> str:
    return ''.join(path.read_text() for path in Path(runner.log_dir).glob('*.log'))


# -- raise ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('value', [NAN, float('inf')])
@pytest.mark.parametrize('policy', ['raise', 'skip'])
def test_broken_weights_are_never_saved(make_run, value, policy):
    """With 'skip' something else than a gradient has broken them."""
    model = Breaks(4, value=value)
    if policy == 'skip':
        model.step = 100  # no gradient is bad
        model.register_forward_hook(lambda *_: _break(model) if model.step == 104 else None)
    runner = make_run(
        model=model, iters=20, batches=20,
        default_hooks={'non_finite_loss': {'policy': policy}, **_every(2)},
    )  # fmt: skip
    with pytest.raises(
        NonFiniteLossError, match=r'After iteration 4 \(batch 4\) .*: weight\.'
    ) as e:
        runner.train()
    assert 'Latest losses: loss 0.5' in str(e.value)
    assert [path.name for path in Path(runner.work_dir).glob('*.pth')] == ['iter_2.pth']


def _break(model: Breaks) -> None:
    with torch.no_grad():
        model.weight.fill_(NAN)


def test_broken_weights_at_the_end_of_a_run_without_checkpoints_are_an_error(make_run):
    with pytest.raises(NonFiniteLossError, match='not finite: weight'):
        _train(make_run, Breaks(8))


def test_a_norm_that_clipping_computes_anyway_is_looked_at_with_the_losses(make_run):
    runner = make_run(
        model=Breaks(3), batches=20,
        optim_wrapper={
            'optimizer': {'type': 'SGD', 'lr': 0.1}, 'clip_grad': {'max_norm': 10.0},
        },
    )  # fmt: skip
    pattern = r"gradient norm 'grad_norm' became nan at iteration 3 \(epoch 1\), batch 3"
    with pytest.raises(NonFiniteLossError, match=pattern) as e:
        runner.train()
    assert runner.iter == 9  # the log point of iteration 10
    assert 'Weights that are not finite now: weight, other.' in str(e.value)


def test_running_statistics_count_as_weights():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model[1].running_var.fill_(NAN)
    model[0].bias.requires_grad_(False)
    with torch.no_grad():
        model[0].bias.fill_(NAN)  # not trained
    check = FiniteCheck(weights_by_name(model))
    assert check.non_finite() == ['1.running_var']
    assert not check.flag(torch.device('cpu'))


def test_large_values_do_not_overflow_the_check():
    huge = torch.full((1000,), 3e38)
    check = FiniteCheck({'a': huge, 'b': torch.tensor([1.0], dtype=torch.float16), 'c': huge[:0]})
    assert check.flag(torch.device('cpu'))
    assert check.non_finite() == []


def test_ignore_saves_what_there_is(make_run):
    runner = _train(make_run, Breaks(2), 'ignore', iters=4, default_hooks=_every(2))
    state = torch.load(Path(runner.work_dir, 'iter_4.pth'), weights_only=True)
    assert state['state_dict']['weight'].isnan().all()


@pytest.mark.parametrize('policy', ['raise', 'ignore'])
def test_without_a_policy_for_gradients_nothing_looks_at_a_step(make_run, policy):
    runner = _train(make_run, Breaks(), policy)
    assert not runner.optim_wrapper.optimizer._optimizer_step_pre_hooks


@pytest.mark.parametrize('policy', ['skip', 'rollback'])
def test_after_training_nothing_looks_at_a_step(make_run, policy):
    runner = _train(make_run, Breaks(), policy)
    assert not runner.optim_wrapper.optimizer._optimizer_step_pre_hooks


@pytest.mark.parametrize('policy', ['raise', 'skip', 'rollback', 'ignore'])
def test_a_healthy_run_has_the_same_bits_under_every_policy(make_run, policy):
    optim_wrapper = {'optimizer': {'type': 'AdamW', 'lr': 0.1}}
    found, expected = Breaks(), Breaks()
    _train(make_run, found, policy, optim_wrapper=optim_wrapper, snapshot_interval=3)
    make_run(
        model=expected, optim_wrapper=optim_wrapper, default_hooks={'non_finite_loss': None}
    ).train()
    assert torch.equal(found.weight, expected.weight)


# -- skip ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('clip', [None, {'max_norm': 100.0}, {'type': 'value', 'clip_value': 9.0}])
def test_skip_leaves_out_that_step_alone(make_run, clip):
    model = Breaks(2, 5)
    runner = _train(
        make_run, model, 'skip', log_level='WARNING',
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}, 'clip_grad': clip},
    )  # fmt: skip
    # Six of eight steps of rate 0.1 with gradient 1.
    assert model.weight.item() == pytest.approx(0.4)
    assert model.other.item() == pytest.approx(0.4)
    log = _log(runner)
    assert 'weight' in log
    assert 'not finite at iteration 2 (batch 2 of epoch 1). The optimizer step is skipped.' in log
    assert 'not finite at iteration 5 (batch 1 of epoch 2).' in log


def test_a_skipped_step_leaves_the_state_of_the_optimizer(make_run):
    model, reference = Breaks(2), Breaks()
    kwargs = {'optim_wrapper': {'optimizer': {'type': 'Adam', 'lr': 0.1, 'weight_decay': 0.1}}}
    runner = _train(make_run, model, 'skip', epochs=1, batches=4, **kwargs)
    _train(make_run, reference, 'skip', epochs=1, batches=3, **kwargs)
    assert torch.equal(model.weight, reference.weight)
    assert runner.optim_wrapper.optimizer.state[model.weight]['step'] == 3


def test_the_whole_window_of_a_bad_gradient_is_skipped(make_run):
    model = Breaks(3)
    _train(
        make_run, model, 'skip', epochs=1, batches=8,
        optim_wrapper={
            'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 0.1},
            'accumulative_counts': 2,
        },
    )  # fmt: skip
    assert model.weight.item() == pytest.approx(0.7)  # windows 1, 3 and 4


def test_skip_gives_up_after_so_many_in_a_row(make_run):
    model = Breaks(2, 4, 5, 6, 7, 8)
    runner = make_run(
        model=model, batches=20,
        default_hooks={'non_finite_loss': {'policy': 'skip', 'give_up_after': 3}},
    )  # fmt: skip
    with pytest.raises(
        NonFiniteLossError, match=r'3 batches in a row .* iteration 6 .batch 6'
    ) as e:
        runner.train()
    assert 'gradients of weight are not finite' in str(e.value)
    assert 'Latest losses: loss 0.5' in str(e.value)
    assert model.step == 6


def test_skip_gives_up_when_all_losses_are_broken(make_run):
    class Lost(Breaks):
        def forward(self, x: torch.Tensor, mode: str) -> Any:
            return {'loss': super().forward(x, mode)['loss'] * NAN}

    with pytest.raises(NonFiniteLossError, match='10 batches in a row'):
        _train(make_run, Lost(), 'skip', batches=20)


def test_bad_batches_that_are_not_in_a_row_are_no_reason_to_give_up(make_run):
    model = Breaks(*range(2, 21, 2))
    _train(make_run, model, 'skip', epochs=1, batches=20, give_up_after=2)
    assert model.weight.item() == pytest.approx(0.0, abs=1e-6)  # ten steps


def test_only_the_optimizer_with_the_bad_gradient_skips(make_run):
    class Two(Breaks):
        def train_step(self, data: Any, optim_wrapper: Any) -> Any:
            for name in ('first', 'second'):
                optim_wrapper[name].update_params(self(**data, mode='loss')['loss'])
                self.zero_grad()
            return {'loss': torch.tensor(0.5)}

    model = Two(3)  # forward passes 3 and 4 belong to iteration 2
    wrappers = OptimWrapperDict(
        first=OptimWrapper(torch.optim.SGD([model.weight], lr=0.1)),
        second=OptimWrapper(torch.optim.SGD([model.other], lr=0.1)),
    )
    _train(make_run, model, 'skip', epochs=1, batches=4, optim_wrapper=wrappers)
    assert model.weight.item() == pytest.approx(0.7)
    assert model.other.item() == pytest.approx(0.6)


# -- rollback ------------------------------------------------------------------------------------


def test_rollback_returns_to_the_snapshot_and_goes_on(make_run):
    model = Breaks(4)
    runner = _train(
        make_run, model, 'rollback', epochs=1, batches=8, snapshot_interval=3, log_level='WARNING'
    )
    # The flag of step 4 is read after step 5. Then the weights are as after step 3; 6, 7, 8 follow.
    assert model.weight.item() == pytest.approx(1.0 - 0.3 - 0.3)
    log = _log(runner)
    assert 'gradients of weight are not finite at iteration 4 (batch 4 of epoch 1).' in log
    assert 'Weights and optimizer are as after iteration 3 again.' in log


def test_rollback_comes_before_a_save(make_run):
    model = Breaks(4)
    runner = _train(
        make_run, model, 'rollback', iters=4, batches=4, snapshot_interval=3,
        default_hooks=_every(4),
    )  # fmt: skip
    state = torch.load(Path(runner.work_dir, 'iter_4.pth'), weights_only=True)
    assert state['state_dict']['weight'].item() == pytest.approx(0.7)


def test_rollback_restores_the_optimizer_and_the_average(make_run):
    model, reference = Breaks(4), Breaks()
    kwargs: dict[str, Any] = {
        'optim_wrapper': {'optimizer': {'type': 'AdamW', 'lr': 0.1}},
        'hooks': [EMAHook(momentum=0.5)],
    }
    runner = _train(make_run, model, 'rollback', epochs=1, batches=8, snapshot_interval=2, **kwargs)
    kwargs['hooks'] = [EMAHook(momentum=0.5)]
    expected = _train(make_run, reference, 'rollback', epochs=1, batches=6, **kwargs)
    assert torch.equal(model.weight, reference.weight)
    found, same = (
        next(hook for hook in run.hooks if isinstance(hook, EMAHook)).ema_model
        for run in (runner, expected)
    )
    assert torch.equal(found.module.weight, same.module.weight)
    assert found.steps == same.steps == 6


def test_rollback_gives_up(make_run):
    model = Breaks(*range(3, 100))
    runner = make_run(
        model=model, iters=60, batches=60,
        default_hooks={'non_finite_loss': {'policy': 'rollback', 'give_up_after': 2}},
    )  # fmt: skip
    with pytest.raises(NonFiniteLossError, match='after iteration 0 2 times already'):
        runner.train()


def test_a_snapshot_is_never_taken_of_broken_weights(make_run):
    model = Breaks(2)
    _train(make_run, model, 'rollback', epochs=1, batches=5, snapshot_interval=1)
    # Iteration 1 is the snapshot. Step 2 is read at its own end, because a snapshot is due.
    assert model.weight.item() == pytest.approx(1.0 - 0.1 - 0.3)


# -- mixed precision -----------------------------------------------------------------------------


@pytest.mark.parametrize('policy', ['raise', 'skip', 'rollback'])
@pytest.mark.parametrize('clip', [None, {'max_norm': 100.0}])
@pytest.mark.parametrize('fused', [False, True])
def test_a_step_that_the_gradient_scaler_skips_is_not_a_failure(make_run, policy, clip, fused):
    """Of gradients 4 and 1 the first overflows float32 times 2**127 and 2**126, not 2**125."""
    model = Breaks(*range(13), value=4.0)
    wrapper = AmpOptimWrapper(
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1, fused=fused), dtype='float16',
        loss_scale={'init_scale': 2.0**127}, clip_grad=clip,
    )  # fmt: skip
    runner = _train(
        make_run, model, policy, epochs=1, batches=12, optim_wrapper=wrapper, log_level='WARNING'
    )
    assert 'not finite' not in _log(runner)
    assert wrapper.loss_scaler.get_scale() == 2.0**125
    assert model.other.item() == pytest.approx(0.0, abs=1e-6)  # ten steps


# -- several ranks -------------------------------------------------------------------------------


class _BreaksOnOneRank(Breaks):
    def forward(self, x: torch.Tensor, mode: str) -> Any:
        if torch.distributed.get_rank() == 0:
            self.at = ()
        return super().forward(x, mode)


def _train_on_ranks(rank: int, world_size: int, work_dir: str, policy: str) -> tuple[float, int]:
    model = _BreaksOnOneRank(2)
    runner = Runner(
        model, work_dir, launcher='pytorch', log_level='ERROR',
        train_dataloader=DataLoader([{'x': torch.ones(1)} for _ in range(12)]),  # six a rank
        train_cfg={'by_epoch': True, 'max_epochs': 1},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
        default_hooks={
            'non_finite_loss': {'policy': policy, 'snapshot_interval': 2}, 'checkpoint': None,
        },
        env_cfg={'dist_cfg': {'backend': 'gloo'}},
    )  # fmt: skip
    runner.train()
    return round(model.weight.item(), 5), runner.iter


@pytest.mark.distributed
@pytest.mark.parametrize(
    ('policy', 'expected'),
    [
        ('skip', 0.5),  # five of six steps
        # The snapshot that is due after step 2 reads its flag: back to the start, then 4 steps.
        ('rollback', 0.6),
    ],
)
def test_a_bad_gradient_of_one_rank_is_handled_by_all(tmp_path, policy, expected):
    assert run_distributed(_train_on_ranks, 2, str(tmp_path), policy) == [(expected, 6)] * 2


@pytest.mark.parametrize(
    'arguments', [{'give_up_after': 0}, {'snapshot_interval': 0}, {'give_up_after': 1.5}]
)
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match='must be a positive integer'):
        NonFiniteLossHook(policy='skip', **arguments)
