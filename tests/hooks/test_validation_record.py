"""A checkpoint is written once, before its validation; a small record beside it holds the rest."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mmengine._checkpoint.validation_record import RECORD_SUFFIX
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner
from mmengine.strategy.checkpoint_io import FileCheckpointIO

ACCS = (0.3, 0.5, 0.4, 0.45, 0.2, 0.6)


class Killed(BaseException):
    """Stands for a process that is gone: no hook hears of it."""


class KillAt(Hook):
    priority = 'HIGHEST'

    def __init__(self, epoch: int, after_it: bool = False) -> None:
        self.epoch, self.after_it = epoch, after_it

    def before_val_epoch(self, runner: Any) -> None:
        if not self.after_it:
            self._kill(runner)

    def before_train_epoch(self, runner: Any) -> None:
        if self.after_it:
            self._kill(runner)

    def _kill(self, runner: Any) -> None:
        if runner.epoch == self.epoch:
            runner._hooks.hooks.clear()
            runner._hooks.acting.clear()
            raise Killed


class Written:
    """Bytes of the checkpoints and records that were written, by file name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.checkpoints: list[str] = []
        self.records: dict[str, int] = {}
        write, record = FileCheckpointIO.write, FileCheckpointIO.write_record

        def noted(io: Any, checkpoint: Any, path: str, backend_args: Any = None) -> None:
            write(io, checkpoint, path, backend_args)
            self.checkpoints.append(os.path.basename(path))

        def noted_record(io: Any, content: Any, path: str, backend_args: Any = None) -> None:
            record(io, content, path, backend_args)
            self.records[os.path.basename(path)] = os.path.getsize(path + RECORD_SUFFIX)

        monkeypatch.setattr(FileCheckpointIO, 'write', noted)
        monkeypatch.setattr(FileCheckpointIO, 'write_record', noted_record)


@pytest.fixture
def learning(make_run: Callable[..., Runner], accs: Any) -> Callable[..., Runner]:
    """Runs whose schedule, best checkpoint and patience learn from metrics."""

    def make(work_dir: str, hooks: Any = (), first: int = 0, **kwargs: Any) -> Runner:
        settings = dict(
            epochs=6,
            batches=3,
            scores=accs(*ACCS[first:]),
            work_dir=work_dir,
            default_hooks={'checkpoint': {'type': 'CheckpointHook', 'interval': 1,
                                          'max_keep_ckpts': 1, 'save_best': 'acc'}},
            param_scheduler={'type': 'ReduceOnPlateauLR', 'monitor': 'acc', 'rule': 'greater',
                             'patience': 1, 'factor': 0.5},
        )  # fmt: skip
        settings.update(kwargs)
        stopping = {'type': 'EarlyStoppingHook', 'monitor': 'acc', 'rule': 'greater',
                    'min_delta': 0.0, 'patience': 4}  # fmt: skip
        return make_run([stopping, *hooks], **settings)

    return make


def _facts(run: Runner) -> dict[str, Any]:
    hooks = {type(hook).__name__: hook for hook in run.hooks}
    checkpoint, stopping = hooks['CheckpointHook'], hooks['EarlyStoppingHook']
    assert isinstance(checkpoint, CheckpointHook)
    return {
        'weight': run.model.weight.item(),
        'lr': run.optim_wrapper.get_lr()['lr'],
        'best': os.path.basename(str(checkpoint.best_ckpt_path)),
        'score': run.message_hub.get_info('best_score'),
        'waited': stopping.state_dict(),
        'at': (run.epoch, run.iter),
        'accs': run.message_hub.get_scalar('val/acc').data[0].tolist(),
        'losses': run.message_hub.get_scalar('train/loss').data[0].tolist(),
    }


@pytest.mark.parametrize('epoch', [1, 2, 3, 4])
def test_a_run_killed_in_a_validation_goes_on_as_the_unbroken_one(learning, tmp_path, epoch):
    straight = learning('straight')
    straight.train()
    killed = learning('killed', [KillAt(epoch)])
    with pytest.raises(Killed):
        killed.train()
    saved = torch.load(tmp_path / 'killed' / f'epoch_{epoch}.pth')
    assert saved['meta']['validation_due'] is True
    assert not (tmp_path / 'killed' / f'epoch_{epoch}.pth{RECORD_SUFFIX}').exists()
    resumed = learning('killed', first=epoch - 1, resume=True)
    resumed.train()
    assert _facts(resumed) == _facts(straight)
    names = sorted(path.name for path in (tmp_path / 'straight').glob('*.pth*'))
    assert sorted(path.name for path in (tmp_path / 'killed').glob('*.pth*')) == names


@pytest.mark.parametrize('epoch', [1, 2, 3, 4])
def test_a_run_stopped_after_a_validation_goes_on_as_the_unbroken_one(learning, epoch):
    straight = learning('straight')
    straight.train()
    with pytest.raises(Killed):
        learning('first', [KillAt(epoch, after_it=True)]).train()
    resumed = learning('first', first=epoch, resume=True)
    resumed.train()
    assert _facts(resumed) == _facts(straight)


def test_each_checkpoint_is_written_once_and_its_record_is_small(learning, monkeypatch, tmp_path):
    model = learning('other').model
    model.register_buffer('large', torch.zeros(1_000_000))
    written = Written(monkeypatch)
    learning('run', model=model, epochs=3).train()
    assert written.checkpoints == ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']
    assert set(written.records) >= {'epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth'}
    assert max(written.records.values()) < 200_000
    assert (tmp_path / 'run' / 'epoch_3.pth').stat().st_size > 4_000_000


def test_the_best_is_a_link_that_outlives_its_source(learning, tmp_path):
    links: dict[int, int] = {}

    class Looks(Hook):
        priority = 'LOWEST'

        def after_val(self, runner: Any) -> None:
            folder = Path(runner.work_dir)
            best, last = folder / f'best_acc_epoch_{runner.epoch}.pth', f'epoch_{runner.epoch}.pth'
            if best.exists():
                assert best.samefile(folder / last)
                links[runner.epoch] = best.stat().st_nlink

    learning('run', [Looks()], epochs=4).train()
    folder = tmp_path / 'run'
    assert links == {1: 2, 2: 2}
    assert {path.name for path in folder.glob('*.pth')} == {'best_acc_epoch_2.pth', 'epoch_4.pth'}
    assert {path.name for path in folder.glob(f'*{RECORD_SUFFIX}')} == {
        f'best_acc_epoch_2.pth{RECORD_SUFFIX}', f'epoch_4.pth{RECORD_SUFFIX}',
    }  # fmt: skip
    best = FileCheckpointIO().read(str(folder / 'best_acc_epoch_2.pth'))
    assert best['meta']['epoch'] == 2
    assert best['meta']['validation_due'] is False
    assert best['message_hub']['runtime_info']['best_score'] == 0.5


def test_a_record_of_an_older_file_of_that_name_changes_nothing(learning, tmp_path):
    learning('run', epochs=2).train()
    folder = tmp_path / 'run'
    record = (folder / f'epoch_2.pth{RECORD_SUFFIX}').read_bytes()
    learning('run', epochs=2, scores=[{'acc': 0.0}]).train()
    (folder / f'epoch_2.pth{RECORD_SUFFIX}').write_bytes(record)
    after = FileCheckpointIO().read(str(folder / 'epoch_2.pth'))
    assert after['meta']['validation_due'] is True
    assert after['message_hub']['runtime_info'].get('best_score') != 0.5


def test_moved_with_its_record_a_checkpoint_is_whole_and_alone_it_validates_again(
    learning, tmp_path
):
    with pytest.raises(Killed):
        learning('run', [KillAt(2, after_it=True)]).train()
    straight = learning('straight')
    straight.train()
    for name, suffixes in (('both', ('', RECORD_SUFFIX)), ('alone', ('',))):
        folder = tmp_path / f'moved_{name}'
        folder.mkdir()
        for suffix in suffixes:
            content = (tmp_path / 'run' / f'epoch_2.pth{suffix}').read_bytes()
            (folder / f'mine.pth{suffix}').write_bytes(content)
        run = learning(
            f'again_{name}', first=2 if name == 'both' else 1, resume=str(folder / 'mine.pth')
        )
        run.train()
        assert _facts(run)['accs'] == _facts(straight)['accs']
        assert _facts(run)['waited'] == _facts(straight)['waited']
        assert _facts(run)['lr'] == _facts(straight)['lr']


def test_a_checkpoint_without_save_id_loads_and_takes_no_record(learning, tmp_path):
    learning('run', epochs=2).train()
    path = tmp_path / 'run' / 'epoch_2.pth'
    old = torch.load(path)
    del old['meta']['save_id'], old['meta']['validation_due']
    torch.save(old, path)
    record = torch.load(f'{path}{RECORD_SUFFIX}')
    record['save_id'] = None
    torch.save(record, f'{path}{RECORD_SUFFIX}')
    assert 'best_score' not in FileCheckpointIO().read(str(path))['hooks']
    assert FileCheckpointIO().read(str(path))['hooks'] == old['hooks']
    run = learning('run', first=2, resume=True)
    run.train()
    assert run.iter == 18


class OwnSave(Runner):
    """Writes checkpoints itself, without an id."""

    def save_checkpoint(self, out_dir: str, filename: str, **kwargs: Any) -> None:
        torch.save({'meta': kwargs['meta'], 'state_dict': self.model.state_dict()},
                   os.path.join(out_dir, filename))  # fmt: skip


def test_a_runner_that_writes_itself_gets_no_records(learning, tmp_path):
    learning('run', epochs=2, runner_type=OwnSave).train()
    folder = tmp_path / 'run'
    assert {path.name for path in folder.glob('*.pth')} == {'best_acc_epoch_2.pth', 'epoch_2.pth'}
    assert not list(folder.glob(f'*{RECORD_SUFFIX}'))


def test_a_published_copy_holds_what_the_validation_brought(learning, tmp_path):
    hook = {'type': 'CheckpointHook', 'save_best': 'acc', 'interval': 1,
            'published_keys': ['meta', 'state_dict', 'message_hub']}  # fmt: skip
    learning('run', epochs=2, default_hooks={'checkpoint': hook}).train()
    published = list((tmp_path / 'run').glob('*-????????.pth'))
    assert len(published) == 2
    for path in published:
        found = torch.load(path)
        assert found['message_hub']['runtime_info']['best_score'] == 0.5
        assert found['meta']['validation_due'] is False
