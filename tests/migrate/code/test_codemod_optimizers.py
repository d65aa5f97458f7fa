"""Models that step several optimizers: as they were, by hand, and converted, bit for bit."""

import types
from textwrap import dedent, indent
from typing import Any

import pytest
import torch

from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner

convert = pytest.importorskip('mmengine.migrate._code.convert')

TODO = 'TODO(mmengine migrate)'
NAMES = ('made', 'told')
# The loss of `made` goes through `told`, and leaves gradients there.
HEAD = """
import torch
from torch import nn


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.made = nn.Linear(2, 3)
        self.told = nn.Linear(3, 1)

    def forward(self, x, mode='tensor'):
        return self.told(self.made(x))

    def loss_told(self, x):
        return (self.told(self.made(x).detach()) + 1).square().mean()

    def loss_made(self, x):
        return (self.told(self.made(x)) - 1).square().mean()
"""
STEPS = {
    'zero-first': """
        def train_step(self, data, optimizer):
            told = self.loss_told(data)
            optimizer['told'].zero_grad()
            told.backward()
            optimizer['told'].step()

            made = self.loss_made(data)
            optimizer['made'].zero_grad()
            made.backward()
            optimizer['made'].step()
            return dict(log_vars=dict(made=made.item()), num_samples=len(data))
        """,
    'all-zero-first': """
        def train_step(self, data, optimizer):
            optimizer['told'].zero_grad()
            optimizer['made'].zero_grad()
            told = self.loss_told(data)
            told.backward()
            optimizer['told'].step()
            made = self.loss_made(data)
            made.backward()
            optimizer['made'].step()
            return dict(log_vars=dict(made=made.item()), num_samples=len(data))
        """,
    'zero-last': """
        def train_step(self, data, optimizer):
            told = self.loss_told(data)
            told.backward()
            optimizer['told'].step()
            optimizer['told'].zero_grad()
            made = self.loss_made(data)
            made.backward()
            optimizer['made'].step()
            optimizer['made'].zero_grad()
            return dict(log_vars=dict(made=made.item()), num_samples=len(data))
        """,
    'one-loss': """
        def train_step(self, data, optimizer):
            loss = self.loss_made(data) + self.loss_told(data)
            for one in optimizer.values():
                one.zero_grad()
            loss.backward()
            optimizer['made'].step()
            optimizer['told'].step()
            return dict(log_vars=dict(loss=loss.item()), num_samples=len(data))
        """,
    'aliases': """
        def train_step(self, data, optimizer):
            first, second = optimizer['told'], optimizer['made']
            told = self.loss_told(data)
            first.zero_grad()
            told.backward()
            first.step()
            made = self.loss_made(data)
            second.zero_grad()
            made.backward()
            second.step()
            return dict(log_vars=dict(made=made.item()), num_samples=len(data))
        """,
    'handed-on': """
        def train_step(self, data, optimizer):
            log_vars = self.one(self.loss_told, data, optimizer=optimizer['told'])
            log_vars.update(self.one(self.loss_made, data, optimizer['made']))
            return dict(log_vars=log_vars, num_samples=len(data))

        def one(self, loss_of, data, optimizer):
            loss = loss_of(data)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return {loss_of.__name__: loss.item()}
        """,
    'clipped': """
        def train_step(self, data, optimizer):
            told = self.loss_told(data)
            optimizer['told'].zero_grad()
            told.backward()
            nn.utils.clip_grad_norm_(self.told.parameters(), 0.1)
            optimizer['told'].step()
            made = self.loss_made(data)
            optimizer['made'].zero_grad()
            made.backward()
            norm = sum(p.grad.norm() for p in self.made.parameters())
            optimizer['made'].step()
            return dict(log_vars=dict(norm=norm.item()), num_samples=len(data))
        """,
    'looked-at-later': """
        def train_step(self, data, optimizer):
            told = self.loss_told(data)
            optimizer['told'].zero_grad()
            told.backward()
            optimizer['told'].step()
            norm = sum(p.grad.norm() for p in self.told.parameters())
            made = self.loss_made(data) * norm.item()
            optimizer['made'].zero_grad()
            made.backward()
            optimizer['made'].step()
            return dict(log_vars=dict(norm=norm.item()), num_samples=len(data))
        """,
    'every-other': """
        def train_step(self, data, optimizer):
            self.count = getattr(self, 'count', 0) + 1
            told = self.loss_told(data)
            optimizer['told'].zero_grad()
            told.backward()
            optimizer['told'].step()
            if self.count % 2 == 0:
                made = self.loss_made(data)
                optimizer['made'].zero_grad()
                made.backward(retain_graph=True)
                optimizer['made'].step()
            return dict(log_vars=dict(told=told.item()), num_samples=len(data))
        """,
}


def _source(case: str) -> str:
    return HEAD + '\n' + indent(dedent(STEPS[case]).strip(), '    ') + '\n'


def _converted(text: str) -> str:
    new: str = convert.convert_source(text).new
    assert convert.convert_source(new).new == new
    return new


def _model(text: str) -> Any:
    module = types.ModuleType('pair')
    exec(compile(text, '<pair>', 'exec'), module.__dict__)
    torch.manual_seed(0)
    return module.Pair()


def _optimizers(model: Any) -> dict[str, torch.optim.Optimizer]:
    return {name: torch.optim.Adam(getattr(model, name).parameters(), lr=0.05) for name in NAMES}


def _batches(count: int = 6) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 2, generator=generator) for _ in range(count)]


def _by_hand(text: str) -> list[torch.Tensor]:
    model = _model(text)
    optimizers = _optimizers(model)
    for batch in _batches():
        model.train_step(batch, optimizers)
    return list(model.parameters())


def _wrapped(model: Any, **options: Any) -> OptimWrapperDict:
    return OptimWrapperDict(
        **{name: OptimWrapper(each, **options) for name, each in _optimizers(model).items()}
    )


@pytest.mark.parametrize('case', STEPS)
def test_a_converted_step_moves_each_parameter_as_it_did(case):
    expected = _by_hand(_source(case))
    model = _model(_converted(_source(case)))
    wrappers = _wrapped(model)
    for batch in _batches():
        model.train_step({'inputs': batch}['inputs'], wrappers)
    for ours, theirs in zip(model.parameters(), expected, strict=True):
        assert torch.equal(ours, theirs)


def test_under_runner_too(tmp_path):
    samples = [sample for batch in _batches() for sample in batch]
    model = _model(_converted(_source('zero-first')))
    runner = Runner(
        model,
        str(tmp_path),
        train_dataloader=torch.utils.data.DataLoader(samples, batch_size=4),
        train_cfg={'by_epoch': True, 'max_epochs': 1},
        optim_wrapper=_wrapped(model),
        log_level='ERROR',
    )
    runner.train()
    for ours, theirs in zip(model.parameters(), _by_hand(_source('zero-first')), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize('case', ['zero-first', 'all-zero-first', 'aliases', 'handed-on'])
def test_a_zeroing_that_would_defeat_accumulation_has_a_comment_and_no_mark(case):
    lines = _converted(_source(case)).splitlines()
    zeros = [i for i, line in enumerate(lines) if line.endswith('.zero_grad()')]
    assert zeros
    assert any('with accumulation, it has to go' in line for line in lines)
    assert not any(TODO in lines[index - 1] for index in zeros)


def test_without_a_zeroing_first_nothing_is_left_to_do_and_batches_accumulate():
    text = _source('zero-last').replace('self.told(self.made(x)) - 1', 'self.made(x) - 1')
    new = _converted(text)
    assert TODO not in new
    assert 'zero_grad' not in new

    model = _model(new)
    wrappers = _wrapped(model, accumulative_counts=3)
    for batch in _batches():
        model.train_step(batch, wrappers)

    expected = _model(text)
    optimizers = _optimizers(expected)
    for index, batch in enumerate(_batches()):
        (expected.loss_told(batch) / 3).backward()
        (expected.loss_made(batch) / 3).backward()
        if index % 3 == 2:
            for optimizer in optimizers.values():
                optimizer.step()
                optimizer.zero_grad()
    for ours, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
