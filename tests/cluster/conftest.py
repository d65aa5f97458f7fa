"""One cluster for all tests of this folder, and the end of a run to which others are compared."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs_of_launchers import ENV, State, called, states_in, words
from slurm_cluster import Cluster, missing_programs, running_cluster


@pytest.fixture(scope='session')
def cluster() -> Iterator[Cluster]:
    """A running cluster, whose jobs import this package and the projects of other tests."""
    missing = missing_programs()
    if missing:
        pytest.skip(f'{", ".join(missing)} not installed (apt install slurm-wlm munge)')
    with running_cluster() as started:
        path = f'{Path(sys.executable).parent}{os.pathsep}{started.env["PATH"]}'
        started.env.update({**ENV, 'PATH': path})
        yield started


@pytest.fixture(scope='session')
def expected(tmp_path_factory: pytest.TempPathFactory) -> State:
    """The end of the run that nothing stops, on two ranks of torchrun."""
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    work_dir = tmp_path_factory.mktemp('expected')
    output = called([*torchrun, '--nproc-per-node', '2', *words(work_dir, 'pytorch')[1:]])
    first, second = states_in(output)
    assert first == second
    return first
