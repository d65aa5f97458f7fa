"""docs/resume.md keeps its word: its config is accepted, and each row names a test that exists."""

import re
from pathlib import Path

import pytest

from mmengine.strategy._resume_request import ResumeRequest, parse_resume

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / 'docs' / 'resume.md').read_text(encoding='utf-8')
ROWS = [
    [cell.strip() for cell in line.strip('|').split(' | ')]
    for line in GUIDE.splitlines()
    if line.startswith('| ') and not line.startswith('| part')
]


def test_its_example_is_a_request() -> None:
    (code,) = re.findall(r'```python\n(.*?)```', GUIDE, re.S)
    names: dict[str, object] = {}
    exec(code, names)
    assert parse_resume(names['resume']) == ResumeRequest(
        True, 'runs/a/epoch_3.pth', 'config', 'config', 'warn', again=False
    )


@pytest.mark.parametrize('row', ROWS, ids=[row[0][:40] for row in ROWS])
def test_each_row_names_a_test_that_exists(row: list[str]) -> None:
    names = re.findall(r'`([\w/]+\.py(?:::\w+)?)`', row[-1])
    assert names, f'{row[0]}: no test'
    for name in names:
        file, _, symbol = name.partition('::')
        text = (ROOT / 'tests' / file).read_text(encoding='utf-8')
        assert not symbol or re.search(rf'^(class|def) {symbol}\b', text, re.M), name
