"""Misspelt keys of a config are reported; variables of its author are not."""

from pathlib import Path
from typing import Any

import pytest
from runner_toy import toy_config

from mmengine.config import Config
from mmengine.config.errors import ConfigKeyError
from mmengine.runner import FlexibleRunner, Runner
from mmengine.runner._arguments import argument_names
from mmengine.runner._check.config import check_config
from mmengine.runner._config_keys import misspelt_key_messages, new_keys_of_options

_ARGUMENTS = argument_names(Runner, Runner)

MISSPELT = {
    'custom_hook': 'custom_hooks',
    'costum_hooks': None,  # 'costum' is two exchanged letters, with two others between them
    'cusotm_hooks': 'custom_hooks',
    'default_hook': 'default_hooks',
    'load_form': 'load_from',
    'load_fron': None,  # in words of four letters another letter makes another word
    'loadfrom': 'load_from',
    'param_schedulers': 'param_scheduler',
    'param_sheduler': 'param_scheduler',
    'randomnes': 'randomness',
    'workdir': 'work_dir',
    'work_dirs': 'work_dir',
    'optimizer_wrapper': 'optim_wrapper',
    'optim_wraper': 'optim_wrapper',
    'train_config': 'train_cfg',
    'tset_cfg': 'test_cfg',
    'train_data_loader': 'train_dataloader',
    'val_dataloaders': 'val_dataloader',
    'val_evalutor': 'val_evaluator',
    'visualiser': 'visualizer',
    'auto_scale_Ir': None,
    'resum': 'resume',
    'launchers': 'launcher',
    'experiment_nam': 'experiment_name',
    'find_unused_parameter': 'find_unused_parameters',
    'custom_import': 'custom_imports',
    'strict_confg': 'strict_config',
}

# Names of variables that configs of projects have at their top level.
VARIABLES = (
    'data_root', 'img_scale', 'image_size', 'num_classes', 'model2', 'models', 'model_cfg',
    'dataset_type', 'train_pipeline', 'test_pipeline', 'val_pipeline', 'train_dataset',
    'val_dataset', 'test_dataset', 'backend_args', 'file_client_args', 'norm_cfg', 'act_cfg',
    'conv_cfg', 'enc_cfg', 'dec_cfg', 'vae_cfg', 'net_cfg', 'eval_cfg', 'text_cfg', 'crop_size',
    'max_epochs', 'max_iters', 'base_lr', 'lr', 'batch_size', 'num_workers', 'tta_model',
    'tta_pipeline', 'vis_backends', 'hooks', 'schedulers', 'optimizer', 'optim', 'checkpoint',
    'checkpoint_config', 'log_config', 'lr_config', 'workflow', 'evaluation', 'resume_from',
    'train_evaluator', 'train_batch_size_per_gpu', 'val_num_workers', 'test_dataloader2',
    'text_dataloader', 'train_dataloader_s2', 'codec', 'metainfo', 'class_names', 'classes',
    'persistent_workers', 'stage', 'stage2_num_epochs', 'interval', 'val_interval', 'teacher',
    'student', 'loss_weights', 'env', 'env_name', 'scope', 'strategies', 'tag', 'tags', 'log_dir',
    'load_pipeline', 'random_size', 'default_size', 'compiler', 'model_wrapper', 'custom_keys',
    '_scope_', '__all__', 'input_size', 'val_data', 'test_data', 'train_data', 'data', 'runner',
)  # fmt: skip


def _messages(**more: Any) -> list[str]:
    return misspelt_key_messages(
        Config({'work_dir': 'w', 'model': {'type': 'M'}, **more}), _ARGUMENTS
    )


@pytest.mark.parametrize(('key', 'meant'), MISSPELT.items())
def test_a_misspelt_key_is_reported_with_the_key_that_was_meant(key, meant):
    messages = _messages(**{key: [1]})
    if meant is None:
        assert messages == []
    else:
        assert len(messages) == 1
        assert repr(key) in messages[0]
        assert f'Did you mean {meant!r}?' in messages[0]


def test_a_variable_of_the_author_is_not_reported():
    assert _messages(**dict.fromkeys(VARIABLES, 1)) == []


def test_no_key_that_a_run_reads_is_reported():
    assert _messages(**dict.fromkeys(_ARGUMENTS - {'cfg'}, 1)) == []


def test_a_near_name_is_a_variable_if_its_value_is_used_elsewhere():
    hook = {'type': 'EMAHook'}
    assert _messages(custom_hook=hook, custom_hooks=[hook]) == []
    assert len(_messages(custom_hook=hook, custom_hooks=[])) == 1


MISPLACED = {
    'dist_cfg': 'env_cfg=dict(dist_cfg=...)',
    'mp_cfg': 'env_cfg=dict(mp_cfg=...)',
    'cudnn_benchmark': 'env_cfg=dict(cudnn_benchmark=...)',
    'backend': 'env_cfg=dict(dist_cfg=dict(backend=...))',
    'seed': 'randomness=dict(seed=...)',
    'deterministic': 'randomness=dict(deterministic=...)',
    'base_batch_size': 'auto_scale_lr=dict(base_batch_size=...)',
    'async_save': 'checkpoint=dict(async_save=...)',
    'timeout_s': 'watchdog=dict(timeout_s=...)',
}


@pytest.mark.parametrize(('key', 'right'), MISPLACED.items())
def test_a_key_that_belongs_in_a_dict_is_reported_with_its_place(key, right):
    messages = _messages(**{key: 1})
    assert len(messages) == 1
    assert repr(key) in messages[0]
    assert right in messages[0]


def test_such_a_key_is_a_variable_if_it_is_used_or_its_place_is_filled(tmp_path):
    assert _messages(seed=1, randomness={'seed': 2}) == []
    assert _messages(backend='gloo', env_cfg={'dist_cfg': {'backend': 'gloo'}}) == []
    dist_cfg = {'backend': 'gloo'}
    assert _messages(dist_cfg=dist_cfg, env_cfg={'dist_cfg': dist_cfg}) == []
    path = tmp_path / 'config.py'
    path.write_text("work_dir = 'w'\nmodel = dict(type='M')\nseed = 3\nname = f'run_{seed}'\n")
    assert misspelt_key_messages(Config.fromfile(path), _ARGUMENTS) == []


def test_only_words_that_are_no_usual_variables_are_certain_mistakes(tmp_path):
    keys = {'dist_cfg': {'backend': 'gloo'}, 'seed': 3, 'data_root': 'data/'}
    found = check_config(Config(toy_config(tmp_path, randomness=None, **keys)))
    assert {mistake.message.split("'")[1]: mistake.is_certain for mistake in found} == {
        'dist_cfg': True,
        'seed': False,
    }


@pytest.mark.parametrize(
    ('entries', 'message', 'is_certain'),
    [
        ({'env_cfg': {'backend': 'gloo'}}, 'env_cfg=dict(dist_cfg=dict(backend=...))', True),
        ({'env_cfg': {'seed': 3}}, 'randomness=dict(seed=...)', True),
        ({'auto_scale_lr': {'enabled': True}}, "Did you mean 'enable'?", True),
        ({'env_cfg': {'of_a_project': 1}}, "env_cfg has 'of_a_project', which has no", False),
    ],
)
def test_an_entry_of_another_dict_is_told_with_its_place(
    tmp_path, capsys, entries, message, is_certain
):
    config = toy_config(tmp_path, log_level='WARNING', **entries)
    (found,) = check_config(Config(config))
    assert message in found.message
    assert found.is_certain == is_certain
    Runner(**config)
    assert message in capsys.readouterr().out


@pytest.mark.parametrize('runner_type', [Runner, FlexibleRunner])
@pytest.mark.parametrize(
    ('key', 'right'),
    [
        ('split_data', 'Runner.from_cfg(dict(split_data=..., ...))'),
        ('sync_bn', 'cfg=dict(sync_bn=...)'),
        ('dist_cfg', 'env_cfg=dict(dist_cfg=...)'),
        ('seed', 'randomness=dict(seed=...)'),
    ],
)
def test_a_key_of_the_config_is_no_argument_and_the_error_says_where_it_belongs(
    tmp_path, runner_type, key, right
):
    with pytest.raises(TypeError) as caught:
        runner_type(**toy_config(tmp_path), **{key: 1})
    assert right in str(caught.value)
    assert str(caught.value).startswith(key) or f'no argument {key}' in str(caught.value)


def test_the_strategy_is_an_argument_of_a_flexible_runner_and_of_subclasses_that_take_it(tmp_path):
    with pytest.raises(TypeError, match=r'cfg=dict\(strategy=...\)\). FlexibleRunner has it'):
        Runner(**toy_config(tmp_path), strategy='single')
    FlexibleRunner(**toy_config(tmp_path / 'flexible'), strategy='single')

    class Own(Runner):
        def __init__(self, strategy: Any = None, **kwargs: Any) -> None:
            super().__init__(**kwargs)

    Own(**toy_config(tmp_path / 'own'), strategy='single')


def test_the_message_names_file_and_line(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text("work_dir = 'w'\nmodel = dict(type='M')\nload_form = 'x.pth'\n")
    assert f'{path}:3: ' in misspelt_key_messages(Config.fromfile(path), _ARGUMENTS)[0]


@pytest.mark.parametrize('runner_type', [Runner, FlexibleRunner])
def test_a_run_warns_and_trains(tmp_path, runner_type):
    cfg = Config(toy_config(tmp_path, custom_hook=[], log_level='WARNING'))
    runner = runner_type.from_cfg(cfg)
    runner.train()
    assert runner.iter == 8
    log = ''.join(path.read_text() for path in Path(runner.log_dir).glob('*.log'))
    assert log.count("'custom_hook' is not a key that a run reads") == 1


def test_strict_config_is_an_error_before_anything_is_written(tmp_path):
    cfg = Config(toy_config(tmp_path / 'run', param_schedulers=[], strict_config=True))
    with pytest.raises(ConfigKeyError, match=r"'param_schedulers'.*mean 'param_scheduler'\?"):
        Runner.from_cfg(cfg)
    assert not (tmp_path / 'run').exists()


def test_strict_config_takes_variables(tmp_path):
    cfg = toy_config(tmp_path, data_root='data/', num_classes=3, strict_config=True)
    assert Runner.from_cfg(Config(cfg)).cfg.num_classes == 3


def test_a_missing_model_names_the_key_that_was_meant(tmp_path):
    with pytest.raises(KeyError, match="Did you mean 'modle'"):
        Runner.from_cfg(Config({'modle': {'type': 'ToyNet'}, 'work_dir': str(tmp_path)}))


# Options of a command line


@pytest.mark.parametrize(
    ('option', 'meant'),
    [
        ('optim_wraper.optimizer.lr', 'optim_wrapper'),
        ('optim_wrapper.optimiser.lr', 'optimizer'),
        ('optim_wrapper.optimizer.lrr', None),
        ('train_cfg.max_epoch', 'max_epochs'),
        ('train_dataloader.batchsize', 'batch_size'),
        ('randomness.sed', 'seed'),
        ('auto_scale_lr.enabled', 'enable'),
        ('max_epochs', None),
        ('dist_cfg.backend', 'env_cfg.dist_cfg'),
        ('seed', 'randomness.seed'),
    ],
)
def test_an_option_that_creates_a_key_nothing_reads_is_reported(tmp_path, option, meant):
    cfg = Config(toy_config(tmp_path, auto_scale_lr={'enable': False, 'base_batch_size': 2}))
    messages = new_keys_of_options(cfg, {option: 1}, _ARGUMENTS)
    if option.endswith('lrr'):
        assert messages == []  # two letters are too few to tell
        return
    assert len(messages) == 1
    assert repr(option) in messages[0]
    if meant is not None:
        assert f'Did you mean {meant!r}?' in messages[0]


@pytest.mark.parametrize(
    'option',
    [
        'optim_wrapper.optimizer.lr', 'optim_wrapper.clip_grad.max_norm', 'resume', 'load_from',
        'train_dataloader.num_workers', 'default_hooks.logger.interval', 'randomness.deterministic',
        'custom_hooks.0.type', 'model.backbone.depth', 'compile', 'strict_config',
        'val_cfg._delete_',
    ],
)  # fmt: skip
def test_an_option_that_is_read_is_not_reported(tmp_path, option):
    cfg = Config(toy_config(tmp_path, custom_hooks=[{'type': 'ToyRecorder'}]))
    assert new_keys_of_options(cfg, {option: 1}, _ARGUMENTS) == []
