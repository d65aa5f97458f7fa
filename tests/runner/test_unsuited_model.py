"""Errors of layers that get a list of samples, and of devices, are known as such."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mmengine.model import BaseModel
from mmengine.runner import Runner
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


class Refusing(BaseModel):
    """Fails as a model does after a kernel of CUDA has refused an index."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, x: torch.Tensor, mode: str = 'tensor') -> Any:
        raise RuntimeError('CUDA error: device-side assert triggered\nCUDA kernel errors might be')


def test_a_refusal_by_a_device_says_how_to_find_the_value(tmp_path: Path) -> None:
    runner = Runner(
        model=Refusing(), work_dir=str(tmp_path), train_cfg={'max_epochs': 1},
        train_dataloader={'dataset': [{'x': torch.ones(1)}] * 4, 'collate_fn': 'default_collate'},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
    )  # fmt: skip
    with pytest.raises(RuntimeError, match='with CUDA_VISIBLE_DEVICES= before the command'):
        runner.train()
