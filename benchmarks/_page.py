"""Writes docs/performance.md from the results: a row for each budget, and how a step grows.

    python benchmarks/_page.py

Nothing is measured here. A figure is from the last run of its script, on the machine that the page
names.
"""

from typing import Any

from _budgets import BUDGETS, ROOT, Budget, results_of
from _report import markdown_table

PAGE = ROOT / 'docs' / 'performance.md'
HEAD = """# What it costs

Written by `python benchmarks/_page.py` from `benchmarks/results`. Each figure has a script, which
prints its budget and whether it is met; `make bench` runs them all, and `make bench-check` compares
with the last committed results and fails if a figure is worse by more than a tenth. Times are CPU
times unless said otherwise. The step beside other frameworks is in the [README](../README.md).
"""


def budget_row(budget: Budget) -> list[str]:
    """What, measured, budget, whether it is met, the command."""
    results = results_of(budget.script)
    unit = f' {budget.unit}' if budget.unit else ''
    if results is None:
        return [budget.what, 'not measured', f'{budget.bound:g}{unit}', '', f'`{budget.command}`']
    value = budget.find(results)
    verdict = 'yes' if value <= budget.bound else '**no**'
    measured = f'{value:.3g}{unit}'
    return [budget.what, measured, f'{budget.bound:g}{unit}', verdict, f'`{budget.command}`']


def growth() -> str:
    """The tables of step_growth.py and ddp_step.py."""
    found = results_of('step_growth')
    if found is None:
        return 'Not measured.\n'
    parts = []
    for name, rows in found['growth'].items():
        columns = [f'number of {name}', 'by hand us', 'this engine us', 'added us', 'ratio']
        cells = [
            [row['count'], row['by_hand_us'], row['engine_us'], row['added_us'], row['ratio']]
            for row in rows
        ]
        parts.append(markdown_table(columns, cells))
    ranks = results_of('ddp_step')
    if ranks is not None:
        columns = ['ranks', 'plain DDP us', 'this engine us', 'ratio']
        cells = [
            [row['ranks'], row['plain_us'], row['engine_us'], row['ratio']] for row in ranks['rows']
        ]
        parts.append(markdown_table(columns, cells))
    return '\n\n'.join(parts) + '\n'


def machines() -> str:
    """The machines of all results, each once."""
    known: dict[str, Any] = {}
    for budget in BUDGETS:
        results = results_of(budget.script)
        if results is not None:
            on = results['machine']
            text = f'{on["cpu"]}, {on["cores"]} cores, Python {on["python"]}'
            known.setdefault(text, []).append(budget.script)
    lines = [f'- {text}' for text in known]
    return 'Measured on:\n\n' + '\n'.join(lines) + '\n'


def main() -> None:
    columns = ['what', 'measured', 'budget', 'met', 'command']
    rows = [budget_row(budget) for budget in BUDGETS]
    # The first column is text, and so is the last: only the figures are aligned to the right.
    table = markdown_table(columns, rows).replace('---: |\n', '--- |\n', 1)
    text = (
        f'{HEAD}\n{machines()}\n## Budgets\n\n{table}\n\n'
        '## How a step grows\n\n'
        'A step of two linear layers with SGD, by `python benchmarks/step_growth.py`; of several '
        'ranks by `python benchmarks/ddp_step.py`. In the loop by hand a hook is a function call, '
        'and each loss is kept for the log.\n\n'
        f'{growth()}'
    )
    PAGE.write_text(text, encoding='utf-8')
    met = sum(row[3] == 'yes' for row in rows)
    print(f'{PAGE.relative_to(ROOT)}: {met} of {len(rows)} budgets are met')


if __name__ == '__main__':
    main()
