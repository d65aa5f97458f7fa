"""Parameters without a shape, of few bits, or sparse: what plain torch trains, a run trains too."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmengine.cli._screen import header_of
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.plan import plan_run
from mmengine.runner import Runner
from mmengine.utils.errors import ArgumentError

SAMPLES = [{'x': torch.tensor([float(n), 1.0])} for n in range(4)]


class Net(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(2, 1)

    def forward(self, x: Tensor, mode: str = 'tensor') -> Any:  # type: ignore[override]
        return {'loss': self.layer(x).square().mean()} if mode == 'loss' else self.layer(x)


class Lazy(Net):
    """Its first layer learns its width from the first batch; one layer is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.LazyLinear(2), self.layer)  # type: ignore[assignment]
        self.idle = nn.LazyLinear(2)

    def forward(self, x: Tensor, mode: str = 'tensor') -> Any:  # type: ignore[override]
        torch.manual_seed(1)  # the layer draws its weights in its first call
        return super().forward(x, mode)


class Sparse(Net):
    def __init__(self) -> None:
        super().__init__()
        self.sparse = nn.Parameter(torch.eye(3).to_sparse())

    def forward(self, x: Tensor, mode: str = 'tensor') -> Any:  # type: ignore[override]
        return {'loss': super().forward(x, mode)['loss'] + torch.sparse.sum(self.sparse) / 8}


class FrozenBits(Net):
    dtype = torch.float8_e4m3fn

    def __init__(self) -> None:
        super().__init__()
        table = torch.zeros(4, dtype=torch.uint8).view(self.dtype)
        self.table = nn.Parameter(table, requires_grad=False)


class FrozenScales(FrozenBits):
    dtype = torch.float8_e8m0fnu


def by_hand(kind: type[Net]) -> nn.Module:
    model = kind()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for sample in SAMPLES:
        optimizer.zero_grad()
        model(sample['x'][None], mode='loss')['loss'].backward()
        optimizer.step()
    return model


def config_of(kind: type[Net], work_dir: Path) -> dict[str, Any]:
    return {
        'model': {'type': kind}, 'work_dir': str(work_dir), 'train_cfg': {'max_epochs': 1},
        'train_dataloader': {'dataset': SAMPLES, 'batch_size': 1, 'collate_fn': 'default_collate',
                             'sampler': {'type': 'DefaultSampler', 'shuffle': False}},
        'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 0.1}},
    }  # fmt: skip


@pytest.mark.parametrize('kind', [Lazy, Sparse, FrozenBits, FrozenScales])
def test_a_run_equals_the_loop_by_hand(kind: type[Net], tmp_path: Path) -> None:
    runner = Runner.from_cfg(config_of(kind, tmp_path))  # with a checkpoint at the end
    runner.train()
    expected = by_hand(kind)
    assert runner.model.layer.state_dict().keys() == expected.layer.state_dict().keys()
    for one, other in zip(
        runner.model.layer.parameters(), expected.layer.parameters(), strict=True
    ):
        assert torch.equal(one, other)
    assert (tmp_path / 'epoch_1.pth').is_file()


def test_the_record_of_initial_weights_names_a_shape_that_is_not_known(tmp_path: Path) -> None:
    Runner.from_cfg(config_of(Lazy, tmp_path)).train()
    [log] = tmp_path.glob('*/*.log')
    assert 'layer.0.weight (not known yet): not changed by init_weights of Lazy' in log.read_text()


class Header(Hook):
    text = ''

    def before_train(self, runner: Any) -> None:
        self.text = header_of(runner)


def test_the_header_counts_what_has_a_size(tmp_path: Path) -> None:
    header = Header()
    runner = Runner.from_cfg(config_of(Lazy, tmp_path))
    runner.register_hook(header)
    runner.train()
    # Of nn.Linear(2, 1): 2 weights and a bias. Two lazy layers have a weight and a bias each.
    assert 'Lazy, 3 parameters, and 4 tensors of unknown size' in header.text


def test_a_plan_says_that_it_needs_the_shapes(tmp_path: Path) -> None:
    for real in (False, True):
        with pytest.raises(ArgumentError, match=r'layer\.0\.weight of Lazy gets its shape from'):
            plan_run(config_of(Lazy, tmp_path), real=real)
