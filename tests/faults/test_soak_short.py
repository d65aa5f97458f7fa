"""The short forms of what ``make soak`` does at length: kills, hostile files, flipped bits."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mmengine.testing._internal.forked_python import run_python

HERE = Path(__file__).parent
LIMIT_S = 900

pytestmark = pytest.mark.skipif(os.name != 'posix', reason='forks')


def _report(script: str, out: Path, *arguments: str) -> dict[str, Any]:
    done = run_python(
        [str(HERE / script), *arguments, '--out', str(out)],
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        timeout_s=LIMIT_S,
    )
    assert out.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    report: dict[str, Any] = json.loads(out.read_text())
    return report


@pytest.mark.parametrize('kind', ['one process', 'two workers'])
def test_a_run_that_is_killed_again_and_again_ends_with_the_bits_of_the_unbroken_one(
    tmp_path, kind
):
    arguments = ['--kills', '4', '--seed', '3', '--kind', kind]
    report = _report('kill_loop.py', tmp_path / 'report.json', *arguments)
    assert report['lost'] == []
    assert report['runs lost'] == 0
    assert report['kills'] == 4
    assert report['runs with the bits of the unbroken run'] == report['runs'] > 0
    assert report['checkpoints left beyond max_keep_ckpts'] == 0


@pytest.mark.distributed
@pytest.mark.parametrize('kind', ['two ranks', 'one of two ranks'])
def test_ranks_that_are_killed_end_with_the_bits_of_unbroken_ones(tmp_path, kind):
    arguments = ['--kills', '3', '--seed', '3', '--kind', kind]
    report = _report('kill_loop.py', tmp_path / 'report.json', *arguments)
    assert report['lost'] == []
    assert report['kills'] == 3
    assert report['runs with the bits of the unbroken run'] == report['runs'] > 0


def test_hostile_files_run_nothing_and_no_flipped_bit_is_silent(tmp_path):
    arguments = ['--files', '150', '--flips', '60', '--seed', '1']
    report = _report('hostile_files.py', tmp_path / 'report.json', *arguments)
    assert report['wrong'] == []
    assert (report['executed'], report['exploded'], report['silent flips']) == (0, 0, 0)
    assert (report['files'], report['flips']) == (150, 60)
    # The generator is of use: all kinds of files come, and some are read.
    assert report['refused'] > 50
    assert report['read as plain values'] > 5
    assert sum(count for name, count in report.items() if name.startswith('files: ')) == 150


# In a process of its own: some of the calls start processes and leave them to whoever comes next.
_EXECUTE = """
import pickle, random, sys
from pathlib import Path
import hostile_files

canary = Path(sys.argv[1])
made = []
calls = ((hostile_files.call_in_opcodes, False), (hostile_files.call_in_a_pickle, True))
for call, may_raise in calls:
    made.append(0)
    for number in range(40):
        _, content = call(random.Random(number), str(canary))
        try:
            pickle.loads(content)
        except Exception:
            if not may_raise:
                raise
            continue
        made[-1] += canary.exists()
        if canary.is_dir():
            canary.rmdir()
        canary.unlink(missing_ok=True)
print('MADE', *made)
"""


def test_the_generator_of_hostile_files_makes_files_that_would_run(tmp_path):
    """The same files by readers that execute: each kind makes its canary."""
    done = run_python(
        ['-W', 'ignore', '-c', _EXECUTE, str(tmp_path / 'canary')],
        env={**os.environ, 'PYTHONPATH': os.pathsep.join([str(HERE), str(HERE.parents[1])])},
        timeout_s=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith('MADE '))
    by_opcodes, by_pickles = map(int, line.split()[1:])
    assert by_opcodes > 20
    assert by_opcodes + by_pickles > 40
