"""Which checkpoints a run may remove that an earlier start of it has left."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mmengine._checkpoint._ledger import append_entry, hash_of
from mmengine.hooks._leftovers import Kept, leftovers

BEST = {'best_acc_': ['best_acc_epoch_4.pth']}


def _write(folder: Path, name: str, iteration: int, **facts: Any) -> Path:
    path = folder / name
    path.write_text(name)
    content = path.read_bytes()
    known = {'run': 'r', 'rotation': 'interval', **facts}
    append_entry(
        path, 'saved', iter=iteration, bytes=len(content), xxh3=hash_of(content), **known
    )  # fmt: skip
    return path


def _kept(**changes: Any) -> Kept:
    return Kept(
        **{'run_id': 'r', 'iteration': 50, 'template': 'epoch_{}.pth', 'numbers': [4, 5],
           'interim': None, 'best': BEST, **changes}
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 3, 4, 5, 7):
        _write(tmp_path, f'epoch_{number}.pth', number * 10)
    return tmp_path


def test_older_files_than_the_kept_ones_are_left_over(folder):
    assert leftovers(str(folder), _kept()) == ['epoch_1.pth', 'epoch_3.pth']


def test_a_later_file_is_none_until_the_run_is_past_it(folder):
    _write(folder, 'epoch_6.pth', 60)
    assert 'epoch_6.pth' not in leftovers(str(folder), _kept(iteration=55, numbers=[5, 7]))
    assert 'epoch_6.pth' in leftovers(str(folder), _kept(iteration=70, numbers=[5, 7]))


def test_nothing_is_left_over_where_all_are_kept(folder):
    assert leftovers(str(folder), _kept(numbers=())) == []


def test_files_of_another_run_or_without_a_line_are_not_touched(folder):
    _write(folder, 'epoch_2.pth', 20, run='another')
    _write(folder, 'epoch_0.pth', 0, run=None)
    (folder / 'epoch_10.pth').write_text('of the user')
    names = leftovers(str(folder), _kept(numbers=[40, 50], iteration=1000))
    assert names == [f'epoch_{number}.pth' for number in (1, 3, 4, 5, 7)]


def test_files_that_were_kept_forever_stay_when_later_ones_are_not(folder):
    _write(folder, 'epoch_2.pth', 20, rotation=None)
    assert 'epoch_2.pth' not in leftovers(str(folder), _kept())


def test_a_file_with_another_content_is_of_the_user(folder):
    (folder / 'epoch_1.pth').write_text('epoch_X.pth')
    assert leftovers(str(folder), _kept()) == ['epoch_3.pth']


def test_links_and_folders_are_not_touched(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp('elsewhere') / 'epoch_1.pth'
    shutil.move(folder / 'epoch_1.pth', elsewhere)
    (folder / 'epoch_1.pth').symlink_to(elsewhere)
    (folder / 'epoch_3.pth').unlink()
    (folder / 'epoch_3.pth').mkdir()
    assert leftovers(str(folder), _kept()) == []


def test_interim_checkpoints_that_were_replaced(folder):
    _write(folder, 'iter_12.pth', 12, rotation='interim')
    _write(folder, 'iter_34.pth', 34, rotation='interim')
    found = leftovers(str(folder), _kept(interim='iter_34.pth'))
    assert found == ['epoch_1.pth', 'epoch_3.pth', 'iter_12.pth']


def test_best_checkpoints_that_were_replaced(folder):
    for name, iteration in {
        'best_acc_epoch_2.pth': 20, 'best_acc_epoch_4.pth': 40, 'best_acc_epoch_6.pth': 60,
        'best_acc_top_5_epoch_2.pth': 20, 'best_loss_epoch_2.pth': 20,
    }.items():  # fmt: skip
        _write(folder, name, iteration, rotation='best')
    assert leftovers(str(folder), _kept(numbers=())) == ['best_acc_epoch_2.pth']
    assert leftovers(str(folder), _kept(numbers=(), best={'best_acc_': []})) == []


@pytest.mark.parametrize(
    ('template', 'old', 'new'),
    [
        ('model_{}.ckpt.pth', 'model_2.ckpt.pth', 'model_4.ckpt.pth'),
        ('e{:04d}.pth', 'e0002.pth', 'e0004.pth'),
        ('{:03d}-net.pth', '002-net.pth', '004-net.pth'),
    ],
)
def test_names_by_a_template_of_the_user(tmp_path, template, old, new):
    for number, name in ((2, old), (4, new)):
        _write(tmp_path, name, number * 10)
        _write(tmp_path, f'best_acc_{name}', number * 10, rotation='best')
    _write(tmp_path, f'best_acc_top_5_{old}', 20, rotation='best')
    kept = _kept(template=template, numbers=[4], best={'best_acc_': [f'best_acc_{new}']})
    assert leftovers(str(tmp_path), kept) == [old, f'best_acc_{old}']


def test_a_record_without_its_checkpoint(folder):
    _write(folder, 'epoch_1.pth.after_val', 10)
    _write(folder, 'epoch_2.pth.after_val', 20)
    assert leftovers(str(folder), _kept(numbers=())) == ['epoch_2.pth.after_val']


def test_a_copy_of_a_work_dir_leaves_the_files_of_the_original(make_run):
    """The copy keeps one checkpoint; the run that it was copied from keeps all of its own."""
    original = make_run(
        epochs=3, default_hooks={'checkpoint': {'type': 'CheckpointHook', 'interval': 1,
                                                'max_keep_ckpts': 2}}
    )  # fmt: skip
    original.train()
    copy = Path(original.work_dir).with_name('copy')
    shutil.copytree(original.work_dir, copy)
    copied = make_run(
        epochs=4, work_dir='copy', resume=True,
        default_hooks={'checkpoint': {'type': 'CheckpointHook', 'interval': 1,
                                      'max_keep_ckpts': 1}},
    )  # fmt: skip
    copied.train()
    names = [sorted(path.name for path in Path(folder).glob('*.pth'))
             for folder in (original.work_dir, copy)]  # fmt: skip
    assert names == [['epoch_2.pth', 'epoch_3.pth'], ['epoch_4.pth']]


def test_a_new_run_in_an_old_folder_leaves_its_files(make_run):
    hook = {'type': 'CheckpointHook', 'interval': 1, 'max_keep_ckpts': 1}
    make_run(epochs=4, default_hooks={'checkpoint': dict(hook, save_best=None)}).train()
    anew = make_run(epochs=6, default_hooks={'checkpoint': dict(hook, interval=3)})
    anew.train()
    assert sorted(path.name for path in Path(anew.work_dir).glob('*.pth')) == [
        'epoch_4.pth', 'epoch_6.pth'
    ]  # fmt: skip
    runs = {json.loads(line).get('run') for line in
            Path(anew.work_dir, 'checkpoints.jsonl').read_text().splitlines()}  # fmt: skip
    assert len(runs - {None}) == 2
