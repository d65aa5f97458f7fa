"""Kills at every place of a save: nothing is lost but what was being written, nothing is left."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from stoppable_run import make, state_of

from mmengine.testing._internal.forked_python import run_python

SCRIPT = Path(__file__).with_name('killed_saves.py')
ROOT = SCRIPT.parents[2]
LIMIT_S = 500.0
EPOCHS = 3

pytestmark = pytest.mark.skipif(os.name != 'posix', reason='signals of POSIX')


@pytest.mark.parametrize('is_async', [False, True], ids=['synchronous', 'asynchronous'])
def test_after_kills_at_every_place_the_run_is_whole_and_nothing_is_left(tmp_path, is_async):
    hook = {
        'interval': 1, 'max_keep_ckpts': 2, 'save_best': 'mean', 'rule': 'greater',
        'async_save': is_async,
    }  # fmt: skip
    settings = {'epochs': EPOCHS, 'batches': 2, 'hook': hook}
    work_dir = tmp_path / 'run'
    # What users keep in the folder: an own checkpoint, another file, a link to somewhere else.
    work_dir.mkdir()
    (tmp_path / 'elsewhere.pth').write_bytes(b'elsewhere')
    others = {'own_epoch_1.pth': b'own', 'notes.txt': b'notes', '.mine.tmp': b'mine'}
    for name, content in others.items():
        (work_dir / name).write_bytes(content)
    (work_dir / 'link.pth').symlink_to(tmp_path / 'elsewhere.pth')
    environment = {
        **os.environ,
        'PYTHONPATH': os.pathsep.join([str(ROOT), str(SCRIPT.parent)]),
        'OMP_NUM_THREADS': '1',
    }
    done = run_python(
        ['-W', 'ignore', str(SCRIPT), str(work_dir), json.dumps({**settings, 'halves': 2})],
        env=environment,
        timeout_s=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    kills = int(done.stdout.split()[-1])
    assert kills >= 10, done.stdout[-3000:]

    unbroken = make(str(tmp_path / 'unbroken'), settings)
    unbroken.train()
    assert json.loads((work_dir / 'state.json').read_text()) == state_of(unbroken)

    found = {path.name for path in work_dir.iterdir() if not path.name.startswith('2')}
    rest = {name for name in found - set(others) if not name.endswith('.after_val')}
    assert rest == {
        'checkpoints.jsonl', 'last_checkpoint', 'state.json', 'link.pth',
        'epoch_2.pth', 'epoch_3.pth', 'best_mean_epoch_3.pth',
    }  # fmt: skip
    for name in found - rest - set(others):
        assert name.removesuffix('.after_val') in rest
    for name, content in others.items():
        assert (work_dir / name).read_bytes() == content
    assert (tmp_path / 'elsewhere.pth').read_bytes() == b'elsewhere'
    assert not list(work_dir.glob('2*/**/.*.tmp'))
    for name in ('epoch_2.pth', 'epoch_3.pth', 'best_mean_epoch_3.pth'):
        torch.load(work_dir / name, weights_only=True)
