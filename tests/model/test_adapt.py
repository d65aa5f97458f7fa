"""Modules, datasets and models of the ecosystem in a run, as they are."""

import copy
import importlib.util
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset

from mmengine.evaluator import BaseMetric
from mmengine.model import GAN, AdaptedModel, Classifier, LanguageModel
from mmengine.model.adapt import adapt
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmengine.utils.errors import ArgumentError

INPUTS = torch.tensor([[0.0, 1.0], [1.0, 0.5], [2.0, -1.0], [-1.0, 0.3]])
LABELS = torch.tensor([0, 1, 2, 1])
SGD = {'optimizer': {'type': 'SGD', 'lr': 0.1}}


class Pairs(Dataset[Any]):
    def __len__(self) -> int:
        return len(LABELS)

    def __getitem__(self, index: int) -> Any:
        return INPUTS[index], LABELS[index]


class Stream(IterableDataset[Any]):
    """Pairs without a length."""

    def __iter__(self) -> Iterator[Any]:
        yield from zip(INPUTS, LABELS, strict=True)


class Accuracy(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += [s['preds'].argmax() == s['target'] for s in data_samples]

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return {'acc': sum(map(float, results)) / len(results), 'n': len(results)}


def trained_by_hand(net: nn.Module, steps: int) -> nn.Module:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for step in range(steps):
        at = slice(step * 2 % 4, step * 2 % 4 + 2)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(INPUTS[at]), LABELS[at]).backward()
        optimizer.step()
    return net


def run(tmp_path: Path, model: nn.Module, dataset: Any, train_cfg: Any, **changes: Any) -> Runner:
    loader = {
        'dataset': dataset,
        'batch_size': 2,
        'collate_fn': {'type': 'default_collate'},
        **changes,
    }
    if not isinstance(dataset, IterableDataset):
        loader['sampler'] = {'type': 'DefaultSampler', 'shuffle': False}
    runner = Runner(
        model,
        str(tmp_path),
        train_dataloader=loader,
        val_dataloader=loader,
        train_cfg=train_cfg,
        val_cfg={},
        val_evaluator=Accuracy(),
        optim_wrapper=SGD,
        log_level='ERROR',
        default_hooks={'checkpoint': None},
    )
    runner.train()
    return runner


@pytest.mark.parametrize('dataset', [Pairs(), Stream()], ids=['map', 'stream'])
@pytest.mark.parametrize(
    'train_cfg',
    [{'by_epoch': True, 'max_epochs': 2}, {'by_epoch': False, 'max_iters': 4, 'val_interval': 2}],
    ids=['by epoch', 'by iteration'],
)
def test_a_plain_module_trains_as_by_hand(tmp_path: Path, dataset: Any, train_cfg: Any) -> None:
    net = nn.Linear(2, 3)
    expected = trained_by_hand(copy.deepcopy(net), 4)
    model = adapt(net, loss=nn.CrossEntropyLoss(), target=1)
    runner = run(tmp_path, model, dataset, train_cfg)
    assert torch.equal(net.weight, expected.weight)
    hits = (expected(INPUTS).argmax(1) == LABELS).float().mean().item()
    assert runner.message_hub.get_scalar('val/acc').current() == hits
    assert runner.message_hub.get_scalar('val/n').current() == 4


def test_module_and_loss_may_be_configs_and_the_batch_a_dict() -> None:
    model = AdaptedModel(
        {'type': 'torch.nn.Linear', 'in_features': 2, 'out_features': 3},
        loss={'type': 'torch.nn.CrossEntropyLoss'},
        target='labels',
    )
    batch = {'input': INPUTS, 'labels': LABELS}
    loss = model(**batch, mode='loss')['loss']
    assert torch.equal(loss, nn.functional.cross_entropy(model.inner(INPUTS), LABELS))
    predictions = model(**batch, mode='predict')
    assert [p['target'].item() for p in predictions] == [0, 1, 2, 1]
    assert torch.equal(model(**batch), model.inner(INPUTS))


def test_a_module_that_computes_its_own_loss_gets_the_whole_batch() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 3)

        def forward(self, x: Any, labels: Any = None) -> Any:
            logits = self.linear(x)
            loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
            return SimpleNamespace(loss=loss, logits=logits)

    model = adapt(Own(), target='labels')
    assert model(x=INPUTS, labels=LABELS, mode='loss')['loss'].dim() == 0
    assert [sorted(p) for p in model(x=INPUTS, labels=LABELS, mode='predict')] == [
        ['preds', 'target']
    ] * 4
    assert sorted(adapt(Own())(x=INPUTS, mode='predict')[0]) == ['preds']
    with pytest.raises(ArgumentError, match='returned no loss'):
        model(x=INPUTS, mode='loss')


@pytest.mark.parametrize('kind', [tuple, list, lambda parts: {'features': parts[1]}])
def test_a_loss_gets_an_output_without_logits_as_it_is(kind: Any) -> None:
    class Features(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return kind((x, 2 * x))

    def loss(outputs: Any, target: torch.Tensor) -> torch.Tensor:
        features = outputs['features'] if isinstance(outputs, dict) else outputs[1]
        return (features.sum(1) - target).square().mean()

    losses = AdaptedModel(Features(), loss=loss, target=1)(INPUTS, LABELS, mode='loss')
    # Twice the sums are 2, 3, 2 and -1.4; the targets 0, 1, 2 and 1.
    assert losses['loss'] == pytest.approx((4 + 4 + 0 + 2.4**2) / 4)


def test_a_loss_needs_to_know_its_target() -> None:
    with pytest.raises(ArgumentError, match='target='):
        adapt(nn.Linear(1, 1), loss=nn.MSELoss())


def tiny_bert() -> Any:
    transformers = pytest.importorskip('transformers')
    config = transformers.BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        vocab_size=11, num_labels=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config)


TOKENS = [{'input_ids': [1, 2, 3, i], 'labels': i % 2} for i in range(4)]


def as_tensors(batch: Any) -> dict[str, Any]:
    return {key: torch.tensor([sample[key] for sample in batch]) for key in ('input_ids', 'labels')}


@pytest.mark.parametrize('streams', [False, True], ids=['map', 'stream'])
@pytest.mark.filterwarnings('ignore')
def test_transformers_and_datasets_train_as_by_hand(tmp_path: Path, streams: bool) -> None:
    datasets = pytest.importorskip('datasets')
    bert = tiny_bert()
    by_hand = copy.deepcopy(bert).train()
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    for step in range(4):
        optimizer.zero_grad()
        by_hand(**as_tensors(TOKENS[step * 2 % 4 :][:2])).loss.backward()
        optimizer.step()

    table = pytest.importorskip('pyarrow').Table.from_pylist(TOKENS)
    data = datasets.Dataset(table, fingerprint='tokens')
    if streams:
        data = data.to_iterable_dataset()
    train_cfg = (
        {'by_epoch': False, 'max_iters': 4, 'val_interval': 4}
        if streams
        else {'by_epoch': True, 'max_epochs': 2}
    )
    runner = run(tmp_path, adapt(bert, target='labels'), data, train_cfg, collate_fn=as_tensors)
    for ours, theirs in zip(bert.parameters(), by_hand.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert runner.message_hub.get_scalar('val/n').current() == 4


class _StandIn(types.ModuleType):
    """Stands in for torchvision, which timm imports for its data and does not need for models."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)
        return MagicMock(name=name)


def test_a_model_of_timm_trains_as_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec('timm') is None:
        pytest.skip('timm is not installed')
    if importlib.util.find_spec('torchvision') is None:
        for part in ('', '.transforms', '.transforms.functional', '.datasets', '.ops', '.ops.misc'):
            monkeypatch.setitem(sys.modules, f'torchvision{part}', _StandIn(f'torchvision{part}'))
    import timm

    torch.manual_seed(0)
    config = {'type': 'timm.create_model', 'model_name': 'resnet10t', 'num_classes': 3}
    model = AdaptedModel(config, loss=nn.CrossEntropyLoss(), target=1)
    by_hand = timm.create_model('resnet10t', num_classes=3)
    by_hand.load_state_dict(model.inner.state_dict())
    images, labels = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 1])

    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    for _ in range(2):
        model.train_step([images, labels], wrapper)
        optimizer.zero_grad()
        nn.functional.cross_entropy(by_hand(images), labels).backward()
        optimizer.step()
    for ours, theirs in zip(model.inner.parameters(), by_hand.parameters(), strict=True):
        assert torch.equal(ours, theirs)


LOSS = nn.CrossEntropyLoss()


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: adapt('resnet18'), "takes module as a torch.nn.Module or .*'resnet18'"),
        (lambda: adapt(nn.Linear), 'got the class Linear, not an object'),
        (lambda: adapt(None), 'got None'),
        (lambda: adapt({'type': 'builtins.dict'}), 'this one builds an object of type dict'),
        (lambda: adapt(nn.Linear(2, 3), loss='mse', target=1), "takes loss as.*the text 'mse'"),
        (lambda: adapt(nn.Linear(2, 3), loss=nn.MSELoss, target=1), 'got the class MSELoss'),
        (lambda: Classifier('resnet18'), "Classifier takes module as .*the text 'resnet18'"),
        (lambda: Classifier(nn.Linear(2, 3), loss='ce'), "Classifier takes loss as"),
        (lambda: LanguageModel('gpt2'), "LanguageModel takes module as .*the text 'gpt2'"),
        (lambda: GAN('a', nn.Linear(2, 1), noise=2), "GAN takes generator as .*the text 'a'"),
        (lambda: GAN(nn.Linear(2, 2), 3, noise=2), 'GAN takes discriminator as .*got 3'),
    ],
)  # fmt: skip
def test_a_part_of_a_wrong_kind_is_told_when_the_model_is_built(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    ('target', 'batch', 'message'),
    [
        ('label', {'input': INPUTS, 'labels': LABELS},
         "target='label', and its batch has the keys ['input', 'labels']. Did you mean 'labels'"),
        (2, (INPUTS, LABELS), 'has target=2, and its batch has 2 values.'),
        (1, {'input': INPUTS, 'labels': LABELS}, "target=1, and its batch has the keys ['input'"),
    ],
)  # fmt: skip
def test_a_target_that_is_not_in_the_batch_is_told_with_what_is(
    target: Any, batch: Any, message: str
) -> None:
    model = adapt(nn.Linear(2, 3), loss=LOSS, target=target)
    with pytest.raises(ValueError) as raised:
        model(**batch, mode='loss') if isinstance(batch, dict) else model(*batch, mode='loss')
    assert message in str(raised.value)
