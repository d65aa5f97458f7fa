"""A model of MMCV 1.x under Runner, against loops by hand and recorded runs of MMCV 1.7.2."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from mmengine.evaluator import BaseMetric
from mmengine.migrate._legacy_model import LegacyModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import MODELS
from mmengine.runner import Runner

NUM_BATCHES = 5


class LegacyNet(nn.Module):
    """What MMCV 1.x asked of a model; the last batch holds fewer samples."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.linear = nn.Linear(3, 1)

    def forward(self, x: torch.Tensor, y: torch.Tensor, return_loss: bool = True) -> Any:
        prediction = self.linear(x)
        if not return_loss:
            return prediction
        loss = (prediction - y).square().mean()
        log_vars = {'loss': loss.item(), 'abs': (prediction - y).abs().mean().item()}
        return {'loss': loss, 'log_vars': log_vars, 'num_samples': len(x)}

    def train_step(self, data: Any, optimizer: Any, **kwargs: Any) -> Any:
        return self(**data)


class Container:
    """Shaped like the container of MMCV 1.x's collate function: one chunk for each device."""

    def __init__(self, data: Any, stack: bool = False, cpu_only: bool = False) -> None:
        self.data, self.stack, self.cpu_only = data, stack, cpu_only


def _samples() -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        {'x': torch.randn(3, generator=generator), 'y': torch.randn(1, generator=generator)}
        for _ in range(2 * NUM_BATCHES - 1)
    ]


def _loader(**kwargs: Any) -> DataLoader[Any]:
    return DataLoader(_samples(), batch_size=2, **kwargs)  # type: ignore[arg-type]


def _run(
    model: nn.Module, work_dir: Any, epochs: int = 2, loader: Any = None, **kwargs: Any
) -> Runner:
    wrapper: Any = {'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}}
    wrapper.update(kwargs.pop('wrapper', {}))
    wrapper = kwargs.pop('given', wrapper)
    runner = Runner(
        model,
        str(work_dir),
        train_dataloader=loader or _loader(),
        train_cfg={'by_epoch': True, 'max_epochs': epochs},
        optim_wrapper=wrapper,
        log_level='ERROR',
        **kwargs,
    )
    runner.train()
    return runner


@pytest.mark.parametrize('count', [1, 3])
@pytest.mark.parametrize('max_norm', [None, 0.1])
def test_training_equals_the_legacy_optimizer_hooks_bit_for_bit(tmp_path, count, max_norm):
    expected = LegacyNet()
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.1, momentum=0.9)
    total = 2 * NUM_BATCHES
    step = 0
    for _ in range(2):
        for batch in _loader():
            outputs = expected.train_step(batch, optimizer)
            # The legacy accumulation divided a last, shorter window by what was left.
            window = min(count, total - step // count * count)
            (outputs['loss'] / window if window > 1 else outputs['loss']).backward()
            step += 1
            if step % count == 0 or step == total:
                if max_norm is not None:
                    nn.utils.clip_grad_norm_(expected.parameters(), max_norm)
                optimizer.step()
                optimizer.zero_grad()

    model = LegacyModel(LegacyNet())
    wrapper: dict[str, Any] = {'accumulative_counts': count}
    if max_norm is not None:
        wrapper['clip_grad'] = {'max_norm': max_norm}
    _run(model, tmp_path, wrapper=wrapper)

    for ours, theirs in zip(model.model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_log_variables_are_averaged_by_their_number_of_samples(tmp_path):
    model = LegacyModel(LegacyNet())
    runner = _run(model, tmp_path, epochs=1)
    buffer = runner.message_hub.get_scalar('train/abs')
    values, counts = buffer.data
    assert counts.tolist() == [2, 2, 2, 2, 1]
    np.testing.assert_allclose(
        buffer.mean(NUM_BATCHES), (values * [2, 2, 2, 2, 1]).sum() / 9, rtol=1e-12
    )


def test_containers_are_opened_and_cpu_only_ones_stay_as_they_are(tmp_path):
    plain = LegacyModel(LegacyNet())
    _run(plain, tmp_path / 'plain', epochs=1)

    seen = []

    class WithMeta(LegacyNet):
        def train_step(self, data: Any, optimizer: Any, **kwargs: Any) -> Any:
            seen.append(data.pop('img_metas'))
            return super().train_step(data, optimizer)

    def collate(samples: list[Any]) -> Any:
        batch = torch.utils.data.default_collate(samples)
        wrapped = {key: Container([value], stack=True) for key, value in batch.items()}
        return {**wrapped, 'img_metas': Container([[{'id': 1}]], cpu_only=True)}

    contained = LegacyModel(WithMeta())
    _run(contained, tmp_path / 'contained', epochs=1, loader=_loader(collate_fn=collate))
    assert seen == [[{'id': 1}]] * NUM_BATCHES
    for ours, theirs in zip(contained.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_validation_gets_the_predictions_of_the_call_without_loss(tmp_path):
    class Mean(BaseMetric):
        def process(self, data_batch: Any, data_samples: Any) -> None:
            self.results.extend(float(sample) for sample in data_samples)

        def compute_metrics(self, results: list[float]) -> dict[str, float]:
            return {'mean': sum(results) / len(results)}

    net = LegacyNet()
    runner = Runner(
        LegacyModel(net),
        str(tmp_path),
        val_dataloader=_loader(),
        val_cfg={},
        val_evaluator=[Mean()],
        log_level='ERROR',
    )
    inputs = torch.stack([sample['x'] for sample in _samples()])
    expected = (inputs @ net.linear.weight.T + net.linear.bias).mean().item()
    assert runner.val()['mean'] == pytest.approx(expected, rel=1e-5)


def test_a_model_that_steps_its_optimizers_gets_the_torch_ones(tmp_path):
    class Gan(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(4)
            self.a, self.b = nn.Linear(3, 1), nn.Linear(3, 1)

        def train_step(self, data: Any, optimizer: Any) -> Any:
            losses = {}
            for name in ('a', 'b'):
                loss = (getattr(self, name)(data['x']) - data['y']).square().mean()
                optimizer[name].zero_grad()
                loss.backward()
                optimizer[name].step()
                losses[f'loss_{name}'] = loss.item()
            return {'log_vars': losses, 'num_samples': len(data['x'])}

    expected = Gan()
    optimizers = {
        name: torch.optim.SGD(getattr(expected, name).parameters(), lr=0.1) for name in ('a', 'b')
    }
    for batch in _loader():
        expected.train_step(batch, optimizers)

    model = LegacyModel(Gan(), steps_itself=True)
    wrappers = OptimWrapperDict(
        **{
            name: OptimWrapper(torch.optim.SGD(getattr(model.model, name).parameters(), lr=0.1))
            for name in ('a', 'b')
        }
    )
    _run(model, tmp_path, epochs=1, given=wrappers)
    for ours, theirs in zip(model.model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_model_without_train_step_is_refused():
    with pytest.raises(TypeError, match='Linear has none'):
        LegacyModel(nn.Linear(1, 1))


class SelfInitialising(LegacyNet):
    def init_weights(self) -> None:
        nn.init.constant_(self.linear.weight, 3.0)


def test_a_legacy_model_that_came_built_keeps_its_weights(tmp_path):
    model = SelfInitialising()
    before = model.linear.weight.detach().clone()
    _run(LegacyModel(model), tmp_path, epochs=1, given=_still())
    assert torch.equal(model.linear.weight, before)


def test_a_legacy_model_that_came_as_a_config_initialises_itself(tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS._module_dict, 'SelfInitialising', SelfInitialising)
    model = LegacyModel({'type': 'SelfInitialising'})
    _run(model, tmp_path, epochs=1, given=_still())
    assert model.linear.weight.tolist() == [[3.0, 3.0, 3.0]]


def _still() -> dict[str, Any]:
    return {'optimizer': {'type': 'SGD', 'lr': 0.0}}
