"""Ten steps through Runner have the bits of ten steps of a loop written by hand in plain torch."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from mmengine.model import BaseModel
from mmengine.runner import Runner

NUM_STEPS = 10
OPTIMIZERS = {
    'sgd-momentum': {'type': 'SGD', 'lr': 0.05, 'momentum': 0.9},
    'adamw': {'type': 'AdamW', 'lr': 0.01, 'weight_decay': 0.1},
}
VARIANTS: dict[str, dict[str, Any]] = {
    'plain': {},
    'accumulation-3': {'accumulative_counts': 3},
    'clip-norm': {'clip_grad': {'max_norm': 0.05}},
    'clip-value': {'clip_grad': {'type': 'value', 'clip_value': 0.01}},
    'bf16': {'type': 'AmpOptimWrapper', 'dtype': 'bfloat16'},
    'fp16': {'type': 'AmpOptimWrapper', 'dtype': 'float16', 'loss_scale': 'dynamic'},
}


def _data() -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(7)
    return [
        {'x': torch.randn(4, generator=generator), 'y': torch.randn(3, generator=generator)}
        for _ in range(NUM_STEPS * 4)
    ]


def _net(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


class OneNet(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.net = _net(1)

    def forward(self, x: torch.Tensor, y: torch.Tensor, mode: str) -> Any:
        prediction = self.net(x)
        if mode == 'loss':
            return {'loss': (prediction - y).square().mean()}
        return prediction


class TwoNets(BaseModel):
    """Each net has its own optimizer and its own loss, updated in turn on every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.first = _net(1)
        self.second = _net(2)

    def forward(self, x: torch.Tensor, y: torch.Tensor, mode: str) -> Any:
        return self.first(x) + self.second(x)

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, torch.Tensor]:
        data = self.data_preprocessor(data, True)
        logs = {}
        for name in ('first', 'second'):
            net = getattr(self, name)
            with optim_wrapper[name].optim_context(net):
                loss = (net(data['x']) - data['y']).square().mean()
            optim_wrapper[name].update_params(loss)
            logs[f'loss_{name}'] = loss
        return logs


def _loader() -> DataLoader[Any]:
    return DataLoader(_data(), batch_size=4, shuffle=False)  # type: ignore[arg-type]


def _by_hand(net: nn.Module, optimizer: dict[str, Any], variant: dict[str, Any]) -> None:
    """The plain torch loop; the tail window of accumulation is divided by its own size."""
    options = dict(optimizer)
    make = getattr(torch.optim, options.pop('type'))
    optim = make(net.parameters(), **options)
    dtype = {'bfloat16': torch.bfloat16, 'float16': torch.float16}.get(variant.get('dtype', ''))
    scaler = torch.amp.GradScaler('cpu') if dtype == torch.float16 else None
    count = variant.get('accumulative_counts', 1)
    for step, batch in enumerate(_loader()):
        with torch.autocast('cpu', dtype=dtype) if dtype else nullcontext():
            loss = (net(batch['x']) - batch['y']).square().mean()
        window_start = step // count * count
        window = min(count, NUM_STEPS - window_start)
        if window > 1:
            loss = loss / window
        (scaler.scale(loss) if scaler else loss).backward()
        if (step + 1) % count and step + 1 != NUM_STEPS:
            continue
        clip = variant.get('clip_grad')
        if clip and clip.get('type') == 'value':
            nn.utils.clip_grad_value_(net.parameters(), clip['clip_value'])
        elif clip:
            nn.utils.clip_grad_norm_(net.parameters(), clip['max_norm'])
        if scaler:
            scaler.step(optim)
            scaler.update()
        else:
            optim.step()
        optim.zero_grad()


def _through_runner(model: BaseModel, optim_wrapper: dict[str, Any], work_dir: Any) -> None:
    Runner(
        model,
        str(work_dir),
        train_dataloader=_loader(),
        train_cfg={'by_epoch': True, 'max_epochs': 1},
        optim_wrapper=optim_wrapper,
        default_hooks={'checkpoint': None},
        log_level='WARNING',
    ).train()


@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.parametrize('optimizer', OPTIMIZERS)
def test_one_optimizer_equals_a_plain_loop_bit_for_bit(optimizer, variant, tmp_path):
    expected = _net(1)
    _by_hand(expected, OPTIMIZERS[optimizer], VARIANTS[variant])

    model = OneNet()
    _through_runner(model, {'optimizer': OPTIMIZERS[optimizer], **VARIANTS[variant]}, tmp_path)

    _assert_same_bits(model.net, expected)


@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.parametrize('optimizer', OPTIMIZERS)
def test_two_optimizers_equal_two_plain_loops_bit_for_bit(optimizer, variant, tmp_path):
    # The nets share no parameter, so two loops one after the other are the same as in turn.
    expected = {'first': _net(1), 'second': _net(2)}
    for net in expected.values():
        _by_hand(net, OPTIMIZERS[optimizer], VARIANTS[variant])

    model = TwoNets()
    part = {'optimizer': OPTIMIZERS[optimizer], **VARIANTS[variant]}
    _through_runner(model, {'first': dict(part), 'second': dict(part)}, tmp_path)

    for name, net in expected.items():
        _assert_same_bits(getattr(model, name), net)


def _assert_same_bits(ours: nn.Module, theirs: nn.Module) -> None:
    start = _net(1).state_dict()
    for (name, ours_value), theirs_value in zip(
        ours.state_dict().items(), theirs.state_dict().values(), strict=True
    ):
        assert torch.equal(ours_value, theirs_value), name
        assert not torch.equal(ours_value, start[name]), f'{name} was not trained at all'
