"""Two processes train, validate, save and fail together."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from runner_toy import Line, Net, parameters, toy_config, toy_runner
from torch import nn

from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel, MMSeparateDistributedDataParallel
from mmengine.registry import DATASETS, HOOKS, MODEL_WRAPPERS, MODELS
from mmengine.runner import FlexibleRunner, Runner
from mmengine.strategy import DDPStrategy
from mmengine.testing._internal.distributed import run_distributed

pytestmark = pytest.mark.distributed

JOINT_BATCH = 4


@MODELS.register_module(name='ToyNorm')
class Norm(Net):
    """With a batch norm, whose statistics are those of a rank or of all."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)

    def forward(self, x: Any, y: Any, mode: str = 'tensor') -> Any:
        return super().forward(self.norm(torch.stack(list(x))), y, mode)


@DATASETS.register_module(name='ToyBroken')
class Broken(Line):
    """Sample 5 cannot be read; without shuffling it is the second rank's."""

    def __getitem__(self, index: int) -> Any:
        if index == 5:
            raise OSError('sample 5 is broken')
        return super().__getitem__(index)


@MODELS.register_module(name='ToyFailing')
class Failing(Net):
    def forward(self, x: Any, y: Any, mode: str = 'tensor') -> Any:
        if torch.distributed.get_rank() == 1:
            raise ArithmeticError('the forward pass is broken')
        return super().forward(x, y, mode)


@HOOKS.register_module(name='ToyFailingHook')
class FailingHook(Hook):
    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        if runner.iter == 2:
            if runner.rank == 1:
                raise LookupError('the hook is broken')
            time.sleep(0.5)


def _changes(processes: int, **changes: Any) -> dict[str, Any]:
    """The same run for one process or for two, of which each takes half of the batch."""

    def loader(length: int) -> dict[str, Any]:
        return {
            'dataset': {'type': 'ToyLine', 'length': length},
            'batch_size': JOINT_BATCH // processes,
            'sampler': {'type': 'DefaultSampler', 'shuffle': True},
        }

    # Seven samples to validate do not divide by two ranks.
    return {
        'train_dataloader': loader(8),
        'val_dataloader': loader(7),
        'train_cfg': {'by_epoch': True, 'max_epochs': 3},
        'val_cfg': {'compute_loss': True},
        'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}},
        **changes,
    }


def _train_and_validate(work_dir: Path, processes: int, **changes: Any) -> Runner:
    runner = toy_runner(work_dir, **_changes(processes, **changes))
    runner.train()
    return runner


def _report(runner: Runner) -> dict[str, Any]:
    model = getattr(runner.model, 'module', runner.model)
    inner = getattr(model.linear, 'module', model.linear)
    return {
        'parameters': (inner.weight.item(), inner.bias.item()),
        'metrics': runner.val(),
        'results': getattr(runner.val_evaluator.metrics[0], 'last_results', None),
        'wrapper': type(runner.model).__name__,
        'facts': (runner.rank, runner.world_size, runner.distributed, runner.launcher),
        'shared': (runner.timestamp, runner.seed, runner.experiment_name),
    }


def _run_everything(rank: int, world_size: int, folder: str) -> list[Any]:
    """Several runs one after another, as starting processes takes longest."""
    work_dir = Path(folder)
    every_epoch = {'checkpoint': {'type': 'CheckpointHook', 'interval': 1}, 'logger': None}
    whole = _train_and_validate(
        work_dir / 'whole', 2, launcher='pytorch', default_hooks=every_epoch
    )
    resumed = _train_and_validate(
        work_dir / 'resumed',
        2,
        launcher='pytorch',
        load_from=str(work_dir / 'whole' / 'epoch_1.pth'),
        resume=True,
    )
    without_seed = toy_runner(work_dir / 'seedless', randomness={}, launcher='pytorch')
    flexible = FlexibleRunner(
        **toy_config(
            work_dir / 'flexible',
            **_changes(2, strategy={'type': 'DDPStrategy'}, launcher='pytorch'),
        )
    )
    flexible.train()
    accumulated = _train_and_validate(
        work_dir / 'accumulated',
        2,
        launcher='pytorch',
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}, 'accumulative_counts': 2},
    )
    return [
        _report(whole),
        _report(resumed),
        without_seed.seed,
        _report(flexible),
        _report(accumulated)['parameters'],
        (resumed.epoch, resumed.iter),
    ]


@pytest.fixture(scope='module')
def everything(tmp_path_factory) -> tuple[Path, list[list[Any]]]:
    folder = tmp_path_factory.mktemp('ddp')
    return folder, run_distributed(_run_everything, 2, str(folder))


@pytest.fixture
def alone(tmp_path) -> dict[str, Any]:
    """What one process gives that sees the joint batches."""
    return _report(_train_and_validate(tmp_path / 'alone', 1))


def test_training_equals_one_process_on_the_joint_batch(everything, alone):
    for rank, (whole, *_) in enumerate(everything[1]):
        assert whole['parameters'] == pytest.approx(alone['parameters'], abs=1e-6)
        assert whole['wrapper'] == 'MMDistributedDataParallel'
        assert whole['facts'] == (rank, 2, True, 'pytorch')


def test_metrics_and_losses_equal_one_process_in_the_order_of_the_data(everything, alone):
    for whole, *_ in everything[1]:
        assert whole['metrics'].keys() == alone['metrics'].keys()
        assert whole['metrics']['toy/error'] == pytest.approx(alone['metrics']['toy/error'])
    # Results are those of the sampler's order, once each, on the rank that computes.
    results = everything[1][0][0]['results']
    assert [list(pair) for pair in results] == [
        pytest.approx(list(pair), abs=1e-5) for pair in alone['results']
    ]


def test_names_and_seed_are_shared(everything):
    (one, *_), (two, *_) = everything[1]
    assert one['shared'] == two['shared']
    assert everything[1][0][2] == everything[1][1][2]


def test_one_rank_writes_a_checkpoint_without_wrapper_names(everything):
    folder = everything[0] / 'whole'
    checkpoint = torch.load(folder / 'epoch_3.pth', weights_only=True)
    assert list(checkpoint['state_dict']) == ['linear.weight', 'linear.bias']
    assert checkpoint['meta']['world_size'] == len(checkpoint['rng']) == 2
    assert len(list(folder.glob('*/*.log'))) >= 1


@pytest.mark.shows('DDP', 'resume', 'works')
def test_a_resumed_run_of_two_processes_has_the_bits_of_the_whole_one(everything):
    for whole, resumed, *_, position in everything[1]:
        assert resumed['parameters'] == whole['parameters']
        assert position == (3, 6)


def test_a_flexible_runner_does_the_same(everything):
    for whole, _, _, flexible, *_ in everything[1]:
        assert flexible['parameters'] == whole['parameters']


def test_accumulated_gradients_equal_one_process_too(everything, tmp_path):
    wrapper = {'optimizer': {'type': 'SGD', 'lr': 0.1}, 'accumulative_counts': 2}
    alone = _train_and_validate(tmp_path, 1, optim_wrapper=wrapper)
    for *_, accumulated, _ in everything[1]:
        assert accumulated == pytest.approx(parameters(alone.model), abs=1e-6)


@pytest.mark.shows('DDP', 'another number of ranks', 'works')
def test_a_checkpoint_of_two_ranks_resumes_in_one_process(everything, tmp_path, capsys):
    path = str(everything[0] / 'whole' / 'epoch_2.pth')
    runner = toy_runner(tmp_path, **_changes(1), load_from=path, resume=True, log_level='WARNING')
    runner.train()
    text = capsys.readouterr().out
    assert 'The checkpoint is of 2 ranks, this run has 1' in text
    assert 'batch size of a rank 2 -> 4, ranks 2 -> 1' in text
    whole = everything[1][0][0]['parameters']
    # The order of the data hangs on the seed alone, so even this run comes out the same.
    assert parameters(runner.model) == pytest.approx(whole, abs=1e-6)


class Mine(MMDistributedDataParallel):
    """A wrapper of a user's own."""


def _wrap(rank: int, world_size: int, folder: str) -> list[Any]:
    MODEL_WRAPPERS.register_module(module=Mine, force=True)
    reports = []
    for number, wrapper in enumerate(
        [
            'MMSeparateDistributedDataParallel',
            {'type': 'MMSeparateDistributedDataParallel'},
            MMSeparateDistributedDataParallel,
            {'type': 'Mine', 'broadcast_buffers': True},
        ]
    ):
        runner = _train_and_validate(
            Path(folder, str(number)), 2, launcher='pytorch', cfg={'model_wrapper_cfg': wrapper}
        )
        reports.append(_report(runner))
    return reports


def test_a_wrapper_is_chosen_by_name_config_or_class(tmp_path, alone):
    one, two = run_distributed(_wrap, 2, str(tmp_path))
    names = ['MMSeparateDistributedDataParallel'] * 3 + ['Mine']
    for reports in (one, two):
        assert [report['wrapper'] for report in reports] == names
        for report in reports:
            assert report['parameters'] == pytest.approx(alone['parameters'], abs=1e-6)
            assert report['metrics']['toy/error'] == pytest.approx(alone['metrics']['toy/error'])


def _fail(rank: int, world_size: int, folder: str, changes: dict[str, Any]) -> tuple[str, str]:
    runner = toy_runner(folder, launcher='pytorch', **changes)
    start = time.monotonic()
    try:
        runner.train()
    except BaseException as error:
        return type(error).__name__, str(error), time.monotonic() - start
    return 'nothing', '', 0.0


@pytest.mark.parametrize(
    ('changes', 'kind', 'text'),
    [
        (
            {'train_dataloader': {
                'dataset': {'type': 'ToyBroken'}, 'batch_size': 2,
                'sampler': {'type': 'DefaultSampler', 'shuffle': False},
            }},
            'OSError', 'sample 5 is broken',
        ),
        ({'model': {'type': 'ToyFailing'}}, 'ArithmeticError', 'the forward pass is broken'),
        ({'custom_hooks': [{'type': 'ToyFailingHook'}]}, 'LookupError', 'the hook is broken'),
    ],
    ids=['dataset', 'forward', 'hook'],
)  # fmt: skip
def test_a_rank_that_fails_stops_both_with_its_traceback(tmp_path, changes, kind, text):
    one, two = run_distributed(_fail, 2, str(tmp_path), changes)
    assert two[:2] == (kind, text)
    assert one[0] == 'RankFailedError'
    assert 'Rank 1 failed:\nTraceback' in one[1]
    assert f'{kind}: {text}' in one[1]
    assert one[2] < 120


def _with_sync_bn(rank: int, world_size: int, folder: str) -> list[Any]:
    changes = _changes(2, model={'type': 'ToyNorm'}, launcher='pytorch')
    outcomes: list[Any] = []
    for make in (
        lambda config: Runner(**config, cfg={'sync_bn': 'torch'}),
        lambda config: FlexibleRunner(
            **config, strategy={'type': 'DDPStrategy', 'sync_bn': 'torch'}
        ),
    ):
        try:
            make(toy_config(folder, **changes))
        except ValueError as error:
            outcomes.append(str(error))
    strategy = DDPStrategy(work_dir=folder, log_kwargs={'log_level': 'ERROR'})
    strategy.sync_bn = 'torch'
    with pytest.MonkeyPatch.context() as patch:
        # As on a machine with GPUs; the layers alone are looked at here.
        patch.setattr('mmengine.strategy.distributed.get_device', lambda: 'cuda')
        outcomes.append(type(strategy.convert_model(Norm()).norm).__name__)
    strategy.sync_bn = None
    outcomes.append(type(strategy.convert_model(Norm()).norm).__name__)
    return outcomes


def test_sync_bn_exchanges_layers_where_torch_has_them(tmp_path):
    for refused, again, exchanged, kept in run_distributed(_with_sync_bn, 2, str(tmp_path)):
        assert refused == again
        assert "sync_bn='torch' converts batch norms to torch.nn.SyncBatchNorm" in refused
        assert (exchanged, kept) == ('SyncBatchNorm', 'BatchNorm1d')
