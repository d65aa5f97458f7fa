"""A label or a token that torch refuses is named, with what is allowed."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, nll_loss

from mmengine.model import AdaptedModel, BaseModel, Classifier, LanguageModel
from mmengine.model.base_model._refused_values import RefusedValueError
from mmengine.model.base_model.base_model import forward_batch

INPUTS = torch.zeros(4, 2)


def refused(model: nn.Module, data: Any, mode: str = 'loss') -> str:
    with pytest.raises(RefusedValueError) as caught:
        forward_batch(model, data, mode)
    assert caught.value.__cause__ is not None
    return str(caught.value)


LABELS = {
    'above': (
        [0, 1, 2, 3],
        'the scores are for 3 classes, so a target is from 0 to 2, or -100, which does not count; '
        'targets[3] is 3.',
    ),
    'below': (
        [0, -1, 2, 7],
        'the scores are for 3 classes, so a target is from 0 to 2, or -100, which does not count; '
        'targets[1] is -1, and 1 more are wrong.',
    ),
    'floats': (
        [0.0, 1.0, 2.0, 1.0],
        'a target is the number of a class, of the type torch.int64 (labels.long()), got '
        'torch.float32.',
    ),
    'a dimension more': (
        [[0], [1], [2], [1]],
        'the scores have the shape (4, 3), so targets should have the shape (4,), got (4, 1).',
    ),
    'fewer': (
        [0, 1],
        'the scores have the shape (4, 3), so targets should have the shape (4,), got (2,).',
    ),
}


@pytest.mark.parametrize('name', LABELS)
def test_a_label_that_is_not_a_class_is_named(name: str) -> None:
    labels, message = LABELS[name]
    batch = [INPUTS, torch.tensor(labels)]
    assert refused(Classifier(nn.Linear(2, 3)), batch) == f'Classifier: {message}'


def test_int32_labels_are_named() -> None:
    batch = [INPUTS, torch.zeros(4, dtype=torch.int32)]
    assert 'got torch.int32' in refused(Classifier(nn.Linear(2, 3)), batch)


class Own(BaseModel):
    """A model of a user with one of the losses."""

    def __init__(self, loss: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 3)
        self.loss = loss

    def forward(self, inputs: Tensor, labels: Tensor, mode: str = 'tensor') -> Any:
        return {'loss': self.loss(self.layer(inputs).log_softmax(1), labels)}


@pytest.mark.parametrize('loss', [cross_entropy, nll_loss, nn.CrossEntropyLoss(), nn.NLLLoss()])
def test_a_model_of_a_user_is_no_exception(loss: Any) -> None:
    batch = {'inputs': INPUTS, 'labels': torch.tensor([0, 0, 9, 0])}
    assert 'Own: ' in refused(Own(loss), batch)
    assert 'targets[2] is 9' in refused(Own(loss), batch)


def test_a_pixel_is_named_with_its_place() -> None:
    model = AdaptedModel(nn.Conv2d(1, 2, 1), loss=nn.CrossEntropyLoss(ignore_index=255), target=1)
    labels = torch.zeros(2, 3, 4, dtype=torch.long)
    labels[0, 0, 0], labels[1, 2, 3] = 255, 2
    text = refused(model, [torch.zeros(2, 1, 3, 4), labels])
    assert 'from 0 to 1, or 255, which does not count; targets[1, 2, 3] is 2.' in text


@pytest.mark.parametrize('mode', ['loss', 'predict'])
def test_a_token_out_of_range_is_named_with_its_embedding(mode: str) -> None:
    model = LanguageModel(nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10)))
    tokens = torch.zeros(2, 6, dtype=torch.long)
    tokens[1, 3] = 10
    assert refused(model, [tokens], mode) == (
        'LanguageModel: the embedding inner.0 has 10 rows, so its inputs are from 0 to 9; '
        'inputs[1, 3] is 10.'
    )
    assert 'of the type torch.int64 (tokens.long()), got torch.float32' in refused(
        model, [tokens.float()], mode
    )


def test_the_last_token_is_a_target_alone() -> None:
    model = LanguageModel(nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10)))
    tokens = torch.zeros(2, 6, dtype=torch.long)
    tokens[0, 5] = 11
    # The targets of text 0 are entries 0 to 4.
    assert 'so a target is from 0 to 9, or -100, which does not count; targets[4] is 11.' in (
        refused(model, [tokens])
    )


def test_who_catches_the_error_of_torch_still_does() -> None:
    batch = [INPUTS, torch.tensor([0, 1, 2, 3])]
    for kind in (IndexError, RuntimeError, ValueError):
        with pytest.raises(kind):
            forward_batch(Classifier(nn.Linear(2, 3)), batch, 'loss')


class Failing(BaseModel):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, inputs: Tensor, mode: str = 'tensor') -> Any:
        raise self.error


@pytest.mark.parametrize(
    'error', [RuntimeError('CUDA out of memory'), IndexError('mine'), ValueError('mine')], ids=repr
)
def test_other_errors_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        forward_batch(Failing(error), [INPUTS], 'loss')
    assert caught.value is error


def test_probabilities_of_classes_are_targets_too() -> None:
    model = Classifier(nn.Linear(2, 3))
    batch = [INPUTS, torch.full((4, 3), 1 / 3)]
    assert forward_batch(model, batch, 'loss')['loss'].item() > 0
    with pytest.raises(RuntimeError) as caught:
        forward_batch(model, [INPUTS, batch[1].half().long()], 'loss')
    assert not isinstance(caught.value, RefusedValueError)
