"""Names that wait for their strategies: clear errors; the parts around engines: their calls."""

import copy
import sys
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmengine.model import BaseModel, is_model_wrapper
from mmengine.registry import MODEL_WRAPPERS, OPTIM_WRAPPERS, OPTIMIZERS
from mmengine.runner import Runner
from mmengine.strategy import ColossalAIStrategy, FSDPStrategy
from mmengine.strategy.colossalai import ColossalAIModelWrapper, ColossalAIOptimWrapper
from mmengine.strategy.deepspeed import (
    DeepSpeedOptimWrapper,
    MMDeepSpeedEngineWrapper,
    register_deepspeed_optimizers,
)
from mmengine.strategy.utils import MetaTensorContext
from mmengine.testing._internal.distributed import run_distributed


class Line(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, inputs: Tensor, weight: Any = None, mode: str = 'tensor') -> Any:
        self.seen = (inputs.dtype, getattr(weight, 'dtype', None))
        output = self.layer(inputs.to(self.layer.weight.dtype))
        return {'loss': output} if mode == 'loss' else [output]


class Engine(nn.Module):
    """The calls of a DeepSpeed engine, on plain torch."""

    def __init__(self, module: Line, optimizer: torch.optim.Optimizer) -> None:
        super().__init__()
        self.module = module
        self.optimizer = optimizer
        self.calls: list[str] = []

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append('forward')
        return self.module(*args, **kwargs)

    def backward(self, loss: Tensor) -> None:
        self.calls.append('backward')
        loss.backward()

    def step(self) -> None:
        self.calls.append('step')
        self.optimizer.step()
        self.optimizer.zero_grad()


def engine() -> Engine:
    torch.manual_seed(0)
    model = Line()
    return Engine(model, torch.optim.SGD(model.parameters(), lr=0.5))


# Strategies


@pytest.mark.shows('ColossalAI', '*', 'refused')
@pytest.mark.parametrize(
    'strategy',
    [
        'colossalai',
        'ColossalAIStrategy',
        {
            'type': 'ColossalAIStrategy',
            'config': None,
            'mixed_precision': 'bf16',
            'plugin': {'type': 'HybridParallelPlugin', 'tp_size': 2},
            'model_wrapper': {'type': 'ColossalAIModelWrapper'},
        },
    ],
    ids=['name', 'class', 'dict'],
)
@pytest.mark.parametrize('is_installed', [False, True], ids=['missing', 'installed'])
def test_colossalai_is_a_name_that_says_why(
    strategy: Any, is_installed: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if is_installed:
        package: Any = ModuleType('colossalai')
        package.__spec__ = SimpleNamespace()
        monkeypatch.setitem(sys.modules, 'colossalai', package)
    folder = tmp_path / 'run'
    with pytest.raises(NotImplementedError) as caught:
        Runner(model=Line(), work_dir=str(folder), cfg={'strategy': strategy})
    message = str(caught.value)
    assert 'ColossalAIStrategy' in message
    assert 'an older torch' in message
    assert "strategy='fsdp'" in message
    assert not folder.exists()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr('mmengine.strategy.deepspeed.find_spec', lambda name: None)
    folder = tmp_path / 'run'
    with pytest.raises(ImportError, match='pip install deepspeed'):
        Runner(model=Line(), work_dir=str(folder), cfg={'strategy': 'deepspeed'})
    assert not folder.exists()


def test_where_colossalai_keeps_its_parts() -> None:
    folders = ColossalAIStrategy
    assert (folders.MODEL_DIR, folders.OPTIMIZER_DIR, folders.SCHEDULER_DIR) == (
        'model',
        'optimizer',
        'scheduler',
    )
    assert FSDPStrategy.__mro__[1].__name__ == 'DDPStrategy'


def _wrap_sharded(rank: int, world_size: int, folder: str) -> str:
    from mmengine.strategy import DDPStrategy

    strategy = DDPStrategy(
        model_wrapper='MMFullyShardedDataParallel',
        work_dir=folder,
        env_kwargs={'launcher': 'pytorch'},
    )
    try:
        strategy.prepare(Line())
    except NotImplementedError as error:
        return str(error)
    return ''


@pytest.mark.distributed
def test_ddp_strategy_refuses_a_wrapper_whose_state_it_cannot_gather(tmp_path: Path) -> None:
    for message in run_distributed(_wrap_sharded, 2, str(tmp_path)):
        assert 'with MMFullyShardedDataParallel rank 0 holds only a part of them' in message


# DeepSpeed


def test_names_are_found_in_their_registries() -> None:
    assert OPTIM_WRAPPERS.get('DeepSpeedOptimWrapper') is DeepSpeedOptimWrapper
    assert OPTIM_WRAPPERS.get('ColossalAIOptimWrapper') is ColossalAIOptimWrapper
    assert MODEL_WRAPPERS.get('MMDeepSpeedEngineWrapper') is MMDeepSpeedEngineWrapper
    assert MODEL_WRAPPERS.get('CollosalAIModelWrapper') is ColossalAIModelWrapper


def test_an_engine_takes_the_step_of_its_model() -> None:
    inner = engine()
    weight = inner.module.layer.weight.detach().clone()
    wrapper = OPTIM_WRAPPERS.build({'type': 'DeepSpeedOptimWrapper', 'optimizer': inner.optimizer})
    wrapper.model = inner
    model = MMDeepSpeedEngineWrapper(model=inner)
    logs = model.train_step({'inputs': torch.tensor([[1.0, 2.0]])}, wrapper)
    assert inner.calls == ['forward', 'backward', 'step']
    assert list(logs) == ['loss']
    # d loss / d weight is the input; the rate is 0.5.
    torch.testing.assert_close(inner.module.layer.weight, weight - torch.tensor([[0.5, 1.0]]))
    assert wrapper.get_lr() == {'lr': [0.5]}
    assert wrapper.param_groups is inner.optimizer.param_groups


def test_an_engine_predicts() -> None:
    model = MODEL_WRAPPERS.build({'type': 'MMDeepSpeedEngineWrapper', 'model': engine()})
    data = {'inputs': torch.tensor([[1.0, 2.0]])}
    expected = model.module(**data)[0]
    assert torch.equal(model.val_step(data)[0], expected)
    assert torch.equal(model.test_step(data)[0], expected)
    assert is_model_wrapper(model)
    assert copy.copy(model).model is model.model


@pytest.mark.parametrize(
    ('named', 'data', 'dtypes'),
    [
        (['inputs'], {'inputs': 1, 'weight': 1}, (torch.bfloat16, torch.float32)),
        ([1], [1, 1], (torch.float32, torch.bfloat16)),
        (None, {'inputs': 1, 'weight': 1}, (torch.float32, torch.float32)),
    ],
    ids=['key', 'position', 'none'],
)
def test_chosen_inputs_take_the_dtype_of_the_parameters(
    named: Any, data: Any, dtypes: tuple[torch.dtype, torch.dtype]
) -> None:
    inner = engine().to(torch.bfloat16)
    tensors = [torch.ones(1, 2) for _ in data]
    batch = dict(zip(data, tensors, strict=True)) if isinstance(data, dict) else tensors
    MMDeepSpeedEngineWrapper(model=inner, inputs_to_half=named).val_step(batch)
    assert inner.module.seen == dtypes


def test_the_engine_keeps_the_state_of_its_optimizer() -> None:
    wrapper = DeepSpeedOptimWrapper(engine().optimizer)
    assert wrapper.state_dict() == {}
    with pytest.raises(ValueError, match='set `model` first'):
        wrapper.update_params(torch.tensor(1.0))
    with pytest.raises(NotImplementedError, match='sets gradients to zero itself'):
        wrapper.zero_grad()
    linear = nn.Linear(2, 1)
    groups = [{'params': [linear.weight]}, {'params': [linear.bias], 'lr': 0.1}]
    several = DeepSpeedOptimWrapper(torch.optim.SGD(groups, lr=1.0))
    several.param_groups[-1]['lr'] = 0.25
    other = DeepSpeedOptimWrapper(torch.optim.SGD(groups, lr=1.0))
    other.load_state_dict(several.state_dict())
    assert other.get_lr() == {'base_lr': [0.25], 'lr': [1.0, 0.1]}


def test_its_optimizers_are_registered_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr('mmengine.optim.optimizer.builder._is_installed', lambda package: False)
    assert register_deepspeed_optimizers() == []
    monkeypatch.undo()
    package, adam = ModuleType('deepspeed'), ModuleType('deepspeed.ops.adam')
    package.__spec__ = SimpleNamespace()  # type: ignore[assignment]
    adam.FusedAdam = lambda params, lr: ('FusedAdam', params, lr)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, 'deepspeed', package)
    monkeypatch.setitem(sys.modules, 'deepspeed.ops.adam', adam)
    names = register_deepspeed_optimizers()
    try:
        assert {'DeepSpeedCPUAdam', 'FusedAdam', 'FusedLamb', 'OnebitAdam'} <= set(names)
        built = OPTIMIZERS.build({'type': 'FusedAdam', 'params': [], 'lr': 0.1})
        assert built == ('FusedAdam', [], 0.1)
    finally:
        for name in names:
            OPTIMIZERS.module_dict.pop(name)


# ColossalAI


class Booster:
    """The calls of a booster, on plain torch."""

    def __init__(self, can_wait: bool = True) -> None:
        self.calls: list[str] = []
        self.plugin = SimpleNamespace(support_no_sync=lambda: can_wait)

    def backward(self, loss: Tensor, optimizer: Any) -> None:
        self.calls.append('backward')
        loss.backward()

    @contextmanager
    def no_sync(self, model: Any, optimizer: Any) -> Any:
        self.calls.append('no_sync')
        yield


@pytest.mark.parametrize(
    ('can_wait', 'calls'),
    [(True, ['no_sync', 'backward', 'backward']), (False, ['backward', 'backward'])],
    ids=['no-sync', 'always-sync'],
)
def test_a_booster_runs_the_backward_passes_of_a_window(can_wait: bool, calls: list[str]) -> None:
    model, booster = Line(), Booster(can_wait)
    boosted = Engine(model, torch.optim.SGD(model.parameters(), lr=0.5))
    wrapper = ColossalAIOptimWrapper(boosted.optimizer, booster=booster, accumulative_counts=2)
    wrapped = ColossalAIModelWrapper(boosted, model)
    weight = model.layer.weight.detach().clone()
    for inputs in ([[1.0, 2.0]], [[3.0, 6.0]]):
        assert torch.equal(model.layer.weight, weight)
        wrapped.train_step({'inputs': torch.tensor(inputs)}, wrapper)
    assert booster.calls == calls
    # The mean gradient of the two batches is (2, 4); the rate is 0.5.
    torch.testing.assert_close(model.layer.weight, weight - torch.tensor([[1.0, 2.0]]))


def test_a_boosted_model_predicts_through_its_wrapper() -> None:
    boosted = engine()
    wrapped = ColossalAIModelWrapper(boosted, boosted.module)
    data = {'inputs': torch.tensor([[1.0, 2.0]])}
    expected = boosted.module(**data)[0]
    assert torch.equal(wrapped.val_step(data)[0], expected)
    assert torch.equal(wrapped.test_step(data)[0], expected)
    assert boosted.calls == ['forward', 'forward']
    assert torch.equal(wrapped(**data)[0], expected)
    assert wrapped.optimizer is boosted.optimizer


def test_without_a_booster_it_is_a_plain_wrapper() -> None:
    model = Line()
    wrapper = ColossalAIOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.5))
    weight = model.layer.weight.detach().clone()
    model.train_step({'inputs': torch.tensor([[1.0, 2.0]])}, wrapper)
    torch.testing.assert_close(model.layer.weight, weight - torch.tensor([[0.5, 1.0]]))


# Models without memory


def test_models_are_built_without_memory() -> None:
    outside = torch.ones(3)
    with MetaTensorContext():
        layer = nn.Linear(10**6, 10**6)
        made = torch.zeros(2, dtype=torch.float16), torch.arange(3)
        assert (outside + 1).device.type == 'cpu'
    assert layer.weight.is_meta
    assert layer.weight.shape == (10**6, 10**6)
    assert isinstance(layer.weight, nn.Parameter)
    assert [(t.device.type, t.dtype) for t in made] == [
        ('meta', torch.float16),
        ('meta', torch.int64),
    ]
    assert torch.zeros(1).device.type == 'cpu'
