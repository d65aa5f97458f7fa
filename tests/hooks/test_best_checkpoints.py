"""The k best checkpoints of each metric, and runs whose work dir was moved or copied."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from mmengine.hooks import CheckpointHook
from mmengine.hooks._best_checkpoints import BestCheckpoints
from mmengine.runner import Runner
from mmengine.runner.checkpoint import find_latest_checkpoint

NAN = float('nan')


def _best(folder: str | Path) -> list[str]:
    return sorted(path.name for path in Path(folder).glob('best_*.pth'))


def _train(make_run: Any, checkpoint: dict[str, Any], **kwargs: Any) -> Runner:
    runner = make_run(
        default_hooks={'checkpoint': {'type': 'CheckpointHook', **checkpoint}}, **kwargs
    )
    runner.train()
    return runner


def _hook(runner: Runner) -> CheckpointHook:
    return next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))


# -- the k best ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('scores', 'epochs_kept'),
    [
        ((0.1, 0.5, 0.3, 0.4, 0.2), [2, 3, 4]),
        ((0.5, 0.4, 0.3, 0.2, 0.1), [1, 2, 3]),
        ((0.1, 0.2, 0.3, 0.4, 0.5), [3, 4, 5]),
        ((0.3, 0.3, 0.3, 0.3, 0.3), [1, 2, 3]),  # a tie is not better
        ((NAN, 0.1, NAN, 0.2, NAN), [2, 4]),
        ((0.1, 0.2), [1, 2]),
    ],
)
def test_the_three_best_are_kept(make_run, accs, scores, epochs_kept):
    runner = _train(
        make_run, {'save_best': 'acc', 'keep_best': 3}, scores=accs(*scores), epochs=len(scores),
        batches=1,
    )  # fmt: skip
    assert _best(runner.work_dir) == [f'best_acc_epoch_{epoch}.pth' for epoch in epochs_kept]


def test_a_kept_file_holds_the_weights_of_its_epoch(make_run, accs):
    runner = _train(
        make_run, {'save_best': 'acc', 'keep_best': 2}, scores=accs(0.1, 0.5, 0.3), epochs=3,
        batches=1,
    )  # fmt: skip
    for epoch in (2, 3):
        state = torch.load(Path(runner.work_dir, f'best_acc_epoch_{epoch}.pth'), weights_only=True)
        # One step of rate 0.1 with gradient 1 in each epoch.
        assert state['state_dict']['weight'].item() == pytest.approx(1 - 0.1 * epoch)


def test_message_hub_and_attributes_have_the_best_of_all(make_run, accs):
    runner = _train(
        make_run, {'save_best': 'acc', 'keep_best': 3}, scores=accs(0.1, 0.5, 0.3), epochs=3
    )
    path = str(Path(runner.work_dir, 'best_acc_epoch_2.pth'))
    assert _hook(runner).best_ckpt_path == path
    assert runner.message_hub.get_info('best_ckpt') == path
    assert runner.message_hub.get_info('best_score') == 0.5


def test_each_metric_keeps_its_own(make_run):
    scores = [{'acc': a, 'loss': b} for a, b in ((0.1, 3), (0.5, 4), (0.3, 1), (0.2, 2))]
    runner = _train(
        make_run, {'save_best': ['acc', 'loss'], 'keep_best': 2}, scores=scores, epochs=4
    )
    assert _best(runner.work_dir) == [
        'best_acc_epoch_2.pth', 'best_acc_epoch_3.pth',
        'best_loss_epoch_3.pth', 'best_loss_epoch_4.pth',
    ]  # fmt: skip


@pytest.mark.parametrize('stop', [1, 2, 3, 4])
def test_a_resumed_run_keeps_the_same_files_as_an_unbroken_one(make_run, accs, stop):
    scores = (0.4, 0.1, 0.5, 0.2, 0.3)
    settings = {'interval': 1, 'save_best': 'acc', 'keep_best': 3, 'max_keep_ckpts': 1}
    _train(make_run, settings, scores=accs(*scores[:stop]), epochs=stop)
    runner = _train(make_run, settings, scores=accs(*scores[stop:]), epochs=5, resume=True)
    assert _best(runner.work_dir) == [f'best_acc_epoch_{epoch}.pth' for epoch in (1, 3, 5)]


def test_a_resumed_run_that_keeps_fewer_removes_the_worst(make_run, accs):
    settings = {'interval': 1, 'save_best': 'acc'}
    _train(make_run, {**settings, 'keep_best': 3}, scores=accs(0.1, 0.5, 0.3), epochs=3)
    runner = _train(make_run, {**settings, 'keep_best': 2}, scores=accs(0.4), epochs=4, resume=True)
    assert _best(runner.work_dir) == ['best_acc_epoch_2.pth', 'best_acc_epoch_4.pth']


def test_a_resumed_run_that_keeps_more_starts_from_the_one_it_has(make_run, accs):
    settings = {'interval': 1, 'save_best': 'acc'}
    _train(make_run, settings, scores=accs(0.1, 0.5, 0.3), epochs=3)
    runner = _train(
        make_run, {**settings, 'keep_best': 2}, scores=accs(0.2, 0.4), epochs=5, resume=True
    )
    assert _best(runner.work_dir) == ['best_acc_epoch_2.pth', 'best_acc_epoch_5.pth']


def test_a_checkpoint_without_a_state_of_the_hook_gives_the_best(make_run, accs):
    """Checkpoints of earlier versions and of the API have the path in the message hub only."""
    settings = {'interval': 1, 'save_best': 'acc'}
    runner = _train(make_run, settings, scores=accs(0.5), epochs=1)
    path = Path(runner.work_dir, 'epoch_1.pth')
    checkpoint = runner.strategy.io.read(str(path))
    del checkpoint['hooks']
    torch.save(checkpoint, path)
    resumed = _train(make_run, settings, scores=accs(0.4, 0.6), epochs=3, resume=True)
    assert _best(resumed.work_dir) == ['best_acc_epoch_3.pth']


@pytest.mark.parametrize('keep_best', [0, -1, 1.5, True, None])
def test_a_wrong_number_is_refused(keep_best):
    with pytest.raises(ValueError, match='keep_best must be a positive integer'):
        CheckpointHook(save_best='acc', keep_best=keep_best)


def test_entries_are_in_order_of_their_scores():
    best = BestCheckpoints('loss', 'less', 3)
    dropped = [best.add(score, f'best_loss_{score}.pth') for score in (3.0, 1.0, 2.0, 0.5)]
    assert [score for score, _ in best.entries] == [0.5, 1.0, 2.0]
    assert dropped == [[], [], [], ['best_loss_3.0.pth']]


# -- moved and copied work dirs ------------------------------------------------------------------


_ONE = {'interval': 1, 'max_keep_ckpts': 1, 'save_best': 'acc'}


def _snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file()
    }


def test_a_copied_work_dir_resumes_its_own_checkpoint_and_leaves_the_old_one(
    make_run, accs, tmp_path
):
    _train(make_run, _ONE, scores=accs(0.5, 0.4), work_dir='a')
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    before = _snapshot(tmp_path / 'a')
    assert find_latest_checkpoint(str(tmp_path / 'b')) == str(tmp_path / 'b' / 'epoch_2.pth')
    runner = _train(make_run, _ONE, scores=accs(0.9), epochs=3, work_dir='b', resume=True)
    assert _best(runner.work_dir) == ['best_acc_epoch_3.pth']
    assert _snapshot(tmp_path / 'a') == before


def test_a_run_in_a_new_work_dir_leaves_the_best_of_the_run_it_continues(make_run, accs, tmp_path):
    _train(make_run, _ONE, scores=accs(0.5, 0.4), work_dir='a')
    before = _snapshot(tmp_path / 'a')
    runner = _train(
        make_run, _ONE, scores=accs(0.9), epochs=3, work_dir='b', resume=True,
        load_from=str(tmp_path / 'a' / 'epoch_2.pth'),
    )  # fmt: skip
    assert _best(runner.work_dir) == ['best_acc_epoch_3.pth']
    assert _snapshot(tmp_path / 'a') == before


def test_a_run_in_a_new_work_dir_still_has_the_score_to_beat(make_run, accs, tmp_path):
    _train(make_run, _ONE, scores=accs(0.5, 0.4), work_dir='a')
    runner = _train(
        make_run, _ONE, scores=accs(0.3), epochs=3, work_dir='b', resume=True,
        load_from=str(tmp_path / 'a' / 'epoch_2.pth'),
    )  # fmt: skip
    assert _best(runner.work_dir) == []
    assert runner.message_hub.get_info('best_score') == 0.5


@pytest.mark.parametrize('keep_best', [1, 2])
def test_a_moved_work_dir_goes_on_with_its_files(make_run, accs, tmp_path, keep_best):
    settings = {**_ONE, 'keep_best': keep_best, 'published_keys': 'state_dict'}
    _train(make_run, {**settings, 'published_keys': None}, scores=accs(0.5, 0.4), work_dir='a')
    shutil.move(tmp_path / 'a', tmp_path / 'b')
    runner = _train(make_run, settings, scores=accs(0.1), epochs=3, work_dir='b', resume=True)
    kept = ['best_acc_epoch_1.pth', 'best_acc_epoch_2.pth'][:keep_best]
    assert [name for name in _best(runner.work_dir) if '-' not in name] == kept
    assert _hook(runner).best_ckpt_path == str(tmp_path / 'b' / 'best_acc_epoch_1.pth')
    assert runner.message_hub.get_info('best_ckpt') == str(tmp_path / 'b' / 'best_acc_epoch_1.pth')
    assert not (tmp_path / 'a').exists()


def test_a_copy_publishes_its_own_files(make_run, accs, tmp_path):
    _train(make_run, _ONE, scores=accs(0.5, 0.4), work_dir='a')
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    before = _snapshot(tmp_path / 'a')
    settings = {**_ONE, 'published_keys': 'state_dict'}
    _train(make_run, settings, scores=accs(0.1), epochs=3, work_dir='b', resume=True)
    assert len(list((tmp_path / 'b').glob('best_acc_epoch_1-*.pth'))) == 1
    assert _snapshot(tmp_path / 'a') == before


def test_the_state_of_a_checkpoint_has_no_folder(make_run, accs, tmp_path):
    _train(make_run, _ONE, scores=accs(0.5, 0.4), work_dir='a')
    record = torch.load(tmp_path / 'a' / 'epoch_2.pth.after_val', weights_only=True)
    assert record['hooks']['CheckpointHook'] == [
        {
            'best': {
                'acc': {
                    'rule': 'greater', 'best_score': 0.5,
                    'entries': [[0.5, 'best_acc_epoch_1.pth']],
                }
            }
        }
    ]  # fmt: skip


def test_with_a_separate_folder_the_pointer_is_followed(make_run, accs, tmp_path):
    settings = {**_ONE, 'out_dir': str(tmp_path / 'out')}
    _train(make_run, settings, scores=accs(0.5, 0.4), work_dir='a')
    decoy = tmp_path / 'a' / 'epoch_2.pth'
    decoy.write_bytes(b'another run')
    found = find_latest_checkpoint(str(tmp_path / 'a'))
    assert found is not None
    assert os.path.samefile(found, tmp_path / 'out' / 'a' / 'epoch_2.pth')
