"""What all benchmarks share: the machine they ran on, their table, and the JSON file with both."""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / 'results'


def make_parser(script: str, doc: str | None) -> argparse.ArgumentParser:
    """A command line that shows the script's docstring and has ``--out``, where the JSON goes.

    Args:
        script: ``__file__`` of the benchmark; its results are named after it.
        doc: Its ``__doc__``.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=Path, default=RESULTS / f'{Path(script).stem}.json')
    return parser


def machine() -> dict[str, Any]:
    """The processor, the system, and the versions that matter for a time."""
    cpu, info = platform.processor() or platform.machine(), Path('/proc/cpuinfo')
    if info.is_file():
        lines = info.read_text(encoding='utf-8').splitlines()
        models = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
        cpu = models[0] if models else cpu
    found = {
        'cpu': cpu,
        'cores': os.cpu_count(),
        'system': platform.platform(),
        'python': platform.python_version(),
    }
    torch = sys.modules.get('torch')
    if torch is not None:
        found |= {'torch': torch.__version__, 'threads': torch.get_num_threads()}
    return found


@contextmanager
def silenced() -> Iterator[None]:
    """Let nothing reach the terminal meanwhile, whoever writes it; writing still costs its time."""
    kept = [(number, os.dup(number)) for number in (1, 2)]
    sys.stdout.flush()
    with open(os.devnull, 'w') as nowhere:
        for number, _ in kept:
            os.dup2(nowhere.fileno(), number)
    try:
        yield
    finally:
        sys.stdout.flush()
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)


def format_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Aligned text: the first column to the left, the others, which hold numbers, to the right."""
    cells = [[str(cell) for cell in row] for row in [columns, *rows]]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    lines = []
    for name, *numbers in cells:
        aligned = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
        lines.append('  '.join([name.ljust(widths[0]), *aligned]).rstrip())
    return '\n'.join(lines)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """The same as a table of markdown."""
    rule = ['---', *['---:'] * (len(columns) - 1)]
    lines = [columns, rule, *rows]
    return '\n'.join(f'| {" | ".join(str(cell) for cell in line)} |' for line in lines)


def replace_section(path: Path, name: str, text: str) -> None:
    """Put ``text`` between ``<!-- name:start -->`` and ``<!-- name:end -->`` of a markdown file."""
    start, end = f'<!-- {name}:start -->', f'<!-- {name}:end -->'
    content = path.read_text(encoding='utf-8')
    before, found_start, rest = content.partition(start)
    _, found_end, after = rest.partition(end)
    if not found_start or not found_end:
        raise SystemExit(f'{path} has no lines {start} and {end} to put the table between')
    path.write_text(f'{before}{start}\n{text}\n{end}{after}', encoding='utf-8')


def verdict(value: float, budget: float, unit: str = '') -> str:
    """Whether a figure keeps its budget, as words for the end of the table."""
    word = 'within' if value <= budget else 'OVER'
    return f'{word} the budget of {budget:g}{f" {unit}" if unit else ""}: {value:.3g}'


def speed_ms() -> float:
    """Milliseconds of a fixed piece of Python, the least of several: how fast the machine is now.

    Times of two runs are compared over it.
    """
    found = []
    for _ in range(25):
        start = time.process_time()
        values: dict[int, int] = {}
        for number in range(10_000):
            values[number % 97] = values.get(number % 89, 0) + number
        found.append((time.process_time() - start) * 1e3)
    return round(min(found), 3)


def write_report(path: Path, **content: Any) -> None:
    """Write ``content`` with the machine in front of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    on = {**machine(), 'speed_ms': speed_ms()}
    text = json.dumps({'machine': on, **content}, indent=2)
    path.write_text(f'{text}\n', encoding='utf-8')
