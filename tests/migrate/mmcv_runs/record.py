"""Record what MMCV 1.7.2 does, as the fixtures of the tests beside this package.

It runs in an environment of its own, from ``tests/migrate``::

    python -m venv env && env/bin/pip install torch==2.13.0 'setuptools<81' wheel
    MMCV_WITH_OPS=0 env/bin/pip install --no-build-isolation mmcv==1.7.2
    env/bin/python -m mmcv_runs.record [FOLDER]
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from mmcv_runs import under_mmcv
from mmcv_runs.cases import PARALLEL_RUNS, RUNS, STOPPED, file_of

DATA = Path(__file__).parents[1] / 'data'


def write(path, recorded):
    """One line a case, so that a change shows where it is."""
    lines = [f'{json.dumps(name)}: {json.dumps(outcome)}' for name, outcome in recorded.items()]
    path.write_text('{\n' + ',\n'.join(lines) + '\n}\n')
    print(f'{path.name}: {len(recorded)} cases')


def main(folder=DATA):
    under_mmcv.prepare()
    folder = Path(folder)
    (folder / 'checkpoints').mkdir(parents=True, exist_ok=True)
    runs = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, config) in enumerate(RUNS.items()):
            work_dir = Path(scratch, str(number))
            runs[name] = under_mmcv.run(config, work_dir)
            if name in STOPPED:
                shutil.copy(work_dir / STOPPED[name], folder / 'checkpoints' / file_of(name))
        write(folder / 'runs.json', runs)
        parallel_runs = under_mmcv.run_in_two_processes(PARALLEL_RUNS, scratch)
        write(folder / 'parallel_runs.json', parallel_runs)


if __name__ == '__main__':
    main(*sys.argv[1:])
