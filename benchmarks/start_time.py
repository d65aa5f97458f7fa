"""CPU time from the start of a process to `mmengine --help`, and to a first training step.

    python benchmarks/start_time.py [--repeat 7]

The help is over a bare Python. The first step of the digits demo (`mmengine train`, config and data
included) is over a script by hand with the same network, images, batch and optimizer: it imports
torch and scikit-learn, which has the digits, and makes one step with AdamW. The first optimizer
imports torch._dynamo, which takes as long as torch itself, and the first convolution compiles its
kernels. Each is a fresh process with all bytecode cached, they take turns, and shown are medians.
The training ends with the first step.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from _report import format_table, make_parser, verdict, write_report

BUDGET_HELP_S = 0.15
BUDGET_STEP_S = 0.3
ROOT = Path(__file__).parents[1]
CONFIG = ROOT / 'examples' / 'digits' / 'config.py'

BARE, HELP, TORCH = 'bare Python', 'mmengine --help', 'import torch'
HAND, STEP = 'the first step by hand', 'mmengine train to the first step'
CODE = {
    BARE: 'pass',
    HELP: """
import sys
from mmengine.cli.__main__ import main
try:
    main(['--help'])
except SystemExit:
    pass
""",
    TORCH: 'import torch',
    HAND: """
import torch
from sklearn.datasets import load_digits
from torch import nn
def images(count):  # for training, and for validation
    data, target = load_digits(return_X_y=True)
    inputs = torch.tensor(data[:count], dtype=torch.float32).reshape(-1, 1, 8, 8)
    return inputs, torch.tensor(target[:count])
def conv(old, new):
    return [nn.Conv2d(old, new, 3, padding=1, bias=False), nn.BatchNorm2d(new), nn.ReLU()]
train, val = images(1438), images(359)
net = nn.Sequential(*conv(1, 16), *conv(16, 32), nn.MaxPool2d(2), *conv(32, 32),
                    nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10))
optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
loss = nn.functional.cross_entropy(net(train[0][:64]), train[1][:64])
loss.backward()
nn.utils.clip_grad_norm_(net.parameters(), 5.0)
optimizer.step()
""",
    STEP: f"""
import sys
import mmengine.hooks.runtime_info_hook as first_hook
class Reached(Exception):
    pass
def stop(*args, **kwargs):
    raise Reached
first_hook.RuntimeInfoHook.after_train_iter = stop
from mmengine.cli.__main__ import main
try:
    main(['train', {str(CONFIG)!r}, '--work-dir', 'work'])
except Reached:
    pass
""",
}
TELL = """
import json, sys, time
print(json.dumps([time.process_time(), 'torch' in sys.modules]), file=sys.__stderr__)
"""


def measure(code: str, bytecode: str, folder: str) -> tuple[float, bool]:
    """CPU seconds of the whole process up to the end of ``code``, and whether torch is there."""
    environ = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONPYCACHEPREFIX': bytecode}
    environ.pop('PYTHONDONTWRITEBYTECODE', None)
    environ['OMP_NUM_THREADS'] = '1'
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code + TELL],
        env=environ, cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds, has_torch = json.loads(done.stderr.splitlines()[-1])
    return float(seconds), bool(has_torch)


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--repeat', type=int, default=7)
    args = parser.parse_args()
    samples: dict[str, list[float]] = {name: [] for name in CODE}
    with tempfile.TemporaryDirectory() as bytecode, tempfile.TemporaryDirectory() as folder:
        has_torch = {name: measure(code, bytecode, folder)[1] for name, code in CODE.items()}
        for _ in range(args.repeat):
            for name, code in CODE.items():
                samples[name].append(measure(code, bytecode, folder)[0])
    if has_torch[HELP]:
        raise SystemExit('mmengine --help imports torch')
    times = {name: round(statistics.median(of_one), 3) for name, of_one in samples.items()}
    over = {
        name: round(
            statistics.median(a - b for a, b in zip(samples[name], samples[base], strict=True)), 3
        )
        for name, base in ((HELP, BARE), (STEP, HAND))
    }
    rows = [
        [name, f'{seconds:.3f}', f'{over[name]:.3f}' if name in over else '']
        for name, seconds in times.items()
    ]
    print(format_table(['process', 'CPU s', 'over the line above'], rows))
    print(verdict(over[HELP], BUDGET_HELP_S, 's'))
    print(verdict(over[STEP], BUDGET_STEP_S, 's'))
    write_report(
        args.out,
        repeat=args.repeat,
        budget_help_s=BUDGET_HELP_S,
        budget_first_step_s=BUDGET_STEP_S,
        cpu_s=times,
        over_s=over,
    )


if __name__ == '__main__':
    main()
