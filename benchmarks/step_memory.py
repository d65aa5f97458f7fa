"""Memory of a training, over the same training by hand.

    python benchmarks/step_memory.py [--repeat 5]

The step of `step_overhead.py`, in a fresh process each: both import everything first, so that the
code of the engine is not counted (the last column tells how much it is). Counted is the growth of
the resident set from there to the end of 2,000 steps. Medians.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from _report import format_table, make_parser, verdict, write_report

BUDGET_MB = 5.0
ROOT = Path(__file__).parents[1]

CODE = """
import json, os, sys, tempfile
def resident_mb():
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGESIZE') / 2**20
sys.path[:0] = {paths!r}
import torch
import torch._dynamo
after_torch = resident_mb()
import _task
import {script} as script
if {is_engine}:
    import mmengine.runner
imported = resident_mb()
torch.set_num_threads(1)
torch.manual_seed(0)
clock = _task.Clock()
clock.tick = lambda: None
loader = torch.utils.data.DataLoader(_task.Points(), batch_size=_task.BATCH_SIZE)
net = _task.Mlp(clock)
with tempfile.TemporaryDirectory() as folder:
    script.train(net, loader, folder)
print(json.dumps([resident_mb() - imported, imported - after_torch]), file=sys.__stderr__)
"""


def measure(script: str) -> tuple[float, float]:
    """Megabytes of the training, and of the imports after torch."""
    paths = [str(ROOT), str(ROOT / 'benchmarks' / 'step_overhead')]
    code = CODE.format(paths=paths, script=script, is_engine=script == 'engine')
    environ = {**os.environ, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    grown, of_imports = json.loads(done.stderr.splitlines()[-1])
    return grown, of_imports


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--repeat', type=int, default=5)
    args = parser.parse_args()
    names = {'plain PyTorch loop': 'by_hand', 'this engine': 'engine'}
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(args.repeat):
        for name, script in names.items():
            samples[name].append(measure(script))
    grown = {name: statistics.median(pair[0] for pair in of) for name, of in samples.items()}
    imports = {name: statistics.median(pair[1] for pair in of) for name, of in samples.items()}
    added = grown['this engine'] - grown['plain PyTorch loop']
    rows = [[name, f'{grown[name]:.1f}', f'{imports[name]:.1f}'] for name in names]
    print(format_table(['', 'training MB', 'imports after torch MB'], rows))
    print(verdict(added, BUDGET_MB, 'MB'))
    write_report(
        args.out,
        repeat=args.repeat,
        budget_mb=BUDGET_MB,
        training_mb={name: round(value, 2) for name, value in grown.items()},
        imports_mb={name: round(value, 2) for name, value in imports.items()},
        added_mb=round(added, 2),
    )


if __name__ == '__main__':
    main()
