"""Wrappers take the model's own training step, written once, whatever it does."""

import copy
import functools
import pickle
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.testing._internal.distributed import run_distributed

pytestmark = pytest.mark.distributed

LR, STEPS = 0.1, 4


class TwoUpdates(BaseModel):
    """A step of its own with two updates."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(3, 1).double()
        self.seen: list[Any] = []

    def forward(self, inputs: Any, target: Any = None, mode: str = 'tensor') -> Any:  # type: ignore[override]
        out = self.net(inputs)
        return {'loss': (out - target).square().mean()} if mode == 'loss' else out

    def train_step(self, data: Any, optim_wrapper: Any) -> Any:
        self.seen.append((type(self).__name__, isinstance(self, TwoUpdates)))
        for factor in (1.0, 0.5):
            with optim_wrapper.optim_context(self):
                losses = self(data['inputs'] * factor, data['target'], mode='loss')
            loss, log_vars = self.parse_losses(losses)
            optim_wrapper.update_params(loss)
        return log_vars


class FailsInStep(TwoUpdates):
    def train_step(self, data: Any, optim_wrapper: Any) -> Any:
        self(data['inputs'], data['target'], mode='loss')
        raise ZeroDivisionError


class CopiesItself(TwoUpdates):
    """Makes its teacher in its first step."""

    def train_step(self, data: Any, optim_wrapper: Any) -> Any:
        if not hasattr(self, 'teachers'):
            self.teachers = [copy.deepcopy(self), copy.copy(self)]
        return super().train_step(data, optim_wrapper)


class Family(TwoUpdates):
    """Registers its subclasses, each once, and each with a tag."""

    known: dict[str, type] = {}

    def __init_subclass__(cls, *, tag: str, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if tag in Family.known or cls.__name__ in [one.__name__ for one in Family.known.values()]:
            raise KeyError(f'{cls.__name__} is registered already')
        Family.known[tag] = cls


class Member(Family, tag='member'):
    pass


class HasOwnCall(TwoUpdates):
    """Doubles what it is called with. Twice would be four times."""

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(inputs * 2, *args, **kwargs)


class IsCompiled(TwoUpdates):
    """Its calls are replaced as ``Module.compile`` does it, which counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.compiled_calls = 0
        self._compiled_call_impl = self._count

    def _count(self, *args: Any, **kwargs: Any) -> Any:
        self.compiled_calls += 1
        return self._call_impl(*args, **kwargs)


KINDS = {TwoUpdates, CopiesItself, Member, HasOwnCall, IsCompiled}


def batches(rows: int = 4) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    return [
        {name: torch.randn(rows, width, generator=generator, dtype=torch.float64)
         for name, width in (('inputs', 3), ('target', 1))}
        for _ in range(STEPS)
    ]  # fmt: skip


def by_hand(counts: int = 1, scale: float = 1.0) -> nn.Module:
    """The joined batches in one process, in plain torch; each call of the model is one backward."""
    net = TwoUpdates().net
    optimizer = torch.optim.SGD(net.parameters(), lr=LR)
    passes = [(batch, factor) for batch in batches() for factor in (1.0, 0.5)]
    for begin in range(0, len(passes), counts):
        window = passes[begin : begin + counts]
        for batch, factor in window:
            loss = (net(batch['inputs'] * factor * scale) - batch['target']).square().mean()
            (loss / len(window)).backward()
        optimizer.step()
        optimizer.zero_grad()
    return net


def share(batch: Any, rank: int) -> Any:
    return {name: value[rank::2] for name, value in batch.items()}


def _train(rank: int, world_size: int, kind: type[TwoUpdates], counts: int) -> dict[str, Any]:
    model = MMDistributedDataParallel(kind())
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=LR), accumulative_counts=counts)
    reduced, forwards, outer = [], [], []
    model.register_comm_hook(reduced, _reduce)
    for part, calls in ((model, outer), (model.module, forwards)):
        part.register_forward_hook(functools.partial(_note, calls))
    for batch in batches():
        model.train_step(share(batch, rank), wrapper)
        assert type(model.module) is kind
        assert '_redirected_to' not in vars(model.module)
    assert type(copy.deepcopy(model.module)) is kind
    assert type(pickle.loads(pickle.dumps(model.module))) is kind
    flushed = wrapper.flush()
    counts_of_calls = len(reduced), len(forwards), len(outer)
    teachers = getattr(model.module, 'teachers', [])
    for teacher in teachers:
        assert type(teacher) is kind
        teacher(torch.ones(1, 3).double())  # without the wrapper: alone on a rank
    return {
        'weight': model.module.net.weight.detach(), 'bias': model.module.net.bias.detach(),
        'calls': counts_of_calls, 'flushed': flushed, 'seen': model.module.seen,
        'compiled': getattr(model.module, 'compiled_calls', 0), 'family': Family.known,
    }  # fmt: skip


def _note(calls: list[int], *args: Any) -> None:
    calls.append(1)


def _reduce(reduced: list[int], bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    reduced.append(1)
    tensor = bucket.buffer() / dist.get_world_size()
    future = dist.all_reduce(tensor, async_op=True).get_future()
    return future.then(lambda done: done.value()[0])


@pytest.mark.parametrize('kind', sorted(KINDS, key=str))
def test_a_step_with_two_updates_equals_one_process(kind):
    expected = by_hand(scale=2.0 if kind is HasOwnCall else 1.0)
    for result in run_distributed(_train, 2, kind, 1):
        torch.testing.assert_close(result['weight'], expected.weight, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(result['bias'], expected.bias, rtol=1e-12, atol=1e-12)
        assert result['calls'] == (2 * STEPS, 2 * STEPS, 2 * STEPS)
        assert result['seen'] == [(kind.__name__, True)] * STEPS
        assert result['compiled'] == (2 * STEPS if kind is IsCompiled else 0)
        assert result['family'] == {'member': Member}


@pytest.mark.parametrize('counts', [3, 4])
def test_gradients_are_exchanged_once_a_window_and_the_open_one_is_flushed(counts):
    expected = by_hand(counts)
    for result in run_distributed(_train, 2, TwoUpdates, counts):
        torch.testing.assert_close(result['weight'], expected.weight, rtol=1e-12, atol=1e-12)
        assert result['calls'] == (8 // counts, 2 * STEPS, 2 * STEPS)
        assert result['flushed'] == (8 % counts > 0)


def _fail(rank: int, world_size: int) -> tuple[str, bool]:
    model = MMDistributedDataParallel(FailsInStep())
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=LR))
    with pytest.raises(ZeroDivisionError):
        model.train_step(share(batches()[0], rank), wrapper)
    return type(model.module).__name__, type(model.module) is FailsInStep


def test_an_error_in_the_step_gives_the_model_its_class_back():
    assert run_distributed(_fail, 2) == [('FailsInStep', True)] * 2


class OldStep(MMDistributedDataParallel):
    """A user's wrapper, in the way it was done before."""

    def train_step(self, data: Any, optim_wrapper: Any) -> Any:
        with optim_wrapper.optim_context(self):
            data = self.module.data_preprocessor(data, training=True)
            losses = self._run_forward(data, mode='loss')
        loss, log_vars = self.module.parse_losses(losses)
        optim_wrapper.update_params(loss)
        return {**log_vars, 'mine': torch.tensor(1.0)}


def _old_step(rank: int, world_size: int) -> tuple[torch.Tensor, Any]:
    model = OldStep(TwoUpdates())
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=LR))
    for batch in batches():
        logs = model.train_step(share(batch, rank), wrapper)
    return model.module.net.weight.detach(), sorted(logs)


def test_a_wrapper_with_a_step_of_its_own_takes_that_one():
    net = TwoUpdates().net
    optimizer = torch.optim.SGD(net.parameters(), lr=LR)
    for batch in batches():
        optimizer.zero_grad()
        (net(batch['inputs']) - batch['target']).square().mean().backward()
        optimizer.step()
    for weight, logs in run_distributed(_old_step, 2):
        torch.testing.assert_close(weight, net.weight, rtol=1e-12, atol=1e-12)
        assert logs == ['loss', 'mine']


class HasIdle(TwoUpdates):
    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Linear(1, 1)


def _report(rank: int, world_size: int) -> Any:
    model = MMDistributedDataParallel(
        HasIdle(), detect_anomalous_params=True, find_unused_parameters=True
    )
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=LR))
    for batch in batches():
        model.train_step(share(batch, rank), wrapper)
    return model.module.net.weight.detach(), 'parse_losses' in vars(model.module)


def test_idle_parameters_are_reported_in_a_step_of_ones_own():
    expected = by_hand()
    for weight, is_left in run_distributed(_report, 2):
        torch.testing.assert_close(weight, expected.weight, rtol=1e-12, atol=1e-12)
        assert not is_left


def _compiled(rank: int, world_size: int) -> Any:
    from mmengine.strategy._compiling import compile_method

    model = MMDistributedDataParallel(TwoUpdates())
    compile_method(model, {'target': 'train_step', 'backend': 'eager'})
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=LR))
    for batch in batches():
        model.train_step(share(batch, rank), wrapper)
    assert type(model.module) is TwoUpdates
    return model.module.net.weight.detach()


@pytest.mark.filterwarnings('ignore')  # torch's tracer warns of torch's own code
def test_a_compiled_step_equals_the_plain_one():
    expected = by_hand()
    for weight in run_distributed(_compiled, 2):
        torch.testing.assert_close(weight, expected.weight, rtol=1e-12, atol=1e-12)
