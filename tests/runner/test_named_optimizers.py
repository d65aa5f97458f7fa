"""A train step that takes optimizers by name, and a run that has others."""

from pathlib import Path
from typing import Any

import pytest
import torch
from runner_toy import NO_TEST, NO_VALIDATION, Net, toy_config, toy_runner
from torch import nn

from mmengine.config import Config
from mmengine.model import GAN, BaseModel
from mmengine.runner import check_config
from mmengine.runner._named_optimizers import named_in_step

ADAM: dict[str, Any] = {'optimizer': {'type': 'Adam', 'lr': 1e-3}}
READY = {
    'type': 'GAN',
    'generator': {'type': 'torch.nn.Linear', 'in_features': 3, 'out_features': 1},
    'discriminator': {'type': 'torch.nn.Linear', 'in_features': 1, 'out_features': 1},
    'noise': 3,
}


class Pair(BaseModel):
    """Trains two weights in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.critic = nn.Linear(1, 1), nn.Linear(1, 1)

    def forward(self, x: Any, y: Any, mode: str = 'tensor') -> Any:
        return torch.stack(x)

    def train_step(self, data: Any, optimizers: Any) -> dict[str, torch.Tensor]:
        loss = self.generator(torch.stack(data['x'])).mean()
        optimizers['generator'].update_params(loss)
        optimizers['critic'].update_params(self.critic(torch.stack(data['x'])).mean())
        return {'loss': loss.detach()}


def told(config: dict[str, Any]) -> list[str]:
    return [str(each) for each in check_config(Config(config)) if each.is_certain]


def test_names_are_read_from_the_train_step() -> None:
    assert named_in_step(GAN) == ['discriminator', 'generator']
    assert named_in_step(Pair) == ['generator', 'critic']
    assert named_in_step(Net) == []


@pytest.mark.parametrize(
    ('model', 'optim_wrapper', 'message'),
    [
        (READY, ADAM, "GAN.train_step takes the optimizer wrappers 'discriminator', 'generator'"),
        ({'type': Pair}, ADAM, "Pair.train_step takes the optimizer wrappers 'generator', 'crit"),
        ({'type': Pair}, {'generator': ADAM, 'critics': ADAM}, "Did you mean 'critics'?"),
        ({'type': 'ToyNet'}, {'linear': ADAM}, 'Net trains by a single optimizer wrapper, but'),
        ({'type': Pair}, {'generator': ADAM, 'critic': ADAM}, None),
        (READY, {'generator': ADAM, 'discriminator': ADAM}, None),
        ({'type': 'ToyNet'}, ADAM, None),
    ],
)
def test_other_optimizers_are_told_before_the_first_step(
    tmp_path: Path, model: dict[str, Any], optim_wrapper: dict[str, Any], message: str | None
) -> None:
    changes = {'model': model, 'optim_wrapper': optim_wrapper, **NO_VALIDATION, **NO_TEST}
    found = told(toy_config(tmp_path, **changes))
    if message is None:
        assert found == []
        return
    assert len(found) == 1, found
    assert message in found[0]
    if 'critics' in optim_wrapper:
        return  # it is no part of the model
    with pytest.raises(ValueError, match='optimizer wrapper') as raised:
        toy_runner(tmp_path, **changes).train()
    assert message in str(raised.value)


def test_the_message_shows_what_to_write(tmp_path: Path) -> None:
    message = told(toy_config(tmp_path, model=READY, optim_wrapper=ADAM))[0]
    assert "Write optim_wrapper=dict(discriminator=dict(optimizer=dict(type='Adam'" in message
