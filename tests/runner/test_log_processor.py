"""Log lines, tags and smoothing, against numpy on the full series and lines seen with MMEngine."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import mmengine.runner.log_processor as module
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import LogProcessor

RANDOM = np.random.default_rng(7)
SERIES = RANDOM.normal(size=60)


@pytest.fixture(autouse=True)
def _on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, '_max_memory_mb', lambda: None)


def _run(mode: str = 'train', done: int = 25, **changes: Any) -> SimpleNamespace:
    """A run after ``done`` iterations of 60, in epochs of 20, with the series above as its loss."""
    hub = MessageHub.get_instance(f'log_{id(changes)}')
    for value in SERIES[:done]:
        hub.update_scalar(f'{mode}/data_time', 0.25)
        if mode == 'train':
            hub.update_scalar('train/lr', 0.01)
            hub.update_scalar('train/loss', torch.tensor(value))
            hub.update_scalar('train/acc', float(value) * 2)
        hub.update_scalar(f'{mode}/time', 0.5)
    hub.update_info('eta', 3661.9)
    loader = range(20)
    facts = {
        'message_hub': hub, 'epoch': (done - 1) // 20, 'iter': done - 1, 'max_epochs': 3,
        'max_iters': 60, 'train_dataloader': loader, 'val_dataloader': loader,
        'test_dataloader': loader,
    }  # fmt: skip
    return _with_loops(SimpleNamespace(**{**facts, **changes}))


def _with_loops(run: SimpleNamespace) -> SimpleNamespace:
    for mode in ('train', 'val', 'test'):
        if hasattr(run, f'{mode}_dataloader'):
            loop = SimpleNamespace(dataloader=getattr(run, f'{mode}_dataloader'))
            setattr(run, f'{mode}_loop', loop)
    return run


# -- lines ---------------------------------------------------------------------------------------


def test_the_line_of_a_training_iteration_by_epoch():
    tag, line = LogProcessor().get_log_after_iter(_run(), 4, 'train')
    loss, acc = SERIES[15:25].mean(), SERIES[24] * 2
    assert line == (
        'Epoch(train) [2][ 5/20]  lr: 1.0000e-02  eta: 1:01:01  time: 0.5000  data_time: 0.2500  '
        f'loss: {loss:.4f}  acc: {acc:.4f}'
    )
    assert tag == pytest.approx(
        {
            'lr': 0.01,
            'data_time': 0.25,
            'loss': loss,
            'acc': acc,
            'time': 0.5,
            'epoch': 2,
            'iter': 25,
        }
    )
    assert list(tag) == ['data_time', 'lr', 'loss', 'acc', 'time', 'epoch', 'iter']


def test_the_line_of_a_training_iteration_by_iteration():
    tag, line = LogProcessor(by_epoch=False).get_log_after_iter(_run(done=5), 4, 'train')
    assert line.startswith('Iter(train) [ 5/60]  lr: 1.0000e-02  eta: ')
    assert 'epoch' not in tag
    assert tag['iter'] == 5


def test_epochs_keep_their_column_when_there_are_ten_or_more():
    run = _run(max_epochs=12)
    assert (
        LogProcessor()
        .get_log_after_iter(run, 4, 'train')[1]
        .startswith('Epoch(train)  [2][ 5/20]  ')
    )
    run.epoch = 10
    assert (
        LogProcessor()
        .get_log_after_iter(run, 4, 'train')[1]
        .startswith('Epoch(train) [11][ 5/20]  ')
    )


def test_the_line_within_a_validation():
    run = _run('val', done=5, epoch=2)
    _, line = LogProcessor().get_log_after_iter(run, 4, 'val')
    assert line == 'Epoch(val) [2][ 5/20]    eta: 1:01:01  time: 0.5000  data_time: 0.2500  '
    _, line = LogProcessor(by_epoch=False).get_log_after_iter(run, 4, 'val')
    assert line == 'Iter(val) [ 5/20]    eta: 1:01:01  time: 0.5000  data_time: 0.2500  '


def test_the_line_within_a_test():
    _, line = LogProcessor().get_log_after_iter(_run('test', done=5), 4, 'test')
    assert line == 'Epoch(test) [ 5/20]    eta: 1:01:01  time: 0.5000  data_time: 0.2500  '


@pytest.mark.parametrize(
    ('mode', 'by_epoch', 'beginning'),
    [
        ('val', True, 'Epoch(val) [2][20/20]    '),
        ('val', False, 'Iter(val) [20/20]    '),
        ('test', True, 'Epoch(test) [20/20]    '),
        ('test', False, 'Iter(test) [20/20]    '),
    ],
)
def test_the_line_after_a_validation_has_metrics_of_all_kinds(mode, by_epoch, beginning):
    run = _run(mode, done=20, epoch=2)
    run.message_hub.update_scalar(f'{mode}/toy/acc', 1 / 3)
    run.message_hub.update_info(f'{mode}/toy/cls', {'a': 1, 'b': 2})
    tag, line = LogProcessor(by_epoch=by_epoch).get_log_after_epoch(run, 20, mode)
    expected = "toy/acc: 0.3333  toy/cls: {'a': 1, 'b': 2}  data_time: 0.2500  time: 0.5000"
    assert line == beginning + expected
    assert tag == {'toy/acc': 1 / 3, 'data_time': 0.25, 'time': 0.5}
    tag, _ = LogProcessor(by_epoch=by_epoch).get_log_after_epoch(run, 20, mode, True)
    assert list(tag) == ['toy/acc', 'toy/cls', 'data_time', 'time']


def test_memory_stands_behind_the_times(monkeypatch):
    monkeypatch.setattr(module, '_max_memory_mb', lambda: 1234)
    tag, line = LogProcessor().get_log_after_iter(_run(), 4, 'train')
    assert '  data_time: 0.2500  memory: 1234  loss: ' in line
    assert tag['memory'] == 1234


def test_without_a_timer_there_are_no_times():
    run = _run()
    for key in ('train/time', 'train/data_time'):
        del run.message_hub.log_scalars[key]
    _, line = LogProcessor().get_log_after_iter(run, 4, 'train')
    assert line.startswith('Epoch(train) [2][ 5/20]  lr: 1.0000e-02  loss: ')


def test_digits_can_be_chosen():
    _, line = LogProcessor(num_digits=2).get_log_after_iter(_run(), 4, 'train')
    assert '  lr: 1.00e-02  eta: 1:01:01  time: 0.50  data_time: 0.25  loss: ' in line


def test_rates_of_several_optimizers_are_all_shown_as_rates():
    run = _run()
    run.message_hub.update_scalar('train/gen.lr', 0.5)
    run.message_hub.update_scalar('train/base_lr', 0.25)
    _, line = LogProcessor().get_log_after_iter(run, 4, 'train')
    assert 'lr: 1.0000e-02  gen.lr: 5.0000e-01  base_lr: 2.5000e-01  eta' in line


def test_hierarchy_is_in_the_tag_but_the_line_says_its_mode_once():
    processor = LogProcessor(log_with_hierarchy=True)
    tag, line = processor.get_log_after_iter(_run(), 4, 'train')
    assert {'train/lr', 'train/loss', 'train/time', 'epoch', 'iter'} <= set(tag)
    assert line.startswith('Epoch(train) [2][ 5/20]  lr: 1.0000e-02  eta: 1:01:01  time: 0.5000')
    assert 'train/' not in line
    run = _run('val', done=20, epoch=1)
    run.message_hub.update_scalar('val/acc', 0.5)
    tag, line = processor.get_log_after_epoch(run, 20, 'val')
    assert list(tag) == ['val/acc', 'val/data_time', 'val/time']
    assert '    val/acc: 0.5000  val/data_time: 0.2500' in line


def test_a_loader_that_knows_no_length_is_no_obstacle():
    run = _run(train_dataloader=iter(()))
    assert '[2][5/?]' in LogProcessor().get_log_after_iter(run, 4, 'train')[1]


# -- smoothing -----------------------------------------------------------------------------------


@pytest.mark.parametrize('window', [1, 3, 10, 25, 1000])
@pytest.mark.parametrize('done', [1, 9, 25, 60])
def test_losses_are_means_of_the_latest_values(window, done):
    processor = LogProcessor(window_size=window)
    tag, _ = processor.get_log_after_iter(_run(done=done), (done - 1) % 20, 'train')
    np.testing.assert_allclose(tag['loss'], SERIES[max(done - window, 0) : done].mean())


def test_what_the_pattern_does_not_name_is_shown_as_it_is():
    tag, _ = LogProcessor(mean_pattern=r'.*acc.*').get_log_after_iter(_run(), 4, 'train')
    assert tag['loss'] == SERIES[24]
    np.testing.assert_allclose(tag['acc'], 2 * SERIES[15:25].mean())


def test_a_validations_times_are_means_over_all_of_it():
    hub = MessageHub.get_instance('times')
    for value in (9.0, 9.0, 1.0, 2.0, 3.0):  # two of an earlier validation
        hub.update_scalar('val/time', value)
    run = _with_loops(SimpleNamespace(message_hub=hub, epoch=2, val_dataloader=range(3)))
    tag, _ = LogProcessor(window_size=1).get_log_after_epoch(run, 3, 'val')
    assert tag['time'] == 2.0


STATISTICS = [
    ({'method_name': 'max', 'window_size': 3}, lambda past, in_epoch: past[-3:].max()),
    ({'method_name': 'min', 'window_size': 'epoch'}, lambda past, in_epoch: past[-in_epoch:].min()),
    ({'method_name': 'mean', 'window_size': 'global'}, lambda past, in_epoch: past.mean()),
    ({'method_name': 'current'}, lambda past, in_epoch: past[-1]),
]


@pytest.mark.parametrize(
    ('entry', 'expected'), STATISTICS, ids=['max', 'epoch', 'global', 'current']
)
@pytest.mark.parametrize('done', [5, 25, 47])
def test_custom_statistics_equal_numpy(entry, expected, done):
    in_epoch = (done - 1) % 20 + 1
    value = expected(SERIES[:done], in_epoch)
    beside = LogProcessor(custom_cfg=[{'data_src': 'loss', 'log_name': 'special', **entry}])
    tag, line = beside.get_log_after_iter(_run(done=done), in_epoch - 1, 'train')
    np.testing.assert_allclose(tag['special'], value)
    np.testing.assert_allclose(tag['loss'], SERIES[max(done - 10, 0) : done].mean())
    assert f'special: {value:.4f}' in line
    instead = LogProcessor(custom_cfg=[{'data_src': 'loss', **entry}])
    tag, _ = instead.get_log_after_iter(_run(done=done), in_epoch - 1, 'train')
    np.testing.assert_allclose(tag['loss'], value)


@pytest.mark.parametrize('mode', ['train', 'val', 'test'])
@pytest.mark.parametrize('window', ['epoch', 'global'])
def test_a_running_mean_takes_in_every_batch_so_far(mode, window):
    entry = {'data_src': 'score', 'log_name': 'mean', 'window_size': window}
    processor = LogProcessor(custom_cfg=[entry])
    run = _run(mode, done=0)
    means = []
    for batch_idx, score in enumerate([1.0, 2.0, 3.0, 4.0]):
        run.message_hub.update_scalar(f'{mode}/score', score)
        run.iter = batch_idx
        means.append(processor.get_log_after_iter(run, batch_idx, mode)[0]['mean'])
    # 1, (1 + 2) / 2, (1 + 2 + 3) / 3, (1 + 2 + 3 + 4) / 4
    assert means == [1.0, 1.5, 2.0, 2.5]
    if mode != 'train':
        tag, _ = processor.get_log_after_epoch(run, 4, mode)
        assert tag['mean'] == 2.5


def test_a_statistic_of_the_users_own_gets_its_arguments(monkeypatch):
    monkeypatch.setattr(HistoryBuffer, '_statistics', dict(HistoryBuffer._statistics))

    def power(buffer: HistoryBuffer, window_size: int, exponent: int) -> float:
        return float((buffer.data[0][-window_size:] ** exponent).sum())

    HistoryBuffer.register_statistics(power)
    entry = {'data_src': 'loss', 'method_name': 'power', 'window_size': 4, 'exponent': 2}
    tag, _ = LogProcessor(custom_cfg=[entry]).get_log_after_iter(_run(), 4, 'train')
    np.testing.assert_allclose(tag['loss'], (SERIES[21:25] ** 2).sum())


def test_a_statistic_without_its_source_waits_for_it():
    processor = LogProcessor(custom_cfg=[{'data_src': 'dice', 'method_name': 'max'}])
    tag, _ = processor.get_log_after_iter(_run(), 4, 'train')
    assert 'dice' not in tag


def test_losses_on_a_device_are_read_in_one_go(monkeypatch):
    stacks: list[int] = []
    stack = torch.stack
    monkeypatch.setattr(
        torch, 'stack', lambda tensors: stacks.append(len(tensors)) or stack(tensors)
    )
    LogProcessor().get_log_after_iter(_run(), 4, 'train')
    assert stacks == [25]


def test_memory_of_a_long_run_is_bounded():
    hub = MessageHub.get_instance('long')
    hub.log_scalars['train/loss'] = HistoryBuffer(max_length=100)
    hub._resumed_keys['train/loss'] = True
    run = SimpleNamespace(
        message_hub=hub, epoch=0, iter=0, max_iters=10**6, train_dataloader=range(10**6)
    )
    processor = LogProcessor(by_epoch=False)
    for value in range(5000):
        hub.update_scalar('train/loss', torch.tensor(float(value)))
        run.iter = value
    tag, _ = processor.get_log_after_iter(run, 4999, 'train')
    assert tag['loss'] == 4994.5
    assert len(hub.get_scalar('train/loss').data[0]) == 100


# -- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('custom', 'message'),
    [
        ([{'data_src': 'loss', 'method_name': 'max', 'window_size': 'bad'}], "got 'bad'"),
        ([{'data_src': 'loss', 'window_size': 0}], 'got 0'),
        ([{'method_name': 'max'}], 'needs data_src'),
        (
            [{'data_src': 'a', 'log_name': 'x'}, {'data_src': 'b', 'log_name': 'x'}],
            "Two entries of custom_cfg have the log_name 'x'",
        ),
        ([{'data_src': 'loss'}, {'data_src': 'loss'}], "Two entries of custom_cfg replace 'loss'"),
    ],
)
def test_wrong_statistics_are_refused(custom, message):
    with pytest.raises(AssertionError, match=message):
        LogProcessor(custom_cfg=custom)


def test_an_epochs_window_needs_epochs():
    with pytest.raises(AssertionError, match='by_epoch=False counts none'):
        LogProcessor(by_epoch=False, custom_cfg=[{'data_src': 'loss', 'window_size': 'epoch'}])


def test_a_statistic_that_is_not_known_names_the_near_one():
    processor = LogProcessor(custom_cfg=[{'data_src': 'loss', 'method_name': 'maxx'}])
    with pytest.raises(KeyError, match="Did you mean 'max'"):
        processor.get_log_after_iter(_run(), 4, 'train')


def test_there_is_no_line_after_a_training_epoch():
    with pytest.raises(AssertionError, match="must be 'val' or 'test', got 'train'"):
        LogProcessor().get_log_after_epoch(_run(), 20, 'train')
