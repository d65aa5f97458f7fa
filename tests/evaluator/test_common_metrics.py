"""Accuracy, errors and perplexity against torch and hand calculation; names of metrics."""

import math
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmengine.evaluator import (
    Accuracy,
    BaseMetric,
    Evaluator,
    MeanAbsoluteError,
    MeanSquaredError,
    Perplexity,
)
from mmengine.registry import METRICS
from mmengine.utils.errors import ArgumentError

SCORES = torch.tensor([[0.1, 0.6, 0.3], [0.5, 0.4, 0.1], [0.2, 0.3, 0.5], [0.9, 0.0, 0.1]])
LABELS = torch.tensor([1, 1, 2, 2])


def evaluated(metric: Any, preds: Any, targets: Any, batch_size: int = 3) -> dict[str, float]:
    evaluator = Evaluator(metric)
    for start in range(0, len(preds), batch_size):
        at = slice(start, start + batch_size)
        samples = [{'preds': p, 'target': t} for p, t in zip(preds[at], targets[at], strict=True)]
        evaluator.process(samples)
    return evaluator.evaluate(len(preds))


def test_accuracy_counts_the_highest_scores() -> None:
    # Right at first: samples 0 and 2; the second class of sample 1 is right too.
    assert evaluated(Accuracy(), SCORES, LABELS) == {'accuracy': 0.5}
    found = evaluated(Accuracy(topk=(1, 2)), SCORES, LABELS)
    assert found == {'accuracy/top1': 0.5, 'accuracy/top2': 1.0}
    assert evaluated(Accuracy(topk=9), SCORES, LABELS) == {'accuracy': 1.0}


def test_accuracy_takes_numbers_of_classes() -> None:
    assert evaluated(Accuracy(), SCORES.argmax(1), LABELS) == {'accuracy': 0.5}
    assert evaluated(Accuracy(), [1, 2], [1, 1]) == {'accuracy': 0.5}


@pytest.mark.parametrize('classes_at', ['first', 'last'])
def test_accuracy_of_many_targets_leaves_ignored_ones_out(classes_at: str) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(5, 6, 7, generator=generator)  # samples, targets, classes
    targets = torch.randint(7, (5, 6), generator=generator)
    targets[0, :4] = -100
    kept = targets != -100
    expected = (scores.argmax(2) == targets)[kept].float().mean().item()
    preds = scores if classes_at == 'last' else scores.movedim(2, 1)
    assert evaluated(Accuracy(), preds, targets)['accuracy'] == pytest.approx(expected)


def test_errors_are_means_over_all_values() -> None:
    preds, targets = (
        torch.tensor([[1.0, 2], [3, 4], [5, 7]]),
        torch.tensor([[1.0, 0], [0, 4], [5, 5]]),
    )
    # Differences 0, 2, 3, 0, 0, 2.
    assert evaluated(MeanSquaredError(), preds, targets, 2) == {'mse': pytest.approx(17 / 6)}
    assert evaluated(MeanAbsoluteError(), preds, targets, 2) == {'mae': pytest.approx(7 / 6)}
    # Outputs of shape (1,) fit plain numbers.
    assert evaluated('mse', torch.tensor([[1.0], [2.0]]), [3.0, 2.0]) == {'mse': 2.0}


def test_perplexity_weighs_tokens_of_texts_of_different_lengths() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(n, 9, generator=generator) for n in (4, 2)]
    tokens = [torch.randint(9, (n,), generator=generator) for n in (4, 2)]
    tokens[0][1] = -100
    expected = math.exp(cross_entropy(torch.cat(logits), torch.cat(tokens)).item())
    assert evaluated('perplexity', logits, tokens)['perplexity'] == pytest.approx(expected)


@pytest.mark.parametrize(
    'batch',
    [{'inputs': 0, 'labels': LABELS}, [0, LABELS], (0, LABELS), {'y': list(LABELS)}],
    ids=['labels', 'pair', 'tuple', 'list'],
)
def test_targets_may_be_in_the_batch(batch: Any) -> None:
    evaluator = Evaluator('accuracy')
    evaluator.process(list(SCORES), batch)
    assert evaluator.evaluate(4) == {'accuracy': 0.5}


def test_what_is_missing_is_named() -> None:
    evaluator = Evaluator('accuracy')
    with pytest.raises(ArgumentError, match=r"read.*`preds`.*they have \['score'\]"):
        evaluator.process([{'score': 1}], {'labels': LABELS[:1]})
    with pytest.raises(ArgumentError, match='needs targets'):
        evaluator.process([SCORES[0]], {'inputs': 0})
    with pytest.raises(ArgumentError, match=r'shape \(1,\)'):
        evaluator.process([{'preds': SCORES[0], 'target': LABELS[:1]}])
    with pytest.raises(ArgumentError, match='1 predictions and 4 targets'):
        evaluator.process([SCORES[0]], {'labels': LABELS})
    with pytest.raises(ArgumentError, match='topk'):
        Accuracy(topk=0)


@pytest.mark.parametrize('name', ['accuracy', 'perplexity'])
@pytest.mark.parametrize(
    ('labels', 'found'),
    [
        ([1, 3, 2, 0], 'from 0 to 3'),
        ([0, 1, -1, 2], 'from -1 to 2'),
        ([7, -2, 0, 0], 'from -2 to 7'),
    ],
    ids=['above', 'below', 'both'],
)
def test_targets_that_are_not_classes_are_named(name: str, labels: list[int], found: str) -> None:
    """Three scores, so classes from 0 to 2."""
    shape = (4, 1) if name == 'perplexity' else (4,)
    targets = torch.tensor(labels).view(shape)
    preds = SCORES.view(*shape, 3)
    with pytest.raises(ArgumentError, match=f'targets are {found}, .*from 0 to 2; -100'):
        evaluated(name, preds, targets, 2)
    # The next evaluation begins anew.
    assert evaluated('accuracy', SCORES, LABELS) == {'accuracy': 0.5}


def test_an_ignored_target_is_in_every_range() -> None:
    labels = torch.tensor([[1, -100], [-100, -100], [2, 2]])
    scores = torch.eye(3)[labels.clamp(0)]
    assert evaluated(Accuracy(), scores, labels) == {'accuracy': 1.0}
    assert evaluated(Accuracy(), scores, labels.to(torch.int16)) == {'accuracy': 1.0}


def test_labels_that_are_not_integers_are_named() -> None:
    with pytest.raises(ArgumentError, match=r'an integer, but targets are float32: labels.long'):
        evaluated('accuracy', SCORES, LABELS.float())


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Warnings of metrics."""
    found: list[str] = []
    monkeypatch.setattr(
        'mmengine.evaluator._common_metrics.print_log', lambda text, **_: found.append(text)
    )
    return found


def test_a_score_that_is_nan_is_named(told: list[str]) -> None:
    scores = SCORES.clone()
    scores[0, 2] = math.nan
    found = evaluated(Accuracy(topk=(1, 3)), scores, LABELS)
    assert list(found) == ['accuracy/top1', 'accuracy/top3']
    assert all(map(math.isnan, found.values()))
    assert told == ['Accuracy: at least one score is NaN.']


def test_scores_that_mask_a_class_are_no_mistake(told: list[str]) -> None:
    scores = SCORES.clone()
    scores[:, 0] = -math.inf  # without class 0, the highest scores are of classes 1, 1, 2 and 2
    assert evaluated(Accuracy(), scores, LABELS) == {'accuracy': 1.0}
    assert told == []


@pytest.mark.parametrize('name', ['mse', 'mae'])
@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_named(name: str, value: float, told: list[str]) -> None:
    found = evaluated(name, torch.tensor([1.0, value]), torch.tensor([1.0, 2.0]))
    assert not math.isfinite(found[name])
    kind = {'mse': 'MeanSquaredError', 'mae': 'MeanAbsoluteError'}[name]
    assert told == [f'{kind}: at least one prediction or target is NaN or infinite.']


def test_logits_of_an_ignored_token_do_not_count(told: list[str]) -> None:
    logits = torch.zeros(2, 3, 5)
    logits[1, 2, 0] = math.nan
    tokens = torch.ones(2, 3, dtype=torch.long)
    assert math.isnan(evaluated('perplexity', logits, tokens)['perplexity'])
    assert told == ['Perplexity: at least one prediction or target is NaN or infinite.']
    tokens[1, 2] = -100
    assert evaluated('perplexity', logits, tokens)['perplexity'] == pytest.approx(5)
    assert len(told) == 1


def test_without_a_sample_there_is_no_value() -> None:
    assert Evaluator(['accuracy', 'mse']).evaluate(0) == {}


class Own(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None: ...

    def compute_metrics(self, results: Any) -> dict[str, float]:
        return {}


def test_the_metric_of_a_user_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    registered = METRICS._module_dict
    monkeypatch.delitem(registered, 'Accuracy', raising=False)
    assert type(Evaluator([{'type': 'Accuracy'}]).metrics[0]) is Accuracy
    assert type(Evaluator('accuracy').metrics[0]) is Accuracy
    assert type(Evaluator([{'type': 'Perplexity'}]).metrics[0]) is Perplexity
    monkeypatch.setitem(registered, 'Accuracy', Own)
    assert type(Evaluator('Accuracy').metrics[0]) is Own
    assert type(Evaluator([{'type': 'mmengine.Accuracy'}]).metrics[0]) is Own
    assert type(Evaluator('accuracy').metrics[0]) is Accuracy  # the short name is ours
    monkeypatch.setitem(registered, 'accuracy', Own)
    assert type(Evaluator('accuracy').metrics[0]) is Own
    with pytest.raises(KeyError, match='Perplexity'):
        Evaluator('Perplexty')
