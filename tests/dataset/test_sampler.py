"""The order of samples on one rank and on several."""

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler

from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.registry import DATA_SAMPLERS
from mmengine.testing._internal.distributed import run_distributed
from mmengine.utils.errors import ArgumentError


def on_rank(sampler_class, rank, world_size, length, **kwargs):
    """A sampler as it would be on that rank."""
    with pytest.MonkeyPatch.context() as patch:
        info = 'mmengine.dataset.sampler.get_data_parallel_info'
        patch.setattr(info, lambda: (rank, world_size))
        return sampler_class(range(length), **kwargs)


def first(sampler, count):
    return list(itertools.islice(iter(sampler), count))


# DefaultSampler


@settings(max_examples=60)
@given(
    length=st.integers(1, 40),
    world_size=st.integers(1, 6),
    epoch=st.integers(0, 5),
    shuffle=st.booleans(),
)
def test_default_sampler_deals_like_torchs_distributed_sampler(length, world_size, epoch, shuffle):
    for rank in range(world_size):
        ours = on_rank(DefaultSampler, rank, world_size, length, shuffle=shuffle, seed=7)
        theirs = DistributedSampler(range(length), world_size, rank, shuffle=shuffle, seed=7)
        ours.set_epoch(epoch)
        theirs.set_epoch(epoch)
        assert list(ours) == list(theirs)
        assert len(ours) == len(theirs)


def test_without_rounding_up_every_sample_is_seen_exactly_once():
    ranks = [on_rank(DefaultSampler, r, 4, 10, seed=0, round_up=False) for r in range(4)]
    assert [len(sampler) for sampler in ranks] == [3, 3, 2, 2]
    assert [len(list(sampler)) for sampler in ranks] == [3, 3, 2, 2]
    assert sorted(itertools.chain(*ranks)) == list(range(10))


def test_more_ranks_than_samples_leave_some_without():
    ranks = [on_rank(DefaultSampler, r, 3, 2, shuffle=False, round_up=False) for r in range(3)]
    assert [list(sampler) for sampler in ranks] == [[0], [1], []]


def test_an_epoch_is_the_same_each_time_and_another_epoch_is_not():
    sampler = DefaultSampler(range(20), seed=1)
    order = list(sampler)
    assert list(sampler) == order
    sampler.set_epoch(1)
    assert list(sampler) != order
    sampler.set_epoch(0)
    assert list(sampler) == order


def test_an_epoch_chosen_after_the_start_does_not_change_the_running_one():
    sampler = DefaultSampler(range(20), seed=1)
    running = iter(sampler)
    order = list(sampler)
    sampler.set_epoch(5)
    assert list(running) == order


def test_an_empty_dataset_gives_no_samples():
    assert list(DefaultSampler([], seed=0)) == []


@settings(max_examples=60)
@given(
    length=st.integers(1, 30),
    world_size=st.integers(1, 4),
    skipped=st.integers(0, 40),
    round_up=st.booleans(),
)
def test_skip_starts_later_in_the_same_order(length, world_size, skipped, round_up):
    for rank in range(world_size):
        sampler = on_rank(DefaultSampler, rank, world_size, length, seed=3, round_up=round_up)
        whole = list(sampler)
        sampler.skip(skipped)
        assert list(sampler) == whole[skipped:]
        # only once
        assert list(sampler) == whole


def test_skipping_batches_in_a_dataloader_gives_the_rest_of_the_batches():
    sampler = DefaultSampler(range(11), seed=3)
    loader = DataLoader(range(11), batch_size=3, sampler=sampler)
    batches = [batch.tolist() for batch in loader]
    sampler.skip(2 * 3)
    assert [batch.tolist() for batch in loader] == batches[2:]


def test_skip_works_below_a_batch_sampler():
    sampler = DefaultSampler(range(10), shuffle=False, seed=0)
    sampler.skip(4)
    assert list(BatchSampler(sampler, 4, drop_last=False)) == [[4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize('sampler_class', [DefaultSampler, InfiniteSampler])
def test_a_negative_skip_is_refused(sampler_class):
    with pytest.raises(ArgumentError, match='0 samples or more, got -1'):
        sampler_class(range(3), seed=0).skip(-1)


@pytest.mark.parametrize('sampler_class', [DefaultSampler, InfiniteSampler])
@pytest.mark.parametrize('seed', ['7', 1.5, True])
def test_a_seed_that_is_no_whole_number_is_refused(sampler_class, seed):
    with pytest.raises(TypeError, match='seed must be an integer'):
        sampler_class(range(3), seed=seed)


@pytest.mark.parametrize('sampler_class', [DefaultSampler, InfiniteSampler])
@pytest.mark.parametrize('send', [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_copy_gives_the_same_order(sampler_class, send):
    sampler = sampler_class(range(9), seed=4)
    sampler.skip(2)
    assert first(send(sampler), 9) == first(sampler, 9)


@pytest.mark.parametrize('name', ['DefaultSampler', 'InfiniteSampler'])
def test_samplers_are_built_from_configs(name):
    sampler = DATA_SAMPLERS.build({'type': name, 'dataset': range(4), 'shuffle': False})
    assert first(sampler, 4) == [0, 1, 2, 3]


# InfiniteSampler


def test_each_pass_shows_every_sample_once_in_a_new_order():
    passes = np.array(first(InfiniteSampler(range(8), seed=3), 5 * 8)).reshape(5, 8)
    assert (np.sort(passes) == np.arange(8)).all()
    assert len({tuple(order) for order in passes}) == 5


def test_one_generator_draws_all_passes():
    generator = torch.Generator().manual_seed(3)
    expected = torch.cat([torch.randperm(8, generator=generator) for _ in range(4)])
    assert first(InfiniteSampler(range(8), seed=3), 32) == expected.tolist()


def test_two_passes_as_mmengine_gives_them():
    # Recorded from mmengine 0.10.7.
    expected = [1, 0, 3, 4, 2, 0, 1, 2, 4, 3, 1, 4]
    assert first(InfiniteSampler(range(5), seed=3), 12) == expected


def test_neighbouring_seeds_share_no_later_pass():
    runs = [
        np.array(first(InfiniteSampler(range(50), seed=seed), 500)).reshape(10, 50)
        for seed in range(4)
    ]
    assert len({tuple(order) for run in runs for order in run}) == 40


def test_without_shuffling_it_goes_round_and_round():
    assert first(InfiniteSampler(range(3), shuffle=False), 7) == [0, 1, 2, 0, 1, 2, 0]


@settings(max_examples=60)
@given(
    length=st.integers(1, 12),
    world_size=st.integers(1, 5),
    skipped=st.integers(0, 50),
)
def test_ranks_take_turns_along_one_endless_row(length, world_size, skipped):
    row = first(InfiniteSampler(range(length), seed=3), (skipped + 20) * world_size)
    for rank in range(world_size):
        sampler = on_rank(InfiniteSampler, rank, world_size, length, seed=3)
        sampler.skip(skipped)
        assert first(sampler, 20) == row[rank::world_size][skipped : skipped + 20]


@pytest.fixture
def drawn(monkeypatch):
    """How many orders were drawn."""
    orders = []
    randperm = torch.randperm

    def count(*args, **kwargs):
        orders.append(args)
        return randperm(*args, **kwargs)

    monkeypatch.setattr(torch, 'randperm', count)
    return orders


def test_a_far_skip_draws_one_pass_with_the_state_of_a_checkpoint(drawn):
    row = first(InfiniteSampler(range(10), seed=0), 20_000)
    trained = InfiniteSampler(range(10), seed=0)
    first(trained, 10_230)  # a data loader is ahead of what is used
    state = trained.state_dict(9_997)
    resumed = InfiniteSampler(range(10), seed=0)
    resumed.load_state_dict(state)
    resumed.skip(9_997)
    drawn.clear()
    assert first(resumed, 10) == row[9_997:10_007]
    assert len(drawn) == 2  # the pass that it lands in, and the next one


def test_without_a_state_a_skip_only_draws_the_orders_again(drawn):
    row = first(InfiniteSampler(range(10), seed=0), 500)
    sampler = InfiniteSampler(range(10), seed=0)
    sampler.skip(457)
    drawn.clear()
    assert first(sampler, 3) == row[457:460]
    assert len(drawn) == 46
    # What was drawn once is known.
    sampler.skip(457)
    drawn.clear()
    assert first(sampler, 3) == row[457:460]
    assert len(drawn) == 1


def test_the_state_that_a_sampler_holds_is_bounded():
    sampler = InfiniteSampler(range(2), seed=0)
    first(sampler, 10_000)
    assert len(sampler._generator_states) <= 256
    assert set(sampler.state_dict(10)) == {'seed', 'size', 'pass_number'}


def test_the_state_goes_through_a_checkpoint(tmp_path):
    sampler = InfiniteSampler(range(10), seed=5)
    row = first(sampler, 60)
    torch.save(sampler.state_dict(37), tmp_path / 'state.pth')
    resumed = InfiniteSampler(range(10), seed=5)
    resumed.load_state_dict(torch.load(tmp_path / 'state.pth', weights_only=True))
    resumed.skip(37)
    assert first(resumed, 23) == row[37:]


@pytest.mark.parametrize('other', [{'seed': 6}, {'dataset': range(11)}], ids=['seed', 'length'])
def test_the_state_of_another_order_is_left_aside(other):
    sampler = InfiniteSampler(range(10), seed=5)
    first(sampler, 60)
    arguments = {'dataset': range(10), 'seed': 5, **other}
    expected = first(InfiniteSampler(**arguments), 60)
    resumed = InfiniteSampler(**arguments)
    resumed.load_state_dict(sampler.state_dict(37))
    resumed.skip(37)
    assert first(resumed, 23) == expected[37:]


def test_a_state_serves_another_number_of_ranks():
    row = first(InfiniteSampler(range(10), seed=5), 60)
    two = on_rank(InfiniteSampler, 1, 2, 10, seed=5)
    first(two, 30)
    state = two.state_dict(18)  # 36 samples over both ranks
    for rank in range(3):
        resumed = on_rank(InfiniteSampler, rank, 3, 10, seed=5)
        resumed.load_state_dict(state)
        resumed.skip(12)
        assert first(resumed, 8) == row[36 + rank :: 3]


def test_an_iteration_starts_from_the_beginning_whatever_the_epoch():
    sampler = InfiniteSampler(range(5), seed=0)
    order = first(sampler, 12)
    sampler.set_epoch(3)
    assert first(sampler, 12) == order
    assert len(sampler) == 5


def test_an_empty_dataset_is_refused():
    with pytest.raises(ArgumentError, match='empty dataset'):
        InfiniteSampler([], seed=0)


# On real ranks


def orders_of_unseeded_samplers(rank, world_size):
    torch.manual_seed(rank)
    np.random.seed(rank)
    default = DefaultSampler(range(7))
    infinite = InfiniteSampler(range(7))
    return default.seed, list(default), infinite.seed, first(infinite, 7)


@pytest.mark.distributed
def test_ranks_without_a_seed_agree_on_one():
    (seed_a, default_a, inf_seed_a, inf_a), (seed_b, default_b, inf_seed_b, inf_b) = (
        run_distributed(orders_of_unseeded_samplers, 2)
    )
    assert seed_a == seed_b
    assert inf_seed_a == inf_seed_b
    # 7 samples and one repeated, for two ranks
    assert sorted({*default_a, *default_b}) == list(range(7))
    assert len(default_a) == len(default_b) == 4
    # The first pass of 7 is taken in turns.
    assert sorted([*inf_a[:4], *inf_b[:3]]) == list(range(7))
