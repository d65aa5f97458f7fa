"""Wrappers take, bit for bit, the steps of a loop written by hand in plain torch."""

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict

NUM_BATCHES = 10
WINDOW = 3
OPTIMIZERS: dict[str, Callable] = {
    'sgd': lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.01),
    'adamw': lambda params: torch.optim.AdamW(params, lr=0.01),
}
# Wrapper class and arguments of each variant.
VARIANTS: dict[str, tuple[type[OptimWrapper], dict]] = {
    'plain': (OptimWrapper, {}),
    'accumulation': (OptimWrapper, dict(accumulative_counts=WINDOW)),
    'clip_norm': (OptimWrapper, dict(clip_grad=dict(max_norm=0.05))),
    'clip_value': (OptimWrapper, dict(clip_grad=dict(type='value', clip_value=0.01))),
    'bf16': (AmpOptimWrapper, dict(dtype='bfloat16')),
    'fp16': (AmpOptimWrapper, dict(dtype='float16')),
    'fp16_accumulation_clip_norm': (
        AmpOptimWrapper,
        dict(dtype=torch.float16, accumulative_counts=WINDOW, clip_grad=dict(max_norm=0.05)),
    ),
}


def make_net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def make_batches() -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return list(torch.randn(NUM_BATCHES, 5, 4, generator=generator))


class HandWritten:
    """One optimizer driven in plain torch; a window's true size is looked up in a table."""

    # Ten batches in windows of three: 3 + 3 + 3 + 1.
    TRUE_SIZES = [3, 3, 3, 3, 3, 3, 3, 3, 3, 1]

    def __init__(self, optimizer: torch.optim.Optimizer, variant: str) -> None:
        self.optimizer = optimizer
        self.variant = variant
        self.scaler = torch.amp.GradScaler('cpu', enabled='fp16' in variant)

    def context(self):
        if 'fp16' in self.variant:
            return torch.autocast('cpu', torch.float16)
        return torch.autocast('cpu', torch.bfloat16) if self.variant == 'bf16' else nullcontext()

    def take(self, index: int, loss: Tensor) -> None:
        accumulates = 'accumulation' in self.variant
        if accumulates:
            loss = loss / self.TRUE_SIZES[index]
        self.scaler.scale(loss).backward()
        if accumulates and index not in (2, 5, 8, 9):
            return
        params = [param for group in self.optimizer.param_groups for param in group['params']]
        self.scaler.unscale_(self.optimizer)
        if 'clip_norm' in self.variant:
            clip_grad_norm_(params, 0.05)
        if self.variant == 'clip_value':
            clip_grad_value_(params, 0.01)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()


def assert_same_parameters(ours: nn.Module, theirs: nn.Module) -> None:
    for (name, mine), (_, plain) in zip(
        ours.named_parameters(), theirs.named_parameters(), strict=True
    ):
        assert torch.equal(mine, plain), name


@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.parametrize('optimizer', OPTIMIZERS)
def test_ten_steps_equal_plain_torch(optimizer: str, variant: str) -> None:
    net, plain_net = make_net(), make_net()
    plain_net.load_state_dict(net.state_dict())
    wrapper_class, kwargs = VARIANTS[variant]
    wrapper = wrapper_class(optimizer=OPTIMIZERS[optimizer](net.parameters()), **kwargs)
    wrapper.initialize_count_status(net, 0, NUM_BATCHES)
    by_hand = HandWritten(OPTIMIZERS[optimizer](plain_net.parameters()), variant)

    for index, batch in enumerate(make_batches()):
        with wrapper.optim_context(net):
            loss = net(batch).square().mean()
        wrapper.update_params(loss)
        with by_hand.context():
            plain_loss = plain_net(batch).square().mean()
        by_hand.take(index, plain_loss)

    assert_same_parameters(net, plain_net)


@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.parametrize('optimizer', OPTIMIZERS)
def test_two_optimizers_of_one_model_equal_plain_torch(optimizer: str, variant: str) -> None:
    net, plain_net = (nn.ModuleDict(dict(a=make_net(), b=make_net())) for _ in range(2))
    plain_net.load_state_dict(net.state_dict())
    wrapper_class, kwargs = VARIANTS[variant]
    wrappers = OptimWrapperDict(
        a=wrapper_class(optimizer=OPTIMIZERS[optimizer](net['a'].parameters()), **kwargs),
        b=wrapper_class(optimizer=OPTIMIZERS['sgd'](net['b'].parameters()), **kwargs),
    )
    wrappers.initialize_count_status(net, 0, NUM_BATCHES)
    by_hand = {
        'a': HandWritten(OPTIMIZERS[optimizer](plain_net['a'].parameters()), variant),
        'b': HandWritten(OPTIMIZERS['sgd'](plain_net['b'].parameters()), variant),
    }

    for index, batch in enumerate(make_batches()):
        for name in ('a', 'b'):
            with wrappers[name].optim_context(net):
                loss = net[name](batch).square().mean()
            wrappers[name].update_params(loss)
            with by_hand[name].context():
                plain_loss = plain_net[name](batch).square().mean()
            by_hand[name].take(index, plain_loss)

    assert_same_parameters(net, plain_net)


def test_the_variants_differ_from_each_other() -> None:
    # Otherwise parity would say nothing: a wrapper that ignores its arguments would pass.
    results = {}
    for variant, (wrapper_class, kwargs) in VARIANTS.items():
        torch.manual_seed(0)
        net = make_net()
        wrapper = wrapper_class(optimizer=OPTIMIZERS['sgd'](net.parameters()), **kwargs)
        wrapper.initialize_count_status(net, 0, NUM_BATCHES)
        for batch in make_batches():
            with wrapper.optim_context(net):
                loss = net(batch).square().mean()
            wrapper.update_params(loss)
        results[variant] = net[0].weight.detach().clone()
    names = list(results)
    for number, name in enumerate(names):
        for other in names[number + 1 :]:
            assert not torch.equal(results[name], results[other]), (name, other)
