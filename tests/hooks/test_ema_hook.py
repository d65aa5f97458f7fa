"""Averaged weights: who sees which, and that a resumed run goes on exactly.

With rate 0.1 and gradient 1 the raw weights after each step are 0.9, 0.8, 0.7 ... The first update
copies, each later one gives ``average = (1 - momentum) * average + momentum * new``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mmengine.hooks import EMAHook
from mmengine.model import BaseModel
from mmengine.runner import Runner

CHECKPOINT = {'type': 'CheckpointHook', 'interval': 1}


def _train(make_run: Callable[..., Runner], ema: dict[str, Any], **kwargs: Any) -> Runner:
    kwargs.setdefault('default_hooks', {'checkpoint': dict(CHECKPOINT)})
    runner = make_run([{'type': 'EMAHook', **ema}], scores=[{'acc': 1.0}], **kwargs)
    runner.train()
    return runner


def _load(runner: Runner, name: str) -> dict[str, Any]:
    return torch.load(Path(runner.work_dir, name), weights_only=True)


def _averages(steps: int, momentum: float = 0.5) -> list[float]:
    raw = [1 - 0.1 * (step + 1) for step in range(steps)]
    averages = [raw[0]]
    for value in raw[1:]:
        averages.append((1 - momentum) * averages[-1] + momentum * value)
    return averages


def test_validation_sees_the_average_and_training_goes_on_raw(make_run):
    runner = _train(make_run, {'momentum': 0.5})
    averages = _averages(8)  # 0.9, 0.85, 0.775, 0.6875 ...
    seen = runner.model.weights_at_val
    assert seen == pytest.approx([averages[3]] * 2 + [averages[7]] * 2, abs=1e-6)
    assert averages[3] == pytest.approx(0.6875)
    assert runner.model.weight.item() == pytest.approx(0.2, abs=1e-6)


def test_a_checkpoint_has_the_average_as_state_dict_and_the_raw_weights_beside(make_run):
    checkpoint = _load(_train(make_run, {'momentum': 0.5}), 'epoch_1.pth')
    assert checkpoint['state_dict']['weight'].item() == pytest.approx(0.6875)
    other = checkpoint['ema_state_dict']
    assert other['module.weight'].item() == pytest.approx(0.6)
    assert int(other['steps']) == 4


def test_averages_equal_those_of_torch(make_run):
    runner = _train(make_run, {'momentum': 0.01})
    model = nn.Linear(1, 1, bias=False)
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    for step in range(8):
        with torch.no_grad():
            model.weight.fill_(1 - 0.1 * (step + 1))
        theirs.update_parameters(model)
    hook = next(hook for hook in runner.hooks if isinstance(hook, EMAHook))
    torch.testing.assert_close(
        hook.ema_model.module.weight, theirs.module.weight.detach().reshape(1)
    )


@pytest.mark.parametrize(
    ('begin', 'first'),
    [({'begin_iter': 3}, 3), ({'begin_epoch': 2}, 5), ({'begin_iter': 1}, 1), ({}, 1)],
)
def test_the_average_begins_at_its_iteration_or_epoch(make_run, begin, first):
    runner = _train(make_run, {'momentum': 0.5, **begin})
    raw = [1 - 0.1 * (step + 1) for step in range(8)]
    average = raw[first - 1]
    for value in raw[first:]:
        average = 0.5 * average + 0.5 * value
    assert _load(runner, 'epoch_2.pth')['state_dict']['weight'].item() == pytest.approx(average)
    assert int(_load(runner, 'epoch_2.pth')['ema_state_dict']['steps']) == 8 - first + 1


def test_before_it_begins_everybody_sees_the_models_own_weights(make_run):
    runner = _train(make_run, {'momentum': 0.5, 'begin_epoch': 2})
    assert runner.model.weights_at_val[0] == pytest.approx(0.6)
    checkpoint = _load(runner, 'epoch_1.pth')
    assert checkpoint['state_dict']['weight'].item() == pytest.approx(0.6)
    assert checkpoint['ema_state_dict']['module.weight'].item() == pytest.approx(0.6)
    assert int(checkpoint['ema_state_dict']['steps']) == 0


@pytest.mark.parametrize('ema', [{}, {'begin_iter': 6}, {'update_buffers': True}])
@pytest.mark.parametrize('explicit', [False, True], ids=['by argument', 'by call'])
def test_a_resumed_run_has_the_bits_of_the_whole_one(make_run, ema, explicit):
    ema = {'momentum': 0.3, **ema}
    whole = _train(make_run, ema, work_dir='whole', epochs=3)
    path = str(Path(whole.work_dir, 'epoch_1.pth'))
    if explicit:
        resumed = make_run(
            [{'type': 'EMAHook', **ema}], scores=[{'acc': 1.0}], epochs=3, work_dir='resumed',
            default_hooks={'checkpoint': dict(CHECKPOINT)},
        )  # fmt: skip
        resumed.call_hook('before_run')
        resumed.resume(path)
        resumed.train_loop.run()
    else:
        resumed = _train(make_run, ema, work_dir='resumed', epochs=3, resume=True, load_from=path)
    for name in ('epoch_2.pth', 'epoch_3.pth'):
        ours, theirs = _load(resumed, name), _load(whole, name)
        for key in ('state_dict', 'ema_state_dict'):
            assert ours[key].keys() == theirs[key].keys()
            for entry, value in theirs[key].items():
                assert torch.equal(ours[key][entry], value), (name, key, entry)


def test_loading_without_resuming_starts_from_the_average(make_run):
    first = _train(make_run, {'momentum': 0.5}, work_dir='first')
    path = str(Path(first.work_dir, 'epoch_1.pth'))
    second = _train(make_run, {'momentum': 0.5}, work_dir='second', epochs=1, load_from=path)
    # From 0.6875: 0.5875 copied, then 0.5375, 0.4625 and 0.375.
    assert second.model.weights_at_val[0] == pytest.approx(0.375, abs=1e-6)
    assert second.model.weight.item() == pytest.approx(0.2875, abs=1e-6)


def test_resuming_a_run_without_average_begins_it_there_with_a_warning(make_run):
    first = make_run(work_dir='first', default_hooks={'checkpoint': dict(CHECKPOINT)})
    first.train()
    path = str(Path(first.work_dir, 'epoch_1.pth'))
    second = _train(
        make_run, {'momentum': 0.5}, work_dir='second', resume=True, load_from=path,
        log_level='WARNING',
    )  # fmt: skip
    # From 0.6: 0.5 copied, then 0.45, 0.375 and 0.2875.
    assert second.model.weights_at_val[0] == pytest.approx(0.2875, abs=1e-6)
    log = Path(second.log_dir, f'{second.timestamp}.log').read_text()
    assert 'saved without EMAHook' in log


class WithNorm(BaseModel):
    """A layer of two names, running statistics, and a counter."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(1, 1, bias=False)
        self.second = self.first
        self.norm = nn.BatchNorm1d(1)
        self.at_val: list[dict[str, torch.Tensor]] = []

    def forward(self, x: torch.Tensor, mode: str) -> Any:
        y = self.norm(self.second(self.first(x)) * torch.arange(1.0, 3.0)[:, None])
        if mode == 'loss':
            return {'loss': (y * y * y).sum() + self.first.weight.sum()}
        self.at_val.append({name: value.clone() for name, value in self.state_dict().items()})
        return [y]


@pytest.mark.parametrize('update_buffers', [False, True])
def test_shared_weights_and_buffers_come_back_from_a_validation(make_run, update_buffers):
    from torch.utils.data import DataLoader

    loader = DataLoader([{'x': torch.ones(1)} for _ in range(8)], batch_size=2)
    runner = _train(
        make_run, {'momentum': 0.5, 'update_buffers': update_buffers}, model=WithNorm(), epochs=1,
        train_dataloader=loader,
    )  # fmt: skip
    checkpoint = _load(runner, 'epoch_1.pth')
    raw = {key.removeprefix('module.'): v for key, v in checkpoint['ema_state_dict'].items()}
    model = runner.model
    for name, value in model.state_dict().items():
        assert torch.equal(value, raw[name]), name
    seen = model.at_val[-1]
    for name, value in checkpoint['state_dict'].items():
        assert torch.equal(seen[name], value), name
    assert torch.equal(seen['first.weight'], seen['second.weight'])
    assert not torch.equal(seen['first.weight'], raw['first.weight'])
    # Buffers that are not averaged are the model's own; a counter never is averaged.
    is_own = torch.equal(seen['norm.running_var'], raw['norm.running_var'])
    assert is_own is not update_buffers
    assert int(seen['norm.num_batches_tracked']) == 4


def test_a_checkpoint_saved_within_a_validation_is_right_too(make_run):
    from mmengine.hooks import Hook

    class SavesInValidation(Hook):
        def before_val_iter(self, runner, batch_idx, data_batch=None):
            runner.save_checkpoint(runner.work_dir, 'within.pth')

    runner = make_run(
        [{'type': 'EMAHook', 'momentum': 0.5}, SavesInValidation()], scores=[{'acc': 1}], epochs=1
    )
    runner.train()
    checkpoint = _load(runner, 'within.pth')
    assert checkpoint['state_dict']['weight'].item() == pytest.approx(0.6875)
    assert checkpoint['ema_state_dict']['module.weight'].item() == pytest.approx(0.6)
    assert runner.model.weight.item() == pytest.approx(0.6)


def test_strict_load_refuses_other_weights(make_run):
    first = _train(make_run, {'momentum': 0.5}, work_dir='first')
    path = Path(first.work_dir, 'epoch_1.pth')
    checkpoint = torch.load(path, weights_only=True)
    checkpoint['state_dict'] = {'other': torch.ones(1)}
    torch.save(checkpoint, path)
    with pytest.raises(RuntimeError, match='other'):
        _train(make_run, {'strict_load': True}, work_dir='2', resume=True, load_from=str(path))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'begin_iter': -1}, 'begin_iter of EMAHook must be 0 or more, got -1'),
        ({'begin_iter': 2, 'begin_epoch': 1}, 'not both'),
    ],
)
def test_wrong_beginnings_are_refused(arguments, message):
    with pytest.raises(AssertionError, match=message):
        EMAHook(**arguments)


@pytest.mark.parametrize('begin', [{'begin_epoch': 5}, {'begin_iter': 50}])
def test_an_average_that_never_begins_is_refused(make_run, begin):
    with pytest.raises(AssertionError, match='the average would never begin'):
        _train(make_run, begin)


def test_another_kind_of_average_can_be_chosen(make_run):
    runner = _train(make_run, {'ema_type': 'StochasticWeightAverage'}, epochs=1)
    # The mean of 0.9, 0.8, 0.7 and 0.6.
    assert runner.model.weights_at_val[0] == pytest.approx(0.75, abs=1e-6)


def test_a_subclass_exchanges_weights_by_the_names_of_the_api(make_run):
    """``_swap_ema_parameters`` in the model, ``_swap_ema_state_dict`` in a checkpoint."""
    hook = EMAHook(momentum=0.5)
    runner = make_run([hook])
    runner.train()
    raw = {name: value.clone() for name, value in runner.model.state_dict().items()}
    averaged = {name: value.clone() for name, value in hook.ema_model.module.state_dict().items()}
    assert any(not torch.equal(raw[name], averaged[name]) for name in raw)
    hook._swap_ema_parameters()
    for name, value in runner.model.state_dict().items():
        assert torch.equal(value, averaged[name])
    hook._swap_ema_parameters()

    checkpoint = {
        'state_dict': dict(raw),
        'ema_state_dict': {
            'steps': torch.tensor(3),
            **{f'module.{k}': v for k, v in averaged.items()},
        },
    }
    hook._swap_ema_state_dict(checkpoint)
    for name in raw:
        assert torch.equal(checkpoint['state_dict'][name], averaged[name])
        assert torch.equal(checkpoint['ema_state_dict'][f'module.{name}'], raw[name])


def test_an_overridden_swap_of_a_checkpoint_is_called_at_saves_and_at_a_resume(
    make_run: Callable[..., Runner], tmp_path: Path
) -> None:
    # Recorded from MMEngine 0.10.7: called with the raw weights in `state_dict` and the average in
    # `ema_state_dict` before a save, and the other way round when a run resumes.
    seen: list[tuple[float, float]] = []

    class Own(EMAHook):
        def _swap_ema_state_dict(self, checkpoint: dict[str, Any]) -> None:
            weights = checkpoint['state_dict']['weight'], checkpoint['ema_state_dict']
            seen.append((weights[0].item(), weights[1]['module.weight'].item()))
            super()._swap_ema_state_dict(checkpoint)
            checkpoint['mine'] = True

    hook = Own(momentum=0.5)
    runner = make_run([hook])
    runner.train()
    seen.clear()
    runner.save_checkpoint(str(tmp_path), 'own.pth')
    raw, average = runner.model.weight.item(), hook.ema_model.module.weight.item()
    assert raw != average
    saved = torch.load(tmp_path / 'own.pth', weights_only=True)
    assert saved['mine']
    assert saved['state_dict']['weight'].item() == average
    resumed = make_run([Own(momentum=0.5)], epochs=3)
    resumed.resume(str(tmp_path / 'own.pth'))
    assert seen == [(raw, average), (average, raw)]
    assert resumed.model.weight.item() == raw


def test_a_swap_without_super_saves_the_weights_as_they_are(
    make_run: Callable[..., Runner], tmp_path: Path
) -> None:
    class Own(EMAHook):
        def _swap_ema_state_dict(self, checkpoint: dict[str, Any]) -> None:
            pass

    hook = Own(momentum=0.5)
    runner = make_run([hook])
    runner.train()
    runner.save_checkpoint(str(tmp_path), 'own.pth')
    saved = torch.load(tmp_path / 'own.pth', weights_only=True)
    assert saved['state_dict']['weight'].item() == runner.model.weight.item()
    average = hook.ema_model.module.weight.item()
    assert saved['ema_state_dict']['module.weight'].item() == average
