"""What is recorded, where it is kept, and when it is the same."""

import json
import math
import platform
from pathlib import Path

import torch

TESTS = Path(__file__).parents[1]
FIXTURES = {
    'runs.json': TESTS / 'data' / 'runs.json',
    'random_runs.json': TESTS / 'data' / 'random_runs.json',
    'parallel_runs.json': TESTS / 'data' / 'parallel_runs.json',
    'curves.json': TESTS / 'config' / 'curves.json',
    'mmcv_code.json': TESTS / 'code' / 'mmcv_code.json',
    'checkpoints': TESTS / 'data' / 'checkpoints',
}
# Two float32 numbers that differ do so by 6e-8 at least; those of double precision may differ by
# what mathematical libraries do. Processors of other makers fuse a multiplication and an addition
# elsewhere.
ROUNDING = 1e-9 if platform.machine() == 'x86_64' else 1e-6
# When and where a checkpoint was written.
_CIRCUMSTANCES = ('time', 'mmcv_version', 'hook_msgs')


def write(path, recorded):
    """One line a case, so that a change shows where it is."""
    lines = [f'{json.dumps(name)}: {json.dumps(outcome)}' for name, outcome in recorded.items()]
    path.write_text('{\n' + ',\n'.join(lines) + '\n}\n')


def read(path):
    """Cases by name: of a file of them, or of a folder of checkpoints."""
    if path.suffix == '.json':
        return json.loads(path.read_text())
    return {file.name: _checkpoint(file) for file in sorted(path.glob('*.pth'))}


def _checkpoint(path):
    content = torch.load(path, weights_only=True)
    for key in _CIRCUMSTANCES:
        content['meta'].pop(key, None)
    return content


def of_projects(curves):
    """The curves that only an environment with the projects can record."""
    return {name: case for name, case in curves.items() if '/project/' in name}


def differing(one, other):
    """Names of the cases that are not in both, and alike."""
    return [
        name
        for name in one | other
        if name not in one or name not in other or not _equal(one[name], other[name])
    ]


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
