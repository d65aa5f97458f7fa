"""A run sees the same samples in the same random state on 1, 2 and 4 ranks, stopped or not; and
each sample once an epoch when it goes on with other batches, ranks or samples."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from elastic_toy import Augmented, Seeing, flat, joined, train
from torch.utils.data import DataLoader

from mmengine.runner import Runner
from mmengine.testing._internal.distributed import run_distributed

INFINITE = {'sampler': {'type': 'InfiniteSampler', 'shuffle': True}}
TORCH_LIKE = {'sampler': {'type': 'ToyInTurn'}}
BATCHES = {'batch_sampler': {'type': 'ToyOwnBatches'}}
LOADERS = [{}, TORCH_LIKE, BATCHES]
IDS = ['default sampler', 'own sampler', 'own batch sampler']


def _train(rank: int, world_size: int, folder: str, changes: dict[str, Any]) -> Any:
    return train(folder, launcher='pytorch', **changes)


def _on_ranks(world_size: int, folder: Path, **changes: Any) -> list[list[Any]]:
    """The global batches of a run on ``world_size`` ranks."""
    if world_size == 1:
        return joined([train(folder, **changes)])
    return joined(run_distributed(_train, world_size, str(folder), changes))


def _indices(batches: list[Any]) -> list[int]:
    return [sample[0] for batch in batches for sample in batch]


def _counts(batches: list[Any]) -> Counter[int]:
    return Counter(Counter(_indices(batches)).values())


@pytest.mark.distributed
@pytest.mark.parametrize(
    'changes',
    [{}, {'loader': INFINITE, 'iters': 6}, {'loader': {**INFINITE, 'num_workers': 2}, 'iters': 6}],
    ids=['epochs', 'iterations', 'workers'],
)
def test_global_batches_are_equal_on_1_2_and_4_ranks(tmp_path, changes):
    alone = _on_ranks(1, tmp_path / '1', batch_size=8, **changes)
    draws = [draw for batch in alone for sample in batch for draw in sample[1:]]
    assert len(set(draws)) == len(draws)
    for ranks in (2, 4):
        assert _on_ranks(ranks, tmp_path / str(ranks), batch_size=8 // ranks, **changes) == alone


@pytest.mark.distributed
@pytest.mark.parametrize('changes', [{'epochs': 3}, {'loader': INFINITE, 'iters': 6}])
@pytest.mark.parametrize(('before', 'after'), [(1, 2), (4, 2), (2, 4), (2, 1)])
def test_a_run_that_goes_on_with_other_ranks_is_the_unbroken_one(tmp_path, before, after, changes):
    whole = _on_ranks(1, tmp_path / 'whole', batch_size=8, **changes)
    first = _on_ranks(before, tmp_path / 'run', batch_size=8 // before, **changes)
    assert first == whole
    again = _on_ranks(
        after, tmp_path / 'on', batch_size=8 // after,
        load_from=str(tmp_path / 'run' / 'iter_3.pth'), resume=True, **changes,
    )  # fmt: skip
    assert again == whole[3:]


@pytest.mark.distributed
@pytest.mark.parametrize('loader', LOADERS, ids=IDS)
@pytest.mark.parametrize(('before', 'after', 'size'), [(1, 2, 4), (2, 4, 2), (4, 2, 3), (2, 1, 3)])
def test_ranks_and_batches_may_change_within_an_epoch(tmp_path, loader, before, after, size):
    sizes = {'length': 24, 'epochs': 2, 'loader': loader}
    first = _on_ranks(before, tmp_path / 'run', batch_size=2, **sizes)
    assert _counts(first) == {2: 24}
    stop = 2
    rest = _on_ranks(
        after, tmp_path / 'on', batch_size=size,
        load_from=str(tmp_path / 'run' / f'iter_{stop}.pth'), resume=True, **sizes,
    )  # fmt: skip
    assert _counts(first[:stop] + rest) == {2: 24}
    # The order of the epoch goes on where it was, in the same random states.
    in_order = sorted(flat(first[: len(first) // 2]))
    assert sorted(flat(first[:stop]) + flat(rest)[: 24 - stop * 2 * before]) == in_order


@pytest.mark.distributed
def test_samples_that_do_not_divide_by_the_ranks_are_dealt_out_from_where_the_run_was(tmp_path):
    sizes = {'length': 18, 'epochs': 1}
    first = _on_ranks(2, tmp_path / 'run', batch_size=3, **sizes)
    rest = _on_ranks(
        4, tmp_path / 'on', batch_size=1,
        load_from=str(tmp_path / 'run' / 'iter_1.pth'), resume=True, **sizes,
    )  # fmt: skip
    # 6 of 18 samples were seen: 12 are left for 4 ranks, 3 each.
    assert len(rest) == 3
    assert _counts(first[:1] + rest) == {1: 18}


@pytest.mark.parametrize('loader', LOADERS, ids=IDS)
@pytest.mark.parametrize('after', [1, 2, 3, 5, 16])
@pytest.mark.parametrize('stop', [1, 3, 4, 5])
def test_each_sample_comes_once_an_epoch_with_batches_of_another_size(
    tmp_path, loader, after, stop
):
    first = train(tmp_path, 4, epochs=3, loader=loader)
    rest = train(
        tmp_path / 'on', after, epochs=3, loader=loader,
        load_from=str(tmp_path / f'iter_{stop}.pth'), resume=True,
    )  # fmt: skip
    assert _counts(first[:stop] + rest) == {3: 16}
    assert flat(rest) == flat(first[stop:])


@pytest.mark.parametrize('loader', [*LOADERS, INFINITE], ids=[*IDS, 'infinite sampler'])
@pytest.mark.parametrize('after', [1, 3, 8])
@pytest.mark.parametrize('stop', [1, 6])
def test_an_iteration_run_goes_on_at_the_sample_with_other_batches(tmp_path, loader, after, stop):
    first = train(tmp_path, 4, iters=12, loader=loader)
    rest = train(
        tmp_path / 'on', after, iters=stop + 4, loader=loader,
        load_from=str(tmp_path / f'iter_{stop}.pth'), resume=True,
    )  # fmt: skip
    assert len(rest) == 4
    expected = flat(first[stop:])
    seen = flat(rest)
    length = min(len(seen), len(expected))
    assert length >= 4
    assert seen[:length] == expected[:length]


def test_a_second_change_of_sizes_starts_from_the_first(tmp_path):
    first = train(tmp_path / '1', 4, epochs=2)
    second = train(
        tmp_path / '2', 3, epochs=2, load_from=str(tmp_path / '1' / 'iter_1.pth'), resume=True
    )
    third = train(
        tmp_path / '3', 5, epochs=2, load_from=str(tmp_path / '2' / 'iter_3.pth'), resume=True
    )
    assert flat(first[:1] + second[:2] + third) == flat(first)


def test_the_run_ends_where_todays_batches_end(tmp_path):
    train(tmp_path / '1', 4, epochs=2)
    rest = train(
        tmp_path / '2', 8, epochs=2, load_from=str(tmp_path / '1' / 'iter_5.pth'), resume=True
    )
    # One batch of epoch 2 was seen, 12 samples are left: batches of 8 and 4.
    assert [len(batch) for batch in rest] == [8, 4]
    assert (tmp_path / '2' / 'iter_7.pth').exists()


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('persistent', [False, True])
def test_a_resumed_run_draws_what_the_unbroken_one_drew(tmp_path, workers, persistent):
    loader = {'num_workers': workers, 'persistent_workers': persistent and workers > 0}
    whole = train(tmp_path, 4, epochs=3, loader={'num_workers': 1})
    for stop in (1, 4, 6):
        rest = train(
            tmp_path / str(stop), 4, epochs=3, loader=loader,
            load_from=str(tmp_path / f'iter_{stop}.pth'), resume=True,
        )  # fmt: skip
        assert rest == whole[stop:]


def test_a_run_without_a_seed_goes_on_with_the_one_it_drew(tmp_path):
    whole = train(tmp_path, 4, randomness={})
    rest = train(
        tmp_path / 'on', 4, randomness={}, load_from=str(tmp_path / 'iter_3.pth'), resume=True
    )
    assert rest == whole[3:]


def test_per_sample_false_draws_in_the_state_of_the_process(tmp_path):
    randomness = {'seed': 3, 'per_sample': False}
    seen = train(tmp_path, 4, epochs=1, randomness=randomness, loader={'num_workers': 1})
    torch.manual_seed(3)  # worker_init_fn of the API: seed + rank * workers + worker
    expected = [int(torch.randint(2**31, ())) for _ in range(16)]
    assert [sample[3] for batch in seen for sample in batch] == expected


def test_a_change_is_told(tmp_path):
    train(tmp_path, 4)
    logs = []
    for length, batch_size in ((16, 8), (20, 4)):
        train(
            tmp_path / f'{length}', batch_size, length=length, log_level='WARNING',
            load_from=str(tmp_path / 'iter_1.pth'), resume=True,
        )  # fmt: skip
        logs.append((tmp_path / f'{length}').glob('*/*.log'))
    texts = [''.join(path.read_text() for path in paths) for paths in logs]
    assert 'the data changed: batch size of a rank 4 -> 8' in texts[0]
    assert 'samples of the dataset 16 -> 20' in texts[1]
    assert 'may repeat or leave out samples' in texts[1]


@pytest.mark.parametrize('length', [6, 30])
def test_a_dataset_of_another_length_has_the_rest_of_the_epoch(tmp_path, length):
    train(tmp_path, 4, epochs=2)
    rest = train(
        tmp_path / 'on', 4, epochs=2, length=length,
        load_from=str(tmp_path / 'iter_2.pth'), resume=True,
    )  # fmt: skip
    # 8 samples of epoch 1 were seen.
    assert len(_indices(rest)) == max(length - 8, 0) + length


def test_a_file_without_the_position_in_samples_goes_on_by_its_counts(tmp_path):
    whole = train(tmp_path, 4, epochs=2)
    for stop, batch_size, expected in ((5, 4, whole[5:]), (4, 8, None)):
        checkpoint = torch.load(tmp_path / f'iter_{stop}.pth', weights_only=True)
        del checkpoint['meta']['data']
        torch.save(checkpoint, tmp_path / 'old.pth')
        rest = train(
            tmp_path / f'on{stop}', batch_size, epochs=2, log_level='WARNING',
            load_from=str(tmp_path / 'old.pth'), resume=True,
        )  # fmt: skip
        if expected is not None:
            assert rest == expected
    logs = ''.join(path.read_text() for path in (tmp_path / 'on4').glob('*/*.log'))
    assert 'Where it was within its epoch is not known' in logs


class Resuming(DataLoader):
    """A loader that knows its own position."""

    taken = 0

    def __iter__(self) -> Any:
        first, self.taken = self.taken, 0
        for number, batch in enumerate(super().__iter__()):
            if number >= first:
                self.taken = number + 1
                yield batch
        self.taken = 0

    def state_dict(self) -> dict[str, int]:
        return {'taken': self.taken}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.taken = state['taken']
        self.loaded = dict(state)


@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize('stop', [3, 4, 6])
def test_a_loader_with_a_state_is_resumed_by_it(tmp_path, by_epoch, stop):
    def run(folder: Path, **changes: Any) -> tuple[list[int], Any]:
        loader = Resuming(Augmented(16), 4, collate_fn=lambda samples: {
            name: [sample[name] for sample in samples] for name in samples[0]
        })  # fmt: skip
        model = Seeing()
        Runner(
            model, str(folder), train_dataloader=loader,
            train_cfg={'max_epochs': 2} if by_epoch else {'max_iters': 8},
            optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
            default_hooks={
                'checkpoint': {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 1},
                'logger': None,
            },
            log_level='ERROR', **changes,
        ).train()  # fmt: skip
        return _indices(model.seen), loader

    whole, _ = run(tmp_path / 'whole')
    rest, loader = run(
        tmp_path / 'on', load_from=str(tmp_path / 'whole' / f'iter_{stop}.pth'), resume=True
    )
    assert loader.loaded == {'taken': stop if stop <= 4 else stop - 4}
    assert rest == whole[4 * stop :]
