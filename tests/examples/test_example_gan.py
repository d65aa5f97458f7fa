"""The GAN example, in one process and in two, against the same GAN in plain torch."""

import copy
import itertools
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import softplus

from examples.gan import build_runner
from mmengine.model import MMDistributedDataParallel, MMSeparateDistributedDataParallel
from mmengine.testing._internal.distributed import run_distributed

ITERS = 6
NOISE = 8


def _by_hand(generator: nn.Module, discriminator: nn.Module, batches: Any) -> None:
    """Train both in turn; on several processes the gradients are averaged over them."""
    options = {'lr': 1e-3, 'betas': (0.5, 0.9)}
    of_generator = torch.optim.Adam(generator.parameters(), **options)
    of_discriminator = torch.optim.Adam(discriminator.parameters(), **options)
    bce = nn.BCEWithLogitsLoss()
    for batch in batches:
        real = batch['inputs']
        with torch.no_grad():
            fake = generator(torch.randn(len(real), NOISE))
        on_fake, on_real = discriminator(fake), discriminator(real)
        loss = bce(on_fake, torch.zeros_like(on_fake)) + bce(on_real, torch.ones_like(on_real))
        _update(of_discriminator, loss)

        on_fake = discriminator(generator(torch.randn(len(real), NOISE)))
        _update(of_generator, bce(on_fake, torch.ones_like(on_fake)))


def _update(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    if dist.is_initialized():
        for param in optimizer.param_groups[0]['params']:
            dist.all_reduce(param.grad)
            param.grad /= dist.get_world_size()
    optimizer.step()


def _assert_same_bits(ours: nn.Module, theirs: nn.Module) -> None:
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_two_batches_train_both_networks_and_leave_a_checkpoint(tmp_path):
    runner = build_runner(str(tmp_path), max_iters=2)
    before = copy.deepcopy(runner.model)
    runner.train()
    assert runner.iter == 2
    for name, param in before.named_parameters():
        assert not torch.equal(runner.model.get_parameter(name), param), name
    state = torch.load(tmp_path / 'iter_2.pth', weights_only=True)
    assert sorted(state['optimizer']) == ['discriminator', 'generator']


def test_losses_are_logged_under_their_names(tmp_path):
    runner = build_runner(str(tmp_path), max_iters=1)
    model = copy.deepcopy(runner.model)
    batch = next(iter(runner.train_dataloader))
    torch.manual_seed(3)
    runner.train()
    torch.manual_seed(3)
    fake = model.generator(torch.randn(64, NOISE))
    expected = {
        # -log(1 - sigmoid(x)) = softplus(x) and -log(sigmoid(x)) = softplus(-x)
        'train/loss_disc_fake': softplus(model.discriminator(fake)).mean(),
        'train/loss_disc_real': softplus(-model.discriminator(batch['inputs'])).mean(),
    }
    for name, value in expected.items():
        assert runner.message_hub.get_scalar(name).current() == pytest.approx(value.item())


def test_parameters_equal_a_plain_loop_bit_for_bit(tmp_path):
    runner = build_runner(str(tmp_path), max_iters=ITERS)
    expected = copy.deepcopy(runner.model)
    torch.manual_seed(5)
    runner.train()
    torch.manual_seed(5)
    batches = itertools.islice(runner.train_dataloader, ITERS)
    _by_hand(expected.generator, expected.discriminator, batches)
    _assert_same_bits(runner.model, expected)


def _train_on_one_rank(rank: int, world_size: int, work_dir: str) -> dict[str, torch.Tensor]:
    runner = build_runner(work_dir, max_iters=ITERS, launcher='pytorch')
    assert type(runner.model) is MMSeparateDistributedDataParallel
    assert type(runner.model.generator) is MMDistributedDataParallel
    model = runner.model.module
    generator = copy.deepcopy(model.generator.module)
    discriminator = copy.deepcopy(model.discriminator.module)
    torch.manual_seed(5 + rank)
    runner.train()
    torch.manual_seed(5 + rank)
    batches = list(itertools.islice(runner.train_dataloader, ITERS))
    _by_hand(generator, discriminator, batches)
    _assert_same_bits(model.generator, generator)
    _assert_same_bits(model.discriminator, discriminator)
    return {'first': batches[0]['inputs'], **dict(runner.model.named_parameters())}


@pytest.mark.distributed
def test_two_processes_have_the_bits_of_a_loop_that_averages_gradients(tmp_path):
    first, second = run_distributed(_train_on_one_rank, 2, str(tmp_path), backend=None)
    assert not torch.equal(first.pop('first'), second.pop('first')), 'both had the same data'
    assert len(first) == 12
    assert all(torch.equal(first[name], second[name]) for name in first)
