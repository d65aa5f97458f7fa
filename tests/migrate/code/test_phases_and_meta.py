"""What scripts gave to checkpoints as meta, and phases of a workflow other than training."""

import pytest

from mmengine.migrate._config import convert_config

convert = pytest.importorskip('mmengine.migrate._code.convert')

MARK = '# TODO(mmengine migrate): '
SCRIPT = """\
import torch
from mmcv import Config
from mmcv.runner import CheckpointHook, EpochBasedRunner


def main(model, loader, other):
    cfg = Config.fromfile('a.py')
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    runner = EpochBasedRunner(model, optimizer=opt, work_dir='w', max_epochs=4)
    {hooks}
    runner.run({run})
"""
ONE = "[loader], [('train', 1)]"


def marks(hooks='runner.register_checkpoint_hook(dict(interval=1))', run=ONE):
    new = convert.convert_source(SCRIPT.format(hooks=hooks, run=run)).new
    assert convert.convert_source(new).new == new
    return [line.strip()[len(MARK) :] for line in new.splitlines() if MARK in line]


META = "meta=dict(classes=('a', 'b'))"


@pytest.mark.parametrize(
    'hooks',
    [
        f'runner.register_checkpoint_hook(dict(interval=1, {META}))',
        f'runner.register_training_hooks(None, None, dict(interval=1, {META}), None)',
        f'runner.register_checkpoint_hook(CheckpointHook(1, {META}))',
        f'runner.register_hook(CheckpointHook(1, {META}))',
        "cfg.checkpoint_config.meta = dict(classes=('a', 'b'))",
        "cfg.checkpoint_config['meta'] = dict(classes=('a', 'b'))",
        "cfg.merge_from_dict({'checkpoint_config.meta': dict(classes=('a', 'b'))})",
    ],
)
def test_meta_of_checkpoints_is_marked_with_its_new_place(hooks):
    (told,) = marks(hooks)
    assert "meta['dataset_meta']" in told
    assert 'message_hub.update_info' in told
    assert 'takes the place of' not in told


def test_checkpoints_without_meta_are_not_marked():
    assert marks('runner.register_checkpoint_hook(dict(interval=1, meta=None))') == []


def test_meta_of_a_config_is_left_to_do_with_its_value():
    legacy = dict(total_epochs=2, checkpoint_config=dict(interval=1, meta=dict(classes=['n'])))
    notes = [one for one in convert_config(legacy).notes if one.key == 'checkpoint_config.meta']
    assert [one.kind for one in notes] == ['todo']
    assert "{'classes': ['n']}" in notes[0].text
    assert "meta['dataset_meta']" in notes[0].text


@pytest.mark.parametrize(
    ('run', 'named'),
    [
        ("[loader, other], [('train', 2), ('val', 1)]", ["[('train', 2), ('val', 1)]", 'other']),
        ("[loader, other], workflow=[('train', 2), ('val', 1)]", ["('val', 1)", 'on other']),
        ('[loader, other], cfg.workflow', ['workflow cfg.workflow', 'on other']),
        ("[loader], [('val', 1)]", ["[('val', 1)]"]),
    ],
)
def test_other_phases_are_marked_with_their_workflow_and_loader(run, named):
    told = [one for one in marks(run=run) if one.startswith('workflow')]
    assert len(told) == 1
    for text in (*named, 'val_dataloader', 'before_epoch'):
        assert text in told[0]


@pytest.mark.parametrize('run', [ONE, "[loader, other], [('train', 5)]", '[loader], cfg.workflow'])
def test_a_workflow_that_only_trains_is_not_marked(run):
    assert marks(run=run) == []
