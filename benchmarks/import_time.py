"""CPU time of `from mmengine.runner import Runner`, over `import torch`.

    python benchmarks/import_time.py [--repeat 9] [--peers .venv-peers/bin/python]

Each import is timed in a fresh process that has imported torch already, with all bytecode cached;
processes with different imports take turns. Shown are medians. The time holds the garbage
collections that an import sets off, which walk through torch's objects too; they are told apart,
from Python's own callbacks. Other frameworks are measured when the interpreter of their environment
is there (`make bench-peers`).
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from _report import format_table, make_parser, verdict, write_report

BUDGET_S = 0.25
ROOT = Path(__file__).parents[1]
OWN = 'this engine: Runner'

TIMED = """
import gc, json, time
import torch
spent = began = 0.0
def on_collection(phase, info):
    global spent, began
    if phase == 'start':
        began = time.process_time()
    else:
        spent += time.process_time() - began
gc.callbacks.append(on_collection)
start = time.process_time()
{statement}
print(json.dumps([time.process_time() - start, spent]))
"""

PEERS = {
    'PyTorch-Ignite: Engine': 'from ignite.engine import Engine',
    'Accelerate: Accelerator': 'from accelerate import Accelerator',
    'Transformers: Trainer': 'from transformers import Trainer',
    'Lightning: Trainer': 'from lightning import Trainer',
    'MMEngine (PyPI): Runner': 'from mmengine.runner import Runner',
}


def seconds(python: str, statement: str, path: str | None, bytecode: str) -> tuple[float, float]:
    """CPU seconds of the import, and of the garbage collections within it."""
    environ = {
        key: value
        for key, value in os.environ.items()
        if key not in ('PYTHONPATH', 'PYTHONDONTWRITEBYTECODE')
    }
    environ['PYTHONPYCACHEPREFIX'] = bytecode
    if path is not None:
        environ['PYTHONPATH'] = path
    code = TIMED.format(statement=statement)
    done = subprocess.run(
        [python, '-W', 'ignore', '-c', code],
        env=environ,
        cwd='/',
        capture_output=True,
        text=True,
        check=True,
    )
    total, collecting = json.loads(done.stdout.splitlines()[-1])
    return total, collecting


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--repeat', type=int, default=9)
    parser.add_argument('--peers', type=Path, default=ROOT / '.venv-peers' / 'bin' / 'python')
    args = parser.parse_args()

    cases: dict[str, tuple[str, str, str | None]] = {
        OWN: (sys.executable, 'from mmengine.runner import Runner', str(ROOT)),
        'this engine: the bare package': (sys.executable, 'import mmengine', str(ROOT)),
    }
    if args.peers.is_file():
        python = str(args.peers.absolute())
        cases |= {name: (python, statement, None) for name, statement in PEERS.items()}
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as bytecode:
        for case in cases.values():
            seconds(*case, bytecode)
        for _ in range(args.repeat):
            for name, case in cases.items():
                samples[name].append(seconds(*case, bytecode))

    rows = {}
    for name, of_one in samples.items():
        total = statistics.median(total for total, _ in of_one)
        collecting = statistics.median(collecting for _, collecting in of_one)
        rows[name] = {'cpu_s': round(total, 3), 'of_it_collecting_s': round(collecting, 3)}
    columns = ['import, after torch', 'CPU s', 'of it garbage collection s']
    print(format_table(columns, [[name, *row.values()] for name, row in rows.items()]))
    print(verdict(rows[OWN]['cpu_s'], BUDGET_S, 's'))
    write_report(args.out, repeat=args.repeat, budget_s=BUDGET_S, rows=rows)


if __name__ == '__main__':
    main()
