"""At which iterations is logged, and what stands in the files afterwards."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import Runner
from mmengine.visualization import BaseVisBackend


def _train(make_run: Any, logger: dict[str, Any] | None = None, **kwargs: Any) -> Runner:
    hooks = {'logger': {'type': 'LoggerHook', **(logger or {})}}
    runner = make_run(default_hooks=hooks, log_level='INFO', experiment_name='demo', **kwargs)
    runner.train()
    return runner


def _train_with(make_run: Any, hook: LoggerHook, **kwargs: Any) -> Runner:
    runner = make_run(default_hooks={'logger': hook}, log_level='INFO', **kwargs)
    runner.train()
    return runner


def _lines(runner: Runner, pattern: str) -> list[str]:
    log = Path(runner.log_dir, f'{runner.timestamp}.log').read_text().splitlines()
    messages = [line.split(' - INFO - ', 1)[-1] for line in log]
    return [message for message in messages if re.match(pattern, message)]


def _records(runner: Runner, name: str = 'scalars.json') -> list[dict[str, Any]]:
    path = Path(runner.log_dir, 'vis_data', name)
    return [json.loads(line) for line in path.read_text().splitlines()]


def _where(runner: Runner) -> list[str]:
    lines = _lines(runner, r'(Epoch|Iter)\(train\)')
    return [re.match(r'\S+ +(\S+(?: \d+/\d+\])?)', line).group(1) for line in lines]


@pytest.mark.parametrize(
    ('logger', 'batches', 'expected'),
    [
        ({'interval': 2}, 5, ['[1][2/5]', '[1][4/5]', '[2][2/5]', '[2][4/5]']),
        ({'interval': 2, 'ignore_last': False}, 5,
         ['[1][2/5]', '[1][4/5]', '[1][5/5]', '[2][2/5]', '[2][4/5]', '[2][5/5]']),
        ({'interval': 10}, 3, ['[1][3/3]', '[2][3/3]']),  # an epoch shorter than the interval
        ({'interval': 3}, 3, ['[1][3/3]', '[2][3/3]']),
    ],
)  # fmt: skip
def test_iterations_that_are_logged(make_run, logger, batches, expected):
    assert _where(_train(make_run, logger, batches=batches)) == expected


def test_iterations_of_an_iteration_run_that_are_logged(make_run):
    runner = _train(make_run, {'interval': 4}, iters=10, batches=5)
    lines = _lines(runner, r'Iter\(train\)')
    assert [line[:20] for line in lines] == [
        'Iter(train) [ 4/10] ', 'Iter(train) [ 8/10] ', 'Iter(train) [10/10] ',
    ]  # fmt: skip


@pytest.mark.parametrize('batches', [3, 100])
def test_an_iteration_run_logs_its_own_end_not_that_of_a_pass(make_run, batches):
    runner = _train(make_run, {'interval': 4}, iters=10, batches=batches)
    assert [record['iter'] for record in _records(runner)] == [4, 8, 10]


def test_an_iteration_run_shorter_than_the_interval_is_logged(make_run):
    runner = _train(make_run, {'interval': 10}, iters=3, batches=2)
    assert [record['iter'] for record in _records(runner)] == [3]
    # Losses 1, 0.9 and 0.8.
    assert _records(runner)[0]['loss'] == pytest.approx(0.9)


class StopsAfter(Hook):
    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def after_train_iter(self, runner: Any, **kwargs: Any) -> None:
        if runner.iter + 1 == self.iteration:
            runner.train_loop.stop_training = True


@pytest.mark.parametrize(('stop', 'expected'), [(6, [4, 6]), (8, [4, 8]), (2, [2])])
def test_an_iteration_run_that_stops_early_logs_its_last_iteration(make_run, stop, expected):
    runner = _train(make_run, {'interval': 4}, iters=10, hooks=[StopsAfter(stop)])
    records = _records(runner)
    assert [record['iter'] for record in records] == expected
    assert [record['step'] for record in records] == expected


def test_a_resumed_run_logs_at_the_same_places(make_run):
    checkpoint = {'type': 'CheckpointHook', 'interval': 3, 'by_epoch': False}
    make_run(batches=5, epochs=1, default_hooks={'checkpoint': checkpoint}).train()
    runner = make_run(
        batches=5, epochs=2, resume=True, log_level='INFO',
        load_from=str(Path(make_run(work_dir='run').work_dir, 'iter_3.pth')),
        default_hooks={'logger': {'type': 'LoggerHook', 'interval': 2}},
    )  # fmt: skip
    runner.train()
    assert _where(runner) == ['[1][4/5]', '[2][2/5]', '[2][4/5]']


def test_the_name_is_logged_on_its_interval_and_at_the_end_of_each_epoch(make_run):
    runner = _train(make_run, {'interval_exp_name': 3}, batches=4)
    # Iterations 3, 4 (end), 6, 8 (end).
    names = _lines(runner, 'Exp name')
    assert names == [f'Exp name: {runner.experiment_name}'] * 4
    assert runner.experiment_name == f'demo_{runner.timestamp}'


def test_records_of_training_and_validation(make_run, accs):
    runner = _train(make_run, {'interval': 2}, batches=4, scores=accs(0.5, 0.75))
    train = [record for record in _records(runner) if 'lr' in record]
    assert list(train[0]) == [
        'lr', 'data_time', 'loss', 'time', 'samples_per_s', 'data_wait', 'epoch', 'iter', 'step',
    ]  # fmt: skip
    places = [(record['epoch'], record['iter'], record['step']) for record in train]
    assert places == [(1, 2, 2), (1, 4, 4), (2, 6, 6), (2, 8, 8)]
    # The window of ten holds all losses so far: 1, 0.9, 0.8 ...
    assert [record['loss'] for record in train] == pytest.approx([0.95, 0.85, 0.75, 0.65])
    val = [record for record in _records(runner) if 'acc' in record]
    assert [list(record) for record in val] == [['acc', 'data_time', 'time', 'step']] * 2
    assert [(record['acc'], record['step']) for record in val] == [(0.5, 1), (0.75, 2)]
    assert _records(runner) == _records(runner, f'{runner.timestamp}.json')


@pytest.mark.parametrize('by_epoch', [True, False])
def test_metrics_of_an_iteration_run_are_counted_by_iteration(make_run, accs, by_epoch):
    runner = _train(
        make_run, {'log_metric_by_epoch': by_epoch}, iters=6, val_interval=3, scores=accs(0.5)
    )
    assert [record['step'] for record in _records(runner) if 'acc' in record] == [3, 6]


def test_metrics_of_an_epoch_run_can_be_counted_by_iteration(make_run, accs):
    runner = _train(make_run, {'log_metric_by_epoch': False}, scores=accs(0.5))
    assert [record['step'] for record in _records(runner) if 'acc' in record] == [4, 8]


class Axes(BaseVisBackend):
    """Keeps the step, iteration and epoch of each record, as a service is given them."""

    takes_axes = True

    def __init__(self) -> None:
        super().__init__('')
        self.seen: list[tuple[str, int, int, int]] = []

    def _init_env(self) -> None:
        pass

    @property
    def experiment(self) -> Any:
        return self.seen

    def add_scalars(self, scalar_dict, step=0, file_path=None, **kwargs):
        what = 'val' if 'acc' in scalar_dict else 'train'
        self.seen.append((what, step, scalar_dict['iter'], scalar_dict['epoch']))


@pytest.mark.parametrize(
    ('run', 'expected'),
    [
        # In an epoch run the epoch is the one that is trained, or was trained last.
        ({'epochs': 2, 'batches': 4},
         [('train', 4, 4, 1), ('val', 1, 4, 1), ('train', 8, 8, 2), ('val', 2, 8, 2)]),
        # An iteration run counts no epochs.
        ({'iters': 8, 'batches': 4, 'val_interval': 4},
         [('train', 4, 4, 0), ('val', 4, 4, 0), ('train', 8, 8, 0), ('val', 8, 8, 0)]),
    ],
    ids=['epochs', 'iterations'],
)  # fmt: skip
def test_training_and_validation_are_told_the_same_axes(make_run, accs, run, expected):
    tracker = Axes()
    visualizer = {'type': 'Visualizer', 'vis_backends': [tracker]}
    _train(make_run, {'interval': 4}, scores=accs(0.5, 0.75), visualizer=visualizer, **run)
    assert tracker.seen == expected


def test_validation_batches_are_logged_on_the_interval(make_run, accs):
    runner = _train(make_run, {'interval': 1}, epochs=1, scores=accs(0.5))
    lines = _lines(runner, r'Epoch\(val\)')
    assert [line.split('  ')[0].strip() for line in lines] == [
        'Epoch(val) [1][1/2]', 'Epoch(val) [1][2/2]', 'Epoch(val) [1][2/2]'
    ]  # fmt: skip


def test_a_test_leaves_its_metrics_beside_the_log(make_run):
    from torch.utils.data import DataLoader

    from mmengine.evaluator import BaseMetric, Evaluator

    class Fixed(BaseMetric):
        def process(self, data_batch: Any, data_samples: Any) -> None:
            self.results.append(1)

        def compute_metrics(self, results: list[Any]) -> dict[str, Any]:
            return {'acc': 0.5, 'per_class': {'a': 1.0}}

    runner = make_run(
        test_dataloader=DataLoader([{'x': 1.0}]), test_cfg={}, test_evaluator=Evaluator([Fixed()])
    )
    runner.test()
    written = json.loads(Path(runner.log_dir, f'{runner.timestamp}.json').read_text())
    assert written['acc'] == 0.5
    assert written['per_class'] == {'a': 1.0}
    assert {'data_time', 'time'} < set(written)


def test_log_files_are_copied_to_out_dir(make_run, tmp_path):
    runner = _train(make_run, {'out_dir': str(tmp_path / 'out')})
    copied = tmp_path / 'out' / 'run'
    names = {path.relative_to(copied).as_posix() for path in copied.rglob('*') if path.is_file()}
    start = runner.timestamp
    assert {
        f'{start}.py', f'{start}/{start}.log', f'{start}/vis_data/scalars.json'
    } <= names  # fmt: skip
    assert Path(runner.log_dir, f'{start}.log').is_file()


def test_local_log_files_can_go_once_they_are_copied(make_run, tmp_path):
    runner = _train(
        make_run, {'out_dir': str(tmp_path / 'out'), 'keep_local': False, 'out_suffix': '.json'}
    )
    assert not Path(runner.log_dir, 'vis_data', 'scalars.json').exists()
    assert (tmp_path / 'out/run' / runner.timestamp / 'vis_data/scalars.json').is_file()
    assert Path(runner.log_dir, f'{runner.timestamp}.log').is_file()


@pytest.mark.parametrize(
    'arguments', [{'interval': 0}, {'interval': 1.5}, {'interval_exp_name': 0}]
)
def test_wrong_intervals_are_refused(arguments):
    with pytest.raises(AssertionError, match='must be a positive integer'):
        LoggerHook(**arguments)


def test_an_out_dir_that_is_no_path_is_refused():
    with pytest.raises(TypeError, match='out_dir must be a path'):
        LoggerHook(out_dir=3)


class FirstBatches(LoggerHook):
    """A line at the first batch of each epoch, and none at its end."""

    def every_n_inner_iters(self, batch_idx: int, n: int) -> bool:
        return batch_idx == 0

    def end_of_epoch(self, dataloader: Any, batch_idx: int) -> bool:
        return False


def test_moments_of_a_subclass_replace_those_of_the_hook(make_run):
    # 2 epochs of 4 batches.
    hook = FirstBatches(interval=100, ignore_last=False)
    runner = _train_with(make_run, hook)
    assert [record['step'] for record in _records(runner)] == [1, 5]


def test_the_name_is_logged_when_a_subclass_says_so(make_run):
    class Named(LoggerHook):
        def every_n_train_iters(self, runner: Runner, n: int, start: int = 0) -> bool:
            assert n == 1000
            return runner.iter == 2

    runner = _train_with(make_run, Named(), epochs=1)
    assert len(_lines(runner, 'Exp name')) == 2  # in the third iteration and at the end
