"""However a training ends, its open window steps and its last checkpoint holds the final state."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

LOOPS = {'epoch': EpochBasedTrainLoop, 'iter': IterBasedTrainLoop}


class StopsAt(Hook):
    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def after_train_iter(self, runner: Any, **kwargs: Any) -> None:
        if runner.iter + 1 == self.iteration:
            runner.train_loop.stop_training = True


class Saves(Hook):
    """Which checkpoints were saved, in order."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.iters: list[int] = []

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        self.iters.append(checkpoint['meta']['iter'])


def _assert_holds_end(run: Any) -> None:
    path = (Path(run.work_dir) / 'last_checkpoint').read_text()
    saved = torch.load(path)
    assert torch.equal(saved['state_dict']['weight'], run.model.weight)
    assert saved['meta']['iter'] == run.iter
    window = saved['optimizer'].get('accumulation')
    assert window is None or not window['gradients']


@pytest.mark.parametrize('counts', [1, 3])
@pytest.mark.parametrize('by_epoch', [True, False], ids=['epochs', 'iterations'])
@pytest.mark.parametrize('stop', [None, 5, 8, 9], ids=str)
@pytest.mark.parametrize('kind', ['epoch', 'iter'])
def test_the_last_checkpoint_is_the_live_model(make_run, kind, stop, by_epoch, counts):
    saves = Saves()
    hooks = [saves] if stop is None else [StopsAt(stop), saves]
    run = make_run(
        hooks,
        epochs=3,
        iters=None if kind == 'epoch' else 12,
        default_hooks={'checkpoint': {'type': 'CheckpointHook', 'interval': 2,
                                      'by_epoch': by_epoch}},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}, 'accumulative_counts': counts},
    )  # fmt: skip
    run.train()
    _assert_holds_end(run)
    # Each window's mean gradient is 1, so each of its steps takes 0.1 off the weight.
    steps = -(-run.iter // counts)
    assert run.model.weight.item() == pytest.approx(1 - 0.1 * steps, abs=1e-6)
    expected_end = (
        {None: 12, 5: 8, 8: 8, 9: 12} if kind == 'epoch' else {None: 12, 5: 5, 8: 8, 9: 9}
    )
    assert run.iter == expected_end[stop]
    # A file is written again only where a step, or the end of its epoch, came after it.
    repeated = [number for number, count in Counter(saves.iters).items() if count > 1]
    assert repeated in ([], [run.iter])
    if counts == 1:
        assert repeated == ([run.iter] if kind == 'epoch' and not by_epoch else [])


@pytest.mark.parametrize('counts', [1, 3])
def test_two_checkpoint_hooks_both_hold_the_end(make_run, tmp_path, counts):
    hooks = [StopsAt(4), {'type': 'CheckpointHook', 'interval': 1, 'by_epoch': False,
                          'out_dir': str(tmp_path / 'other')}]  # fmt: skip
    run = make_run(
        hooks,
        iters=8,
        default_hooks={'checkpoint': {'type': 'CheckpointHook', 'interval': 1, 'by_epoch': False}},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}, 'accumulative_counts': counts},
    )
    run.train()
    for folder in (tmp_path / 'run', tmp_path / 'other' / 'run'):
        saved = torch.load(folder / 'iter_4.pth')
        assert torch.equal(saved['state_dict']['weight'], run.model.weight)


def test_without_save_last_an_early_end_saves_nothing_more(make_run, tmp_path, accs):
    run = make_run(
        [StopsAt(9)],
        epochs=4,
        scores=accs(0.1, 0.3, 0.2, 0.2),
        default_hooks={'checkpoint': {'type': 'CheckpointHook', 'interval': 2, 'save_last': False,
                                      'save_best': 'acc'}},
    )  # fmt: skip
    run.train()
    names = {path.name for path in (tmp_path / 'run').glob('*.pth')}
    assert names == {'epoch_2.pth', 'best_acc_epoch_2.pth'}


def test_a_finished_run_that_is_resumed_saves_nothing(make_run, tmp_path):
    settings = dict(default_hooks={'checkpoint': {'type': 'CheckpointHook'}})
    make_run([], **settings).train()
    path = tmp_path / 'run' / 'epoch_2.pth'
    before = path.stat().st_ino, path.stat().st_mtime_ns
    saves = Saves()
    make_run([saves], resume=True, **settings).train()
    assert saves.iters == []
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == before


class BreaksOff(Hook):
    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def after_train_iter(self, runner: Any, **kwargs: Any) -> None:
        if runner.iter + 1 == self.iteration:
            self.iteration = -1
            raise KeyboardInterrupt


class StopsAtOnce(Hook):
    def before_train(self, runner: Any) -> None:
        runner.train_loop.stop_training = True


def test_a_run_that_goes_on_in_the_same_process_and_ends_at_once_saves_its_end(make_run):
    run = make_run(
        [BreaksOff(6)],
        iters=8,
        default_hooks={'checkpoint': {'type': 'CheckpointHook', 'interval': 4, 'by_epoch': False}},
    )
    with pytest.raises(KeyboardInterrupt):
        run.train()
    assert run.iter == 5
    run.register_hook(StopsAtOnce())
    run.train()
    assert (run.iter, run.model.weight.item()) == (5, pytest.approx(0.4))
    _assert_holds_end(run)


class Own(EpochBasedTrainLoop):
    """A run of its own, which stops in the middle of an epoch."""

    def run(self) -> Any:
        self.runner.call_hook('before_train')
        for index, batch in enumerate(self.dataloader):
            self.run_iter(index, batch)
            if index == 1:
                break
        self.runner.call_hook('after_train')
        return self.runner.model


@pytest.mark.parametrize('counts', [1, 3])
def test_a_loop_of_ones_own_that_stops_anywhere_saves_its_end(make_run, counts):
    from mmengine.registry import LOOPS as REGISTRY

    REGISTRY.register_module(name='EndsAnywhere', module=Own, force=True)
    run = make_run(
        [],
        default_hooks={'checkpoint': {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 5}},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}, 'accumulative_counts': counts},
    )
    run._train_loop = {'type': 'EndsAnywhere', 'max_epochs': 2}
    run.train()
    assert run.iter == 2
    assert run.model.weight.item() == pytest.approx(1 - 0.1 * (2 if counts == 1 else 1))
    _assert_holds_end(run)
