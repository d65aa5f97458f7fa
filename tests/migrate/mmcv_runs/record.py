"""Record what MMCV 1.7.2 does, as the fixtures of the tests beside this package.

It runs in an environment of its own, which ``make test-mmcv`` makes, from ``tests/migrate``::

    ../../.venv-mmcv/bin/python -m mmcv_runs.record
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from mmcv_runs import under_mmcv
from mmcv_runs.cases import PARALLEL_RUNS, RUNS, STOPPED, file_of
from mmcv_runs.curves import curves

TESTS = Path(__file__).parents[1]
FIXTURES = {
    'runs.json': TESTS / 'data' / 'runs.json',
    'parallel_runs.json': TESTS / 'data' / 'parallel_runs.json',
    'curves.json': TESTS / 'config' / 'curves.json',
    'checkpoints': TESTS / 'data' / 'checkpoints',
}


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
    parallel_runs = under_mmcv.run_in_two_processes(PARALLEL_RUNS, folder)
    write(folder / 'parallel_runs.json', parallel_runs)
    write(folder / 'curves.json', curves(with_projects))


def write(path, recorded):
    """One line a case, so that a change shows where it is."""
    lines = [f'{json.dumps(name)}: {json.dumps(outcome)}' for name, outcome in recorded.items()]
    path.write_text('{\n' + ',\n'.join(lines) + '\n}\n')


def of_projects(committed):
    """The curves that only an environment with the projects can record."""
    return {name: case for name, case in committed.items() if '/project/' in name}


def main():
    with_projects = 'projects' in sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        record(folder, with_projects)
        if not with_projects:
            kept = of_projects(json.loads(FIXTURES['curves.json'].read_text()))
            write(folder / 'curves.json', json.loads((folder / 'curves.json').read_text()) | kept)
        shutil.rmtree(FIXTURES['checkpoints'], ignore_errors=True)
        for name, place in FIXTURES.items():
            shutil.move(folder / name, place)


if __name__ == '__main__':
    main()
