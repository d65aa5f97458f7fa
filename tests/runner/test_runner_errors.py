"""What a user gets wrong is named: what was expected, what came, where it was written."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from runner_toy import (
    NO_TEST,
    NO_VALIDATION,
    Net,
    toy_config,
    toy_runner,
)
from torch import nn

from mmengine.config import Config
from mmengine.hooks.non_finite_loss_hook import NonFiniteLossError
from mmengine.registry import MODELS
from mmengine.runner import Runner


@MODELS.register_module(name='ToyNoMode')
class NoMode(Net):
    def forward(self, x: Any, y: Any) -> Any:
        return {'loss': self.linear(torch.stack(x)).mean()}


@MODELS.register_module(name='ToyNumberLoss')
class NumberLoss(Net):
    def forward(self, x: Any, y: Any, mode: str) -> Any:
        return {'loss_box': 0.5, 'loss': self.linear(torch.stack(x)).mean()}


@MODELS.register_module(name='ToyNoLoss')
class NoLoss(Net):
    def forward(self, x: Any, y: Any, mode: str) -> Any:
        return {'accuracy': self.linear(torch.stack(x)).mean()}


@MODELS.register_module(name='ToyTensorLoss')
class TensorLoss(Net):
    def forward(self, x: Any, y: Any, mode: str) -> Any:
        return self.linear(torch.stack(x)).mean()


@MODELS.register_module(name='ToyNanLoss')
class NanLoss(Net):
    """The box loss is not finite in the third batch."""

    batches = 0

    def forward(self, x: Any, y: Any, mode: str) -> Any:
        self.batches += 1
        loss = self.linear(torch.stack(x)).square().mean()
        return {'loss_cls': loss, 'loss_box': loss * (float('nan') if self.batches == 3 else 1)}


def _config_file(tmp_path: Path, **changes: Any) -> Config:
    """A config written to a file with one entry a line, so that places can be told apart."""
    lines = [f'{name} = {value!r}' for name, value in toy_config(tmp_path, **changes).items()]
    (tmp_path / 'exp.py').write_text('\n'.join(lines))
    return Config.fromfile(tmp_path / 'exp.py')


def _line_of(tmp_path: Path, name: str) -> int:
    lines = (tmp_path / 'exp.py').read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.startswith(f'{name} ='))


PARTS = {
    'training': ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    'validation': ('val_dataloader', 'val_cfg', 'val_evaluator'),
    'testing': ('test_dataloader', 'test_cfg', 'test_evaluator'),
}


@pytest.mark.parametrize(
    ('stage', 'missing'),
    [(stage, name) for stage, names in PARTS.items() for name in names],
)
def test_a_half_given_stage_says_what_is_given_and_what_is_missing(tmp_path, stage, missing):
    given = ', '.join(name for name in PARTS[stage] if name != missing)
    with pytest.raises(ValueError, match=f'For {stage},.*{given} given, {missing} missing'):
        toy_runner(tmp_path, **{missing: None})


@pytest.mark.parametrize('stage', ['train', 'val', 'test'])
def test_a_stage_that_was_not_given_cannot_be_run(tmp_path, stage):
    nothing = dict.fromkeys(name for names in PARTS.values() for name in names)
    runner = toy_runner(tmp_path, **nothing)
    with pytest.raises(RuntimeError, match=rf'{stage}\(\) needs {stage}_dataloader, {stage}_cfg'):
        getattr(runner, stage)()


def test_a_scheduler_needs_an_optimizer(tmp_path):
    nothing = dict.fromkeys(PARTS['training'])
    with pytest.raises(ValueError, match='optim_wrapper is not given'):
        toy_runner(tmp_path, param_scheduler={'type': 'StepLR', 'step_size': 1}, **nothing)


@pytest.mark.parametrize('scheduler', [3, 'StepLR'])
def test_a_scheduler_of_another_kind_is_refused(tmp_path, scheduler):
    with pytest.raises(TypeError, match=f'by optimizer; got {type(scheduler).__name__}'):
        toy_runner(tmp_path, param_scheduler=scheduler)


def test_an_unknown_launcher_lists_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="one of none, pytorch, slurm, mpi; got 'torchrun'"):
        toy_runner(tmp_path, launcher='torchrun')


def test_an_unknown_type_gives_near_names_registry_scope_and_place(tmp_path):
    config = _config_file(tmp_path, model={'type': 'ToyNett'})
    with pytest.raises(KeyError) as caught:
        Runner.from_cfg(config)
    text = str(caught.value)
    assert 'ToyNett' in text
    assert 'ToyNet' in text.replace('ToyNett', '')
    assert 'mmengine' in text
    assert f'exp.py:{_line_of(tmp_path, "model")}' in text


@pytest.mark.parametrize(
    ('name', 'value', 'key', 'cls', 'stage'),
    [
        ('model', {'type': 'ToyNet', 'depht': 3}, 'depht', 'Net', None),
        (
            'optim_wrapper',
            {'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentun': 0.9}},
            'momentun', 'SGD', 'train',
        ),
        (
            'optim_wrapper',
            {'optimizer': {'type': 'SGD', 'lr': 0.1}, 'acumulative_counts': 2},
            'acumulative_counts', 'OptimWrapper', 'train',
        ),
        ('param_scheduler', {'type': 'StepLR', 'step_sise': 1}, 'step_sise', 'StepLR', 'train'),
        ('train_cfg', {'by_epoch': True, 'max_epoch': 2}, 'max_epoch', 'EpochBased', 'train'),
        ('val_cfg', {'interval': 2}, 'interval', 'ValLoop', 'val'),
        ('val_evaluator', {'type': 'ToyError', 'prefx': 'a'}, 'prefx', 'Error', 'val'),
        ('custom_hooks', [{'type': 'ToyRecorder', 'at': 1}], 'at', 'Recorder', None),
        ('log_processor', {'window': 5}, 'window', 'LogProcessor', None),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)  # fmt: skip
def test_a_wrong_key_names_key_class_file_and_line(tmp_path, name, value, key, cls, stage):
    config = _config_file(tmp_path, **{name: value})
    with pytest.raises(TypeError) as caught:
        runner = Runner.from_cfg(config)
        getattr(runner, stage)()
    text = str(caught.value)
    assert repr(key) in text
    assert cls in text
    assert f'exp.py:{_line_of(tmp_path, name)}' in text


def test_a_wrong_key_of_a_dataset_or_sampler_is_named(tmp_path):
    for part, key in (('dataset', 'lenght'), ('sampler', 'shufle')):
        loader = toy_config(tmp_path)['train_dataloader']
        loader[part][key] = 1
        config = _config_file(tmp_path, train_dataloader=loader)
        with pytest.raises(TypeError, match=f"'{key}'.*exp\\.py:"):
            Runner.from_cfg(config).train()


def test_a_wrong_key_of_a_dataloader_is_named_with_the_right_one(tmp_path):
    loader = toy_config(tmp_path)['train_dataloader']
    with pytest.raises(TypeError, match=r"does not take: \['num_worker'\].*num_workers"):
        toy_runner(tmp_path, train_dataloader={**loader, 'num_worker': 1}).train()


def test_a_dataloader_without_dataset_is_an_error(tmp_path):
    with pytest.raises(KeyError, match='needs a dataset'):
        toy_runner(tmp_path, train_dataloader={'batch_size': 1}).train()


def test_a_forward_without_mode_says_what_to_add(tmp_path):
    runner = toy_runner(tmp_path, model={'type': 'ToyNoMode'})
    with pytest.raises(TypeError, match=r'NoMode\.forward\(x.*has no parameter `mode`'):
        runner.train()


def test_a_loss_that_is_no_tensor_is_named(tmp_path):
    runner = toy_runner(tmp_path, model={'type': 'ToyNumberLoss'})
    with pytest.raises(TypeError, match=r"'loss_box' must be a tensor.*got float \(0\.5\)"):
        runner.train()


def test_losses_that_are_no_dict_are_refused(tmp_path):
    with pytest.raises(TypeError, match=r'must return a dict of losses.*got Tensor'):
        toy_runner(tmp_path, model={'type': 'ToyTensorLoss'}).train()


def test_a_dict_without_a_loss_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"nothing to minimise.*\['accuracy'\]"):
        toy_runner(tmp_path, model={'type': 'ToyNoLoss'}).train()


def test_a_loss_that_is_not_finite_is_named_with_its_iteration(tmp_path):
    runner = toy_runner(
        tmp_path,
        model={'type': 'ToyNanLoss'},
        default_hooks={'checkpoint': None, 'non_finite_loss': {'interval': 1}},
    )
    with pytest.raises(NonFiniteLossError, match="'loss_box' became nan at iteration 3"):
        runner.train()


def test_a_batch_with_a_loss_that_is_not_finite_can_be_left_out(tmp_path):
    runner = toy_runner(
        tmp_path,
        model={'type': 'ToyNanLoss'},
        default_hooks={'checkpoint': None, 'non_finite_loss': {'policy': 'skip'}},
        **NO_VALIDATION,
        **NO_TEST,
    )
    assert torch.isfinite(runner.train().linear.weight).all()
    assert runner.iter == 8


@pytest.mark.parametrize(
    'train_cfg',
    [
        {'by_epoch': True, 'max_epochs': 0},
        {'by_epoch': True, 'max_epochs': 2.5},
        {'by_epoch': True, 'max_epochs': '2'},
        {'by_epoch': False, 'max_iters': -1},
        {'by_epoch': True, 'max_epochs': 2, 'val_interval': 0},
        {'by_epoch': True, 'max_epochs': 2, 'val_begin': 0},
        {'by_epoch': True, 'max_epochs': 2, 'dynamic_intervals': [(1, 0)]},
    ],
    ids=str,
)
def test_a_length_or_interval_that_is_none_is_refused(tmp_path, train_cfg):
    name, value = list(train_cfg.items())[-1]
    value = 0 if name == 'dynamic_intervals' else value
    with pytest.raises(
        ValueError, match=re.escape(f'{name} must be a positive integer, got {value!r}')
    ):
        toy_runner(tmp_path, train_cfg=train_cfg).train()


@pytest.mark.parametrize('changes', [(10, 1), [3], [(1, 2, 3)]])
def test_dynamic_intervals_that_are_no_pairs_are_refused(tmp_path, changes):
    cfg = {'by_epoch': True, 'max_epochs': 2, 'dynamic_intervals': changes}
    with pytest.raises(ValueError, match='dynamic_intervals must be pairs'):
        toy_runner(tmp_path, train_cfg=cfg).train()


@pytest.mark.parametrize(
    ('hook', 'message'),
    [
        ({'type': 'CheckpointHook', 'interval': 0}, 'interval must be a positive integer'),
        ({'type': 'LoggerHook', 'interval': 0}, 'interval'),
    ],
)
def test_an_interval_of_0_of_a_hook_is_refused(tmp_path, hook, message):
    with pytest.raises(ValueError, match=message):
        toy_runner(tmp_path, custom_hooks=[hook])


def test_a_train_cfg_that_tells_no_length_says_what_it_needs(tmp_path):
    with pytest.raises(ValueError, match=r"by_epoch=True with max_epochs.*got \['val_begin'\]"):
        toy_runner(tmp_path, train_cfg={'val_begin': 1}).train()


def test_a_train_cfg_with_type_and_by_epoch_is_refused(tmp_path):
    cfg = {'type': 'EpochBasedTrainLoop', 'by_epoch': True, 'max_epochs': 1}
    with pytest.raises(RuntimeError, match='not by both'):
        toy_runner(tmp_path, train_cfg=cfg).train()


def test_what_is_no_loop_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r'val_cfg must be a dict or None, got \[1\]'):
        toy_runner(tmp_path, val_cfg=[1]).val()


def test_an_empty_training_dataset_is_said_to_be_empty(tmp_path):
    loader = toy_config(tmp_path)['train_dataloader']
    loader['dataset']['length'] = 0
    cfg = {'by_epoch': False, 'max_iters': 2}
    with pytest.raises(ValueError, match='gives no batch: its dataset of 0 samples is empty'):
        toy_runner(tmp_path, train_dataloader=loader, train_cfg=cfg).train()


def test_a_checkpoint_that_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no checkpoint at /none/x\.pth'):
        toy_runner(tmp_path, load_from='/none/x.pth').train()


def test_a_checkpoint_of_other_shapes_is_summed_up_and_the_rest_is_used(tmp_path, capsys):
    path = tmp_path / 'other.pth'
    weights = {'linear.weight': torch.ones(3, 3), 'linear.bias': torch.full((1,), 9.0)}
    torch.save({'state_dict': weights}, path)
    runner = toy_runner(tmp_path, load_from=str(path), log_level='WARNING')
    runner.load_or_resume()
    assert runner.model.linear.bias.item() == 9.0
    assert runner.model.linear.weight.item() == 0.5
    text = capsys.readouterr().out
    assert 'of another shape, skipped (1)' in text
    assert 'linear.weight: [3, 3] in the file, [1, 1] in the model' in text


def test_a_checkpoint_of_a_whole_model_says_what_to_save(tmp_path, capsys):
    torch.save(nn.Linear(1, 1), tmp_path / 'model.pth')
    with pytest.raises(RuntimeError, match=r'Linear instead of a mapping.*state_dict\(\) instead'):
        toy_runner(tmp_path, load_from=str(tmp_path / 'model.pth')).train()


def test_a_truncated_checkpoint_to_resume_is_said_to_be_cut_short(tmp_path):
    path = tmp_path / 'cut.pth'
    torch.save({'state_dict': {}}, path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(RuntimeError, match='was truncated'):
        toy_runner(tmp_path, load_from=str(path), resume=True).train()


def test_a_work_dir_below_a_file_is_an_error_that_names_it(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(OSError, match='The work dir cannot be made'):
        toy_runner(tmp_path / 'file' / 'work')


def test_compute_loss_needs_a_model_with_losses(tmp_path):
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def val_step(self, data):
            return []

    runner = toy_runner(tmp_path, model=Plain(), val_cfg={'compute_loss': True})
    with pytest.raises(
        TypeError, match='needs the losses of a BaseModel, but the model is a Plain'
    ):
        runner.val()


@pytest.mark.parametrize('lacks', ['losses', 'step'])
def test_a_model_that_cannot_be_validated_is_refused_before_the_first_step(tmp_path, lacks):
    class Trains(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def train_step(self, data, optim_wrapper):
            return {}

    if lacks == 'losses':
        Trains.val_step = lambda self, data: []
    runner = toy_runner(tmp_path, model=Trains(), val_cfg={'compute_loss': lacks == 'losses'})
    words = {'losses': 'compute_loss=True needs the losses', 'step': 'Trains has no val_step'}
    with pytest.raises(TypeError, match=words[lacks]):
        runner.train()
    assert runner.iter == 0
