"""The example that optimises twice a batch, in one process and in two, against a plain loop."""

import copy
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy

from examples.two_views import build_runner
from mmengine.model import MMDistributedDataParallel
from mmengine.testing._internal.distributed import run_distributed

EPOCHS = 2


def _by_hand(features: nn.Module, head: nn.Module, dataloader: Any) -> None:
    """Two updates a batch; on several processes the gradients are averaged over them."""
    params = [*features.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(params, lr=0.05, momentum=0.9)
    for epoch in range(EPOCHS):
        dataloader.sampler.set_epoch(epoch)
        for batch in dataloader:
            down, right = torch.randint(8, (2,)).tolist()
            shifted = batch['inputs'].roll(down, dims=2).roll(right, dims=3)
            for images in (shifted, batch['inputs']):
                optimizer.zero_grad()
                cross_entropy(head(features(images)), batch['labels']).backward()
                if dist.is_initialized():
                    for param in params:
                        dist.all_reduce(param.grad)
                        param.grad /= dist.get_world_size()
                optimizer.step()


def _assert_same_bits(ours: nn.Module, theirs: nn.Module) -> None:
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_two_batches_make_four_updates(tmp_path):
    runner = build_runner(str(tmp_path), num_samples=32, max_epochs=1)
    runner.train()
    assert runner.iter == 2
    assert runner.optim_wrapper.inner_count == 4
    assert runner.message_hub.get_scalar('train/loss_augmented').data[0].size == 2
    assert (tmp_path / 'epoch_1.pth').is_file()


def test_the_augmented_view_differs_and_the_plain_one_is_the_batch(tmp_path):
    model = build_runner(str(tmp_path), num_samples=32).model
    batch = {'inputs': torch.arange(64.0).reshape(1, 1, 8, 8), 'labels': torch.tensor([0])}
    assert torch.equal(model.data_preprocessor(batch, training=False)['inputs'], batch['inputs'])
    views = [model.data_preprocessor(batch, training=True)['inputs'] for _ in range(5)]
    # A shift by nothing has the odds 1 : 64, five times over.
    assert any(not torch.equal(view, batch['inputs']) for view in views)
    assert all(torch.equal(view.flatten().sort()[0], torch.arange(64.0)) for view in views)


def test_parameters_equal_a_plain_loop_bit_for_bit(tmp_path):
    runner = build_runner(str(tmp_path), num_samples=48, max_epochs=EPOCHS)
    expected = copy.deepcopy(runner.model)
    torch.manual_seed(5)
    runner.train()
    torch.manual_seed(5)
    _by_hand(expected.features, expected.head, runner.train_dataloader)
    _assert_same_bits(runner.model, expected)


def _train_on_one_rank(rank: int, world_size: int, work_dir: str) -> dict[str, torch.Tensor]:
    runner = build_runner(work_dir, num_samples=64, max_epochs=EPOCHS, launcher='pytorch')
    assert type(runner.model) is MMDistributedDataParallel
    model = runner.model.module
    features, head = copy.deepcopy(model.features), copy.deepcopy(model.head)
    torch.manual_seed(5 + rank)
    runner.train()
    torch.manual_seed(5 + rank)
    _by_hand(features, head, runner.train_dataloader)
    _assert_same_bits(model.features, features)
    _assert_same_bits(model.head, head)
    return dict(runner.model.named_parameters())


@pytest.mark.distributed
def test_two_processes_have_the_bits_of_a_loop_that_averages_gradients(tmp_path):
    first, second = run_distributed(_train_on_one_rank, 2, str(tmp_path), backend=None)
    assert len(first) == 4
    assert all(torch.equal(first[name], second[name]) for name in first)
