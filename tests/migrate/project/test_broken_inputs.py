"""Broken projects, configs and code: no command ends in a traceback, no second run changes a file.

``benchmarks/migrate_fuzz.py`` draws as many as are asked for.
"""

import pytest

pytest.importorskip('libcst')
from broken_inputs import fault_of

NUM_INPUTS = 30


@pytest.mark.parametrize('start', range(0, NUM_INPUTS, 15))
def test_broken_inputs_make_no_traceback_and_a_second_run_changes_nothing(start, tmp_path):
    faults = {seed: fault_of(seed, tmp_path) for seed in range(start, start + 15)}
    assert {seed: fault for seed, fault in faults.items() if fault} == {}
