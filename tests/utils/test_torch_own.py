"""Functions of torch that a tool has replaced before mmengine is imported are called."""

import subprocess
import sys
from typing import Any

import pytest
import torch

from mmengine.utils._torch_own import is_torchs

OWNERS = {
    'backward': 'torch.Tensor',
    'autograd.backward': 'torch',
    '_optimizer_step_code': 'torch.optim.Optimizer',
    'zero_grad': 'torch.optim.Optimizer',
    'step': 'torch.amp.GradScaler',
    '__next__': 'torch.utils.data.dataloader._BaseDataLoaderIter',
    '__enter__': 'torch.autograd.profiler.record_function',
    'default_collate': 'torch.utils.data',
}

# The replacement has the name of the function, and reaches the function through its closure, as
# tools write it. The training is of 4 batches of 2 samples.
SCRIPT = """
import torch, torch.utils.data, torch.amp
from operator import attrgetter

calls = []

def replaced(original):
    def {name}(*args, **kwargs):
        calls.append(1)
        return original(*args, **kwargs)
    return {name}

setattr({owner}, {name!r}, replaced(getattr({owner}, {name!r})))
if {is_collate}:
    torch.utils.data.dataloader._utils.collate.default_collate = torch.utils.data.default_collate

from mmengine.dataset._direct_batches import direct_batches
from mmengine.optim import {wrapper}

def count(train):
    torch.manual_seed(0)
    net = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    loader = torch.utils.data.DataLoader([torch.ones(1)] * 8, batch_size=2)
    calls.clear()
    train(net, optimizer, iter(loader))
    return len(calls)

def by_hand(net, optimizer, batches):
    scaler = torch.amp.GradScaler(enabled=False)
    for batch in batches:
        net(batch).sum().backward()
        scaler.step(optimizer)
        optimizer.zero_grad()

def engine(net, optimizer, batches):
    wrapper = {wrapper}(optimizer=optimizer{arguments})
    for batch in direct_batches(batches):
        wrapper.update_params(net(batch).sum())

print(count(by_hand), count(engine))
"""


@pytest.mark.parametrize('name', OWNERS)
def test_a_function_replaced_before_the_import_is_called_as_often_as_by_hand(name: str) -> None:
    owner, _, last = f'{OWNERS[name]}.{name}'.rpartition('.')
    is_amp = name == 'step'
    script = SCRIPT.format(
        owner=owner, name=last, is_collate=name == 'default_collate',
        wrapper='AmpOptimWrapper' if is_amp else 'OptimWrapper',
        arguments=", dtype='bfloat16'" if is_amp else '',
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    expected, found = map(int, done.stdout.split())
    assert found == expected >= 4


def test_a_wrapped_function_is_not_that_of_torch() -> None:
    original = torch.Tensor.backward

    def backward(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    backward.__module__ = original.__module__
    assert is_torchs(original)
    assert not is_torchs(backward)
    assert not is_torchs(len)
