"""The JSON schema of configs: right configs validate, and typical mistakes do not."""

import copy
import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from mmengine.cli.__main__ import main
from mmengine.config import Config
from mmengine.config._writing.data_text import json_text
from mmengine.runner import check_config, config_schema
from mmengine.runner._config_keys import misspellings, misspelt_keys

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / 'mmengine' / 'cli' / '_templates'
PROJECTS = {
    'demo': (ROOT / 'examples' / 'digits' / 'config.py', ROOT),
    'classification': (TEMPLATES / 'classification' / 'config.py', None),
    'gan': (TEMPLATES / 'gan' / 'config.py', None),
    'finetune': (TEMPLATES / 'finetune' / 'pretrain.py', TEMPLATES / 'classification'),
}

RIGHT: dict[str, Any] = {
    'model': {'type': 'torch.nn.Linear', 'in_features': 2, 'out_features': 1},
    'train_dataloader': {
        'batch_size': 4,
        'dataset': {'type': 'mmengine.dataset.BaseDataset', 'ann_file': '', 'pipeline': []},
        'sampler': {'type': 'DefaultSampler', 'shuffle': True},
        'collate_fn': {'type': 'default_collate'},
    },
    'train_cfg': {'by_epoch': True, 'max_epochs': 3},
    'optim_wrapper': {
        'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9},
        'clip_grad': {'max_norm': 1.0},
    },
    'param_scheduler': [
        {'type': 'LinearLR', 'start_factor': 0.1, 'by_epoch': False, 'end': 10},
        {'type': 'CosineAnnealingWarmRestarts', 'T_0': 10, 'by_epoch': True},
    ],
    'default_hooks': {'checkpoint': {'interval': 2, 'max_keep_ckpts': 3}, 'logger': None},
    'custom_hooks': [{'type': 'EMAHook', 'momentum': 0.01, 'priority': 'LOW'}],
    'randomness': {'seed': 1},
    'env_cfg': {'lock': False},
    'resume': {'schedule': 'config'},
    'visualizer': {'vis_backends': [{'type': 'LocalVisBackend'}]},
    'data_root': 'data/',
}


@cache
def validator(**options: Any) -> Draft202012Validator:
    schema = config_schema(**options)
    return Draft202012Validator(json.loads(json.dumps(schema)))


def errors_of(config: dict[str, Any], **options: Any) -> list[str]:
    """Paths and messages of the errors in a config, each once."""
    found = validator(**options).iter_errors(config)
    return sorted({f'{error.json_path}: {best_match([error]).message}' for error in found})


def changed(path: str, value: Any) -> dict[str, Any]:
    config = copy.deepcopy(RIGHT)
    *parents, key = path.split('.')
    node: Any = config
    for parent in parents:
        node = node[int(parent) if isinstance(node, list) else parent]
    if value is ...:
        del node[key]
    else:
        node[key] = value
    return config


@pytest.fixture
def _forgets_projects() -> Iterator[None]:
    """Each project has a module of the same name."""
    sys.modules.pop('project', None)
    yield
    sys.modules.pop('project', None)


def read(name: str, monkeypatch: pytest.MonkeyPatch) -> Config:
    file, place = PROJECTS[name]
    for folder in (file.parent, place or file.parent):
        monkeypatch.syspath_prepend(str(folder))
    return Config.fromfile(file)


@pytest.mark.usefixtures('_forgets_projects')
@pytest.mark.parametrize('name', PROJECTS)
def test_the_configs_of_the_demo_and_of_new_projects_validate(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = read(name, monkeypatch)
    content = json.loads(json_text(cfg.to_dict()))
    validator().validate(content)
    Draft202012Validator(config_schema(cfg)).validate(content)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(validator().schema)


def test_a_config_with_all_kinds_of_parts_validates() -> None:
    assert errors_of(RIGHT) == []


MISTAKES = {
    'top-level key': (lambda: changed('defualt_hooks', {}), 'defualt_hooks'),
    'part of a stage is missing': (lambda: changed('optim_wrapper', ...), 'optim_wrapper'),
    'no model': (lambda: changed('model', ...), 'model'),
    'argument': (lambda: changed('optim_wrapper.optimizer.lrr', 0.1), 'lrr'),
    'argument of a default hook': (lambda: changed('default_hooks.logger', {'intervall': 1}),
                                   'intervall'),
    'type': (lambda: changed('optim_wrapper.optimizer.type', 'SDG'), 'SDG'),
    'type of a schedule': (lambda: changed('param_scheduler.0.type', 'LinerLR'), 'LinerLR'),
    'type is missing': (lambda: changed('optim_wrapper.optimizer.type', ...), 'type'),
    'needed argument': (lambda: changed('param_scheduler.1.T_0', ...), 'T_0'),
    'text for a number': (lambda: changed('train_cfg.max_epochs', 'three'), 'three'),
    'number for a list': (lambda: changed('custom_hooks', 3), '3'),
    'out of range': (lambda: changed('train_dataloader.batch_size', 0), '0'),
    'key of a dataloader': (lambda: changed('train_dataloader.num_worker', 2), 'num_worker'),
    'key of the loop': (lambda: changed('train_cfg.max_iters', 10), 'max_iters'),
    'key of a setting': (lambda: changed('randomness.sed', 1), 'sed'),
    'value of a setting': (lambda: changed('launcher', 'torchrun'), 'torchrun'),
    'argument of a scheduler of torch': (lambda: changed('param_scheduler.1.T0', 1), 'T0'),
}  # fmt: skip


@pytest.mark.parametrize('mistake', MISTAKES)
def test_a_mistake_does_not_validate(mistake: str) -> None:
    make, word = MISTAKES[mistake]
    found = errors_of(make())
    assert len(found) == 1, found
    assert word in found[0]


@pytest.mark.parametrize(
    ('path', 'value'),
    [
        ('train_cfg.max_epochs', '{{ _base_.num_epochs }}'),
        ('train_cfg', {'type': 'IterBasedTrainLoop', 'max_iters': 10}),
        ('train_cfg', {'by_epoch': False, 'max_iters': 10}),
        ('optim_wrapper.optimizer.type', 'torch.optim.Muon'),
        ('optim_wrapper', {'type': 'AmpOptimWrapper', 'optimizer': {'type': 'torch.optim.AdamW'}}),
        ('optim_wrapper', {name: {'optimizer': {'type': 'Adam'}} for name in ('gen', 'disc')}),
        ('param_scheduler', {'gen': {'type': 'StepLR', 'step_size': 1}}),
        ('param_scheduler', {'type': 'torch.optim.lr_scheduler.LambdaLR', 'lr_lambda': 'f'}),
        ('model.type', 'MyModel'),
        ('resume', True),
        ('resume', 'auto'),
        ('launcher', None),
        ('log_level', 'info'),
        ('strategy', 'fsdp'),
        ('strategy', {'type': 'DDPStrategy'}),
        ('compile', {'mode': 'default'}),
        ('checkpoint', 'epoch_1.pth'),
        ('default_hooks.mine', {'type': 'MyHook', 'anything': 1}),
    ],
)
def test_what_a_run_takes_validates(path: str, value: Any) -> None:
    assert errors_of(changed(path, value)) == []


def test_a_file_that_inherits_needs_nothing() -> None:
    assert errors_of({'_base_': 'a.yaml', 'train_cfg': {'max_epochs': 3}}) == []
    assert errors_of({'train_cfg': {'max_epochs': 3}}) != []
    assert errors_of({'train_cfg': {'max_epochs': 3}}, partial=True) == []
    assert len(errors_of({'_base_': 'a.yaml', 'optim_wrapper': {'clip_gard': {}}})) == 1


def test_several_dataloaders_validate_one_by_one() -> None:
    loader, metric = RIGHT['train_dataloader'], {'type': 'Accuracy'}
    for loaders, metrics in (
        ([loader, loader], [metric, [metric]]),
        ({'a': loader, 'b': loader}, {'a': metric, 'b': {'metrics': [metric]}}),
    ):
        parts = {'val_dataloader': loaders, 'val_evaluator': metrics, 'val_cfg': {}}
        assert errors_of({**RIGHT, **parts}) == []
    wrong = [loader, {**loader, 'batchsize': 1}]
    parts = {'val_dataloader': wrong, 'val_evaluator': [metric, metric], 'val_cfg': {}}
    assert len(errors_of({**RIGHT, **parts})) == 1


@pytest.mark.usefixtures('_forgets_projects')
def test_types_of_a_project_are_in_the_schema_of_its_config(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cfg = read('classification', monkeypatch)
    check = Draft202012Validator(config_schema(cfg))
    content = json.loads(json_text(cfg.to_dict()))
    assert not list(check.iter_errors(content))
    content['model'] = content['model']['module']
    for change, word in (
        (lambda one: one['model'].update(widht=3), 'widht'),  # codespell:ignore
        (lambda one: one['model'].update(width='wide'), 'wide'),
        (lambda one: one['train_dataloader']['dataset'].pop('seed'), 'seed'),
        (lambda one: one['model'].update(type='Clasifier'), 'Clasifier'),
    ):  # type: tuple[Callable[[Any], Any], str]
        wrong = copy.deepcopy(content)
        change(wrong)
        assert [word in error.message for error in map(_cause, check.iter_errors(wrong))] == [True]


def _cause(error: Any) -> Any:
    return best_match([error])


def test_misspelt_keys_are_those_that_a_run_reports() -> None:
    known = {'train_cfg', 'test_cfg', 'resume'}
    found = misspellings('train_cfg', known)
    assert {'train_cgf', 'tran_cfg', 'trainn_cfg'} <= set(found)
    for word in found:
        assert misspelt_keys(Config({word: 1}), known) == {word: 'train_cfg'}


def test_hover_texts_are_those_of_the_docstrings() -> None:
    schema = validator().schema

    def argument(component: str, name: str) -> Any:
        found = schema['$defs'][component]['properties'][name]
        return schema['$defs'][found['$ref'].rpartition('/')[2]] if '$ref' in found else found

    lr = argument('optimizer.SGD', 'lr')
    assert 'learning rate' in lr['description']
    assert lr['default'] == 0.001
    interval = argument('hook.CheckpointHook', 'interval')
    assert interval['description']
    assert interval['default'] == -1
    assert schema['properties']['work_dir']['description']


def test_the_command_prints_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(['config', 'schema', '--partial']) == 0
    assert json.loads(capsys.readouterr().out) == validator(partial=True).schema
    assert main(['config', 'schema', 'none.yaml']) == 2


def test_the_check_of_configs_agrees_about_the_right_one() -> None:
    told = [str(mistake) for mistake in check_config(RIGHT)]
    assert [text for text in told if 'Linear has no train_step' not in text] == []
