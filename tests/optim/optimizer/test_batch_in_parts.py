"""A batch in parts takes the step of the whole batch, with each wrapper."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, default_collate

from mmengine.dataset._batch_parts import BatchParts, CollateInParts
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from mmengine.runner._sample_count import num_samples_of
from mmengine.runner._step_in_parts import step_in_parts

SIZE, WINDOW = 5, 2


class Net(BaseModel):
    """A mean loss of one layer, and a number, a text and another tensor for the log."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(2, 1)

    def forward(self, x: Any, mode: str = 'loss') -> Any:  # type: ignore[override]
        return {'loss': self.linear(x).square().mean()}

    def train_step(self, data: Any, optim_wrapper: Any) -> Any:
        with optim_wrapper.optim_context(self):
            loss = self(data)['loss']
        optim_wrapper.update_params(loss)
        return OrderedDict(loss=loss.detach(), size=len(data), kind='text', count=torch.ones(2))


class Steps(Net):
    """Its own ``train_step`` makes each step of the wrapper by itself, with two of them."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Linear(2, 1)

    def train_step(self, data: Any, optim_wrapper: Any) -> Any:
        for name, layer in (('one', self.linear), ('two', self.bias)):
            wrapper = optim_wrapper[name]
            wrapper.backward(wrapper.scale_loss(layer(data).square().mean()))
            if wrapper.should_update():
                wrapper.step()
                wrapper.zero_grad()
        return {}


def _batches() -> list[torch.Tensor]:
    """Five batches of five samples; windows of two: the last one has one batch."""
    return list(torch.randn(5, SIZE, 2, generator=torch.Generator().manual_seed(1)))


def _sgd(layer: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)


def _by_hand(model: nn.Module, layers: list[nn.Module], bad: tuple[int, ...] = ()) -> Any:
    """Windows in plain PyTorch; parts of the numbers ``bad`` (of two in a batch) are left out."""
    for layer in layers:
        optimizer, batches = _sgd(layer), _batches()
        for begin in range(0, len(batches), WINDOW):
            window = range(begin, min(begin + WINDOW, len(batches)))
            optimizer.zero_grad()
            if all(2 * batch + part in bad for batch in window for part in (0, 1)):
                continue
            for batch in window:
                for part, x in enumerate((batches[batch][:3], batches[batch][3:])):
                    if 2 * batch + part not in bad:
                        (layer(x).square().sum() / SIZE / len(window)).backward()
            optimizer.step()
    return model.state_dict()


def _train(model: Any, wrapper: Any, bad: tuple[int, ...] = ()) -> Any:
    wrapper.initialize_count_status(model, 0, 5)
    collate, outputs = CollateInParts(torch.stack, 2), []
    for number, batch in enumerate(_batches()):
        parts = collate(list(batch))
        for part in (0, 1):
            if 2 * number + part in bad:
                parts.parts[part].fill_(float('nan'))
        outputs.append(step_in_parts(model, parts, wrapper))
    return outputs


def test_a_mean_over_parts_of_unequal_size():
    model = Net()
    wrapper = OptimWrapper(_sgd(model.linear), accumulative_counts=WINDOW)
    expected = float(model(_batches()[0])['loss'].detach())
    outputs = _train(model, wrapper)
    torch.testing.assert_close(model.state_dict(), _by_hand(again := Net(), [again.linear]))
    assert (wrapper.inner_count, wrapper.num_steps) == (5, 3)
    assert float(outputs[0]['loss']) == pytest.approx(expected)
    assert outputs[0]['size'] == pytest.approx(3 * 3 / 5 + 2 * 2 / 5)
    assert outputs[0]['kind'] == 'text'
    assert outputs[0]['count'].tolist() == [1, 1]


@pytest.mark.parametrize('window', [1, 3])
def test_clipping_and_a_state_in_a_window(window: int):
    """A batch in parts and a whole one, with the same state between them."""
    models = [Net(), Net()]
    wrappers = [
        OptimWrapper(_sgd(model.linear), accumulative_counts=window, clip_grad={'max_norm': 0.1})
        for model in models
    ]
    for wrapper, model in zip(wrappers, models, strict=True):
        wrapper.initialize_count_status(model, 0, 5)
    for batch in _batches():
        step_in_parts(models[0], CollateInParts(torch.stack, 3)(list(batch)), wrappers[0])
        models[1].train_step(batch, wrappers[1])
        states = [wrapper.state_dict() for wrapper in wrappers]
        torch.testing.assert_close(states[0], states[1])
    torch.testing.assert_close(models[0].state_dict(), models[1].state_dict())


def test_two_optimizers_and_steps_by_hand():
    model = Steps()
    wrapper = OptimWrapperDict(
        one=OptimWrapper(_sgd(model.linear), accumulative_counts=WINDOW),
        two=AmpOptimWrapper(
            dtype='float16', optimizer=_sgd(model.bias), accumulative_counts=WINDOW
        ),
    )
    _train(model, wrapper)
    expected = _by_hand(again := Steps(), [again.linear, again.bias])
    torch.testing.assert_close(model.state_dict(), expected)


@pytest.mark.parametrize('bad', [(0,), (1, 3), (2, 3), (0, 1, 2, 3), (9,), (8, 9)])
def test_a_part_that_is_not_finite_is_left_out(bad: tuple[int, ...]):
    model = Net()
    wrapper = OptimWrapper(_sgd(model.linear), accumulative_counts=WINDOW)
    wrapper.skip_non_finite = True
    _train(model, wrapper, bad)
    torch.testing.assert_close(model.state_dict(), _by_hand(again := Net(), [again.linear], bad))
    assert wrapper.inner_count == 5


def test_an_error_leaves_the_wrapper_as_it_was():
    model = Net()
    wrapper = OptimWrapper(_sgd(model.linear))
    window = wrapper._window
    with pytest.raises(RuntimeError):
        step_in_parts(model, BatchParts([torch.ones(1, 2), torch.ones(1, 3)], [1, 1]), wrapper)
    assert wrapper._window is window
    assert wrapper.inner_count == 0


@pytest.mark.parametrize('workers', [0, 1])
def test_batches_of_a_dataloader(workers: int):
    loader = DataLoader(
        range(7), 5, collate_fn=CollateInParts(default_collate, 2), num_workers=workers
    )  # type: ignore[arg-type]  # sized
    batches = [[part.tolist() for part in batch.parts] for batch in loader]
    assert batches == [[[0, 1, 2], [3, 4]], [[5], [6]]]
    assert [num_samples_of(batch) for batch in loader] == [5, 2]


@pytest.mark.parametrize(('is_shared', 'sizes'), [(False, [1, 1]), (True, [1, 1, 0])])
def test_a_batch_of_fewer_samples_than_parts(is_shared: bool, sizes: list[int]):
    """With other ranks it has as many parts, of which one counts for nothing."""
    parts = CollateInParts(torch.stack, 3, is_shared)(list(_batches()[0][:2]))
    assert (parts.sizes, len(parts)) == (sizes, len(sizes))
    model, whole = Net(), Net()
    step_in_parts(model, parts, OptimWrapper(_sgd(model.linear)))
    whole.train_step(_batches()[0][:2], OptimWrapper(_sgd(whole.linear)))
    torch.testing.assert_close(model.state_dict(), whole.state_dict())
