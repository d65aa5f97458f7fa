"""Ranks of Open MPI's mpirun join, and end as those of torchrun."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from runs_of_launchers import State, called, states_in, words


@pytest.mark.distributed
@pytest.mark.skipif(shutil.which('mpirun') is None, reason='apt install openmpi-bin')
def test_two_ranks_of_mpirun_join(expected: State, tmp_path: Path) -> None:
    mpirun = ['mpirun', '--oversubscribe', '-np', '2']
    if os.geteuid() == 0:
        mpirun.append('--allow-run-as-root')
    output = called([*mpirun, *words(tmp_path / 'run', 'mpi')])
    assert states_in(output) == [expected, expected]
