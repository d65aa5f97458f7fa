"""Log values and metrics of the user that have names of values of the engine."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.runner._shown_losses import shown_once, with_losses
from mmengine.visualization import Visualizer
from mmengine.visualization.vis_backend import BaseVisBackend

NAMES = ('time', 'data_time', 'eta', 'lr', 'memory', 'epoch', 'iter', 'step', 'grad_norm')
# Values that no clock, counter or learning rate has.
VALUES = {name: 1000.0 + number for number, name in enumerate(NAMES)}


class Logs(BaseModel):
    """Logs values of all these names."""

    def __init__(self, values: dict[str, float] = VALUES) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0]))
        self.values = values

    def forward(self, x: torch.Tensor, mode: str) -> Any:
        if mode == 'loss':
            logged = {name: torch.tensor(value) for name, value in self.values.items()}
            return {'loss': self.weight.mean(), **logged}
        return [self.weight]


class Recorder(BaseVisBackend):
    """Remembers what a tracker of scalars with one axis gets."""

    takes_axes = True

    def __init__(self) -> None:
        super().__init__('')
        self.records: list[tuple[str, float, int]] = []

    def _init_env(self) -> None:
        """Nothing."""

    experiment = None

    def add_config(self, config: Any, **kwargs: Any) -> None:
        """Nothing."""

    def add_image(self, *args: Any, **kwargs: Any) -> None:
        """Nothing."""

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        self.records.append((name, float(value), step))


def _records(runner: Runner) -> list[dict[str, Any]]:
    lines = Path(runner.log_dir, 'vis_data', 'scalars.json').read_text().splitlines()
    return [json.loads(line) for line in lines]


def _log(runner: Runner) -> str:
    return ''.join(path.read_text() for path in Path(runner.log_dir).glob('*.log'))


_EVERY = {'logger': {'type': 'LoggerHook', 'interval': 1}}


@pytest.mark.parametrize('iters', [None, 4])
def test_log_values_of_a_model_keep_their_names_everywhere(make_run, iters, monkeypatch):
    monkeypatch.setattr('mmengine.runner.log_processor._max_memory_mb', lambda: 77)
    runner = make_run(
        model=Logs(), epochs=1, iters=iters, default_hooks=_EVERY, log_level='INFO',
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}, 'clip_grad': {'max_norm': 9.0}},
    )  # fmt: skip
    runner.train()
    for number, record in enumerate(_records(runner), start=1):
        assert {name: record[name] for name in NAMES} == VALUES
        assert record['engine_iter'] == record['engine_step'] == number
        assert record['engine_memory'] == 77
        assert record['engine_lr'] == pytest.approx(0.1)
        assert record['engine_grad_norm'] == pytest.approx(1.0)
        assert 0 <= record['engine_data_time'] < 100
        assert 0 <= record['engine_time'] < 100
        assert ('engine_epoch' in record) == (iters is None)
    hub = runner.message_hub
    for name, value in VALUES.items():
        assert set(hub.get_scalar(f'train/{name}').data[0].tolist()) == {value}
    assert len(hub.get_scalar('train/engine_data_time').data[0]) == 4
    assert hub.get_scalar('train/engine_lr').data[0].tolist() == [0.1] * 4


def test_the_line_shows_each_name_once(make_run):
    runner = make_run(model=Logs(), epochs=1, default_hooks=_EVERY, log_level='INFO')
    runner.train()
    lines = [line for line in _log(runner).splitlines() if 'Epoch(train)' in line]
    assert len(lines) == 4
    for line in lines:
        fields = line.split()
        for name in ('time', 'data_time', 'eta', 'lr'):
            assert fields.count(f'{name}:') == fields.count(f'engine_{name}:') == 1
        assert 'time: 1000.0000' in line
        assert 'eta: 1002.0000' in line


def test_each_clash_is_told_once(make_run):
    runner = make_run(model=Logs(), log_level='WARNING')
    runner.train()
    log = _log(runner)
    for name in NAMES:
        assert (
            log.count(f"A log value of the engine and one of yours have the name 'train/{name}'")
            == 1
        )
        assert f"is logged as 'train/engine_{name}'" in log


def test_without_a_clash_nothing_is_renamed(make_run):
    runner = make_run(model=Logs({}), epochs=1, default_hooks=_EVERY, log_level='INFO')
    runner.train()
    assert 'engine_' not in _log(runner)
    assert list(_records(runner)[0]) == [
        'lr', 'data_time', 'loss', 'time', 'samples_per_s', 'data_wait', 'epoch', 'iter', 'step',
    ]  # fmt: skip


@pytest.mark.parametrize('kind', ['metrics', 'log values'])
def test_trackers_get_the_step_of_the_engine(make_run, kind):
    backend = Recorder()
    visualizer = Visualizer.get_instance('clash', vis_backends=[backend])
    runner = make_run(
        model=Logs(VALUES if kind == 'log values' else {}), epochs=1, default_hooks=_EVERY,
        visualizer=visualizer, scores=[VALUES] if kind == 'metrics' else None,
    )  # fmt: skip
    runner.train()
    found = [record for record in backend.records if record[0] in NAMES and record[1] >= 1000]
    times = 1 if kind == 'metrics' else 4
    assert len(found) == len(NAMES) * times
    assert {value for _, value, _ in found} == set(VALUES.values())
    assert {step for _, _, step in found} == ({1} if kind == 'metrics' else {1, 2, 3, 4})


def test_metrics_keep_their_names_everywhere(make_run):
    class Seen(Hook):
        def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
            self.metrics = dict(metrics or {})

    seen = Seen()
    scores = [{name: value + shift for name, value in VALUES.items()} for shift in (0, 100, 200)]
    runner = make_run(
        [seen], epochs=3, scores=scores, log_level='INFO',
        default_hooks={
            'checkpoint': {'type': 'CheckpointHook', 'save_best': 'time', 'rule': 'greater'},
        },
    )  # fmt: skip
    runner.train()
    assert seen.metrics == scores[2]
    records = [record for record in _records(runner) if 'engine_step' in record]
    for number, record in enumerate(records):
        assert {name: record[name] for name in NAMES} == scores[number]
        assert record['engine_step'] == number + 1
        assert 0 <= record['engine_time'] < 100
    assert len(records) == 3
    hub = runner.message_hub
    assert hub.get_scalar('val/time').data[0].tolist() == [1000.0, 1100.0, 1200.0]
    assert hub.get_info('best_score') == 1200.0
    assert Path(runner.work_dir, 'best_time_epoch_3.pth').exists()
    lines = [line for line in _log(runner).splitlines() if 'Epoch(val)' in line]
    assert 'time: 1200.0000' in lines[-1]
    assert 'engine_time: ' in lines[-1]


def test_a_run_stops_early_by_a_metric_called_loss(make_run):
    stop = EarlyStoppingHook(monitor='loss', patience=1, min_delta=0.0)
    scores = [{'loss': value} for value in (3.0, 2.0, 4.0, 5.0)]
    runner = make_run([stop], epochs=4, scores=scores, val_interval=1)
    runner.train()
    assert runner.epoch == 3


def test_a_hook_that_logs_a_reserved_name_keeps_it(make_run):
    class Logging(Hook):
        def after_train_iter(self, runner: Any, batch_idx: int, **kwargs: Any) -> None:
            runner.message_hub.update_scalar('train/time', 5.0)

    runner = make_run([Logging()], epochs=1)
    runner.train()
    hub = runner.message_hub
    assert hub.get_scalar('train/time').data[0].tolist() == [5.0] * 4
    assert len(hub.get_scalar('train/engine_time').data[0]) == 4


def test_a_resumed_run_keeps_the_names(make_run):
    kwargs: dict[str, Any] = {
        'default_hooks': {'checkpoint': {'type': 'CheckpointHook', 'interval': 1}}
    }
    make_run(model=Logs(), epochs=1, **kwargs).train()
    runner = make_run(model=Logs(), epochs=2, resume=True, **kwargs)
    runner.train()
    hub = runner.message_hub
    for name in ('time', 'data_time', 'lr'):
        assert hub.get_scalar(f'train/{name}').data[0].tolist() == [VALUES[name]] * 8
        assert len(hub.get_scalar(f'train/engine_{name}').data[0]) == 8


def test_a_name_that_clashes_after_a_resume_moves_what_the_engine_wrote(make_run):
    kwargs: dict[str, Any] = {
        'default_hooks': {'checkpoint': {'type': 'CheckpointHook', 'interval': 1}}
    }
    make_run(model=Logs({}), epochs=1, **kwargs).train()
    runner = make_run(model=Logs(), epochs=2, resume=True, **kwargs)
    runner.train()
    hub = runner.message_hub
    assert hub.get_scalar('train/time').data[0].tolist() == [VALUES['time']] * 4
    assert len(hub.get_scalar('train/engine_time').data[0]) == 8


def test_values_of_the_engine_follow_a_claimed_name():
    hub = MessageHub('claims')
    hub.append_number('train/time', 1.0)
    hub.claim('train/time')
    hub.update_scalar('train/time', 100.0)
    hub.append_number('train/time', 2.0)
    hub.record('train/time', 3.0)
    assert hub.get_scalar('train/engine_time').data[0].tolist() == [1.0, 2.0, 3.0]
    assert hub.get_scalar('train/time').data[0].tolist() == [100.0]


# -- losses --------------------------------------------------------------------------------------


def test_a_loss_called_loss_beside_others_leaves_the_total_visible(make_run):
    model = Logs({'loss_b': 2.0})
    runner = make_run(model=model, epochs=1, default_hooks=_EVERY, log_level='INFO')
    runner.train()
    record = _records(runner)[0]
    assert (record['loss'], record['loss_b'], record['engine_loss']) == (1.0, 2.0, 3.0)
    assert _log(runner).count("logged as 'engine_loss'") == 1


def _validated(
    make_run: Any, values: dict[str, float], scores: dict[str, float], **more: Any
) -> Runner:
    class Evaluated(Logs):
        def forward(self, x: torch.Tensor, mode: str) -> Any:
            return super().forward(torch.as_tensor(x), mode)

    runner = make_run(
        model=Evaluated(values), epochs=1, scores=[scores], log_level='INFO',
        default_hooks=_EVERY, **more,
    )  # fmt: skip
    runner.val_loop.compute_loss = True
    runner.train()
    return runner


def test_the_loss_of_a_validation_is_shown_once(make_run):
    runner = _validated(make_run, {}, {'acc': 0.5})
    (record,) = (record for record in _records(runner) if 'acc' in record)
    assert record['val_loss'] == pytest.approx(0.6)
    assert 'loss' not in record
    (line,) = (line for line in _log(runner).splitlines() if 'Epoch(val)' in line and 'acc' in line)
    assert line.count('loss: ') == 1
    # Hooks still find it under both names.
    assert runner.message_hub.get_scalar('val/loss').current() == pytest.approx(0.6)


def test_parts_of_a_validation_loss_are_all_shown(make_run):
    runner = _validated(make_run, {'loss_b': 2.0}, {'acc': 0.5})
    (record,) = (record for record in _records(runner) if 'acc' in record)
    assert record['loss'] == pytest.approx(0.6)
    assert record['loss_b'] == 2.0
    assert record['val_loss'] == pytest.approx(2.6)


@pytest.mark.parametrize('name', ['loss', 'val_loss'])
def test_a_metric_keeps_its_name_beside_the_loss_of_the_loop(make_run, name):
    runner = _validated(make_run, {}, {name: 9.0})
    (record,) = (record for record in _records(runner) if record.get(name) == 9.0)
    other = 'val_loss' if name == 'loss' else 'loss'  # the total of one loss is that loss
    assert record[other] == pytest.approx(0.6)
    assert not [key for key in record if 'engine' in key]
    assert f"A metric and a loss have the name '{name}'." in _log(runner)


@pytest.mark.parametrize('has_mode', [False, True])
def test_a_statistic_of_several_validations_repeats_no_loss(make_run, has_mode):
    custom = [{'data_src': 'loss', 'method_name': 'mean', 'window_size': 10}]
    processor = {'custom_cfg': custom, 'log_with_hierarchy': has_mode}
    runner = _validated(make_run, {}, {'acc': 0.5}, log_processor=processor)
    start = 'val/' if has_mode else ''
    (record,) = (record for record in _records(runner) if f'{start}acc' in record)
    assert record[f'{start}val_loss'] == pytest.approx(0.6)
    assert f'{start}loss' not in record


def test_both_names_of_a_metric_leave_one_name_to_the_loop() -> None:
    losses = {'loss': 2.0, 'val_loss': 2.0}
    assert with_losses({'loss': 1.0, 'val_loss': 3.0}, losses, 'val') == {
        'loss': 1.0, 'val_loss': 3.0, 'engine_val_loss': 2.0,
    }  # fmt: skip


def test_losses_come_after_the_metrics():
    merged = with_losses({'acc': 1.0, 'loss_b': 5.0}, {'loss_b': 2.0, 'val_loss': 2.0}, 'val')
    assert list(merged.items()) == [
        ('acc', 1.0), ('loss_b', 5.0), ('val_loss', 2.0), ('engine_loss_b', 2.0),
    ]  # fmt: skip


def test_each_part_of_an_evaluation_shows_its_loss_once():
    scalars = {'a/loss': 1.0, 'a/val_loss': 1.0, 'b/loss': 1.0, 'b/val_loss': 2.0, 'loss': 1.0}
    assert shown_once(scalars, 'val') == {
        'a/val_loss': 1.0, 'b/loss': 1.0, 'b/val_loss': 2.0, 'loss': 1.0,
    }  # fmt: skip
