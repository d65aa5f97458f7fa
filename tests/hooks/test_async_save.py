"""Checkpoints that a thread writes: the same bytes, in order, whole however the run ends."""

import io
import os
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mmengine._checkpoint._host_copy import host_copy
from mmengine._checkpoint._ledger import read_entries
from mmengine._checkpoint._verify import fault_of
from mmengine._checkpoint.plain import plain_checkpoint
from mmengine.hooks import CheckpointHook, Hook, _save_queue
from mmengine.hooks._save_queue import SaveQueue
from mmengine.runner import Runner

ROOT = Path(__file__).parents[2]
LIMIT_S = 60.0


def _bytes(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(plain_checkpoint(content), buffer)
    return buffer.getvalue()


def _writers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == 'checkpoint writer']


class Gate:
    """torch.save waits at it while it is shut."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = threading.Event()
        self.opened.set()
        self.reached = threading.Event()
        real = torch.save

        def save(checkpoint: Any, file: Any) -> None:
            self.reached.set()
            assert self.opened.wait(LIMIT_S)
            real(checkpoint, file)

        monkeypatch.setattr(torch, 'save', save)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.opened.set()
    for thread in _writers():
        thread.join(LIMIT_S)


def _hook(**kwargs: Any) -> dict[str, Any]:
    return {'checkpoint': {'type': 'CheckpointHook', 'async_save': True, 'interval': 1, **kwargs}}


# -- the copy -------------------------------------------------------------------------------------


def _contents() -> dict[str, Any]:
    flat = torch.arange(12.0)
    shared = [1, 2]
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 2)).square().sum().backward()
    optimizer.step()
    return {
        'tensors': {'a': torch.ones(3), 'int': torch.tensor(3), 'half': torch.ones(2).half()},
        'views of one storage': [flat[:5], flat[5:].view(7), flat.view(3, 4).t()],
        'one object twice': [shared, shared, (shared, flat)],
        'state dicts with versions': {'model': model.state_dict(), 'adam': optimizer.state_dict()},
        'parameters': [nn.Parameter(torch.ones(2)), torch.ones(1, requires_grad=True)],
        'numpy': {'array': np.arange(3), 'number': np.float32(2)},
        'plain': [None, True, 1, 2.5, 'text', b'bytes', 1j, torch.float16, torch.Size([2])],
        'special tensors': [torch.eye(2).to_sparse(), torch.ones(2, dtype=torch.cfloat).conj()],
        'ordered': OrderedDict(b=1, a=2),
        'a set': {1, 2},
        'empty': [{}, [], (), torch.empty(0)],
    }


@pytest.mark.parametrize('name', _contents())
def test_the_copy_is_written_as_the_same_bytes(name):
    content = {'content': _contents()[name]}
    assert _bytes(host_copy(content)) == _bytes(content)


def test_a_whole_checkpoint_is_written_as_the_same_bytes(make_run, accs):
    seen: list[tuple[bytes, bytes]] = []

    class Compare(Hook):
        priority = 'LOWEST'

        def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
            seen.append((_bytes(checkpoint), _bytes(host_copy(checkpoint))))

    make_run(
        [Compare(), {'type': 'EMAHook', 'momentum': 0.5}, {'type': 'EarlyStoppingHook',
         'monitor': 'acc'}],
        scores=accs(0.5, 0.6),
        param_scheduler=[{'type': 'CosineAnnealingLR', 'T_max': 2}],
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}},
        default_hooks=_hook(save_best='acc'),
    ).train()  # fmt: skip
    assert len(seen) >= 2
    for synchronous, copied in seen:
        assert synchronous == copied


def test_the_copy_shares_nothing_with_its_original():
    original = {'tensor': torch.zeros(2), 'list': [1], 'array': np.zeros(1)}
    copied = host_copy(original)
    original['tensor'].fill_(1)
    original['list'].append(2)
    original['array'][:] = 1
    assert (copied['tensor'].tolist(), copied['list'], copied['array']) == ([0.0, 0.0], [1], [0.0])


def test_each_storage_is_copied_once(monkeypatch):
    flat = torch.zeros(1000)
    copied = host_copy([flat, flat[:10], flat[10:]])
    assert len({tensor.untyped_storage().data_ptr() for tensor in copied}) == 1


# -- in a run -------------------------------------------------------------------------------------


def test_training_goes_on_while_the_file_is_written_with_the_values_of_then(make_run, gate):
    """Four steps of 0.1 from 1.0 before the save; the next steps come while the writer waits."""
    seen: list[Any] = []

    class Watch(Hook):
        def after_train_epoch(self, runner: Runner) -> None:
            if runner.epoch == 0:
                gate.reached.clear()
                gate.opened.clear()
            else:
                assert gate.reached.wait(LIMIT_S)
                work_dir = Path(runner.work_dir)
                seen.append((work_dir / 'epoch_1.pth').exists())
                seen.append((work_dir / 'last_checkpoint').exists())
                seen.append(read_entries(work_dir))
                seen.append(round(runner.model.weight.item(), 5))
                gate.opened.set()

    runner = make_run([Watch()], default_hooks=_hook())
    runner.train()
    assert seen == [False, False, {}, 0.2]
    first = torch.load(Path(runner.work_dir, 'epoch_1.pth'), weights_only=True)
    torch.testing.assert_close(first['state_dict']['weight'], torch.tensor([0.6]))
    assert list(read_entries(runner.work_dir)) == ['epoch_1.pth', 'epoch_2.pth']
    assert Path(runner.work_dir, 'last_checkpoint').read_text().endswith('epoch_2.pth')
    assert _writers() == []


def test_all_settings_leave_the_same_files_and_state_as_a_synchronous_save(make_run, accs):
    found = []
    for is_async in (False, True):
        runner = make_run(
            work_dir=f'run_{is_async}',
            epochs=5,
            scores=accs(0.1, 0.5, 0.3, 0.6, 0.2),
            default_hooks=_hook(
                async_save=is_async, max_keep_ckpts=2, save_best='acc', published_keys='state_dict'
            ),
        )
        runner.train()
        assert _writers() == []
        folder = Path(runner.work_dir)
        names = sorted(path.name for path in folder.glob('*.pth*'))
        assert all(fault_of(folder / name) is None for name in names)
        hub = runner.message_hub
        found.append((
            [name for name in names if len(name.split('-')) == 1],
            len(names),
            [(e['event'], e.get('metrics')) for e in read_entries(folder).values()],
            hub.get_info('keep_ckpt_ids'), hub.get_info('best_score'),
            [os.path.basename(hub.get_info(name)) for name in ('best_ckpt', 'last_ckpt')],
        ))  # fmt: skip
        resumed = make_run(work_dir=f'run_{is_async}', epochs=6, resume=True)
        resumed.load_or_resume()
        assert resumed.epoch == 5
        assert not resumed.train_loop.owes_validation
    assert found[0] == found[1]
    assert found[0][0] == [
        'best_acc_epoch_4.pth', 'best_acc_epoch_4.pth.after_val', 'epoch_4.pth',
        'epoch_4.pth.after_val', 'epoch_5.pth', 'epoch_5.pth.after_val',
    ]  # fmt: skip


class Failing(Hook):
    """The ``number``-th checkpoint cannot be written; each iteration waits for the writer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        real, left = torch.save, number

        def save(checkpoint: Any, file: Any) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise OSError(5, 'a broken disk')
            real(checkpoint, file)

        monkeypatch.setattr(torch, 'save', save)

    def after_train_iter(self, runner: Runner, batch_idx: int, **kwargs: Any) -> None:
        for thread in _writers():
            thread.join(LIMIT_S)


def test_an_error_is_raised_after_the_next_iteration(make_run, monkeypatch):
    runner = make_run([Failing(monkeypatch, 1)], epochs=3, default_hooks=_hook())
    with pytest.raises(OSError, match='a broken disk'):
        runner.train()
    assert (runner.epoch, runner.iter) == (1, 4)
    assert not list(Path(runner.work_dir).glob('*.pth'))


def test_an_error_of_the_last_save_is_raised_at_the_end(make_run, monkeypatch):
    runner = make_run([Failing(monkeypatch, 2)], epochs=2, default_hooks=_hook())
    with pytest.raises(OSError, match='a broken disk'):
        runner.train()
    assert runner.iter == 8
    assert [path.name for path in Path(runner.work_dir).glob('*.pth')] == ['epoch_1.pth']


def test_an_error_of_a_run_that_fails_is_in_the_log(make_run, monkeypatch, capsys):
    class Crash(Hook):
        priority = 'VERY_HIGH'

        def before_train_epoch(self, runner: Runner) -> None:
            if runner.epoch == 1:
                raise ZeroDivisionError

    runner = make_run([Failing(monkeypatch, 1), Crash()], default_hooks=_hook())
    with pytest.raises(ZeroDivisionError):
        runner.train()
    assert 'The last checkpoint was not written. [Errno 5] a broken disk' in capsys.readouterr().out


def test_a_run_that_fails_waits_for_the_write_in_flight(make_run, gate):
    class Crash(Hook):
        priority = 'VERY_HIGH'

        def after_train_epoch(self, runner: Runner) -> None:
            gate.reached.clear()
            gate.opened.clear()

        def before_train_epoch(self, runner: Runner) -> None:
            if runner.epoch == 1:
                assert gate.reached.wait(LIMIT_S)
                raise ZeroDivisionError

        def on_exception(self, runner: Runner, error: BaseException) -> None:
            assert not Path(runner.work_dir, 'epoch_1.pth').exists()
            gate.opened.set()

    runner = make_run([Crash()], default_hooks=_hook())
    with pytest.raises(ZeroDivisionError):
        runner.train()
    assert _writers() == []
    assert fault_of(Path(runner.work_dir, 'epoch_1.pth')) is None
    assert Path(runner.work_dir, 'last_checkpoint').read_text().endswith('epoch_1.pth')


# -- the queue ------------------------------------------------------------------------------------


class Recorder:
    """A CheckpointIO that notes what is called."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.gate = threading.Event()

    def write(self, checkpoint: dict[str, Any], path: str, backend_args: Any = None) -> None:
        self.calls.append(f'write {path}')
        assert self.gate.wait(LIMIT_S)
        if checkpoint.get('fails'):
            raise OSError(5, path)
        self.calls.append(f'wrote {path}')

    def remove(self, path: str, backend_args: Any = None) -> None:
        self.calls.append(f'remove {path}')

    def mark_newest(self, work_dir: str, path: str) -> None:
        self.calls.append(f'mark {path}')

    def exists(self, path: str) -> bool:
        self.calls.append(f'exists {path}')
        return True


def test_one_checkpoint_is_in_flight_and_the_second_is_copied_after_it(monkeypatch):
    recorder, queue = Recorder(), SaveQueue(in_background=True)
    copy = _save_queue.host_copy
    monkeypatch.setattr(
        _save_queue, 'host_copy', lambda value: recorder.calls.append('copy') or copy(value)
    )
    queue.begin(recorder)
    queue.write({}, 'a')
    queue.mark_newest('', 'a')
    queue.remove('old')
    second = threading.Thread(target=queue.write, args=({}, 'b'))
    second.start()
    recorder.gate.set()
    second.join(LIMIT_S)
    assert queue.outcome() is None
    assert recorder.calls == [
        'copy', 'write a', 'wrote a', 'mark a', 'remove old', 'copy', 'write b', 'wrote b'
    ]  # fmt: skip


@pytest.mark.parametrize('in_background', [False, True])
def test_what_comes_after_a_failed_write_is_left_out(in_background):
    recorder, queue = Recorder(), SaveQueue(in_background)
    recorder.gate.set()
    queue.begin(recorder)
    queue.write({'fails': True}, 'a')
    queue.mark_newest('', 'a')
    queue.remove('old')
    error = queue.outcome()
    assert isinstance(error, OSError)
    assert recorder.calls == ['write a']
    assert queue.outcome() is None
    queue.write({}, 'b')
    queue.mark_newest('', 'b')
    assert queue.outcome() is None
    assert recorder.calls[1:] == ['write b', 'wrote b', 'mark b']


def test_reading_waits_for_what_is_written():
    recorder, queue = Recorder(), SaveQueue(in_background=True)
    queue.begin(recorder)
    queue.write({}, 'a')
    recorder.gate.set()
    assert queue.exists('a')
    assert recorder.calls == ['write a', 'wrote a', 'exists a']


def test_a_process_that_exits_waits_for_the_write_in_flight(tmp_path):
    script = (
        'import sys, time\n'
        'from mmengine.hooks._save_queue import SaveQueue\n'
        'from mmengine.strategy.checkpoint_io import FileCheckpointIO\n'
        'class Slow(FileCheckpointIO):\n'
        '    def write(self, *args):\n'
        '        time.sleep(0.5)\n'
        '        super().write(*args)\n'
        'queue = SaveQueue(in_background=True)\n'
        'queue.begin(Slow())\n'
        "queue.write({'a': 1}, sys.argv[1] + '/a.pth')\n"
        'queue.mark_newest(sys.argv[1], sys.argv[1] + "/a.pth")\n'
        'sys.exit(3)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', script, str(tmp_path)],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        check=False,
    )
    assert done.returncode == 3
    assert fault_of(tmp_path / 'a.pth') is None
    assert (tmp_path / 'last_checkpoint').read_text().endswith('a.pth')


def test_a_synchronous_hook_by_epoch_is_not_called_in_an_iteration():
    assert 'after_train_iter' not in CheckpointHook().get_triggered_stages()
    assert 'after_train_iter' in CheckpointHook(async_save=True).get_triggered_stages()
