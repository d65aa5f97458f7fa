"""A checkpoint of a run that counted iterations, resumed by a run that counts epochs."""

from typing import Any

import pytest
from runner_toy import NO_TEST, NO_VALIDATION, toy_runner

from mmengine.hooks import Hook


class Seen(Hook):
    def __init__(self) -> None:
        self.samples: list[float] = []

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.samples += [float(x) for x in data_batch['x']]


def _run(work_dir: Any, loop: Any, sampler: str, **changes: Any) -> tuple[Any, list[float]]:
    seen = Seen()
    loader = {
        'dataset': {'type': 'ToyLine', 'length': 8},
        'batch_size': 2,
        'sampler': {'type': sampler, 'shuffle': False},
        'collate_fn': {'type': 'default_collate'},
    }
    runner = toy_runner(
        work_dir,
        train_dataloader=loader,
        train_cfg=loop,
        custom_hooks=[seen],
        default_hooks={
            'checkpoint': {'type': 'CheckpointHook', 'interval': 1, 'by_epoch': False},
            'logger': None,
        },
        **NO_VALIDATION,
        **NO_TEST,
        **changes,
    )
    runner.train()
    return runner, seen.samples


@pytest.mark.parametrize('sampler', ['DefaultSampler', 'InfiniteSampler'])
@pytest.mark.parametrize('at', [2, 4, 6, 9])
def test_passes_that_were_made_are_epochs(tmp_path, sampler, at):
    _run(tmp_path / 'first', {'by_epoch': False, 'max_iters': 9}, sampler)
    path = str(tmp_path / 'first' / f'iter_{at}.pth')
    loop = {'by_epoch': True, 'max_epochs': 3}
    resumed, seen = _run(tmp_path / 'second', loop, 'DefaultSampler', resume=path)
    # Three epochs of 8 samples, of which 2 * at are seen.
    assert seen == pytest.approx([index / 10 for index in [*range(8)] * 3][2 * at :])
    assert (resumed.epoch, resumed.iter) == (3, 12)
