"""What a strategy overrides is called in every flow, and a strategy works without a Runner."""

import os
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
from mmengine.strategy.checkpoint_io import FileCheckpointIO


class Net(BaseModel):
    def __init__(self) -> None:
        super().__init__(init_cfg={'type': 'Constant', 'layer': 'Linear', 'val': 0.5})
        self.linear = nn.Linear(2, 1)

    def forward(self, x: Any, mode: str = 'tensor') -> Any:  # type: ignore[override]
        out = self.linear(x)
        return {'loss': F.mse_loss(out, x.sum(1, keepdim=True))} if mode == 'loss' else list(out)


class Growing(BaseMetric):
    """1, 2, 3 ..."""

    def __init__(self) -> None:
        super().__init__()
        self.evaluations = 0

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(1)

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        self.evaluations += 1
        return {'acc': float(self.evaluations)}


def loader() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    return {
        'dataset': [{'x': torch.randn(2, generator=generator)} for _ in range(7)],
        'batch_size': 2,
        'sampler': {'type': 'DefaultSampler', 'shuffle': True},
        'collate_fn': {'type': 'default_collate'},
    }


def runner(folder: Path, strategy: Any = None, epochs: int = 2, **changes: Any) -> FlexibleRunner:
    config: dict[str, Any] = dict(
        model=Net(),
        work_dir=str(folder),
        strategy=strategy,
        train_dataloader=loader(),
        train_cfg={'by_epoch': True, 'max_epochs': epochs},
        optim_wrapper={
            'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9},
            'accumulative_counts': 2,
            'clip_grad': {'max_norm': 0.5},
        },
        param_scheduler={'type': 'MultiStepLR', 'milestones': [1]},
        val_dataloader=loader(),
        val_cfg={},
        val_evaluator=Growing(),
        test_dataloader=loader(),
        test_cfg={},
        test_evaluator=Growing(),
        default_hooks={'checkpoint': {'type': 'CheckpointHook', 'interval': 1, 'save_best': 'acc',
                                      'rule': 'greater', 'max_keep_ckpts': 1}},
        log_level='ERROR',
        randomness={'seed': 0},
    )  # fmt: skip
    return FlexibleRunner(**{**config, **changes})


def weights(run: FlexibleRunner) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in run.model.parameters()])


def spying(*names: str) -> tuple[type[SingleDeviceStrategy], list[str]]:
    calls: list[str] = []

    def method(name: str) -> Any:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return getattr(super(kind, self), name)(*args, **kwargs)

        return call

    kind = type('Spying', (SingleDeviceStrategy,), {name: method(name) for name in names})
    return kind, calls


@pytest.mark.parametrize('name', [
    'prepare', 'build_model', 'convert_model', 'wrap_model', 'init_weights', 'build_optim_wrapper',
    'build_param_scheduler', 'scale_lr', 'load_or_resume', 'no_sync', 'clip_grad',
    'save_checkpoint', 'model_state_dict', 'optim_state_dict', 'scheduler_state_dict',
   'collect_env',
])  # fmt: skip
def test_an_overridden_method_is_asked_in_training(tmp_path, name):
    kind, calls = spying(name)
    strategy = kind(
        work_dir=str(tmp_path),
        log_kwargs={'log_level': 'ERROR'},
        env_kwargs={'randomness': {'seed': 0}},
    )
    run = runner(tmp_path, strategy)
    run.train()
    assert calls
    plain = runner(tmp_path / 'plain')
    plain.train()
    assert torch.equal(weights(run), weights(plain))


@pytest.mark.parametrize('name', [
    'resume', 'load_checkpoint', 'load_model_state_dict', 'load_optim_state_dict',
    'find_resume_source',
])  # fmt: skip
def test_an_overridden_method_is_asked_in_resuming(tmp_path, name):
    runner(tmp_path, epochs=1).train()
    kind, calls = spying(name)
    run = runner(tmp_path, {'type': kind}, resume=True)
    run.train()
    assert calls
    plain = runner(tmp_path / 'plain')
    plain.train()
    assert torch.equal(weights(run), weights(plain))


class ReturnsOnly(SingleDeviceStrategy):
    """Its ``prepare`` returns what it made, and keeps nothing."""

    def prepare(
        self, model: Any, *, optim_wrapper: Any = None, param_scheduler: Any = None,
        compile: Any = False, dispatch_kwargs: Any = None,
    ) -> Any:  # fmt: skip
        made = [self.build_model(model)]
        if optim_wrapper is not None:
            made.append(self.build_optim_wrapper(optim_wrapper, made[0]))
        if param_scheduler is not None:
            made.append(self.build_param_scheduler(param_scheduler, made[1], dispatch_kwargs))
        return made[0] if len(made) == 1 else made


def test_what_prepare_returns_is_what_is_trained(tmp_path):
    run = runner(tmp_path, {'type': ReturnsOnly})
    run.train()
    run.val()
    plain = runner(tmp_path / 'plain')
    plain.train()
    assert torch.equal(weights(run), weights(plain))
    assert run.optim_wrapper.get_lr() == {'lr': [pytest.approx(0.01)]}


class Doubles(SingleDeviceStrategy):
    """Changes what the base prepared, and gives another object back."""

    def prepare(self, model: Any, **kwargs: Any) -> Any:
        prepared = super().prepare(model, **kwargs)
        if kwargs.get('optim_wrapper') is not None:
            for group in self.optim_wrapper.param_groups:
                group['lr'] *= 2
        return prepared


def test_a_prepare_that_changes_the_learning_rate_does_so_once(tmp_path):
    run = runner(tmp_path, {'type': Doubles}, param_scheduler=None)
    run.val()
    run.train()
    assert run.optim_wrapper.get_lr() == {'lr': [0.2]}


@pytest.mark.parametrize('order', [('val',), ('test', 'val'), ('val', 'save', 'test')])
def test_evaluations_before_training_leave_the_resuming_whole(tmp_path, order):
    first = runner(tmp_path, epochs=1)
    first.train()
    resumed = runner(tmp_path, epochs=3, resume=True)
    for stage in order:
        if stage == 'save':
            resumed.save_checkpoint(str(tmp_path), 'between.pth')
        else:
            getattr(resumed, stage)()
    assert torch.equal(weights(resumed), weights(first))
    resumed.train()
    straight = runner(tmp_path / 'straight', epochs=3)
    straight.train()
    assert torch.equal(weights(resumed), weights(straight))
    assert resumed.iter == straight.iter == 12
    assert resumed.optim_wrapper.get_lr() == straight.optim_wrapper.get_lr()


class FolderIO(FileCheckpointIO):
    """A checkpoint is a folder with one file an entry, as sharded formats are."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def write(self, checkpoint: Any, path: str, backend_args: Any = None) -> None:
        self.asked.append('write')
        os.makedirs(path, exist_ok=True)
        for name, value in checkpoint.items():
            torch.save(value, os.path.join(path, name))

    def read(self, path: str, map_location: Any = None) -> Any:
        self.asked.append('read')
        names = os.listdir(path)
        found = {name: torch.load(os.path.join(path, name)) for name in names if name != '_record'}
        if '_record' in names:
            from mmengine._checkpoint.validation_record import merge_record

            merge_record(found, torch.load(os.path.join(path, '_record')))
        return found

    def write_record(self, record: Any, path: str, backend_args: Any = None) -> None:
        self.asked.append('write_record')
        torch.save(record, os.path.join(path, '_record'))

    def link(self, source: str, target: str, backend_args: Any = None) -> None:
        import shutil

        self.asked.append('link')
        shutil.copytree(source, target)

    def exists(self, path: str, backend_args: Any = None) -> bool:
        return os.path.isdir(path)

    def remove(self, path: str, backend_args: Any = None) -> None:
        import shutil

        self.asked.append('remove')
        shutil.rmtree(path, ignore_errors=True)


class InFolders(SingleDeviceStrategy):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.io = FolderIO()


def test_checkpoints_that_are_folders_are_kept_thinned_out_and_resumed(tmp_path):
    run = runner(tmp_path, {'type': InFolders})
    run.train()
    assert {path.name for path in tmp_path.iterdir() if path.suffix == '.pth'} == {
        'epoch_2.pth', 'best_acc_epoch_2.pth'
    }  # fmt: skip
    assert set(run.strategy.io.asked) == {'write', 'link', 'remove', 'write_record'}
    resumed = runner(tmp_path, {'type': InFolders}, epochs=3, resume=True)
    resumed.train()
    straight = runner(tmp_path / 'straight', epochs=3)
    straight.train()
    assert torch.equal(weights(resumed), weights(straight))


class Raw(SingleDeviceStrategy):
    """Writes checkpoints in its own way altogether."""

    def save_checkpoint(self, filename: str, **kwargs: Any) -> None:
        torch.save({'mine': 1}, filename)


def test_a_strategy_may_write_what_it_likes(tmp_path):
    runner(tmp_path, {'type': Raw}).train()
    assert torch.load(tmp_path / 'epoch_2.pth') == {'mine': 1}


def test_a_strategy_trains_and_resumes_without_a_runner(tmp_path):
    def prepared(folder: str) -> SingleDeviceStrategy:
        strategy = SingleDeviceStrategy(work_dir=str(tmp_path / folder))
        strategy.prepare(
            Net(),
            optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}},
            param_scheduler={'type': 'ExponentialLR', 'gamma': 0.5},
            dispatch_kwargs={'epoch_length': 1, 'max_epochs': 5},
        )
        strategy.init_weights()
        return strategy

    def steps(strategy: Any, count: int) -> None:
        for _ in range(count):
            strategy.model.train_step({'x': torch.ones(2, 2)}, strategy.optim_wrapper)
            strategy.param_schedulers[0].step()

    whole = prepared('whole')
    steps(whole, 4)
    half = prepared('half')
    steps(half, 2)
    half.save_checkpoint(str(tmp_path / 'half.pth'))
    rest = prepared('rest')
    rest.resume(str(tmp_path / 'half.pth'))
    steps(rest, 2)
    # By hand: w, b, both inputs 1 and the target 2; the gradient of w is that of b.
    weight, bias, speed, rate = 0.5, 0.0, 0.0, 0.1
    for _ in range(4):
        grad = 2 * (2 * weight + bias - 2)
        speed = 0.9 * speed + grad
        weight, bias, rate = weight - rate * speed, bias - rate * speed, rate / 2
    for strategy in (whole, rest):
        assert strategy.model.linear.weight[0].tolist() == pytest.approx([weight] * 2, abs=1e-6)
        assert strategy.model.linear.bias.item() == pytest.approx(bias, abs=1e-6)
        assert strategy.optim_wrapper.get_lr()['lr'] == pytest.approx([rate])


def test_prepare_again_changes_nothing(tmp_path):
    kind, calls = spying('wrap_model', 'scale_lr')
    strategy = kind(work_dir=str(tmp_path), auto_scale_lr={'enable': True, 'base_batch_size': 4})
    given = {'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 0.1}},
             'param_scheduler': {'type': 'ConstantLR', 'factor': 0.5},
             'dispatch_kwargs': {'train_micro_batch_size_per_gpu': 2}}  # fmt: skip
    first = strategy.prepare(Net(), **given)
    again = strategy.prepare(
        first[0], optim_wrapper=first[1], param_scheduler=first[2],
        dispatch_kwargs=given['dispatch_kwargs'],
    )  # fmt: skip
    assert again[0] is first[0]
    assert again[1] is first[1]
    assert again[2] == first[2]
    assert calls == ['wrap_model', 'scale_lr']
    assert strategy.optim_wrapper.get_lr() == {'lr': [0.025]}


@pytest.mark.filterwarnings('ignore')  # torch's tracer warns of torch's own code
@pytest.mark.parametrize('target', ['train_step', 'forward'])
def test_a_validation_before_a_compiled_training_compiles_once(tmp_path, target):
    graphs = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    optim = {'optimizer': {'type': 'SGD', 'lr': 0.1}}
    run = runner(tmp_path, compile={'backend': backend, 'target': target}, optim_wrapper=optim)
    run.val()
    run.train()
    run.train_loop._epoch = run.train_loop._iter = 0
    run.train()
    assert graphs


class SeesAll(Hook):
    def before_train(self, runner: Any) -> None:
        assert runner.strategy.model is runner.model
        assert runner.strategy.optim_wrapper is runner.optim_wrapper


def test_a_prepared_strategy_given_to_a_runner_keeps_its_model(tmp_path):
    strategy = SingleDeviceStrategy(work_dir=str(tmp_path), log_kwargs={'log_level': 'ERROR'})
    model = strategy.prepare(Net())
    run = runner(tmp_path, strategy, model=model, custom_hooks=[SeesAll()])
    run.train()
    assert run.model is model
