"""Measures anew and compares with the last committed results; fails if a figure got worse.

    python benchmarks/_check.py [--only step_overhead val_iteration ...] [--tolerance 0.1] [--keep]

Ratios are compared as they are. Times and other figures are compared over the speed of the machine
in their run, which each result holds (`machine.speed_ms`). A figure that is over the tolerance is
measured once more, and the better of both counts, because another process may have been at work. A
figure below a quarter of its budget is not worse: there the noise of the allocator, or of a few
milliseconds, is more than the tolerance.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from _budgets import BUDGETS, RESULTS, ROOT, Budget, committed_results_of, results_of
from _report import format_table

_SIZES = ('MB',)
# The part of a budget from which a figure is watched.
_NEAR = 0.25


def compared(budget: Budget, old: Any, new: Any) -> float | None:
    """The new figure over the old one; None if the two cannot be compared."""
    before, after = budget.find(old), budget.find(new)
    if before <= 0:
        return None
    ratio = after / before
    if budget.is_ratio or budget.unit in _SIZES:
        return ratio
    speeds = [results['machine'].get('speed_ms') for results in (old, new)]
    if None in speeds:
        return None
    return float(ratio * speeds[0] / speeds[1])


def measure(script: str, folder: Path) -> Any:
    """The results of running ``script`` now."""
    out = folder / f'{script}.json'
    command = [sys.executable, str(ROOT / 'benchmarks' / f'{script}.py'), '--out', str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return results_of(script, folder)


def check(script: str, tolerance: float, folder: Path) -> tuple[list[list[str]], bool]:
    """Rows for the table, and whether no figure of ``script`` got worse."""
    old = committed_results_of(script)
    if old is None:
        measure(script, folder)
        return [[script, 'no committed results', '', '', '']], True
    budgets = [budget for budget in BUDGETS if budget.script == script]
    found: list[float | None] = [None] * len(budgets)
    for attempt in range(2):
        new = measure(script, folder)
        for index, budget in enumerate(budgets):
            ratio = compared(budget, old, new)
            if ratio is not None:
                found[index] = min(ratio, found[index] or ratio)
        if attempt or all(ratio is None or ratio <= 1 + tolerance for ratio in found):
            break
    rows, is_fine = [], True
    for budget, ratio in zip(budgets, found, strict=True):
        figures = [f'{budget.find(results):.3g}' for results in (old, new)]
        if ratio is None:
            rows.append([budget.what, *figures, '', 'not comparable'])
            continue
        is_worse = ratio > 1 + tolerance and budget.find(new) > budget.bound * _NEAR
        is_fine &= not is_worse
        rows.append([budget.what, *figures, f'{ratio:.2f}', 'WORSE' if is_worse else 'fine'])
    return rows, is_fine


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    scripts = list(dict.fromkeys(budget.script for budget in BUDGETS))
    parser.add_argument('--only', nargs='+', choices=scripts, default=scripts)
    parser.add_argument('--tolerance', type=float, default=0.1)
    parser.add_argument('--keep', action='store_true', help='write the results, to be committed')
    args = parser.parse_args()
    table, are_fine = [], True
    with tempfile.TemporaryDirectory() as folder:
        for script in args.only:
            rows, is_fine = check(script, args.tolerance, RESULTS if args.keep else Path(folder))
            table += rows
            are_fine &= is_fine
            print(f'{script}: {"fine" if is_fine else "WORSE"}', file=sys.stderr)
    print(format_table(['figure', 'committed', 'now', 'ratio', ''], table))
    raise SystemExit(not are_fine)


if __name__ == '__main__':
    main()
