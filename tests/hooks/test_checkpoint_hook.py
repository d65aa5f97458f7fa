"""Which checkpoints there are, what they hold, and what a resumed run knows of them."""

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner


def _files(folder: str | Path) -> list[str]:
    return sorted(path.name for path in Path(folder).glob('*.pth'))


def _train(make_run: Any, checkpoint: dict[str, Any] | None = None, **kwargs: Any) -> Runner:
    hook = {'type': 'CheckpointHook', **(checkpoint or {})}
    runner = make_run(default_hooks={'checkpoint': hook}, **kwargs)
    runner.train()
    return runner


def _load(runner: Runner, name: str) -> dict[str, Any]:
    return torch.load(Path(runner.work_dir, name), weights_only=True)


# The sets below were seen with MMEngine 0.10.7 for the same settings.


@pytest.mark.parametrize(
    ('settings', 'epochs', 'expected'),
    [
        ({'interval': 2}, 5, [2, 4, 5]),
        ({'interval': 2, 'save_last': False}, 5, [2, 4]),
        ({}, 3, [3]),
        ({'interval': 2, 'save_begin': 1, 'save_last': False}, 6, [1, 3, 5]),
        ({'interval': 2, 'save_begin': 2, 'save_last': False}, 6, [2, 4, 6]),
        ({'interval': 2, 'save_begin': 3, 'save_last': False}, 7, [3, 5, 7]),
        ({'interval': 1, 'max_keep_ckpts': 2}, 5, [4, 5]),
        ({'interval': 2, 'max_keep_ckpts': 1}, 5, [5]),
    ],
)
def test_epochs_at_which_a_checkpoint_is_left(make_run, settings, epochs, expected):
    runner = _train(make_run, settings, epochs=epochs, batches=1)
    assert _files(runner.work_dir) == [f'epoch_{number}.pth' for number in expected]


def test_iterations_at_which_a_checkpoint_is_left(make_run):
    runner = _train(make_run, {'interval': 3, 'by_epoch': False}, iters=7)
    assert _files(runner.work_dir) == ['iter_3.pth', 'iter_6.pth', 'iter_7.pth']


def test_a_hook_that_counts_epochs_saves_at_the_end_of_an_iteration_run(make_run):
    runner = _train(make_run, {'interval': 1, 'by_epoch': True}, iters=3)
    assert _files(runner.work_dir) == ['epoch_1.pth']


def test_the_pointer_names_the_newest_checkpoint(make_run):
    runner = _train(make_run, {'interval': 1, 'filename_tmpl': 'm_{}.pth'})
    pointer = Path(runner.work_dir, 'last_checkpoint').read_text()
    assert (
        pointer == str(Path(runner.work_dir, 'm_2.pth')) == runner.message_hub.get_info('last_ckpt')
    )


def test_checkpoints_of_one_name_replace_each_other(make_run):
    runner = _train(make_run, {'interval': 1, 'max_keep_ckpts': 1, 'filename_tmpl': 'newest.pth'})
    assert _files(runner.work_dir) == ['newest.pth']
    assert _load(runner, 'newest.pth')['meta']['epoch'] == runner.max_epochs


def test_a_folder_that_cannot_be_made_ends_the_run_before_the_first_step(make_run, tmp_path):
    (tmp_path / 'file').write_text('')
    hook = {'type': 'CheckpointHook', 'out_dir': str(tmp_path / 'file')}
    runner = make_run(default_hooks={'checkpoint': hook})
    with pytest.raises(OSError, match='file'):
        runner.train()
    assert runner.iter == 0


def test_a_checkpoint_holds_position_state_and_weights(make_run):
    runner = _train(make_run, {'interval': 1}, param_scheduler={'type': 'StepLR', 'step_size': 1})
    checkpoint = _load(runner, 'epoch_1.pth')
    assert {'meta', 'state_dict', 'message_hub', 'optimizer', 'param_schedulers'} <= set(checkpoint)
    assert (checkpoint['meta']['epoch'], checkpoint['meta']['iter']) == (1, 4)
    # Four steps of rate 0.1 with gradient 1.
    torch.testing.assert_close(checkpoint['state_dict']['weight'], torch.tensor([0.6]))
    assert _load(runner, 'epoch_2.pth')['meta']['iter'] == 8


def test_optimizer_and_schedulers_can_be_left_out(make_run):
    runner = _train(
        make_run, {'interval': 1, 'save_optimizer': False, 'save_param_scheduler': False},
        param_scheduler={'type': 'StepLR', 'step_size': 1},
    )  # fmt: skip
    assert not {'optimizer', 'param_schedulers'} & set(_load(runner, 'epoch_1.pth'))


def test_a_checkpoint_with_everything_in_it_opens_without_running_code(make_run):
    """NumPy values among infos and metrics; EMA; schedulers; hooks that remember."""
    scores = [{'acc': np.float32(0.5), 'matrix': np.eye(2), 'names': ['a'], 'n': np.int64(3)}]
    runner = _train(
        make_run, {'interval': 1, 'save_best': 'acc'}, scores=scores,
        hooks=[
            {'type': 'EMAHook', 'momentum': 0.5},
            {'type': 'EarlyStoppingHook', 'monitor': 'acc'},
            {'type': 'CurvesHook'},
        ],
        param_scheduler=[
            {'type': 'CosineAnnealingLR', 'T_max': 2},
            {'type': 'ReduceOnPlateauLR', 'monitor': 'acc'},
        ],
    )  # fmt: skip
    for name in ('epoch_2.pth', 'best_acc_epoch_1.pth'):
        assert _load(runner, name)['meta']['validation_due']
        checkpoint = runner.strategy.io.read(os.path.join(runner.work_dir, name))
        assert not checkpoint['meta']['validation_due']
        assert 'ema_state_dict' in checkpoint
        assert len(checkpoint['param_schedulers']) == 2
        assert checkpoint['message_hub']['runtime_info']['best_score'] == 0.5


# -- the best ------------------------------------------------------------------------------------


def test_the_best_of_several_metrics_each_has_its_file(make_run):
    scores = [{'acc': a, 'loss': 1 - a} for a in (0.1, 0.5, 0.3)]
    runner = _train(
        make_run, {'interval': 1, 'save_best': ['acc', 'loss']}, scores=scores, epochs=3
    )
    assert _files(runner.work_dir) == [
        'best_acc_epoch_2.pth', 'best_loss_epoch_2.pth',
        'epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth',
    ]  # fmt: skip
    infos = runner.message_hub.runtime_info
    assert (infos['best_score_acc'], infos['best_score_loss']) == (0.5, 0.5)
    assert infos['best_ckpt_acc'] == str(Path(runner.work_dir, 'best_acc_epoch_2.pth'))


def test_auto_watches_the_first_metric(make_run):
    scores = [{'m/top': a, 'acc': -a} for a in (0.1, 0.5, 0.3)]
    runner = _train(make_run, {'save_best': 'auto'}, scores=scores, epochs=3)
    assert _files(runner.work_dir) == ['best_m_top_epoch_2.pth', 'epoch_3.pth']
    assert runner.message_hub.get_info('best_score') == 0.5


def test_a_given_rule_overrides_the_name(make_run, accs):
    runner = _train(
        make_run, {'save_best': 'acc', 'rule': 'less'}, scores=accs(0.5, 0.2, 0.3), epochs=3
    )
    assert 'best_acc_epoch_2.pth' in _files(runner.work_dir)


def test_nan_is_never_the_best(make_run, accs):
    runner = _train(make_run, {'save_best': 'acc'}, scores=accs(float('nan'), 0.1), epochs=2)
    assert 'best_acc_epoch_2.pth' in _files(runner.work_dir)


def test_the_best_of_an_iteration_run_is_named_by_iteration(make_run, accs):
    runner = _train(
        make_run, {'interval': 3, 'by_epoch': False, 'save_best': 'acc'},
        scores=accs(0.1, 0.5, 0.3), iters=7, val_interval=3,
    )  # fmt: skip
    assert 'best_acc_iter_6.pth' in _files(runner.work_dir)


def test_the_interval_file_of_that_epoch_names_the_best(make_run, accs):
    runner = _train(make_run, {'interval': 1, 'save_best': 'acc'}, scores=accs(0.5))
    checkpoint = runner.strategy.io.read(os.path.join(runner.work_dir, 'epoch_1.pth'))
    infos = checkpoint['message_hub']['runtime_info']
    assert infos['best_ckpt'].endswith('best_acc_epoch_1.pth')


def test_the_line_about_the_best(make_run, accs):
    runner = _train(make_run, {'save_best': 'acc'}, scores=accs(1 / 3), epochs=1, log_level='INFO')
    log = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
    line = 'The best checkpoint with 0.3333 acc at 1 epoch is saved to best_acc_epoch_1.pth.'
    assert f' - mmengine - INFO - {line}\n' in log
    assert ' - mmengine - INFO - Saving checkpoint at 1 epochs\n' in log


def test_a_metric_that_was_never_reported_is_an_error_with_near_names(make_run, accs):
    message = re.escape("not among the metrics (acc). Did you mean 'acc'?")
    with pytest.raises(KeyError, match=f"save_best watches 'accs', which is {message}"):
        _train(make_run, {'save_best': 'accs', 'rule': 'greater'}, scores=accs(0.5))


def test_a_metric_that_is_missing_later_is_a_warning(make_run):
    scores = [{'acc': 0.5, 'other': 1.0}, {'other': 2.0}]
    runner = _train(
        make_run, {'save_best': 'acc', 'rule': 'greater'}, scores=scores, log_level='WARNING'
    )
    log = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
    assert "save_best watches 'acc', which is not among the metrics (other)." in log
    assert _files(runner.work_dir) == ['best_acc_epoch_1.pth', 'epoch_2.pth']


def test_the_file_of_the_best_has_the_name_that_the_template_gives(make_run, accs):
    # Recorded from MMEngine 0.10.7.
    checkpoint = {'save_best': 'acc', 'filename_tmpl': 'model_{}.pth'}
    runner = _train(make_run, checkpoint, scores=accs(0.5, 0.4))
    assert 'best_acc_model_1.pth' in _files(runner.work_dir)


def test_a_validation_without_training_saves_nothing(make_run, accs):
    runner = make_run(
        scores=accs(0.5),
        default_hooks={'checkpoint': {'type': 'CheckpointHook', 'save_best': 'acc'}},
    )
    runner.val()
    assert _files(runner.work_dir) == []


# -- resuming ------------------------------------------------------------------------------------


def test_a_resumed_run_knows_the_best_and_what_it_keeps(make_run, accs):
    settings = {'interval': 1, 'max_keep_ckpts': 2, 'save_best': 'acc'}
    _train(make_run, settings, scores=accs(0.1, 0.5, 0.3), epochs=3)
    runner = _train(make_run, settings, scores=accs(0.4, 0.45), epochs=5, resume=True)
    assert _files(runner.work_dir) == ['best_acc_epoch_2.pth', 'epoch_4.pth', 'epoch_5.pth']
    assert runner.message_hub.get_info('best_score') == 0.5
    assert runner.message_hub.get_info('keep_ckpt_ids') == [4, 5]


def test_a_resumed_run_replaces_the_best_of_before(make_run, accs):
    settings = {'interval': 1, 'max_keep_ckpts': 2, 'save_best': 'auto'}
    _train(make_run, settings, scores=accs(0.1, 0.5, 0.3), epochs=3)
    runner = _train(make_run, settings, scores=accs(0.4, 0.7), epochs=5, resume=True)
    assert _files(runner.work_dir) == ['best_acc_epoch_5.pth', 'epoch_4.pth', 'epoch_5.pth']


def test_the_best_of_another_metric_is_no_measure(make_run):
    first = [{'acc': 0.9, 'loss': 0.7}]
    _train(make_run, {'interval': 1, 'save_best': 'acc'}, scores=first, epochs=1)
    runner = _train(
        make_run, {'interval': 1, 'save_best': 'loss'}, epochs=2, resume=True,
        scores=[{'acc': 0.9, 'loss': 1.5}],
    )  # fmt: skip
    # 1.5 is no better than 0.9, but that was an accuracy.
    assert 'best_loss_epoch_2.pth' in _files(runner.work_dir)
    assert 'best_acc_epoch_1.pth' in _files(runner.work_dir)


def test_a_run_that_learns_from_metrics_resumes_with_what_the_validation_brought(make_run, accs):
    """A plateau schedule halves the rate after the third value in a row that is no better."""
    values = (0.5, 0.4, 0.4, 0.4, 0.4)
    plateau = {
        'type': 'ReduceOnPlateauLR', 'monitor': 'acc', 'rule': 'greater', 'factor': 0.5,
        'patience': 1,
    }  # fmt: skip
    stop = {'type': 'EarlyStoppingHook', 'monitor': 'acc', 'patience': 4, 'min_delta': 0.0}

    def train(name: str, scores: Any, **kwargs: Any) -> Runner:
        return _train(
            make_run, {'interval': 1}, scores=scores, epochs=6, param_scheduler=dict(plateau),
            hooks=[dict(stop)], work_dir=name, **kwargs,
        )  # fmt: skip

    whole = train('whole', accs(*values))
    assert whole.epoch == 5
    resumed = train(
        'resumed', accs(*values[3:]), resume=True,
        load_from=str(Path(whole.work_dir, 'epoch_3.pth')),
    )  # fmt: skip
    assert resumed.epoch == whole.epoch
    assert torch.equal(resumed.model.weight, whole.model.weight)
    assert resumed.optim_wrapper.get_lr() == whole.optim_wrapper.get_lr()


# -- places --------------------------------------------------------------------------------------


def test_out_dir_gets_a_folder_of_the_work_dirs_name(make_run, tmp_path, accs):
    settings = {'interval': 1, 'out_dir': str(tmp_path / 'out'), 'save_best': 'acc'}
    runner = _train(make_run, settings, scores=accs(0.5))
    assert _files(tmp_path / 'out' / 'run') == [
        'best_acc_epoch_1.pth', 'epoch_1.pth', 'epoch_2.pth'
    ]  # fmt: skip
    assert _files(runner.work_dir) == []
    pointer = Path(runner.work_dir, 'last_checkpoint').read_text()
    assert pointer == str(tmp_path / 'out' / 'run' / 'epoch_2.pth')


def test_published_copies_hold_the_keys_alone_and_their_hash(make_run, accs):
    runner = _train(
        make_run, {'interval': 1, 'published_keys': ['state_dict'], 'save_best': 'acc'},
        scores=accs(0.5),
    )  # fmt: skip
    published = [name for name in _files(runner.work_dir) if '-' in name]
    assert [name.split('-')[0] for name in published] == ['best_acc_epoch_1', 'epoch_2']
    for name in published:
        content = Path(runner.work_dir, name).read_bytes()
        assert name.split('-')[1] == f'{hashlib.sha256(content).hexdigest()[:8]}.pth'
        assert list(_load(runner, name)) == ['state_dict']


def test_a_failed_save_leaves_the_older_checkpoint_and_pointer(make_run, monkeypatch):
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError('disk full')

    runner = make_run(default_hooks={'checkpoint': {'type': 'CheckpointHook', 'interval': 1}})
    saved = runner.save_checkpoint
    calls: list[str] = []

    def save_once(*args: Any, **kwargs: Any) -> None:
        calls.append(args[1])
        (saved if len(calls) == 1 else fail)(*args, **kwargs)

    monkeypatch.setattr(runner, 'save_checkpoint', save_once)
    runner._hooks.hooks[-1].max_keep_ckpts = 1
    with pytest.raises(OSError, match='disk full'):
        runner.train()
    assert calls == ['epoch_1.pth', 'epoch_2.pth']
    assert _files(runner.work_dir) == ['epoch_1.pth']
    assert Path(runner.work_dir, 'last_checkpoint').read_text().endswith('epoch_1.pth')


# -- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'interval': 0}, 'interval must be a positive integer, or -1 for no interval; got 0'),
        ({'interval': 1.5}, 'got 1.5'),
        ({'save_begin': -1}, 'save_begin must be 0 or more, got -1'),
        ({'max_keep_ckpts': 0}, 'max_keep_ckpts must be positive'),
        ({'save_best': ['acc', 'acc']}, 'contains a metric twice'),
        ({'save_best': ['auto', 'acc']}, 'cannot be combined with other metrics'),
        ({'save_best': ['acc', 'loss'], 'rule': ['less'] * 3}, '2 metrics and rule has 3 entries'),
        ({'save_best': 'acc', 'rule': 'up'}, "'greater' or 'less', got 'up'"),
        ({'save_best': 'PSNR'}, 'does not show whether greater or smaller'),
        ({'filename_tmpl': 'epoch_{epoch}.pth'}, 'filename_tmpl has one field for a number'),
    ],
)
def test_wrong_values_are_refused(arguments, message):
    with pytest.raises(AssertionError, match=message):
        CheckpointHook(**arguments)


@pytest.mark.parametrize('arguments', [{'save_best': 3}, {'published_keys': 3}, {'save_best': []}])
def test_wrong_kinds_are_refused(arguments):
    with pytest.raises(TypeError, match='Expected a name or a list of names'):
        CheckpointHook(**arguments)


def test_a_misspelt_argument_is_refused_with_the_right_name():
    with pytest.raises(
        TypeError, match=r"has no argument 'max_keep_ckpt'. Did you mean 'max_keep_ckpts'"
    ):
        CheckpointHook(interval=1, max_keep_ckpt=3)


def test_one_rule_holds_for_all_metrics():
    assert CheckpointHook(save_best=['acc', 'loss'], rule='greater').rules == ['greater'] * 2


def test_a_subclass_reads_the_backend_and_the_rules(make_run, accs):
    seen = []

    class Own(CheckpointHook):
        def after_train_epoch(self, runner: Runner) -> None:
            super().after_train_epoch(runner)
            path = self.file_backend.join_path(self.out_dir, 'note.txt')
            self.file_backend.put_text('x', path)
            with pytest.warns(DeprecationWarning, match='FileClient'):
                assert self.file_client.get_text(path) == 'x'

        def after_val_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
            super().after_val_epoch(runner, metrics)
            is_better = self.is_better_than['acc']
            seen.append((self.key_indicators, is_better(2, 1), is_better(1, 2)))

    hook = Own(save_best='acc', rule='greater')
    assert (hook.args, hook.file_client_args) == ({}, None)
    runner = make_run(default_hooks={'checkpoint': hook}, scores=accs(0.5), epochs=1)
    runner.train()
    assert seen == [(['acc'], True, False)]
    assert Path(runner.work_dir, 'note.txt').read_text() == 'x'
