"""The position in the data that a checkpoint holds, and the sample at which a run goes on."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from elastic_toy import Augmented, Seeing, flat, make, train
from runner_toy import Error
from torch.utils.data import DataLoader, IterableDataset

from mmengine.dataset import DefaultSampler, default_collate
from mmengine.hooks import Hook

INFINITE = {'sampler': {'type': 'InfiniteSampler', 'shuffle': True}}
LOOPS = pytest.mark.parametrize('loop', [{'epochs': 2}, {'iters': 8}], ids=['epochs', 'iterations'])


class Failing(Seeing):
    """Fails once, at its batch number ``at``."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def forward(self, x: Any, sample: Any, mode: str = 'tensor') -> Any:
        if mode == 'loss' and len(self.seen) == self.at:
            self.at = -1
            raise RuntimeError('boom')
        return super().forward(x, sample, mode)


def _resume(folder: Path, name: str, **changes: Any) -> dict[str, Any]:
    return {'load_from': str(folder / name), 'resume': True, **changes}


def _saved(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = torch.load(path, weights_only=True)['meta']['data']
    return data


def _loader(length: int, batch_size: int, like: Any) -> Any:
    dataset = Augmented(length)
    sampler = DefaultSampler(dataset, seed=3)
    return DataLoader(dataset, batch_size, sampler=sampler, collate_fn=like.collate_fn)


def test_a_checkpoint_says_what_was_seen_and_the_sizes_then(tmp_path):
    train(tmp_path, 3)
    # 16 samples in batches of 3: the 6th and last batch has 1.
    for stop, number, batches, samples in ((2, 0, 2, 6), (6, 0, 6, 16), (8, 1, 2, 6)):
        data = _saved(tmp_path / f'iter_{stop}.pth')
        assert (data['pass'], data['batches'], data['samples']) == (number, batches, samples)
        sizes = ('batch_size', 'num_samples', 'num_batches', 'world_size', 'accumulative_counts')
        assert [data[name] for name in sizes] == [3, 16, 6, 1, 1]


@LOOPS
def test_a_pass_begun_inside_a_batch_may_be_stopped_again(tmp_path, loop):
    train(tmp_path / '1', 4, **loop)
    # 4 samples were seen: batches of 3 begin at 4, 7, 10, 13.
    second = train(tmp_path / '2', 3, **loop, **_resume(tmp_path / '1', 'iter_1.pth'))
    third = train(tmp_path / '3', 3, **loop, **_resume(tmp_path / '2', 'iter_3.pth'))
    whole = flat(train(tmp_path / 'whole', 4, epochs=3))
    assert flat(second) == whole[4 : 4 + len(flat(second))]
    assert third == second[2:]
    assert third[0][0] == whole[10]


@LOOPS
@pytest.mark.parametrize('at', [0, 1, 2])
def test_a_batch_that_failed_in_such_a_pass_is_trained_next(tmp_path, loop, at):
    train(tmp_path / '1', 4, **loop)
    changes = _resume(tmp_path / '1', 'iter_1.pth', **loop)
    expected = train(tmp_path / '2', 3, **changes)
    runner = make(tmp_path / '3', 3, model=Failing(at), **changes)
    with pytest.raises(RuntimeError, match='boom'):
        runner.train()
    runner.train()
    assert runner.model.seen == expected


@LOOPS
@pytest.mark.parametrize('at', [0, 2, 4])
@pytest.mark.parametrize('batch_size', [4, 3])
def test_a_batch_that_was_taken_but_failed_is_not_counted(tmp_path, loop, at, batch_size):
    whole = flat(train(tmp_path / 'whole', 4, epochs=2))
    runner = make(tmp_path / '1', 4, model=Failing(at), **loop)
    with pytest.raises(RuntimeError, match='boom'):
        runner.train()
    runner.save_checkpoint(str(tmp_path), 'failed.pth')
    rest = flat(train(tmp_path / '2', batch_size, **loop, **_resume(tmp_path, 'failed.pth')))
    assert len(rest) >= 12
    assert rest == whole[4 * at : 4 * at + len(rest)]


@pytest.mark.parametrize('batch_size', [3, 8])
@pytest.mark.parametrize(
    'loop',
    [{'epochs': 2}, {'iters': 8}, {'iters': 8, 'loader': INFINITE}],
    ids=['epochs', 'iterations', 'endless'],
)
def test_a_resumed_run_that_has_not_begun_is_saved_at_the_same_place(tmp_path, loop, batch_size):
    whole = flat(train(tmp_path / '1', 4, **loop))
    runner = make(tmp_path / '2', batch_size, **loop, **_resume(tmp_path / '1', 'iter_1.pth'))
    runner.load_or_resume()
    runner.save_checkpoint(str(tmp_path), 'again.pth')
    assert _saved(tmp_path / 'again.pth')['samples'] == 4
    rest = flat(train(tmp_path / '3', 5, **loop, **_resume(tmp_path, 'again.pth')))
    assert rest[:12] == whole[4:16]


@LOOPS
@pytest.mark.parametrize('batch_size', [3, 4, 8])
def test_a_dataloader_assigned_after_resuming_goes_on_at_the_sample(tmp_path, loop, batch_size):
    whole = flat(train(tmp_path / '1', 4, **loop))
    runner = make(tmp_path / '2', 4, **loop, **_resume(tmp_path / '1', 'iter_1.pth'))
    runner.load_or_resume()
    runner.train_loop.dataloader = _loader(16, batch_size, like=runner.train_dataloader)
    runner.train()
    rest = flat(runner.model.seen)
    assert rest[:12] == whole[4:16]


def test_a_dataloader_assigned_within_a_run_is_numbered_too(tmp_path):
    class Assigns(Hook):
        def after_train_epoch(self, runner: Any) -> None:
            if runner.epoch == 0:
                loop = runner.train_loop
                loop.dataloader = _loader(8, 4, like=loop.dataloader)

    seen = train(tmp_path, 4, custom_hooks=[Assigns()])
    assert [len(batch) for batch in seen] == [4] * 6
    # The random state follows from seed, pass and position: as in a run with the short dataset.
    assert seen[4:] == train(tmp_path / 'short', 4, length=8)[2:]
    assert _saved(tmp_path / 'iter_5.pth')['samples'] == 4


@LOOPS
@pytest.mark.parametrize('length', [10, 30])
def test_a_pass_that_was_over_is_over_with_another_dataset(tmp_path, loop, length):
    train(tmp_path / '1', 4, **loop)
    changes = _resume(tmp_path / '1', 'iter_4.pth', length=length, **loop)
    rest = flat(train(tmp_path / '2', 4, **changes))
    # The pass that follows has each of today's samples once.
    count = min(length, len(rest))
    assert set(Counter(sample[0] for sample in rest[:count]).values()) == {1}
    if 'epochs' in loop:
        assert len(rest) == length


@pytest.mark.parametrize('batch_size', [2, 5, 7])
def test_batches_that_would_be_short_are_dropped_in_a_resumed_epoch_too(tmp_path, batch_size):
    changes = {'loader': {'drop_last': True}}
    whole = flat(train(tmp_path / '1', 3, **changes))
    assert len(whole) == 30
    rest = flat(
        train(tmp_path / '2', batch_size, **changes, **_resume(tmp_path / '1', 'iter_2.pth'))
    )
    # 6 of 16 samples were seen.
    first = 10 // batch_size * batch_size
    assert rest[: min(first, 9)] == whole[6 : 6 + min(first, 9)]
    assert len(rest) == first + 16 // batch_size * batch_size


def test_an_endless_order_goes_on_without_drawing_all_passes_again(tmp_path, monkeypatch):
    changes = {'length': 8, 'iters': 44, 'save': 20, 'loader': INFINITE}
    whole = train(tmp_path / '1', 8, **changes)
    drawn: list[int] = []
    randperm = torch.randperm

    def noted(size: int, **options: Any) -> torch.Tensor:
        drawn.append(size)
        return randperm(size, **options)

    monkeypatch.setattr(torch, 'randperm', noted)
    rest = train(tmp_path / '2', 8, **changes, **_resume(tmp_path / '1', 'iter_40.pth'))
    assert rest == whole[40:]
    # 40 passes are left out, and 4 are needed.
    assert 4 <= len(drawn) <= 6


class Stream(IterableDataset):
    """Samples with a draw, without indices."""

    def __len__(self) -> int:
        return 16

    def __iter__(self) -> Any:
        for index in range(16):
            draw = int(torch.randint(2**31, ()))
            yield {'x': torch.tensor([float(index)]), 'sample': torch.tensor([index, draw])}


@LOOPS
@pytest.mark.parametrize(('batch_size', 'first'), [(4, 12), (6, 12), (8, 8), (5, 10)])
def test_a_stream_goes_on_at_a_whole_batch(tmp_path, loop, batch_size, first, capsys):
    changes = {**loop, 'loader': {'dataset': Stream(), 'sampler': None}}
    whole = flat(train(tmp_path / '1', 4, **changes))
    rest = flat(
        train(
            tmp_path / '2', batch_size, **changes, log_level='WARNING',
            **_resume(tmp_path / '1', 'iter_3.pth'),
        )
    )  # fmt: skip
    # 12 samples were seen.
    assert rest[: 16 - first] == whole[first:16]
    assert ('seen twice' in capsys.readouterr().out) == (first < 12)
    if 'epochs' in loop:
        assert len(rest) == 32 - first


@pytest.mark.parametrize('seed', [None, 5])
def test_a_resumed_seed_is_used_in_validations_too(tmp_path, seed):
    class Noting(Error):
        seen: list[Any]

        def process(self, data_batch: Any, data_samples: Any) -> None:
            self.seen.extend(row[1:].tolist() for row in data_batch['sample'])
            self.results.append(0.0)

        def compute_metrics(self, results: Any) -> dict[str, float]:
            return {'error': 0.0}

    def run(folder: Path, **changes: Any) -> list[Any]:
        metric = Noting()
        metric.seen = []
        loader = {
            'dataset': Augmented(4), 'batch_size': 4, 'collate_fn': default_collate,
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        }  # fmt: skip
        train(
            folder, 8, randomness={'seed': seed}, val_dataloader=loader, val_cfg={},
            val_evaluator=metric, **changes,
        )  # fmt: skip
        return metric.seen

    whole = run(tmp_path / '1')
    assert whole[:4] == whole[4:]
    assert len({tuple(row) for row in whole}) == 4
    assert run(tmp_path / '2', **_resume(tmp_path / '1', 'iter_2.pth')) == whole


def test_two_runs_share_a_dataloader_with_their_own_seeds(tmp_path):
    loader = _loader(16, 4, like=make(tmp_path / 'x', 4).train_dataloader)
    runs = {
        seed: make(tmp_path / str(seed), 4, train_dataloader=loader, randomness={'seed': seed})
        for seed in (1, 2)
    }
    loops = [runner.train_loop for runner in runs.values()]  # built before a run trains
    assert all(loop.dataloader is loader for loop in loops)
    for seed, runner in runs.items():
        runner.train()
        alone = make(
            tmp_path / f'alone{seed}', 4, randomness={'seed': seed},
            train_dataloader=_loader(16, 4, like=loader),
        )  # fmt: skip
        alone.train()
        assert runner.model.seen == alone.model.seen
