"""docs/compare.md keeps its word: what this engine has is tested, and what others have exists."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / 'docs' / 'compare.md').read_text(encoding='utf-8')
ROWS = [
    [cell.strip() for cell in line.strip('|').split(' | ')]
    for line in PAGE.splitlines()
    if line.startswith('| ') and not line.startswith('| |')
]
NOTES = dict(re.findall(r'^\[\^(\w+)\]: (.*(?:\n    .*)*)', PAGE, re.M))
# Where the names of a column are looked for. A name may also be an attribute of a class there.
MODULES = {
    2: [
        'lightning.pytorch',
        *(f'lightning.pytorch.{name}' for name in (
            'accelerators', 'callbacks', 'cli', 'loggers', 'plugins', 'plugins.environments',
            'plugins.io', 'plugins.precision', 'profilers', 'strategies', 'tuner')),
        'lightning.pytorch.Trainer',
    ],
    3: ['transformers', 'transformers.Trainer'],
    6: [
        f'mmengine.{name}' for name in (
            'config', 'hooks', 'model', 'optim', 'runner', 'runner.activation_checkpointing',
            '_strategy')
    ],
}  # fmt: skip
# Prints the names that are not there, and the arguments that are not taken.
LOOK = """
import importlib, inspect, json, sys, warnings
warnings.simplefilter('ignore')
def places(names):
    for name in names:
        try:
            yield importlib.import_module(name)
        except ImportError:
            module, _, last = name.rpartition('.')
            yield getattr(importlib.import_module(module), last)
def find(name, where):
    for place in where:
        found = place
        for part in name.split('.'):
            found = getattr(found, part, None)
        if found is not None:
            return found
missing = []
for column, (modules, names) in json.loads(sys.argv[1]).items():
    where = list(places(modules))
    for name, argument in names:
        found = find(name, where)
        if found is None:
            missing.append(name)
        elif argument:
            taken = [inspect.signature(found)] if callable(found) else []
            if inspect.isclass(found):
                taken += [inspect.signature(c.__init__) for c in found.__mro__[:-1]]
            if not any(argument in signature.parameters for signature in taken):
                missing.append(f'{name}({argument}=)')
print(json.dumps(missing))
"""


@pytest.mark.parametrize('row', ROWS, ids=[row[0][:40] for row in ROWS])
def test_each_yes_of_ours_leads_to_a_test(row: list[str]) -> None:
    assert len(row) == 7
    ours = row[1]
    if ours == 'no':
        return
    assert re.fullmatch(r'yes(, \w+)? \[\^\w+\]', ours), ours
    note = NOTES[ours.partition('[^')[2][:-1]]
    names = re.findall(r'`([\w/]+\.py)(?:::(\w+))?`', note)
    assert names
    for file, symbol in names:
        text = (ROOT / 'tests' / file).read_text(encoding='utf-8')
        assert not symbol or re.search(rf'^def {symbol}\b', text, re.M), (file, symbol)
        assert re.search(r'^ *def test_', text, re.M), file


def test_each_note_is_of_a_row() -> None:
    assert {row[1].partition('[^')[2][:-1] for row in ROWS} - {''} == set(NOTES)


def test_no_cell_is_empty() -> None:
    assert [row for row in ROWS if not all(row)] == []


def test_names_of_the_others_exist() -> None:
    python = os.environ.get('PEERS_PYTHON', '')
    if not python:
        pytest.skip('PEERS_PYTHON is not set: make test-peers')
    wanted = {
        column: (modules, [found for row in ROWS for found in _names(row[column])])
        for column, modules in MODULES.items()
    }
    done = subprocess.run(
        [python, '-c', LOOK, json.dumps(wanted)], capture_output=True, text=True, cwd='/'
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


def _names(cell: str) -> list[tuple[str, str]]:
    """``Name(argument=)`` in a cell; names in lower case are not code of the library's root."""
    found = re.findall(r'`([\w.]+)(?:\((\w+)=\))?`', cell)
    return [
        (name, argument)
        for name, argument in found
        if argument or re.match(r'[A-Z]|read_base$|turn_on_', name)
    ]
