"""Errors of layers that get a list of samples are known as such."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from mmengine.runner._unsuited import _OF_LISTS

SAMPLES = [torch.ones(1, 4, 4), torch.ones(1, 4, 4)]
CALLS: dict[str, Callable[[Any], Any]] = {
    'linear': nn.Linear(4, 2),
    'convolution': nn.Conv2d(1, 1, 3),
    'transposed convolution': nn.ConvTranspose2d(1, 1, 3),
    'activation': nn.ReLU(),
    'embedding': nn.Embedding(4, 2),
    'normalisation': nn.LayerNorm(4),
    'pooling': nn.MaxPool2d(2),
    'flatten': nn.Flatten(),
    'method': lambda inputs: inputs.mean(),
    'function': lambda inputs: torch.exp(inputs),
    'product': lambda inputs: torch.matmul(inputs, torch.ones(4)),
}


@pytest.mark.parametrize('name', CALLS)
@pytest.mark.parametrize('kind', [list, tuple])
def test_errors_of_lists_are_known(name: str, kind: type) -> None:
    with pytest.raises((TypeError, AttributeError)) as caught:
        CALLS[name](kind(SAMPLES))
    assert _OF_LISTS.search(str(caught.value).splitlines()[0])


def test_other_errors_are_not() -> None:
    for call in (lambda: nn.Linear(4, 2)(3), lambda: nn.Conv2d(1, 1, 3)(None)):
        with pytest.raises(TypeError) as caught:
            call()
        assert not _OF_LISTS.search(str(caught.value).splitlines()[0])
