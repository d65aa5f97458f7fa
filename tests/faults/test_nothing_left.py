"""Runs in one process leave it as it was: threads, children, memory, descriptors, handlers, names.

``make soak`` does the same with 200 runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name('many_runs.py')
LIMIT_S = 600


@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='counts descriptors in /proc')
def test_runs_of_all_kinds_leave_the_process_as_it_was(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path), '9'],
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith('HELD ')]
    assert lines, done.stdout[-3000:] + done.stderr[-3000:]
    held = json.loads(lines[0].removeprefix('HELD '))
    assert held['after'] == held['before']
    assert held['after']['threads'] == ['MainThread']
    assert held['after']['shared memory'] == []
    assert done.returncode == 0
