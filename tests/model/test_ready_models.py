"""Ready models train as the same steps by hand do, with batches of the usual forms."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss, softplus
from torch.utils.data import TensorDataset

from mmengine.model import GAN, Classifier, LanguageModel, Regressor
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import MODELS
from mmengine.runner import Runner, check_config
from mmengine.utils.errors import ArgumentError

INPUTS = torch.tensor([[0.0, 1.0], [1.0, 0.5], [2.0, -1.0], [-1.0, 0.3]])
LABELS = torch.tensor([0, 1, 2, 1])
SGD = {'optimizer': {'type': 'SGD', 'lr': 0.1}}


class Named(nn.Module):
    """Takes its inputs by their names."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.linear(torch.stack([a, b], dim=1))


BATCHES = {
    'pair': [INPUTS, LABELS],
    'labels': {'inputs': INPUTS, 'labels': LABELS},
    'label': {'image': INPUTS, 'label': LABELS},
    'y': {'x': INPUTS, 'y': LABELS},
}


@pytest.mark.parametrize('form', BATCHES)
def test_a_classifier_takes_the_usual_batches(form: str) -> None:
    torch.manual_seed(0)
    network = nn.Linear(2, 3)
    model, batch = Classifier(network), BATCHES[form]
    by_name = batch if isinstance(batch, dict) else {}
    by_place = batch if isinstance(batch, list) else []
    losses = model(*by_place, **by_name, mode='loss')
    assert torch.equal(losses['loss'], cross_entropy(network(INPUTS), LABELS))
    samples = model(*by_place, **by_name, mode='predict')
    assert torch.equal(torch.stack([one['preds'] for one in samples]), network(INPUTS))
    assert [int(one['target']) for one in samples] == LABELS.tolist()


def test_several_inputs_go_by_name_and_a_target_may_have_another_name() -> None:
    network = Named()
    model = Classifier(network, target='kind')
    batch = {'b': INPUTS[:, 1], 'kind': LABELS, 'a': INPUTS[:, 0]}
    expected = cross_entropy(network.linear(INPUTS), LABELS)
    assert torch.equal(model(**batch, mode='loss')['loss'], expected)


def test_inputs_without_a_target_are_predicted() -> None:
    model = Classifier(nn.Linear(2, 3))
    assert [list(one) for one in model(INPUTS, mode='predict')] == [['preds']] * 4
    assert [list(one) for one in model(inputs=INPUTS, mode='predict')] == [['preds']] * 4
    with pytest.raises(ArgumentError, match=r"a key named target, .*; got the keys \['inputs'\]"):
        model(inputs=INPUTS, mode='loss')


def test_a_regressor_fits_outputs_to_targets() -> None:
    network = nn.Linear(2, 1)
    targets = LABELS.double()
    loss = Regressor(network)(INPUTS, targets, mode='loss')['loss']
    assert torch.equal(loss, mse_loss(network(INPUTS)[:, 0], targets.float()))
    with pytest.raises(ArgumentError, match=r'shape \(4, 3\), the targets \(4,\)'):
        Regressor(nn.Linear(2, 3))(INPUTS, targets, mode='loss')


def test_a_language_model_predicts_the_next_token() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5))
    model, tokens = LanguageModel(network), torch.randint(5, (2, 6))
    logits = network(tokens)
    expected = cross_entropy(logits[:, :-1].reshape(-1, 5), tokens[:, 1:].reshape(-1))
    assert torch.allclose(model(tokens, mode='loss')['loss'], expected)
    labels = tokens.clone()
    labels[:, 3:] = -100
    kept = cross_entropy(logits[:, :2].reshape(-1, 5), tokens[:, 1:3].reshape(-1))
    assert torch.allclose(model(tokens, labels, mode='loss')['loss'], kept)
    samples = model.val_step(tokens)
    assert torch.equal(samples[1]['target'], tokens[1, 1:])
    assert samples[1]['preds'].shape == (5, 5)


def test_a_gan_makes_the_steps_of_a_loop_by_hand() -> None:
    torch.manual_seed(0)
    generator, discriminator = nn.Linear(3, 2), nn.Linear(2, 1)
    model = GAN(copy.deepcopy(generator), copy.deepcopy(discriminator), noise=3)
    wrapper = OptimWrapperDict(
        generator=OptimWrapper(torch.optim.SGD(model.generator.parameters(), lr=0.1)),
        discriminator=OptimWrapper(torch.optim.SGD(model.discriminator.parameters(), lr=0.1)),
    )
    of_generator = torch.optim.SGD(generator.parameters(), lr=0.1)
    of_discriminator = torch.optim.SGD(discriminator.parameters(), lr=0.1)
    for _ in range(3):
        torch.manual_seed(1)
        model.train_step(INPUTS, wrapper)
        torch.manual_seed(1)
        made = generator(torch.randn(4, 3)).detach()
        of_discriminator.zero_grad()
        loss = softplus(-discriminator(INPUTS)).mean() + softplus(discriminator(made)).mean()
        loss.backward()
        of_discriminator.step()
        of_generator.zero_grad()
        softplus(-discriminator(generator(torch.randn(4, 3)))).mean().backward()
        of_generator.step()
    for ours, theirs in ((model.generator, generator), (model.discriminator, discriminator)):
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(one, other)
            assert one.requires_grad


def test_a_run_needs_no_collate_function(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Linear(2, 3)
    by_hand = copy.deepcopy(network)
    data = TensorDataset(INPUTS, LABELS)
    cfg: dict[str, Any] = {
        'model': {'type': 'Classifier', 'module': {'type': 'torch.nn.Linear', 'in_features': 2,
                                                   'out_features': 3}},
        'work_dir': str(tmp_path),
        'train_dataloader': {'dataset': data, 'batch_size': 2},
        'train_cfg': {'max_epochs': 2},
        'optim_wrapper': SGD,
        'val_dataloader': {'dataset': data, 'batch_size': 4},
        'val_cfg': {},
        'val_evaluator': 'accuracy',
    }  # fmt: skip
    assert check_config(cfg) == []
    wrong = check_config({**cfg, 'val_evaluator': 'acuracy'})
    assert 'accuracy' in str(wrong[0]).lower()
    runner = Runner.from_cfg({**cfg, 'log_level': 'ERROR'})
    runner.model.inner.load_state_dict(network.state_dict())
    runner.state.has_weights = True
    runner.train()
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    for start in (0, 2, 0, 2):
        optimizer.zero_grad()
        at = slice(start, start + 2)
        cross_entropy(by_hand(INPUTS[at]), LABELS[at]).backward()
        optimizer.step()
    assert torch.equal(runner.model.inner.weight, by_hand.weight)
    expected = (by_hand(INPUTS).argmax(1) == LABELS).float().mean().item()
    assert runner.val() == {'accuracy': expected}


def test_the_class_of_a_user_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(MODELS._module_dict, 'Classifier', raising=False)
    assert MODELS.get('Classifier') is Classifier
    monkeypatch.setitem(MODELS._module_dict, 'Classifier', Named)
    assert MODELS.get('Classifier') is Named
