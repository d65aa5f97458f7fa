"""The long forms of the fault tests, and one report of their figures.

    python tests/faults/soak.py [--kills 500] [--files 10000] [--flips 2000] [--runs 200] [--out F]

``make soak`` runs it. It ends with status 1 unless no run was lost, nothing was executed, no file,
thread, process, descriptor or shared memory was left, and no flipped bit was silent.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def _kills(args: argparse.Namespace, out: Path) -> dict[str, Any]:
    _run('kill_loop.py', '--kills', args.kills, '--seed', args.seed, '--out', out)
    found = json.loads(out.read_text())
    return {
        'runs': found.get('runs', 0),
        'kills': found.get('kills', 0),
        'kills within a save': found.get('kills within a save', 0),
        'runs lost': found['runs lost'],
        'files left': found.get('temporary files left', 0)
        + found.get('checkpoints left beyond max_keep_ckpts', 0),
        'lost': found['lost'],
    }


def _files(args: argparse.Namespace, out: Path) -> dict[str, Any]:
    _run(
        'hostile_files.py',
        *('--files', args.files, '--flips', args.flips, '--seed', args.seed, '--out', out),
    )
    found = json.loads(out.read_text())
    return {
        'hostile files': found.get('files', 0),
        'files executed': found['executed'],
        'files that took too much': found['exploded'],
        'flipped bits': found.get('flips', 0),
        'silent flips': found['silent flips'],
        'wrong': found['wrong'],
    }


def _runs(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    output = _run('many_runs.py', folder, args.runs)
    lines = [line for line in output.splitlines() if line.startswith('HELD ')]
    if not lines:
        return {'kinds of things left': -1, 'left': output[-3000:]}
    held = json.loads(lines[0].removeprefix('HELD '))
    return {
        'runs in one process': args.runs,
        'kinds of things left': len(held['left']),
        'left': {name: [held['before'][name], held['after'][name]] for name in held['left']},
    }


def _run(script: str, *arguments: Any) -> str:
    print(f'{time.strftime("%H:%M:%S")} {script}', *arguments, flush=True)
    done = subprocess.run(
        [sys.executable, str(HERE / script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout[-3000:], flush=True)
    return done.stdout


ZERO = (
    'runs lost', 'files left', 'files executed', 'files that took too much', 'silent flips',
    'kinds of things left',
)  # fmt: skip


def main() -> None:
    """Run all and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--kills', type=int, default=500)
    parser.add_argument('--files', type=int, default=10_000)
    parser.add_argument('--flips', type=int, default=2_000)
    parser.add_argument('--runs', type=int, default=200)
    parser.add_argument('--seed', type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report: dict[str, Any] = {'seed': args.seed}
        report |= _files(args, Path(folder, 'files.json'))
        report |= _runs(args, Path(folder))
        report |= _kills(args, Path(folder, 'kills.json'))
    print(json.dumps(report, indent=2))
    if args.out is not None:
        args.out.write_text(json.dumps(report, indent=2) + '\n')
    if any(report[name] for name in ZERO):
        raise SystemExit(1)


if __name__ == '__main__':
    main()
