"""Files that inherit from each other: what survives, what is written, what the command says."""

import pytest

from mmengine.cli.__main__ import main
from mmengine.config import Config
from mmengine.migrate._config.migrate import migrate_configs
from mmengine.utils.errors import ArgumentError

MODEL = """\
# the model
norm_cfg = dict(type='BN')
model = dict(
    type='Toy',
    width=8,  # channels
    norm=norm_cfg)
"""
DATA = """\
data_root = 'data/'
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=2,
    train=dict(type='Toy', root=data_root),  # all of it
    val=dict(type='Toy', root=data_root + 'val/'))
evaluation = dict(interval=1)
"""
SCHEDULE = """\
# optimizer
optimizer = dict(type='SGD', lr=0.02, momentum=0.9)
optimizer_config = dict(grad_clip=None)
# learning policy
lr_config = dict(policy='step', step=[8, 11])
runner = dict(type='EpochBasedRunner', max_epochs=12)
checkpoint_config = dict(interval=1)
"""
RUNTIME = """\
log_config = dict(interval=50, hooks=[dict(type='TextLoggerHook')])
log_level = 'INFO'
workflow = [('train', 1)]
"""

TOY = """\
_base_ = [
    '_base_/model.py', '_base_/data.py', '_base_/schedule.py', '_base_/runtime.py'
]
"""


@pytest.fixture
def tree(tmp_path):
    old = tmp_path / 'old'
    files = {
        '_base_/model.py': MODEL,
        '_base_/data.py': DATA,
        '_base_/schedule.py': SCHEDULE,
        '_base_/runtime.py': RUNTIME,
        'toy.py': TOY,
        'README.md': 'read me',
    }
    for name, text in files.items():
        write(old / name, text)
    return old


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def migrated(tree, **options):
    new = tree.with_name('new')
    return new, migrate_configs(tree, new, **options)


def flat(path, tmp_path):
    target = tmp_path / 'flat' / path.name
    migrate_configs(path, target, flatten=True, force=True)
    return Config.fromfile(target)


def test_a_tree_keeps_its_files_and_what_did_not_change(tree):
    new, _ = migrated(tree)
    assert (new / '_base_/model.py').read_text() == MODEL
    assert (new / 'toy.py').read_text() == (tree / 'toy.py').read_text()
    assert (new / 'README.md').read_text() == 'read me'


def test_every_file_resolves_to_its_flattened_conversion(tree, tmp_path):
    child = "_base_ = './toy.py'\noptimizer = dict(lr=0.1)\ndata = dict(samples_per_gpu=8)\n"
    write(tree / 'child.py', child)
    new, _ = migrated(tree)
    for name in ('toy.py', 'child.py'):
        assert Config.fromfile(new / name).to_dict() == flat(tree / name, tmp_path).to_dict()


def test_comments_names_and_code_survive(tree):
    new, _ = migrated(tree)
    data = (new / '_base_/data.py').read_text()
    assert 'root=data_root)' in data
    assert "root=data_root + 'val/')" in data
    assert '# all of it' in data
    schedule = (new / '_base_/schedule.py').read_text()
    assert '# optimizer\noptim_wrapper' in schedule
    assert '# learning policy\nparam_scheduler' in schedule


def test_a_part_of_a_legacy_key_becomes_the_whole_new_value_with_delete(tree):
    write(tree / 'child.py', "_base_ = './toy.py'\noptimizer = dict(lr=0.1)  # more\n")
    new, _ = migrated(tree)
    assert (new / 'child.py').read_text() == (
        "_base_ = './toy.py'\n"
        '# more\n'
        'optim_wrapper = dict(\n'
        '    _delete_=True,\n'
        "    type='OptimWrapper',\n"
        "    optimizer=dict(type='SGD', lr=0.1, momentum=0.9),\n"
        ')\n'
    )


def test_a_child_of_an_unchanged_key_stays_as_written(tree):
    text = "_base_ = './toy.py'\n# deeper\nmodel = dict(width=16)  # twice\n"
    write(tree / 'child.py', text)
    new, _ = migrated(tree)
    assert (new / 'child.py').read_text() == text


def test_two_bases_never_define_the_same_new_key(tree):
    # checkpoint_config and log_config lie in two files; both make default_hooks.
    new, _ = migrated(tree)
    holders = [
        path.name for path in (new / '_base_').iterdir() if 'default_hooks' in path.read_text()
    ]
    assert holders == ['schedule.py']
    assert set(Config.fromfile(new / 'toy.py').default_hooks) == {'checkpoint', 'logger'}


def test_code_that_changes_a_legacy_key_keeps_running(tree, tmp_path):
    text = (
        "_base_ = './toy.py'\n"
        'data = dict(samples_per_gpu=4)\n'
        "for split in ('train', 'val'):\n"
        "    data[split] = dict(root=f'other/{split}')\n"
    )
    write(tree / 'child.py', text)
    new, _ = migrated(tree)
    written = (new / 'child.py').read_text()
    assert "for split in ('train', 'val'):" in written
    assert 'del data' in written
    cfg = Config.fromfile(new / 'child.py')
    assert cfg.train_dataloader.dataset.root == 'other/train'
    assert 'data' not in cfg


def test_base_variables_are_kept_where_they_still_mean_the_same(tree):
    text = (
        "_base_ = './toy.py'\n"
        'width = {{_base_.model.width}}\n'
        "custom_hooks = [dict(type='H', lr={{_base_.optimizer.lr}})]\n"
    )
    write(tree / 'child.py', text)
    new, _ = migrated(tree)
    written = (new / 'child.py').read_text()
    assert 'width = {{_base_.model.width}}' in written
    assert "dict(type='H', lr={{_base_.optim_wrapper.optimizer.lr}})" in written


def test_code_that_reads_a_moved_base_variable_reads_it_at_its_new_place(tree):
    text = (
        "_base_ = './toy.py'\n"
        'if True:\n'
        '    lr = {{_base_.optimizer.lr}} * 2\n'
        'else:\n'
        '    lr = 1.0\n'
        "epochs = '{{_base_.runner.max_epochs}}'\n"
        'data = dict(train=dict(root={{_base_.data.val.root}}))\n'
        'optimizer = dict(lr=lr)\n'
    )
    write(tree / 'child.py', text)
    new, _ = migrated(tree)
    written = (new / 'child.py').read_text()
    assert 'lr = {{_base_.optim_wrapper.optimizer.lr}} * 2' in written
    assert "epochs = '{{_base_.train_cfg.max_epochs}}'" in written
    assert 'root={{_base_.val_dataloader.dataset.root}}' in written
    config = Config.fromfile(new / 'child.py')
    assert (config.optim_wrapper.optimizer.lr, config.epochs) == (0.04, 12)
    assert config.train_dataloader.dataset.root == 'data/val/'


def test_names_that_are_assigned_together_are_kept(tree):
    text = (
        "_base_ = './toy.py'\n"
        'epochs, batch = 24, 8\n'
        'runner = dict(max_epochs=epochs)\n'
        'optimizer = dict(lr=0.01 * batch / 16)\n'
    )
    write(tree / 'child.py', text)
    new, _ = migrated(tree)
    written = (new / 'child.py').read_text()
    assert 'max_epochs=epochs' in written
    assert 'lr=0.01 * batch / 16' in written


def test_a_dict_that_code_puts_together_is_updated(tmp_path):
    old = tmp_path / 'old'
    text = (
        "model = dict(type='M')\n"
        "for name in ('a', 'b'):\n"
        '    model[name] = dict(type=name)\n'
        'test_cfg = dict(nms=0.5)\n'
        'total_epochs = 3\n'
    )
    write(old / 'a.py', text)
    new, report = migrated(old)
    assert 'model.update(test_cfg=dict(nms=0.5))\n' in (new / 'a.py').read_text()
    model = Config.fromfile(new / 'a.py').model
    assert model == dict(type='M', a=dict(type='a'), b=dict(type='b'), test_cfg=dict(nms=0.5))
    assert report.is_complete


def test_a_child_that_deletes_a_schedule_gets_the_new_one_alone(tree):
    text = (
        "_base_ = './toy.py'\n"
        "lr_config = dict(_delete_=True, policy='CosineAnnealing', min_lr=0)\n"
        'runner = dict(max_epochs=24)\n'
    )
    write(tree / 'child.py', text)
    new, _ = migrated(tree)
    (scheduler,) = Config.fromfile(new / 'child.py').param_scheduler
    assert (scheduler.type, scheduler.T_max) == ('CosineAnnealingLR', 24)


def test_yaml_and_json_configs_convert_too(tree):
    write(tree / 'child.yaml', '_base_: ./toy.py\noptimizer:\n  lr: 0.5\n')
    write(
        tree / 'child.json', '{"_base_": "./toy.py", "total_epochs": 3, "optimizer": {"lr": 0.5}}'
    )
    new, _ = migrated(tree)
    for name in ('child.yaml', 'child.json'):
        assert Config.fromfile(new / name).optim_wrapper.optimizer.lr == 0.5


def test_a_whole_config_that_others_inherit_from_takes_nothing_of_theirs(tree):
    write(tree / 'amp.py', "_base_ = './toy.py'\nfp16 = dict(loss_scale='dynamic')\n")
    new, _ = migrated(tree)
    assert Config.fromfile(new / 'toy.py').optim_wrapper.type == 'OptimWrapper'
    assert Config.fromfile(new / 'amp.py').optim_wrapper.type == 'AmpOptimWrapper'


def test_a_broken_file_is_told_and_the_others_are_written(tree):
    write(tree / 'broken.py', 'runner = dict(\n')
    write(tree / 'orphan.py', "_base_ = './broken.py'\n")
    new, report = migrated(tree)
    assert {outcome.source.name for outcome in report.failed} == {'broken.py', 'orphan.py'}
    assert (new / 'toy.py').exists()
    assert not (new / 'broken.py').exists()


def test_sources_are_never_overwritten(tree):
    with pytest.raises(ArgumentError, match='would be overwritten'):
        migrate_configs(tree, tree)


def test_what_is_there_is_overwritten_by_force_only(tree):
    new, _ = migrated(tree)
    (new / 'toy.py').write_text('mine = 1\n')
    with pytest.raises(ArgumentError, match='--force'):
        migrated(tree)
    assert (new / 'toy.py').read_text() == 'mine = 1\n'
    migrated(tree, force=True)
    assert 'mine' not in (new / 'toy.py').read_text()


def test_one_file_brings_its_bases_along(tree, tmp_path):
    report = migrate_configs(tree / 'toy.py', tmp_path / 'out' / 'toy.py')
    assert report.written == 5
    assert Config.fromfile(tmp_path / 'out' / 'toy.py').train_cfg.max_epochs == 12


@pytest.mark.parametrize(
    ('more', 'code'),
    [('', 1), ("\nevaluation = None\ncustom_hooks = [dict(type='Mine')]", 1)],
)
def test_the_exit_code_tells_whether_something_is_left(tree, capsys, more, code):
    write(tree / 'toy.py', (tree / 'toy.py').read_text() + more)
    assert main(['migrate', 'config', str(tree), '-o', str(tree.with_name('new'))]) == code
    assert 'Left to do' in capsys.readouterr().out


def test_the_exit_code_is_0_when_nothing_is_left(tmp_path, capsys):
    write(tmp_path / 'a.py', SCHEDULE)
    assert main(['migrate', 'config', str(tmp_path / 'a.py'), '--check']) == 0
    out = capsys.readouterr().out
    assert 'largest relative difference' in out
    assert (tmp_path / 'a_migrated.py').exists()


@pytest.mark.parametrize('text', ['lr_config = dict(policy="stepp")\ntotal_epochs = 3\n', 'a = ('])
def test_the_exit_code_is_2_when_nothing_is_written(tmp_path, capsys, text):
    write(tmp_path / 'a.py', text)
    assert main(['migrate', 'config', str(tmp_path / 'a.py')]) == 2
    assert 'a.py:1' in capsys.readouterr().out


def test_the_report_shows_both_curves_and_what_is_left(tree, tmp_path, capsys):
    page = tmp_path / 'report.html'
    main(['migrate', 'config', str(tree), '-o', str(tmp_path / 'new'), '--report', str(page)])
    text = page.read_text()
    assert text.count('<polyline class="old"') == text.count('<polyline class="new"') == 1
    assert 'Left to do' in text
    assert 'data.py:5' in text
