"""CPU time that a training engine adds to a step, over the same loop written by hand.

    python benchmarks/step_overhead.py [--rounds 5] [--peers .venv-peers/bin/python] [--readme]

The task is in step_overhead/_task.py, one script beside it for each framework. Each runs in a
process of its own, with one thread, beside a process with the loop by hand. The two take turns of
100 steps, each pair of turns gives a ratio, and shown are medians over the epochs of all rounds,
with the middle half of the ratios. "least" is the ratio of the least times of both, which no other
process has disturbed. Reads are calls of `aten::_local_scalar_dense` a step, counted
in a run of its own: one value each, for which the host waits. One an epoch (0.002) is the
dataloader's; a whole array read at once, as this engine does at a log line, is no such call. Other
frameworks are measured when the interpreter of their environment is there (`make bench-peers`).
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _report import (
    format_table,
    machine,
    make_parser,
    markdown_table,
    replace_section,
    verdict,
    write_report,
)

BUDGET_RATIO = 1.0
ROOT = Path(__file__).parents[1]
SCRIPTS = Path(__file__).parent / 'step_overhead'
BY_HAND, ENGINE = 'plain PyTorch loop', 'this engine'
# As in step_overhead/_task.py: turns of 100 steps, and the first epoch is not measured.
EPOCHS, TURNS_OF_EPOCH = 4, 5


@dataclass(frozen=True)
class Framework:
    """How to run one of them."""

    name: str
    script: str
    python: str
    path: str | None = None

    @contextmanager
    def started(self, count_reads: bool = False) -> Iterator['Process']:
        """Its script, running."""
        environ = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
        environ |= {'OMP_NUM_THREADS': '1', 'TOKENIZERS_PARALLELISM': 'false'}
        if self.path is not None:
            environ['PYTHONPATH'] = self.path
        if count_reads:
            environ['STEP_OVERHEAD_COUNT_READS'] = '1'
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [self.python, str(SCRIPTS / self.script)],
            env=environ, stdin=pipe, stdout=pipe, stderr=pipe, text=True,
        )  # fmt: skip
        try:
            yield Process(self.name, process)
        finally:
            process.kill()
            process.communicate()


@dataclass(frozen=True)
class Process:
    """A framework at work."""

    name: str
    process: 'subprocess.Popen[str]'

    def hear(self) -> dict[str, Any]:
        """What it tells next: the time of a turn, or in the end what came out."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f'{self.name} failed:\n{self.process.communicate()[1]}')
        heard: dict[str, Any] = json.loads(line)
        return heard

    def let_go(self) -> None:
        """Allow it the next turn."""
        assert self.process.stdin is not None
        self.process.stdin.write('\n')
        self.process.stdin.flush()


def frameworks(peers_python: Path) -> list[Framework]:
    """The loop by hand and this engine; the others where their environment is found."""
    found = [
        Framework(BY_HAND, 'by_hand.py', sys.executable),
        Framework(ENGINE, 'engine.py', sys.executable, path=str(ROOT)),
    ]
    if not peers_python.is_file():
        print(f'{peers_python} is not there, so no other framework is measured: make bench-peers')
        return found
    peers = {
        'PyTorch-Ignite': 'peer_ignite.py',
        'Accelerate': 'peer_accelerate.py',
        'MMEngine (PyPI)': 'engine.py',
        'Transformers Trainer': 'peer_transformers.py',
        'Lightning': 'peer_lightning.py',
    }
    python = str(peers_python.absolute())
    return found + [Framework(name, script, python) for name, script in peers.items()]


def outcome(framework: Framework) -> dict[str, Any]:
    """Version, reads a step and a hash of the final weights; nothing is timed."""
    with framework.started(count_reads=True) as process:
        return process.hear()


def take_turns(by_hand: Framework, other: Framework) -> list[tuple[float, float]]:
    """CPU time of a step in both, for each turn, in microseconds."""
    with by_hand.started() as one, other.started() as two:
        pair = [one, two]
        for process in pair:
            process.hear()  # the warm-up is over
        turns: list[dict[str, float]] = []
        for turn in range(EPOCHS * TURNS_OF_EPOCH):
            times = {}
            # Who goes first alternates.
            for process in pair[:: 1 if turn % 2 else -1]:
                process.let_go()
                times[process.name] = process.hear()['cpu_us']
            turns.append(times)
    return [(times[by_hand.name], times[other.name]) for times in turns]


def typical(values: list[float]) -> float:
    """The mean over the turns of an epoch, each taken as the median of all epochs.

    A median alone would leave out the end of the epoch, which falls into every fifth turn.
    """
    places = range(TURNS_OF_EPOCH)
    return statistics.mean(statistics.median(values[place::TURNS_OF_EPOCH]) for place in places)


def least(values: list[float]) -> float:
    """The mean over the turns of an epoch, each taken as the least of all epochs."""
    places = range(TURNS_OF_EPOCH)
    return statistics.mean(min(values[place::TURNS_OF_EPOCH]) for place in places)


def measure(chosen: list[Framework], rounds: int) -> list[dict[str, Any]]:
    """A row for each framework."""
    by_hand, *others = chosen
    outcomes = {framework.name: outcome(framework) for framework in chosen}
    _check_same_weights(outcomes)
    pairs: dict[str, list[tuple[float, float]]] = {framework.name: [] for framework in others}
    for index in range(rounds):
        for other in others:
            pairs[other.name] += take_turns(by_hand, other)
            ratio = typical([theirs / base for base, theirs in pairs[other.name]])
            print(f'round {index + 1} of {rounds}: {other.name} {ratio:.3f}', file=sys.stderr)
    all_pairs = [pair for of_one in pairs.values() for pair in of_one]
    pairs = {by_hand.name: [(base, base) for base, _ in all_pairs], **pairs}
    rows = []
    for name, of_one in pairs.items():
        ratios = [theirs / base for base, theirs in of_one]
        low, _, high = statistics.quantiles(ratios, n=4)
        rows.append(
            {
                'framework': name,
                'version': outcomes[name]['version'],
                'cpu_us': round(typical([theirs for _, theirs in of_one]), 1),
                'added_us': round(typical([theirs - base for base, theirs in of_one]), 1),
                'ratio': round(typical(ratios), 3),
                'middle_half': [round(low, 3), round(high, 3)],
                'pairs': len(of_one),
                'least_us': round(least([theirs for _, theirs in of_one]), 1),
                'least_ratio': round(
                    least([theirs for _, theirs in of_one]) / least([base for base, _ in of_one]), 3
                ),
                'reads': round(outcomes[name]['reads'], 3),
                'settings': outcomes[name]['settings'],
            }
        )
    return rows


def _check_same_weights(results: dict[str, dict[str, Any]]) -> None:
    """Who ends elsewhere has not done the same work."""
    for name, found in results.items():
        if found['weights'] != results[BY_HAND]['weights']:
            raise SystemExit(f'{name} ends with other weights than the {BY_HAND}')


def _cells(row: dict[str, Any]) -> list[str]:
    low, high = row['middle_half']
    return [
        f'{row["framework"]} {row["version"].partition("+")[0]}',
        f'{row["cpu_us"]:.0f}',
        f'{row["added_us"]:+.0f}',
        f'{row["ratio"]:.2f}',
        f'{low:.2f} to {high:.2f}',
        f'{row["least_ratio"]:.2f}',
        f'{row["reads"]:.3f}',
    ]


def for_readme(rows: list[dict[str, Any]], columns: list[str], rounds: int) -> str:
    """The table as markdown, with how it came about."""
    on = machine()
    settings = '\n'.join(f'- {row["framework"]}: {row["settings"]}.' for row in rows)
    pairs = min(row['pairs'] for row in rows)
    return (
        f'{markdown_table(columns, [_cells(row) for row in rows])}\n\n'
        f'`python benchmarks/step_overhead.py --rounds {rounds} --readme`: a 3-layer MLP, batch 4, '
        f'2,000 steps, a log line every 50, one thread; {on["cpu"]}, {on["cores"]} cores, Python '
        f'{on["python"]}. Medians of {pairs} pairs of turns: each framework runs in its own '
        'process and takes turns of 100 steps with the loop by hand; "least" is the ratio of the '
        'least times. All end with the same weights. A read is one value that the host waits for '
        '(`aten::_local_scalar_dense`); this engine reads the values of a log line as one array, '
        f'which is not counted. Settings:\n\n{settings}'
    )


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--peers', type=Path, default=ROOT / '.venv-peers' / 'bin' / 'python')
    parser.add_argument('--readme', action='store_true', help='put the table into README.md')
    args = parser.parse_args()
    rows = measure(frameworks(args.peers), args.rounds)
    columns = [
        'framework', 'CPU us a step', 'added us', 'ratio', 'middle half', 'least', 'reads a step'
    ]  # fmt: skip
    print(format_table(columns, [_cells(row) for row in rows]))
    ratio = next(row['ratio'] for row in rows if row['framework'] == ENGINE)
    for row in rows:
        print(f'{row["framework"]}: {row["settings"]}')
    print(verdict(ratio, BUDGET_RATIO))
    write_report(args.out, rounds=args.rounds, budget_ratio=BUDGET_RATIO, rows=rows)
    if args.readme:
        replace_section(ROOT / 'README.md', 'bench', for_readme(rows, columns, args.rounds))


if __name__ == '__main__':
    main()
