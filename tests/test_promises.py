"""docs/promises.md keeps its word: each row names a test that exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / 'docs' / 'promises.md').read_text(encoding='utf-8')
LINES = PAGE.splitlines()
ROWS = [
    [cell.strip() for cell in line.strip('|').split(' | ')]
    for line, following in zip(LINES, [*LINES[1:], ''], strict=True)
    if line.startswith('| ') and not following.startswith('|--')  # the head of a table
]
# Such a promise is held by a benchmark.
BY_FIGURE = 'The watchdog costs nothing in a step'


@pytest.mark.parametrize('row', ROWS, ids=[row[0][:40] for row in ROWS])
def test_each_row_names_a_test_that_exists(row: list[str]) -> None:
    names = re.findall(r'`([\w/]+\.py)(?:::(\w+))?`', row[1])
    if row[0] == BY_FIGURE:
        assert (ROOT / 'benchmarks' / 'step_frames.py').exists()
        return
    assert names, f'{row[0]}: no test'
    for file, symbol in names:
        text = (ROOT / 'tests' / file).read_text(encoding='utf-8')
        assert not symbol or re.search(rf'^(class|def) {symbol}\b', text, re.M), (file, symbol)
        assert re.search(r'^ *def test_', text, re.M), file


def test_each_file_of_faults_holds_a_promise() -> None:
    for path in (ROOT / 'tests' / 'faults').glob('test_*.py'):
        assert f'faults/{path.name}' in PAGE, path.name


def test_what_is_not_promised_is_said() -> None:
    _, _, rest = PAGE.partition('## Not promised')
    assert len(re.findall(r'^- ', rest.partition('## ')[0], re.M)) >= 5
