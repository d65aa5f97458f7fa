"""What is a config of MMCV 1.x, of this engine, of both, or a part of one."""

import pytest

from mmengine.cli.__main__ import main
from mmengine.config import Config
from mmengine.migrate.config import convert_config

NEW = """\
# of this engine already
default_scope = 'toy'
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3)
val_cfg = dict()
test_cfg = dict()
optimizer = dict(type='SGD', lr=0.1)
optim_wrapper = dict(type='OptimWrapper', optimizer=optimizer)
randomness = dict(seed=3)
resume = False
tta_model = dict(type='TTA')
auto_scale_lr = dict(base_batch_size=16)
max_epochs = 3
"""
LAZY = """\
from mmengine.config import read_base

with read_base():
    from .base import *

train_cfg.max_epochs = 5
"""
LAZY_BASE = """\
from absent.models import Net

model = dict(type=Net)
train_cfg = dict(by_epoch=True, max_epochs=3)
"""
OLD = "optimizer = dict(type='SGD', lr=0.1)\n"


def command(*arguments):
    return main(['migrate', 'config', *map(str, arguments)])


def tree(folder, **files):
    for name, text in files.items():
        path = folder / 'old' / f'{name.replace("__", "/")}.py'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return folder / 'old', folder / 'new'


@pytest.mark.parametrize('line_end', ['\n', '\r\n'], ids=['lf', 'crlf'])
def test_a_config_of_this_engine_is_copied_byte_for_byte(tmp_path, capsys, line_end):
    text = NEW.replace('\n', line_end)
    source, target = tree(tmp_path, a=text, b="_base_ = './a.py'\ntest_evaluator = []\n")
    assert command(source, '-o', target) == 0
    assert (target / 'a.py').read_bytes() == text.encode()
    assert (target / 'b.py').read_bytes() == (source / 'b.py').read_bytes()
    assert '2 files are configs of this engine already' in capsys.readouterr().out


def test_lazy_configs_and_their_bases_are_copied(tmp_path, capsys):
    source, target = tree(tmp_path, a=LAZY, base=LAZY_BASE)
    assert command(source, '-o', target) == 0
    assert (target / 'a.py').read_text() == LAZY
    assert (target / 'base.py').read_text() == LAZY_BASE
    assert 'configs of this engine already' in capsys.readouterr().out


def test_parts_of_new_configs_alone_are_new_as_well(tmp_path):
    base = 'seed = 3\ntrain_pipeline = [dict(type="Load")]\nmodel = dict(type="Net")\n'
    source, target = tree(tmp_path, base__part=base, a="_base_ = 'base/part.py'\n" + NEW)
    assert command(source, '-o', target, '--rules', 'mmdet') == 0
    assert (target / 'base/part.py').read_text() == base


def test_new_and_legacy_files_in_one_tree_are_told_apart(tmp_path, capsys):
    source, target = tree(tmp_path, new=NEW, old=OLD + 'total_epochs = 3\n')
    assert command(source, '-o', target) == 0
    assert (target / 'new.py').read_text() == NEW
    assert 'optim_wrapper' in (target / 'old.py').read_text()
    text = capsys.readouterr().out
    assert '2 of 2 configs converted (1 files are of this engine already, and were copied)' in text


@pytest.mark.parametrize('name', ['resume', 'val_cfg', 'randomness', 'tta_model', 'visualizer'])
def test_a_variable_by_a_name_that_runner_reads_stays_and_is_listed(name):
    legacy = {'optimizer': dict(type='SGD', lr=0.1), 'total_epochs': 3, name: dict(mine=1)}
    result = convert_config(legacy)
    assert result.config[name] == dict(mine=1)
    assert [note.key for note in result.notes if note.kind == 'todo'] == [name]


def test_a_variable_in_the_way_of_a_converted_key_is_listed():
    legacy = dict(seed=3, total_epochs=3, randomness=dict(mine=1))
    result = convert_config(legacy)
    assert result.config['randomness'] == dict(seed=3)
    (note,) = [note for note in result.notes if note.kind == 'todo']
    assert (note.key, 'not carried over' in note.text) == ('randomness', True)


@pytest.mark.parametrize('value', ['val_cfg', 'my_own_value', 'max_epochs', 'runner_type'])
def test_own_variables_of_any_name_are_in_the_converted_file(tmp_path, value):
    source, target = tree(tmp_path, a=OLD + f'total_epochs = 3\n{value} = dict(a=[1, 2])\n')
    assert command(source, '-o', target) in (0, 1)
    assert Config.fromfile(target / 'a.py')[value] == dict(a=[1, 2])


def test_a_half_migrated_config_converts_what_is_missing():
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
    legacy = dict(
        optim_wrapper=wrapper,
        train_cfg=dict(by_epoch=True, max_epochs=5),
        lr_config=dict(policy='step', step=[3]),
        checkpoint_config=dict(interval=2),
    )
    result = convert_config(legacy)
    assert not result.failed
    assert result.config == dict(
        optim_wrapper=wrapper,
        train_cfg=dict(by_epoch=True, max_epochs=5),
        param_scheduler=[dict(type='MultiStepLR', by_epoch=True, gamma=0.1, milestones=[3])],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=2)),
    )


def test_of_a_key_and_its_successor_the_successor_stays_and_both_are_named():
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.5))
    legacy = dict(optim_wrapper=wrapper, optimizer=dict(type='SGD', lr=0.1), total_epochs=3,
                  lr_config=dict(policy='fixed'))  # fmt: skip
    result = convert_config(legacy)
    assert result.config['optim_wrapper'] == wrapper
    (note,) = [note for note in result.notes if note.kind == 'todo']
    assert note.key == 'optimizer'
    assert 'optim_wrapper of this engine is there as well' in note.text


FRAGMENT = "runner = dict(type='IterBasedRunner')\noptimizer = dict(type='SGD', lr=0.1)\n"


def test_a_base_without_the_length_of_the_run_converts_in_place(tmp_path):
    heir = "_base_ = './base.py'\nrunner = dict(max_iters={})\n"
    source, target = tree(tmp_path, base=FRAGMENT, a=heir.format(40), b=heir.format(90))
    assert command(source, '-o', target) == 0
    assert Config.fromfile(target / 'base.py').train_cfg == dict(by_epoch=False)
    for name, length in (('a', 40), ('b', 90)):
        config = Config.fromfile(target / f'{name}.py')
        assert config.train_cfg == dict(by_epoch=False, max_iters=length)
        assert '_base_' in (target / f'{name}.py').read_text()


def test_heirs_of_a_base_that_cannot_be_converted_are_written_flat(tmp_path, capsys):
    base = OLD + "lr_config = dict(policy='exp', gamma='x')\ntotal_epochs = 3\n"
    heir = "_base_ = './base.py'\nlr_config = dict(_delete_=True, policy='fixed')\n"
    source, target = tree(tmp_path, base=base, a=heir, b=heir)
    assert command(source, '-o', target, '--verbose') == 0
    text = capsys.readouterr().out
    assert '2 of 2 configs converted: 2 files written' in text
    assert 'written flat: base.py, which it inherits from, could not be converted' in text
    config = Config.fromfile(target / 'a.py')
    assert config.optim_wrapper.optimizer.lr == 0.1
    assert not (target / 'base.py').exists()


def test_heirs_that_fell_with_their_base_are_listed(tmp_path, capsys):
    base = OLD + "lr_config = dict(policy='exp', gamma='x')\ntotal_epochs = 3\n"
    heirs = dict.fromkeys(('a', 'b', 'c'), "_base_ = './base.py'\n")
    fine = "_base_ = './base.py'\nlr_config = dict(_delete_=True, policy='fixed')\n"
    source, target = tree(tmp_path, base=base, fine=fine, **heirs)
    assert command(source, '-o', target) == 1
    text = capsys.readouterr().out
    assert '1 of 4 configs converted, 3 not converted' in text
    for name in heirs:
        assert f'{name}.py' in text


def test_an_empty_train_cfg_beside_that_of_the_model_is_nothing():
    legacy = dict(model=dict(type='Net', train_cfg=dict(a=1)), train_cfg={}, total_epochs=3)
    result = convert_config(legacy)
    assert not result.failed
    assert result.config['model'] == dict(type='Net', train_cfg=dict(a=1))


def test_two_filled_ones_stop_that_config_alone(tmp_path, capsys):
    base = "model = dict(type='Net', train_cfg=dict(a=1))\ntotal_epochs = 3\n"
    both = "_base_ = './base.py'\ntrain_cfg = dict(b=1)\n"
    source, target = tree(tmp_path, base=base, both=both, a="_base_ = './base.py'\n")
    assert command(source, '-o', target) == 1
    assert (target / 'a.py').exists()
    assert 'both have a train_cfg, with different values' in capsys.readouterr().out
