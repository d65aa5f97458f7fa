"""The run of tests/faults/stoppable_run.py under several launchers, and its state at the end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

State = dict[str, Any]
ROOT = Path(__file__).parents[2]
ENV = {
    'PYTHONPATH': os.pathsep.join([str(ROOT), str(ROOT / 'tests' / 'cli')]),
    'OMP_NUM_THREADS': '1',
    'PYTHONWARNINGS': 'ignore',
}
SCRIPT = ROOT / 'tests' / 'faults' / 'stoppable_run.py'
SETTINGS = {'batches': 10, 'epochs': 4}


def words(work_dir: Path, launcher: str, **settings: Any) -> list[str]:
    """The command of a rank."""
    given = json.dumps({**SETTINGS, 'launcher': launcher, **settings})
    return [sys.executable, str(SCRIPT), str(work_dir), given]


def states_in(output: str) -> list[State]:
    """The states that the ranks have printed."""
    return [json.loads(line) for line in re.findall(r'STATE (\{.*?\}\n?)', output)]


def called(command: list[str]) -> str:
    """What a command prints; its processes import this package."""
    done = subprocess.run(
        command, env={**os.environ, **ENV}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
