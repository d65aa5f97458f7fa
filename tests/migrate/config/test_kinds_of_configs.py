"""What is a config of MMCV 1.x, of this engine, of both, or a part of one."""

import pytest

from mmengine.cli.__main__ import main
from mmengine.config import Config
from mmengine.migrate._config import convert_config, load_rules
from mmengine.migrate._config.rules import BUILT_IN, apply_rule, build_metric
from mmengine.migrate._config.rules.choice import RuleBook

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


@pytest.mark.parametrize(
    ('name', 'value'),
    [('param_scheduler', 'x'), ('default_hooks', 3), ('train_dataloader', ['a', 'b'])],
)
def test_a_variable_that_runner_could_not_take_hides_no_legacy_key(name, value):
    legacy = dict(
        optimizer=dict(type='SGD', lr=0.1),
        runner=dict(type='EpochBasedRunner', max_epochs=5),
        lr_config=dict(policy='step', step=[3]),
        checkpoint_config=dict(interval=2),
        data=dict(train=dict(type='Cells')),
    )
    result = convert_config(legacy | {name: value})
    assert result.config == convert_config(legacy).config
    assert name in [note.key for note in result.notes if 'not carried over' in note.text]


def test_a_resume_of_the_config_gives_way_to_resume_from(tmp_path):
    source, target = tree(tmp_path, a=OLD + "total_epochs = 3\nresume = False\nresume_from = 'a'\n")
    assert command(source, '-o', target) == 1
    config = Config.fromfile(target / 'a.py')
    assert (config.resume, config.load_from) == (True, 'a')


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


@pytest.mark.parametrize('name', ['script', 'module'])
def test_a_script_given_as_a_config_is_not_run(tmp_path, capsys, name):
    text = f"open({str(tmp_path / 'ran')!r}, 'w')\n\n\ndef main():\n    pass\n"
    if name == 'script':
        text += "\n\nif __name__ == '__main__':\n    main()\n"
    (tmp_path / 'a.py').write_text(text)
    assert command(tmp_path / 'a.py') == 2
    assert 'mmengine migrate code' in capsys.readouterr().err
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('metafile.yml', 'Collections:\n  - Name: Net\nModels:\n  - Name: net_a\n'),
        ('.hidden.yml', 'a: 1\n'),
        ('tool.yaml', 'repos:\n  - repo: local\n'),
        ('notes.ipynb', '{"cells": []}'),
        ('data.json', '{"images": []}'),
    ],
)
def test_other_files_are_told_from_configs(tmp_path, capsys, name, text):
    source, target = tree(tmp_path, a=OLD + 'total_epochs = 3\n')
    (source / name).write_text(text)
    assert command(source, '-o', target) == 0
    assert '1 of 1 configs converted' in capsys.readouterr().out
    if not name.startswith('.'):
        assert (target / name).read_text() == text


def test_a_cause_is_one_line_with_its_count_and_the_most_frequent_comes_first(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    often = "data = dict(train=dict(type='Often'))\n"
    files = dict.fromkeys('abc', OLD + 'total_epochs = 3\n' + often)
    files['b'] += "custom_hooks = [dict(type='Seldom')]\n"
    source, target = tree(tmp_path, **files)
    command(source, '-o', target)
    lines = capsys.readouterr().out.splitlines()
    (place,) = [i for i, line in enumerate(lines) if line.startswith('Left to do (2):')]
    assert 'Often is in no rule' in lines[place + 1]
    assert 'in 3 configs, first at old/a.py:3: data.train.type' in lines[place + 1]
    assert lines[place + 2].startswith('  old/b.py:4: custom_hooks.0.type: Seldom is in no rule')
    assert lines[-1].startswith('Left: 2 things')


def test_what_no_rule_knows_is_in_a_comment_and_a_second_run_changes_nothing(tmp_path, capsys):
    text = OLD + (
        'total_epochs = 3\n'
        "data = dict(train=dict(type='A'), val=dict(type='A'))\n"
        "evaluation = dict(interval=2, own_metric='cells', parts=[1, 2])\n"
    )
    source, target = tree(tmp_path, a=text)
    assert command(source, '-o', target) == 1
    config = Config.fromfile(target / 'a.py')
    assert 'evaluation' not in config
    assert config.val_evaluator == []
    assert "# evaluation = dict(own_metric='cells', parts=[" in (target / 'a.py').read_text()
    capsys.readouterr()
    assert command(target, '-o', tmp_path / 'again') == 0
    assert (tmp_path / 'again' / 'a.py').read_bytes() == (target / 'a.py').read_bytes()


def validated(rules=(), **legacy):
    data = dict(train=dict(type='A'), val=dict(type='A'))
    result = convert_config({'data': data, **legacy}, rules=load_rules(rules))
    return result.config


@pytest.mark.parametrize(
    ('rules', 'runs'), [([], True), (['mmdet'], True), (['mmedit'], False), (['mmgen'], False)]
)
@pytest.mark.parametrize('runner', ['EpochBasedRunner', 'IterBasedRunner'])
def test_without_evaluation_the_script_of_the_project_decided(rules, runs, runner):
    length = 'max_epochs' if runner.startswith('Epoch') else 'max_iters'
    config = validated(rules, runner={'type': runner, length: 8})
    assert ('val_dataloader' in config) == runs
    assert ('val_cfg' in config) == runs
    if runs and length == 'max_iters':
        assert config['train_cfg']['val_interval'] == 1


def test_evaluation_that_is_switched_off_never_ran():
    assert 'val_dataloader' not in validated(total_epochs=3, evaluation=None)


def test_intervals_by_milestones_are_dynamic_intervals():
    times = dict(milestones=[100, 200], interval=[50, 20, 10])
    result = convert_config(
        dict(
            runner=dict(type='IterBasedRunner', max_iters=300),
            evaluation=dict(interval=times),
            checkpoint_config=dict(interval=times, by_epoch=False),
        )
    )
    assert not result.failed
    loop = result.config['train_cfg']
    assert (loop['val_interval'], loop['dynamic_intervals']) == (50, [(100, 20), (200, 10)])
    # Every 50, 20 and 10: all are multiples of 10.
    assert result.config['default_hooks']['checkpoint']['interval'] == 10


def test_the_loss_scaler_of_a_runner_is_that_of_the_wrapper():
    runner = dict(type='DynamicIterBasedRunner', max_iters=9, fp16_loss_scaler=dict(init_scale=64))
    result = convert_config(dict(runner=runner, optimizer=dict(type='SGD', lr=0.1)))
    wrapper = result.config['optim_wrapper']
    assert (wrapper['type'], wrapper['loss_scale']) == ('AmpOptimWrapper', dict(init_scale=64))
    assert 'runner' not in result.config


NAMES = {
    'mmdet': dict(model=dict(type='FasterRCNN'), data=dict(train=dict(type='CocoDataset'))),
    'mmseg': dict(model=dict(type='EncoderDecoder'), data=dict(train=dict(type='ADE20KDataset'))),
    'mmcls': dict(model=dict(type='ImageClassifier'), data=dict(train=dict(type='ImageNet'))),
    'mmpose': dict(model=dict(type='TopDown'), data=dict(train=dict(type='TopDownCocoDataset'))),
    'mmaction': dict(model=dict(type='Recognizer3D'), data=dict(train=dict(type='VideoDataset'))),
    'mmrotate': dict(model=dict(type='OrientedRCNN'), data=dict(train=dict(type='DOTADataset'))),
    'mmdet3d': dict(model=dict(type='VoxelNet'), data=dict(train=dict(type='KittiDataset'))),
    'mmocr': dict(model=dict(type='DBNet')),
    'mmgen': dict(model=dict(type='CycleGAN')),
    'mmselfsup': dict(model=dict(type='MoCo')),
    'mmedit': dict(default_scope='mmedit'),
    '': dict(model=dict(type='Own'), data=dict(train=dict(type='Own'))),
}


@pytest.mark.parametrize('name', NAMES)
def test_the_vocabulary_is_chosen_by_names_and_scope(name):
    assert RuleBook(('auto',)).choose(NAMES[name]) == name


def test_each_config_of_a_tree_has_its_own_vocabulary(tmp_path, capsys):
    text = OLD + 'total_epochs = 3\nmodel = dict(type={!r})\ndata = dict(train=dict(type={!r}))\n'
    source, target = tree(
        tmp_path,
        a=text.format('FasterRCNN', 'CocoDataset'),
        b=text.format('EncoderDecoder', 'ADE20KDataset'),
        c=text.format('Own', 'Own'),
    )
    assert command(source, '-o', target) == 1
    assert 'Rules: mmdet for 1, mmseg for 1, none for 1.' in capsys.readouterr().out


@pytest.mark.parametrize('name', BUILT_IN)
def test_every_vocabulary_loads_and_its_rules_hold_for_an_empty_config(name):
    rules = load_rules([name])
    for table in (rules.transforms, rules.hooks):
        for kind, rule in table.items():
            changed = apply_rule(rule, dict(type=kind), {})
            assert changed is None or isinstance(changed, (dict, list)), kind
    for kind, rule in rules.datasets.items():
        assert apply_rule(rule, dict(type=kind), 'train')['type'], kind
    for kind, rule in rules.metrics.items():
        assert rule is None or build_metric(rule, {}, {}) is not None, kind


@pytest.mark.parametrize(
    ('dataset', 'evaluation', 'expected'),
    [
        ('CityscapesDataset', dict(metric=['bbox', 'segm']),
         dict(type='CocoMetric', metric=['bbox', 'segm'], ann_file='x.json')),
        ('LVISV05Dataset', dict(metric='bbox'),
         dict(type='LVISMetric', metric='bbox', ann_file='x.json')),
        ('OpenImagesDataset', dict(metric='mAP'), dict(type='OpenImagesMetric')),
    ],
)  # fmt: skip
def test_metrics_go_by_the_dataset_and_what_was_asked(dataset, evaluation, expected):
    data = dict(val=dict(type=dataset, ann_file='x.json'))
    legacy = dict(total_epochs=3, data=data, evaluation=evaluation)
    config = convert_config(legacy, rules=load_rules(['mmdet'])).config
    assert config['val_evaluator'] == expected
