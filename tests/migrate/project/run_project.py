"""Run the training of a project of ``random_projects``, legacy or migrated, in a process apart."""

import importlib
import json
import multiprocessing
import os
import sys
from pathlib import Path

import torch

# Imported once, by the process that the trainings here are forked from.
_PRELOADED = ['torch._dynamo', 'mmengine.runner', 'mmengine.migrate._schedulers']


def outcome_of(folder, work_dir, start='fork', timeout_s=300):
    """The numbers, what hooks saw and the files of a training; ``error`` if it failed.

    Each training has a process, so that names and registries of one project are not another's.

    Args:
        folder: The project.
        work_dir: Where the training writes.
        start: 'fork', or 'forkserver' where this process has threads.
        timeout_s: How long it may take.
    """
    target = Path(work_dir).with_suffix('.json')
    context = multiprocessing.get_context(start)
    if start == 'forkserver':
        context.set_forkserver_preload(_PRELOADED)
    process = context.Process(target=_train, args=(str(folder), str(work_dir), str(target)))
    process.start()
    process.join(timeout_s)
    if process.is_alive():
        process.kill()
        process.join()
    if not target.exists():
        return dict(error=f'exit code {process.exitcode}')
    found = json.loads(target.read_text())
    target.unlink()
    return found


def _saved(path):
    """The weights that a checkpoint holds."""
    state = torch.load(path, map_location='cpu', weights_only=False)['state_dict']
    return {name: value.tolist() for name, value in state.items()}


def _train(folder, work_dir, target):
    with open(os.devnull, 'w') as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    torch.set_num_threads(1)
    sys.path.insert(0, folder)
    os.chdir(folder)
    words = ['configs/toy.py'] if Path('configs').is_dir() else []
    try:
        found = importlib.import_module('train').main([*words, '--work-dir', work_dir])
        files = sorted(path.name for path in Path(work_dir).glob('*.pth') if not path.is_symlink())
        found = dict(found, files=files, saved=[_saved(Path(work_dir, one)) for one in files])
    except Exception as error:
        found = dict(error=f'{type(error).__name__}: {error}')
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(json.dumps(found))
