"""Writes the summary in docs/strategies.md from marks of tests: ``python tests/strategy_table.py``.

A test says what it shows: ``@pytest.mark.shows(strategies, features, outcome)``. Strategies and
features are names of columns and rows, or lists of them; ``'*'`` are all rows. The outcome begins
with "works" or "refused". The marks are read from the sources, so no test has to run for it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent
GUIDE = TESTS.parent / 'docs' / 'strategies.md'
BEGIN = '<!-- written by tests/strategy_table.py -->\n'
END = '<!-- end -->\n'
STRATEGIES = ('DDP', 'FSDP', 'tensor parallel', 'sub-models', 'DeepSpeed', 'ColossalAI')
FEATURES = (
    'AMP in bfloat16',
    'AMP in float16',
    'accumulation',
    'clipping',
    'EMA',
    'compile',
    'activation checkpointing',
    'resume',
    'another number of ranks',
)


class Shown(NamedTuple):
    """What a test shows of one feature with one strategy."""

    strategy: str
    feature: str
    outcome: str
    test: str


def shown() -> Iterator[Shown]:
    """All that the tests show."""
    for path in sorted(TESTS.rglob('test_*.py')):
        source = path.read_text(encoding='utf-8')
        if 'mark.shows(' in source:
            for node in ast.parse(source).body:
                if isinstance(node, ast.FunctionDef):
                    yield from _shown_by(node, path.relative_to(TESTS).as_posix())


def table() -> str:
    """The summary, with the names of the tests below."""
    cells: dict[tuple[str, str], dict[str, list[int]]] = {}
    numbers: dict[str, int] = {}
    for entry in shown():
        number = numbers.setdefault(entry.test, len(numbers) + 1)
        outcomes = cells.setdefault((entry.feature, entry.strategy), {})
        outcomes.setdefault(entry.outcome, []).append(number)
    lines = [f'| with | {" | ".join(STRATEGIES)} |', '|---' * (len(STRATEGIES) + 1) + '|']
    for feature in FEATURES:
        row = [_cell(cells.get((feature, strategy), {})) for strategy in STRATEGIES]
        lines.append(f'| {feature} | {" | ".join(row)} |')
    tests = [f'{number}. `{test}`' for test, number in numbers.items()]
    return '\n'.join(['', *lines, '', *tests, '', ''])


def _cell(outcomes: dict[str, list[int]]) -> str:
    """Outcomes with the numbers of their tests; what works comes first."""
    parts = [
        f'{outcome} ({", ".join(map(str, tests))})'
        for outcome, tests in sorted(outcomes.items(), reverse=True)
    ]
    return '; '.join(parts) or 'not tried'


def _shown_by(node: ast.FunctionDef, file: str) -> Iterator[Shown]:
    for mark in node.decorator_list:
        if not (isinstance(mark, ast.Call) and ast.unparse(mark.func) == 'pytest.mark.shows'):
            continue
        strategies, features, outcome = map(ast.literal_eval, mark.args)
        for strategy in _listed(strategies, STRATEGIES):
            for feature in _listed(features, FEATURES):
                yield Shown(strategy, feature, outcome, f'{file}::{node.name}')


def _listed(given: str | list[str], known: tuple[str, ...]) -> list[str]:
    if given == '*':
        return list(known)
    names = [given] if isinstance(given, str) else given
    for name in names:
        if name not in known:
            raise ValueError(f'A mark says {name!r}, which is not one of {known}.')
    return names


def parts_of_guide(text: str) -> tuple[str, str, str]:
    """The guide before the summary, the summary, and the guide after it."""
    before, _, rest = text.partition(BEGIN)
    summary, _, after = rest.partition(END)
    return before + BEGIN, summary, END + after


if __name__ == '__main__':
    before, _, after = parts_of_guide(GUIDE.read_text(encoding='utf-8'))
    GUIDE.write_text(before + table() + after, encoding='utf-8')
