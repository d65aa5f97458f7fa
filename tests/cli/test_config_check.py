"""All mistakes of a config are told at once, with file and line, before anything is built."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mmengine.cli.__main__ import main
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.registry._signature import taken_by
from mmengine.runner import ConfigMistake, check_config

CaptureFixture = pytest.CaptureFixture[str]


class Passing(nn.Module):
    """Passes its keywords on, with one of them set."""

    def __init__(self, width: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width


class Taking(BaseModel):
    def __init__(self, depth: int = 1, mode: str = 'a') -> None:
        super().__init__()


class Setting(Taking):
    """``mode`` is set here, so a config cannot give it."""

    def __init__(self, width: int = 1, **kwargs: Any) -> None:
        super().__init__(mode='b', **kwargs)


class Keeping(Taking):
    """Reads its keywords itself: which ones it takes cannot be seen."""

    def __init__(self, **kwargs: Any) -> None:
        self.name = kwargs.pop('name', '')
        super().__init__(**kwargs)


def mistakes_of(project: Path, lines: str, **kwargs: Any) -> list[ConfigMistake]:
    path = project / 'toy.py'
    path.write_text(path.read_text() + lines)
    cfg = Config.fromfile(path)
    return [each for each in check_config(cfg, **kwargs) if each.is_certain]


@pytest.mark.parametrize(
    ('kind', 'names', 'takes_any'),
    [
        (Passing, ['width'], False),
        (Setting, ['width', 'depth'], False),
        (Keeping, ['depth', 'mode'], True),
        (nn.Linear, ['in_features', 'out_features', 'bias', 'device', 'dtype'], False),
        (torch.optim.SGD, ['params', 'lr', 'momentum', 'dampening', 'weight_decay', 'nesterov',
                           'maximize', 'foreach', 'differentiable', 'fused'], False),
    ],
    ids=lambda value: getattr(value, '__name__', ''),
)  # fmt: skip
def test_keywords_are_followed_to_the_next_class(
    kind: type, names: list[str], takes_any: bool
) -> None:
    parameters, any_too = taken_by(kind)
    assert (list(parameters), any_too) == (names, takes_any)


def test_all_mistakes_come_in_one_list_before_anything_is_built(
    project: Path, capsys: CaptureFixture
) -> None:
    with (project / 'toy.py').open('a') as file:
        file.write(
            "model = dict(type='ToyLine', slop=1)\n"
            "optim_wrapper = dict(optimizer=dict(type='SGD', lrr=1))\n"
            "param_scheduler = dict(type='LinearLR', start_facto=0.1)\n"
            'default_hooks = dict(loger=dict(interval=1))\n'  # codespell:ignore
            "load_from = 'none.pth'\n"
        )
    options = ['train_cgf.max_epochs=1', 'train_dataloader.batch_size=0']
    assert main(['train', 'toy.py', '--cfg-options', *options]) == 2
    printed = capsys.readouterr()
    assert printed.out == ''
    first, *lines = printed.err.splitlines()
    assert first == 'mmengine train: error: the config has 7 mistakes:'
    told = [
        ("--cfg-options: 'train_cgf'", "'train_cfg'"),
        ('--cfg-options: train_dataloader: ', 'batch_size must be a positive integer, got 0'),
        ('toy.py:12: model: ', "'slop'. Did you mean 'slope'?"),
        ('toy.py:13: optim_wrapper.optimizer: ', "SGD has no argument 'lrr'. Did you mean 'lr'?"),
        ('toy.py:14: param_scheduler: ', "'start_facto'. Did you mean 'start_factor'?"),
        ('toy.py:15: ', "Did you mean 'logger'?"),
        ('toy.py:16: load_from: ', 'There is no checkpoint at none.pth.'),
    ]
    assert len(lines) == len(told)
    for line, (start, end) in zip(lines, told, strict=True):
        assert start in line
        assert end in line
    assert not (project / 'work_dirs').exists()


def test_config_check_tells_the_same_and_builds_the_model(
    project: Path, capsys: CaptureFixture
) -> None:
    assert main(['config', 'check', 'toy.py']) == 0
    assert 'no mistakes' in capsys.readouterr().out
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    assert main(['config', 'check', 'toy.py', '--cfg-options', 'model.slope=steep']) == 2
    assert torch.rand(1) == expected, 'the random state is as it was'
    message = capsys.readouterr().err
    assert "could not convert string to float: 'steep'" in message
    words = ['config', 'check', 'toy.py', '--no-build', '--cfg-options', 'model.slope=steep']
    assert main(words) == 0


@pytest.mark.parametrize(
    ('option', 'told'),
    [
        ('optim_wrapper.clip_grad={max_norm:1}', 'Set the entries of a dict one by one'),
        ('optim_wrapper.clip_grad=dict(max_norm=1)', 'Set the entries of a dict one by one'),
        ('model.slope=list(1)', 'Write a list'),
    ],
)
def test_text_that_was_meant_as_a_dict_or_list_is_told(
    project: Path, capsys: CaptureFixture, option: str, told: str
) -> None:
    assert main(['train', 'toy.py', '--cfg-options', option]) == 2
    assert told in (message := capsys.readouterr().err)
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ('lines', 'told'),
    [
        ("train_dataloader = dict(dataset=dict(type='ToyPairs'), sampler=dict("
         "type='DefaultSampler', shufle=True))",  # codespell:ignore
         "DefaultSampler has no argument 'shufle'. Did you mean 'shuffle'?"),
        ("val_evaluator = [dict(type='ToyWeight', prefx='a')]", "Did you mean 'prefix'?"),
        ("test_evaluator = dict(type='DumpResults', out_file_path='a.json')", 'a.json'),
        ("custom_hooks = [dict(type='EMAHok')]", "Did you mean 'EMAHook'"),
        ("custom_hooks = dict(type='EMAHook')", 'custom_hooks must be a list or None, got a dict.'),
        ("custom_hooks = [dict(type='EarlyStoppingHook', monitor='a', patiense=3)]",
         "Did you mean 'patience'?"),
        ("visualizer = dict(vis_backends=[dict(type='LocalVisBackent')])", 'LocalVisBackend'),
        ("log_processor = dict(windw_size=3)", "Did you mean 'window_size'?"),
        ("param_scheduler = [dict(type='StepLR', step_size=1, begin=5)]", 'begins at 5'),
        ("param_scheduler = [dict(type='StepLR', step_size=1, begin=-1)]", 'begin'),
        ("param_scheduler = dict(type='torch.optim.lr_scheduler.StepLR', step_sise=1)",
         "Did you mean 'step_size'?"),
        ("strategy = 'fsdpp'", "Did you mean 'fsdp'?"),
        ("randomness = dict(sed=1)", "Did you mean 'seed'?"),
        ("log_level = 'INFOO'", "Did you mean 'INFO'?"),
        ("launcher = 'torchrun'", 'torchrun'),
        ("runner_type = 'Runer'", "Did you mean 'Runner'?"),
        ("resume = dict(on_chang='error')", "Did you mean 'on_change'?"),
        ("optim_wrapper = dict(optimizer=dict(type='SGD', lr=-1))", 'Invalid learning rate'),
        ("optim_wrapper = dict(optimizer=dict(type='SGD', lr='a'))",
         "lr must be a number, got the text 'a'."),
        ("optim_wrapper = dict(constructor='Unknown', optimizer=dict(type='SGD', lr=1))",
         "'Unknown' is not registered"),
        ("val_dataloader = dict(batch_size='4', dataset=dict(type='ToyPairs'))",
         "batch_size must be an integer or None, got the text '4'. Leave out the quotes."),
        ("train_dataloader = dict(dataset=dict(type='mmengine.dataset.BaseDataset', "
         "ann_file='none.json'))",
         "'none.json' is not there"),
        ("model = dict(type='ToyLine', data_preprocessor=dict(type='ImgDataPreprocessor', maen=1))",
         "Did you mean 'mean'?"),
        ("model = dict(type='ToyLine', part=dict(type='ToyLine', slop=1))", "'part'"),
        # A name, a class or a number in place of a part.
        ("custom_hooks = ['EMAHook']", "a hook is a dict with a type, or an object; got the text "
         "'EMAHook'. Write dict(type='EMAHook')."),
        ("from mmengine.hooks import EMAHook as Hook; custom_hooks = [Hook]", 'the class EMAHook'),
        ("default_hooks = dict(logger=False)", 'or an object; got False.'),
        ("default_hooks = dict(checkpoint='CheckpointHook')", "got the text 'CheckpointHook'"),
        ("param_scheduler = ['StepLR']", "a parameter scheduler is a dict with a type"),
        ("optim_wrapper = dict(optimizer='SGD')", "an optimizer is a dict with a type"),
        ("model = 'ToyLine'", "a model is a dict with a type"),
        ("from mmengine.evaluator import DumpResults as D; val_evaluator = D", 'the class DumpR'),
        ("train_dataloader = dict(sampler='DefaultSampler', dataset=dict(type='ToyPairs'))",
         'a data sampler is a dict with a type'),
        ("visualizer = dict(vis_backends=['LocalVisBackend'])", 'must be a list of dicts'),
        # Values that another function reads later.
        ("custom_hooks = [dict(type='EMAHook', momentum=2.0)]", 'between 0 and 1'),
        ("custom_hooks = [dict(type='EMAHook', ema_type='ExponentialMovingAvg')]",
         "Did you mean 'ExponentialMovingAverage'"),
        ("custom_hooks = [dict(type='EMAHook', momentun=0.1)]", "Did you mean 'momentum'?"),
        ("custom_hooks = [dict(type='EMAHook', priority='VERYLOW')]", 'VERY_LOW'),
        ("custom_hooks = [dict(type='EMAHook', priority=500)]", 'between 0 and 100'),
        ("randomness = dict(seed=1.5)", 'seed must be an integer or None, got 1.5'),
        ("auto_scale_lr = dict(enable=True)", 'base_batch_size must be a positive integer'),
        ("train_cfg = dict(max_epochs=9, dynamic_intervals=[(4, 1), (2, 2)])", 'ascending'),
        ("optim_wrapper = dict(type='AmpOptimWrapper', dtype='half', optimizer=dict(type='SGD',"
         "lr=0.1))", "got 'half'"),
        ("optim_wrapper = dict(optimizer=dict(type='SGD', lr=1), "
         "paramwise_cfg=dict(custom_key={}))", "Did you mean 'custom_keys'?"),
        ("optim_wrapper = dict(optimizer=dict(type='Adam', lr=1, betas=0.9))", 'a list of numbers'),
        ("train_dataloader = dict(on_bad_sample='a', dataset=dict(type='ToyPairs'))", "or 'skip'"),
        ("train_dataloader = dict(shuffle=True, sampler=dict(type='DefaultSampler'), "
         "dataset=dict(type='ToyPairs'))", 'mutually exclusive with shuffle'),
        ("train_cfg = dict(max_epoch=3)", "Did you mean 'max_epochs'?"),
        ("train_cfg = dict(max_epochs=9, val_unit='iters')", "Did you mean 'iter'?"),
        ("train_cfg = dict(max_epochs=9, uneven='longest')", "'shortest'"),
        ("train_dataloader = dict(collate_fn=3, dataset=dict(type='ToyPairs'))", 'got 3.'),
        ("val_evaluator = dict(metrics='acuracy')", "'acuracy' is not known"),
        ("val_evaluator = dict(metrics=[dict(type='ToyWeight', prefx='a')])", "'prefix'"),
        ("model = []", 'model is an empty list.'),
        ("env_cfg = dict(mp_cfg=dict(start_method='spawn'))", "Did you mean 'mp_start_method'?"),
        ("env_cfg = dict(mp_cfg=dict(mp_start_method='forked'))", "Did you mean 'fork'?"),
        ("log_level = 5.5", 'log_level is a name or an integer, got 5.5.'),
        ("sync_bn = 'pytorch'", "sync_bn is 'torch' or 'mmcv', got 'pytorch'."),
        ("model_wrapper_cfg = 'MMDistributedDataParalel'", "Did you mean 'MMDistributedDataPara"),
        ("data_preprocessor = 'ImgDataPreprocessor'", "Write dict(type='ImgDataPreprocessor')."),
    ],
    ids=lambda value: value.split('=')[0],
)  # fmt: skip
def test_every_kind_of_part_is_checked(project: Path, lines: str, told: str) -> None:
    found = mistakes_of(project, lines + '\n')
    assert told in '\n'.join(map(str, found))
    assert all(each.place == f'{project / "toy.py"}:12' for each in found)


@pytest.mark.parametrize(
    'lines',
    [
        # A variable whose name is like a key, and that the file reads.
        "work_dirs = 'a'\nwork_dir = work_dirs + '/b'\n",
        # Parts of a project that it builds itself, or that are no parts.
        "custom = dict(type='none of ours', lrr=1)\n",
        "model = dict(type='cli_toy_project.ToyLine', slope=dict(type='nearest', factor=2))\n",
        "model = dict(type=Open, norm=dict(type='BatchNorm1d', requires_grad=True))\n",
        # A constructor of a project may take anything out.
        "optim_wrapper = dict(constructor='mmengine.migrate._paramwise.LegacyRegexOptimWrapper"
        "Constructor', lrr=1)\n",
        # It acts on validations, whatever the loop counts.
        'train_cfg = dict(by_epoch=False, max_iters=4)\n'
        "param_scheduler = dict(type='ReduceOnPlateauLR', monitor='slope')\n",
        "resume = 'auto'\nload_from = 'none.pth'\n",
        "load_from = 's3://bucket/none.pth'\n",
        'val_dataloader = val_cfg = val_evaluator = None\n',
        # Options of workers stay in a config that is debugged without them.
        "train_dataloader = dict(dataset=dict(type='ToyPairs'), num_workers=0, prefetch_factor=2, "
        'persistent_workers=True, shuffle=True)\n',
        'default_hooks = dict(logger=None)\n',
        "val_evaluator = 'accuracy'\n",
    ],
)
def test_what_may_have_a_meaning_is_no_mistake(project: Path, lines: str) -> None:
    if 'Open' in lines:
        lines = 'from test_config_check import OpenModel as Open\n' + lines
    assert mistakes_of(project, lines) == []


class OpenModel(BaseModel):
    """Takes any keyword."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self.kwargs = kwargs


@pytest.mark.parametrize(
    ('lines', 'told'),
    [
        ('max_epochs = 3', "nothing reads 'max_epochs' here: a run reads train_cfg.max_epochs, "
         'which is 1.'),
        ('lr = 1', 'optim_wrapper.optimizer.lr, which is 0.1.'),
        ('seed = 3', 'It belongs in randomness: randomness=dict(seed=...).'),
        ('max_epochs = 1', None),
        ('max_epochs = 3\ntrain_cfg = dict(max_epochs=max_epochs - 1)', None),
    ],
)  # fmt: skip
def test_a_variable_that_has_no_effect_is_a_remark(
    project: Path, lines: str, told: str | None
) -> None:
    path = project / 'toy.py'
    path.write_text(f'{path.read_text()}{lines}\n')
    found = check_config(Config.fromfile(path))
    assert [one for one in found if one.is_certain] == []
    assert [told in str(one) for one in found] == ([True] if told else [])


def test_a_name_that_cannot_be_imported_is_a_mistake_wherever_it_is(project: Path) -> None:
    (project / 'toy.py').rename(project / 'base.py')
    (project / 'lazy.py').write_text(
        'from nowhere_at_all import Part\n'
        'from mmengine.config import read_base\n'
        'with read_base():\n'
        '    from .base import *\n'
        'train_dataloader.sampler = dict(type=Part)\n'
        'custom_hooks = [Part, dict(type=Part)]\n'
        'val_evaluator = Part\n'
    )
    found = [str(one) for one in check_config(Config.fromfile('lazy.py')) if one.is_certain]
    paths = ['train_dataloader.sampler', 'custom_hooks.0', 'custom_hooks.1', 'val_evaluator']
    assert [path for path in paths if not any(f'{path}: ' in text for text in found)] == []
    assert [text for text in found if "cannot import 'nowhere_at_all'" not in text] == []


@pytest.mark.parametrize('stage', [None, 'train', 'test'])
def test_a_stage_is_checked_by_what_it_needs(project: Path, stage: str | None) -> None:
    found = mistakes_of(project, "test_evaluator = dict(type='ToyWeigt')\n", stage=stage)
    assert len(found) == (0 if stage == 'train' else 1)


def test_the_examples_have_no_mistakes() -> None:
    assert check_config(Config.fromfile('examples/digits/config.py'), build_model=True) == []


def test_a_model_that_reads_its_numbers_is_not_judged(project: Path) -> None:
    @MODELS.register_module(force=True)
    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = float(nn.Linear(1, 1).weight)

    found = mistakes_of(project, "model = dict(type='Reading')\n", stage='test', build_model=True)
    assert found == []
    MODELS.module_dict.pop('Reading')
