"""Checkpoints of MMCV 1.x: what they become, and that their trainings go on here."""

import argparse
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from test_legacy_model_as_mmcv import RECORDED, legacy, runner_like

from mmengine.migrate import checkpoint as migration
from mmengine.migrate import checkpoint_cli
from mmengine.migrate.legacy_model import LegacyModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner

DATA = Path(__file__).parent / 'data'


def _migrate(old: Path, new: Path, *words: str) -> int:
    parser = argparse.ArgumentParser()
    checkpoint_cli.add_arguments(parser)
    return checkpoint_cli.run(parser.parse_args([str(old), str(new), *words]))


@pytest.mark.parametrize(
    ('name', 'case', 'done'),
    [('mmcv_epoch_1', 'epochs', (1, 5)), ('mmcv_iter_6', 'iters', (0, 6))],
)
def test_a_training_stopped_under_mmcv_goes_on_here_to_the_same_bits(name, case, done, tmp_path):
    old, new = DATA / f'{name}.pth', tmp_path / 'new.pth'
    words = ['--iterations', '6'] if case == 'iters' else []
    assert _migrate(old, new, '--rename', '^=model.', *words) == 0
    meta = torch.load(new, weights_only=True)['meta']
    assert (meta['epoch'], meta['iter']) == done

    runner = runner_like(
        case == 'epochs', 'step-warm', 'plain', tmp_path, load_from=str(new), resume=True
    )
    runner.train()
    parameters = [parameter.item() for parameter in runner.model.parameters()]
    assert parameters == RECORDED[f'{case}/step-warm/plain']['parameters']


def test_a_dict_of_optimizers_goes_on_here_to_the_same_bits(tmp_path):
    new = tmp_path / 'new.pth'
    assert _migrate(DATA / 'mmcv_two_optimizers.pth', new, '--rename', '^=model.') == 0
    model = LegacyModel(legacy.TwoLines(), steps_itself=True)
    lines = {'a': model.model.a, 'b': model.model.b}
    steps = {'type': 'MultiStepLR', 'milestones': [1, 2], 'by_epoch': True}
    runner = Runner(
        model,
        str(tmp_path),
        train_dataloader=legacy.loader(),
        train_cfg={'by_epoch': True, 'max_epochs': legacy.MAX_EPOCHS},
        optim_wrapper=OptimWrapperDict(
            **{name: OptimWrapper(legacy.sgd(line)) for name, line in lines.items()}
        ),
        param_scheduler={'a': [steps], 'b': [steps]},
        load_from=str(new),
        resume=True,
        log_level='ERROR',
    )
    runner.train()
    parameters = [parameter.item() for parameter in runner.model.parameters()]
    assert parameters == pytest.approx(RECORDED['two']['parameters'], rel=1e-7)


def test_a_file_named_by_iteration_tells_how_many_are_finished(tmp_path):
    old = tmp_path / 'iter_6.pth'
    old.write_bytes((DATA / 'mmcv_iter_6.pth').read_bytes())
    link = tmp_path / 'latest.pth'
    link.symlink_to(old)
    assert _migrate(link, tmp_path / 'new.pth') == 0
    assert torch.load(tmp_path / 'new.pth', weights_only=True)['meta']['iter'] == 6


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
        'config': 'a = 1',
        'seed': 7,
        'hook_msgs': {'best_score': 0.5, 'best_ckpt': 'best_mAP_epoch_2.pth', 'last_ckpt': 'x'},
        'fp16': {'loss_scaler': {'scale': 1024.0, '_growth_tracker': 3}},
    }
    optimizer = {'state': {}, 'param_groups': [{'lr': 0.1, 'params': [0]}]}
    return {'meta': meta, 'state_dict': weights, 'optimizer': optimizer, **changes}


def test_what_hooks_kept_in_odd_places_goes_where_hooks_here_look():
    content = migration.migrate_checkpoint(_legacy_checkpoint()).content
    assert list(content['state_dict']) == ['conv.weight', 'bn.mean']
    # The file holds the average under the model's names and the raw weights beside it, as here.
    raw = content['ema_state_dict']
    assert raw['steps'] == 30
    assert raw['module.conv.weight'].tolist() == [3.0, 3.0]
    assert raw['module.bn.mean'].tolist() == [0.0]
    assert content['optimizer']['loss_scaler']['scale'] == 1024.0
    assert content['meta']['dataset_meta'] == {'classes': ('cat', 'dog')}
    assert (content['meta']['cfg'], content['meta']['seed']) == ('a = 1', 7)
    hub = content['message_hub']['runtime_info']
    assert hub == {'best_score': 0.5, 'best_ckpt': 'best_mAP_epoch_2.pth'}


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
        ({'a': torch.ones(1)}, ['--rename', '(=b'], 'no regular expression'),
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
    assert 'no readable checkpoint' in capsys.readouterr().err
    assert _migrate(tmp_path / 'none.pth', tmp_path / 'new.pth') == 2
    assert 'no checkpoint at' in capsys.readouterr().err
    assert _migrate(DATA / 'mmcv_epoch_1.pth', tmp_path / 'old.pth') == 2
    assert '--force' in capsys.readouterr().err
