"""Checkpoints of MMCV 1.x: what they become, and that their trainings go on here."""

import argparse
import re
import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from mmcv_runs import here
from mmcv_runs.cases import RUNS, STOPPED, file_of
from mmcv_runs.toys import NUM_BATCHES
from test_runs_as_mmcv import RECORDED, ROUNDING

from mmengine.migrate import _checkpoint as migration
from mmengine.migrate import _checkpoint_cli

DATA = Path(__file__).parent / 'data' / 'checkpoints'
BY_ITERATION = DATA / file_of('iters/resume/step-warm')


def _migrate(old: Path, new: Path, *words: str) -> int:
    parser = argparse.ArgumentParser()
    _checkpoint_cli.add_arguments(parser)
    return _checkpoint_cli.run(parser.parse_args([str(old), str(new), *words]))


@pytest.mark.parametrize('name', STOPPED)
def test_a_training_stopped_under_mmcv_goes_on_here_to_the_same_bits(name, tmp_path):
    new = tmp_path / 'new.pth'
    # Its name tells the finished iterations.
    old = shutil.copy(DATA / file_of(name), tmp_path / STOPPED[name])
    assert _migrate(old, new, '--rename', '^=model.') == 0
    meta = torch.load(new, weights_only=True)['meta']
    number = int(Path(STOPPED[name]).stem.split('_')[1])
    if name.startswith('epochs'):
        assert (meta['epoch'], meta['iter']) == (number, NUM_BATCHES * number)
    else:
        assert meta['iter'] == number

    outcome = here.run(RUNS[name], tmp_path / 'work', load_from=str(new), resume=True)
    done = meta['iter']
    expected = RECORDED[name]
    assert outcome['iterations'] == expected['iterations'] - done
    for key in ('lr', 'momentum', 'scales'):
        if len(expected.get(key, [])) > 1:
            # Of a constant, one is told.
            left = len(outcome[key])
            flat = [_sum(one) for one in expected[key]]
            assert [_sum(one) for one in outcome[key]] == pytest.approx(flat[-left:], rel=1e-12)
    for key in expected.keys() & {'parameters', 'averaged'}:
        assert outcome[key] == pytest.approx(expected[key], rel=ROUNDING, abs=0)


def _sum(values: Any) -> float:
    return sum(values) if isinstance(values, list) else values


def test_the_count_of_iterations_comes_from_the_name_through_links_or_from_a_word(tmp_path):
    old = tmp_path / 'iter_7.pth'
    old.write_bytes(BY_ITERATION.read_bytes())
    link = tmp_path / 'latest.pth'
    link.symlink_to(old)
    assert _migrate(link, tmp_path / 'new.pth') == 0
    assert torch.load(tmp_path / 'new.pth', weights_only=True)['meta']['iter'] == 7
    assert _migrate(BY_ITERATION, tmp_path / 'told.pth', '--iterations', '7') == 0
    assert torch.load(tmp_path / 'told.pth', weights_only=True)['meta']['iter'] == 7


def _legacy_checkpoint(**changes: Any) -> dict[str, Any]:
    weights = OrderedDict(
        [
            ('module.conv.weight', torch.ones(2)),
            ('module.bn.mean', torch.zeros(1)),
            ('module.ema_conv_weight', torch.full((2,), 3.0)),
        ]
    )
    meta = {
        'epoch': 3,
        'iter': 30,
        'CLASSES': ('cat', 'dog'),
        'config': "custom_hooks = [dict(type='EMAHook', priority=49)]",
        'seed': 7,
        'hook_msgs': {'best_score': 0.5, 'best_ckpt': 'best_mAP_epoch_2.pth', 'last_ckpt': 'x'},
        'fp16': {'loss_scaler': {'scale': 1024.0, '_growth_tracker': 3}},
    }
    optimizer = {'state': {}, 'param_groups': [{'lr': 0.1, 'params': [0]}]}
    return {'meta': meta, 'state_dict': weights, 'optimizer': optimizer, **changes}


def test_what_hooks_kept_in_odd_places_goes_where_hooks_here_look():
    content = migration.migrate_checkpoint(_legacy_checkpoint()).content
    assert list(content['state_dict']) == ['conv.weight', 'bn.mean']
    # The hook came before the one that saves: the average is under the model's names.
    raw = content['ema_state_dict']
    assert raw['steps'] == 31
    assert raw['module.conv.weight'].tolist() == [3.0, 3.0]
    assert raw['module.bn.mean'].tolist() == [0.0]
    assert content['optimizer']['loss_scaler']['scale'] == 1024.0
    assert content['meta']['dataset_meta'] == {'classes': ('cat', 'dog')}
    assert content['meta']['cfg'].startswith('custom_hooks')
    assert content['meta']['seed'] == 7
    hub = content['message_hub']['runtime_info']
    assert hub == {'best_score': 0.5, 'best_ckpt': 'best_mAP_epoch_2.pth'}


@pytest.mark.parametrize(
    ('config', 'file_name', 'place', 'left'),
    [
        ("custom_hooks = [dict(type='EMAHook', momentum=1e-4)]", 'epoch_3.pth', 'ema_', 0),
        ("custom_hooks = [{'type': 'EMAHook', 'priority': 'NORMAL'}]", 'epoch_3.pth', 'ema_', 0),
        ("custom_hooks = [{'type': 'EMAHook', 'priority': 'HIGH'}]", 'epoch_3.pth', 'plain', 0),
        ("custom_hooks = [dict(type='EMAHook')]", 'best_mAP_epoch_3.pth', 'plain', 0),
        ('custom_hooks = [', 'epoch_3.pth', 'plain', 1),
        (None, 'latest.pth', 'plain', 1),
    ],
    ids=['default', 'normal', 'before', 'best', 'unreadable', 'unknown'],
)
def test_where_the_averages_are_is_told_by_the_priority_of_their_hook(
    config, file_name, place, left
):
    checkpoint = _legacy_checkpoint()
    checkpoint['meta']['config'] = config
    result = migration.migrate_checkpoint(checkpoint, file_name=file_name)
    average = result.content['state_dict']['conv.weight'].tolist()
    assert average == ([3.0, 3.0] if place == 'ema_' else [1.0, 1.0])
    assert len(result.todo) == left
    other = 'ema_' if place == 'plain' else 'plain'
    told = migration.migrate_checkpoint(checkpoint, file_name=file_name, averages=other)
    assert told.content['state_dict']['conv.weight'].tolist() != average
    assert not told.todo


def test_weights_alone_are_a_checkpoint_too():
    result = migration.migrate_checkpoint({'module.w': torch.ones(1)})
    assert list(result.content['state_dict']) == ['w']
    assert not result.todo


def test_an_entry_without_counterpart_is_kept_and_listed():
    result = migration.migrate_checkpoint(_legacy_checkpoint(queue=torch.ones(3)))
    assert result.content['queue'].tolist() == [1, 1, 1]
    assert len(result.todo) == 1
    assert "'queue'" in result.todo[0]


def test_rules_are_applied_one_by_one_from_words_and_files(tmp_path):
    file = tmp_path / 'rules.json'
    file.write_text('{"^model\\\\.neck": "model.fpn"}')
    rules = migration.parse_rename_rules(['^=model.', str(file)])
    content = migration.migrate_checkpoint({'neck.w': torch.ones(1)}, rules).content
    assert list(content['state_dict']) == ['model.fpn.w']


@pytest.mark.parametrize(
    ('content', 'words', 'message'),
    [
        ([1], [], 'holds a list'),
        ({'a': 1}, [], "no weights; its keys are .'a'"),
        ({'meta': {'mmengine_version': '0'}, 'state_dict': {}}, [], 'already'),
        ({'a.w': torch.ones(1), 'b.w': torch.ones(1)}, ['--rename', '^[ab]=c'], 'one name'),
        ({'a': torch.ones(1)}, ['--rename', 'ab'], 'PATTERN=REPLACEMENT'),
        ({'a': torch.ones(1)}, ['--rename', '(=b'], 'not a valid regular expression'),
    ],
)
def test_what_cannot_be_converted_is_told_and_nothing_written(
    content, words, message, tmp_path, capsys
):
    torch.save(content, tmp_path / 'old.pth')
    assert _migrate(tmp_path / 'old.pth', tmp_path / 'new.pth', *words) == 2
    assert not (tmp_path / 'new.pth').exists()
    assert re.search(message, capsys.readouterr().err)


def test_a_broken_file_a_missing_one_and_one_in_the_way_are_told(tmp_path, capsys):
    (tmp_path / 'old.pth').write_bytes(b'no checkpoint')
    assert _migrate(tmp_path / 'old.pth', tmp_path / 'new.pth') == 2
    assert 'not a readable checkpoint' in capsys.readouterr().err
    assert _migrate(tmp_path / 'none.pth', tmp_path / 'new.pth') == 2
    assert 'no checkpoint at' in capsys.readouterr().err
    assert _migrate(BY_ITERATION, tmp_path / 'old.pth') == 2
    assert '--force' in capsys.readouterr().err
