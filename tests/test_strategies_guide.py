"""docs/strategies.md keeps its word: its example is accepted, and each row names a test."""

import re
from pathlib import Path
from typing import Any

import pytest
from strategy_table import FEATURES, STRATEGIES, parts_of_guide, shown, table

from mmengine.config import Config
from mmengine.runner._preparing import build_strategy
from mmengine.strategy import BaseStrategy

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / 'docs' / 'strategies.md').read_text(encoding='utf-8')
BEFORE, SUMMARY, AFTER = parts_of_guide(GUIDE)
LINES = (BEFORE + AFTER).splitlines()
EXAMPLES = re.findall(r'```python\n(.*?)```', GUIDE, re.S)
ROWS = [
    [cell.strip() for cell in line.strip('|').split(' | ')]
    for line, following in zip(LINES, [*LINES[1:], ''], strict=True)
    if line.startswith('| ') and not following.startswith('|--')  # the head of a table
]


def test_its_example_is_a_strategy(tmp_path: Path) -> None:
    strategy = _built(EXAMPLES[0], tmp_path)
    assert strategy.sharding.blocks == ['TransformerBlock']
    assert strategy.meta_init


@pytest.mark.parametrize('code', EXAMPLES[1:])
def test_its_other_examples_are_strategies(code: str, tmp_path: Path) -> None:
    assert isinstance(_built(code, tmp_path), BaseStrategy)


def _built(code: str, tmp_path: Path) -> Any:
    names: dict[str, Any] = {}
    exec(code, names)
    arguments = {'work_dir': str(tmp_path), 'env_kwargs': {'launcher': 'none'}}
    return build_strategy(names['strategy'], Config(), arguments)


@pytest.mark.parametrize('row', ROWS, ids=[row[0][:40] for row in ROWS])
def test_each_row_names_a_test_that_exists(row: list[str]) -> None:
    names = re.findall(r'`([\w/]+\.py)(?:::(\w+))?`', row[-1])
    assert names, f'{row[0]}: no test'
    for file, symbol in names:
        text = (ROOT / 'tests' / file).read_text(encoding='utf-8')
        assert not symbol or re.search(rf'^def {symbol}\b', text, re.M), (file, symbol)


def test_its_summary_is_what_the_tests_show() -> None:
    assert table() == SUMMARY, 'Write it anew: python tests/strategy_table.py'


def test_marks_say_what_works_and_what_is_refused() -> None:
    entries = list(shown())
    assert {entry.strategy for entry in entries} == set(STRATEGIES)
    assert {entry.feature for entry in entries} == set(FEATURES)
    for entry in entries:
        assert entry.outcome.startswith(('works', 'refused')), entry
