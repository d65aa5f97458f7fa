"""Record what MMCV 1.7.2 does, as the fixtures of the tests beside this package.

It runs in an environment of its own, which ``make test-mmcv`` makes, from ``tests/migrate``::

    ../../.venv-mmcv/bin/python -m mmcv_runs.record
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mmcv_runs import under_mmcv
from mmcv_runs.cases import PARALLEL_RUNS, RUNS, STOPPED, file_of
from mmcv_runs.curves import curves
from mmcv_runs.fixtures import FIXTURES, TESTS, differing, of_projects, read, write
from mmcv_runs.random_cases import NUM_CASES, random_config


def record(folder, with_projects=False):
    """Record everything into ``folder``, under the names of ``FIXTURES``."""
    under_mmcv.prepare()
    checkpoints = folder / 'checkpoints'
    checkpoints.mkdir()
    runs = {}
    for name, config in RUNS.items():
        work_dir = folder / 'work' / name
        runs[name] = under_mmcv.run(config, work_dir)
        if name in STOPPED:
            shutil.copy(work_dir / STOPPED[name], checkpoints / file_of(name))
    write(folder / 'runs.json', runs)
    write(folder / 'random_runs.json', dict(_random_runs(folder / 'work')))
    parallel_runs = under_mmcv.run_in_two_processes(PARALLEL_RUNS, folder)
    write(folder / 'parallel_runs.json', parallel_runs)
    write(folder / 'curves.json', curves(with_projects))
    # Legacy code registers names and sits in folders of its own, so it gets a process of its own.
    code = TESTS / 'code' / 'record_mmcv_code.py'
    command = [sys.executable, str(code), str(folder / 'mmcv_code.json')]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _random_runs(folder):
    for seed in range(NUM_CASES):
        config = random_config(seed)
        yield f'{seed}', dict(config=config, **under_mmcv.run(config, folder / f'{seed}'))


def main():
    """Put what changed into its place."""
    with_projects = 'projects' in sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        record(folder, with_projects)
        if not with_projects:
            kept = of_projects(read(FIXTURES['curves.json']))
            write(folder / 'curves.json', read(folder / 'curves.json') | kept)
        old, new = FIXTURES.pop('checkpoints'), folder / 'checkpoints'
        for name in differing(read(old), read(new)):
            (old / name).unlink(missing_ok=True)
            if (new / name).exists():
                shutil.copy(new / name, old / name)
        for name, place in FIXTURES.items():
            shutil.copy(folder / name, place)


if __name__ == '__main__':
    main()
