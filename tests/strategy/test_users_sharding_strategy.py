"""A user's strategy of six lines shards the model by ``fully_shard``; a Runner does the rest."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import FlexibleRunner
from mmengine.strategy import SingleDeviceStrategy
from mmengine.testing._internal.distributed import run_distributed

pytestmark = pytest.mark.distributed

LR, MOMENTUM, CLIP, EMA = 0.1, 0.9, 0.05, 0.25
# Two ranks with batches of 2: five steps of 2 x 2 x accumulation 2, of which the last is shorter.
SAMPLES, EPOCHS, ACCUMULATION = 36, 1, 2


class Sharded(SingleDeviceStrategy):
    def wrap_model(self, model, *args, **kwargs):
        from torch.distributed.fsdp import fully_shard

        for block in model.blocks:
            fully_shard(block)
        return fully_shard(model)


class Blocks(BaseModel):
    """Sizes that two ranks cannot halve, a shared buffer and an initialisation of its own."""

    def __init__(self) -> None:
        super().__init__(init_cfg={'type': 'Normal', 'layer': 'Linear', 'std': 0.5})
        self.blocks = nn.ModuleList([nn.Linear(3, 5), nn.Linear(5, 1)])
        self.register_buffer('scale', torch.tensor(0.5))

    def forward(self, x: Any, y: Any, mode: str = 'tensor') -> Any:  # type: ignore[override]
        out = self.blocks[1](torch.tanh(self.blocks[0](x))) * self.scale
        if mode == 'loss':
            return {'loss': F.mse_loss(out, y)}
        return list(out) if mode == 'predict' else out


class Mean(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += [float(value) for value in data_samples]

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return {'mean': sum(results) / len(results)}


class Norms(Hook):
    """The gradient norms that were logged."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def after_train(self, runner: Any) -> None:
        self.seen = runner.message_hub.get_scalar('train/grad_norm').data[0].tolist()


def samples(count: int = SAMPLES) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(count, 3, generator=generator)
    return [{'x': x, 'y': x.sum().reshape(1)} for x in inputs]


def _loader(**more: Any) -> dict[str, Any]:
    return {
        'dataset': samples(),
        'batch_size': 2,
        'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        'collate_fn': {'type': 'default_collate'},
        **more,
    }


def _runner(work_dir: str, norms: Norms, **more: Any) -> FlexibleRunner:
    config: dict[str, Any] = dict(
        model=Blocks(),
        work_dir=work_dir,
        strategy=Sharded(
            work_dir=work_dir,
            env_kwargs={'launcher': 'pytorch', 'randomness': {'seed': 0}},
            log_kwargs={'log_level': 'ERROR'},
        ),
        train_dataloader=_loader(),
        train_cfg={'by_epoch': True, 'max_epochs': EPOCHS},
        optim_wrapper={
            'optimizer': {'type': 'SGD', 'lr': LR, 'momentum': MOMENTUM},
            'accumulative_counts': ACCUMULATION,
            'clip_grad': {'max_norm': CLIP},
        },
        val_dataloader=_loader(),
        val_cfg={},
        val_evaluator=Mean(),
        custom_hooks=[{'type': 'EMAHook', 'momentum': EMA}, norms],
        default_hooks={'checkpoint': {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 3}},
        **more,
    )
    return FlexibleRunner(**config)


def _train(rank: int, world_size: int, work_dir: str) -> dict[str, Any]:
    norms = Norms()
    runner = _runner(work_dir, norms)
    runner.train()
    model, average = runner.strategy.model_state_dict(), runner.hooks
    ema = next(hook for hook in average if type(hook).__name__ == 'EMAHook')
    from mmengine._checkpoint.state_dict import weights_to_cpu

    local = sum(p.to_local().numel() for p in runner.model.parameters())
    return {
        'model': dict(model),
        'average': dict(weights_to_cpu(ema.ema_model.module.state_dict())),
        'norms': norms.seen,
        'validated': float(runner.message_hub.get_scalar('val/mean').current()),
        'local': local,
    }


def _by_hand() -> dict[str, Any]:
    """One process on the joined batches, in plain torch."""
    model = Blocks()
    torch.manual_seed(0)  # as the strategy does, before weights are initialised
    for layer in model.blocks:
        nn.init.normal_(layer.weight, 0.0, 0.5)
        nn.init.constant_(layer.bias, 0.0)
    average = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
    data = torch.utils.data.default_collate(samples())
    norms, updates = [], 0
    starts = list(range(0, SAMPLES, 4))  # what both ranks read in one iteration
    windows = [starts[i : i + ACCUMULATION] for i in range(0, len(starts), ACCUMULATION)]
    for window in windows:
        optimizer.zero_grad()
        for start in window:
            batch = {key: value[start : start + 4] for key, value in data.items()}
            (model(**batch, mode='loss')['loss'] / len(window)).backward()
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), CLIP)))
        optimizer.step()
        updates = _averaged(average, model, updates)
    with torch.no_grad():
        validated = float(average(**data).mean())
    return {
        'model': model.state_dict(), 'average': average.state_dict(),
        'norms': norms, 'validated': validated,
    }  # fmt: skip


def _averaged(average: nn.Module, model: nn.Module, updates: int) -> int:
    with torch.no_grad():
        for target, source in zip(average.parameters(), model.parameters(), strict=True):
            target.copy_(source if updates == 0 else (1 - EMA) * target + EMA * source)
    return updates + 1


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp('sharded')
    return folder, run_distributed(_train, 2, str(folder))


def test_it_trains_as_one_process_on_the_joined_batch(trained: Any) -> None:
    _, results = trained
    expected = _by_hand()
    for result in results:
        for part in ('model', 'average'):
            for name, value in expected[part].items():
                torch.testing.assert_close(result[part][name], value, atol=1e-6, rtol=1e-5)
        assert result['norms'] == pytest.approx(expected['norms'], rel=1e-5)
        assert result['validated'] == pytest.approx(expected['validated'], rel=1e-5)


def test_each_rank_holds_its_part_of_the_parameters(trained: Any) -> None:
    _, results = trained
    assert sum(result['local'] for result in results) == 3 * 5 + 5 + 5 + 1
    assert all(result['local'] < 26 for result in results)


def test_its_checkpoint_holds_whole_tensors(trained: Any) -> None:
    folder, results = trained
    checkpoint = torch.load(folder / 'iter_9.pth', weights_only=True)
    for name, value in results[0]['average'].items():
        torch.testing.assert_close(checkpoint['state_dict'][name], value)
    shapes = [entry['momentum_buffer'].shape for entry in checkpoint['optimizer']['state'].values()]
    assert [tuple(shape) for shape in shapes] == [(5, 3), (5,), (1, 5), (1,)]


def _resume(rank: int, world_size: int, work_dir: str, source: str) -> dict[str, Any]:
    norms = Norms()
    runner = _runner(work_dir, norms, load_from=source, resume=True)
    runner.train()
    return dict(runner.strategy.model_state_dict())


@pytest.mark.parametrize('iteration', [3, 6], ids=['inside a window', 'between two windows'])
def test_it_resumes_to_the_same_bits(trained: Any, tmp_path: Path, iteration: int) -> None:
    folder, results = trained
    source = str(folder / f'iter_{iteration}.pth')
    for resumed in run_distributed(_resume, 2, str(tmp_path), source):
        for name, value in results[0]['model'].items():
            assert torch.equal(resumed[name], value), name
