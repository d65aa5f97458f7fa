"""Whole projects drawn at random, migrated by one command: they train as under MMCV 1.7.2.

Where they would not, a mark says so. ``benchmarks/migrate_soak.py`` draws more of them.
"""

import json
from collections import Counter
from pathlib import Path

import pytest
from random_projects import write_project

pytest.importorskip('libcst')
from compare_projects import verdict  # it needs libcst

FIXTURE = Path(__file__).parents[1] / 'code' / 'mmcv_code.json'
PREFIX = 'drawn-project/'
RECORDED = {
    int(name.removeprefix(PREFIX)): outcome
    for name, outcome in json.loads(FIXTURE.read_text()).items()
    if name.startswith(PREFIX)
}


@pytest.fixture(scope='module')
def verdicts(tmp_path_factory):
    """What became of each; the processes of the trainings are forked once here."""
    scratch = tmp_path_factory.mktemp('projects')
    return {seed: verdict(seed, mmcv, scratch) for seed, mmcv in RECORDED.items()}


def test_no_project_differs_from_mmcv_without_a_mark(verdicts):
    known = ('equal', 'marked', 'refused')
    assert {seed: found for seed, found in verdicts.items() if found not in known} == {}


def test_projects_give_the_numbers_that_mmcv_gave(verdicts):
    assert Counter(verdicts.values())['equal'] >= 0.99 * len(RECORDED)


def test_a_seed_draws_one_project(tmp_path):
    for name in ('first', 'second'):
        write_project(7, tmp_path / name)
    files = [
        {path.relative_to(root): path.read_bytes() for path in root.rglob('*.py')}
        for root in (tmp_path / 'first', tmp_path / 'second')
    ]
    assert files[0] == files[1]
