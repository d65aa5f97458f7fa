"""Record what projects drawn at random give under MMCV 1.7.2. Not a test.

python record_projects.py TARGET FIRST LAST
"""

import sys
import tempfile
from pathlib import Path

import torch
import torch._dynamo  # once: optimizers would import it in each process

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from mmcv_runs import under_mmcv  # noqa: E402  # found by the line above
from mmcv_runs.fixtures import write  # noqa: E402
from random_projects import write_project  # noqa: E402
from run_project import outcome_of  # noqa: E402


def recorded(seed, scratch):
    """What the project of ``seed`` gives: its numbers and files, or that MMCV refuses it."""
    folder = Path(scratch, 'projects', f'{seed}')
    write_project(seed, folder)
    found = outcome_of(folder, Path(scratch, 'work', f'{seed}'))
    # The words of a refusal are MMCV's.
    return dict(error=found['error'].partition(':')[0]) if 'error' in found else found


def main(target, first, last):
    """Record the projects of these seeds."""
    under_mmcv.prepare()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        write(target, {f'{seed}': recorded(seed, scratch) for seed in range(first, last)})


if __name__ == '__main__':
    main(Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3]))
