"""Record everything again, and tell where the committed fixtures are not what MMCV 1.7.2 gives.

Strings, counts and float32 numbers must be equal; numbers of double precision may differ by what
mathematical libraries differ in. Curves of projects' own policies are not recorded again.
"""

import json
import math
import platform
import sys
import tempfile
from pathlib import Path

import torch

from mmcv_runs.record import FIXTURES, of_projects, record

# Two float32 numbers that differ do so by 6e-8 at least. Processors of other makers fuse a
# multiplication and an addition elsewhere.
ROUNDING = 1e-9 if platform.machine() == 'x86_64' else 1e-6
# When and where a checkpoint was written.
_CIRCUMSTANCES = ('time', 'mmcv_version', 'hook_msgs')


def main():
    """Compare; the exit code says whether all is as MMCV gives it."""
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        record(Path(scratch))
        for name, place in FIXTURES.items():
            now, committed = _content(Path(scratch, name)), _content(place)
            if name == 'curves.json':
                now |= of_projects(committed)
            different = [case for case in committed | now if not same(case, now, committed)]
            for case in different:
                print(f'{name}: {case} is not what MMCV gives')
            failed += len(different)
            print(f'{name}: {len(committed) - len(different)} of {len(committed)} as MMCV gives it')
    return 1 if failed else 0


def same(case, now, committed):
    """Whether a case is in both, and alike."""
    return case in now and case in committed and _equal(now[case], committed[case])


def _equal(one, other):
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and _equal(one.tolist(), other.tolist())
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=ROUNDING)
    return one == other


def _content(path):
    """Cases by name: of a file of them, or of a folder of checkpoints."""
    if path.suffix == '.json':
        return json.loads(path.read_text())
    checkpoints = {}
    for file in sorted(path.glob('*.pth')):
        content = torch.load(file, weights_only=True)
        for key in _CIRCUMSTANCES:
            content['meta'].pop(key, None)
        checkpoints[file.name] = content
    return checkpoints


if __name__ == '__main__':
    sys.exit(main())
