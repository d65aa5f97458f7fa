"""Time of one scalar update of the message hub, and the memory of long runs.

    python benchmarks/message_hub.py [--repeat 15] [--peer PYTHON]
                                     [--out benchmarks/results/message_hub.json]

Wall time of one ``MessageHub.update_scalar`` in microseconds, with histories of 0 to 1,000,000
values: median and best of the repeats, each the mean of 2,048 calls, so that the folding of pending
values (every 1,024) is in it. The budget is for the median of a float. Memory is the growth of this
process's resident set over iterations that log four scalars each and read their means every 50;
histories keep 4,096 values or more, and sums of older ones. ``--peer`` is the interpreter of an
environment where another implementation of the API is installed; it is measured alike, memory
aside.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

if 'MESSAGE_HUB_PEER' not in os.environ:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from _report import format_table, make_parser, verdict, write_report

from mmengine.logging import HistoryBuffer, MessageHub

IS_PEER = 'MESSAGE_HUB_PEER' in os.environ
BUDGET_US = 1.0
CALLS = 2048
HISTORIES = (0, 10_000, 100_000, 1_000_000)
MEMORY_POINTS = (1_000, 250_000, 500_000, 1_000_000, 1_500_000, 2_000_000)
SCALARS = ('train/loss', 'train/loss_cls', 'train/loss_bbox', 'train/time')


def hub_with_history(length: int) -> MessageHub:
    buffer = HistoryBuffer(np.zeros(length), np.ones(length, dtype=np.int64))
    return MessageHub('benchmark', log_scalars={'x': buffer}, resumed_keys={'x': True})


def values() -> dict[str, Any]:
    """What is logged."""
    loss = torch.ones((), requires_grad=True) * 1.5
    return {
        'float': 1.5,
        'numpy float32': np.float32(1.5),
        'tensor': loss.detach(),
        'tensor with graph': loss,
    }


def measure(call: Callable[[], Any], calls: int, repeat: int) -> dict[str, float]:
    """Microseconds a call."""
    call()
    samples = []
    for _ in range(repeat):
        began = time.perf_counter()
        for _ in range(calls):
            call()
        samples.append((time.perf_counter() - began) / calls * 1e6)
    return {'median_us': round(statistics.median(samples), 3), 'best_us': round(min(samples), 3)}


def measure_updates(repeat: int) -> dict[str, dict[str, float]]:
    times = {}
    for length in HISTORIES:
        hub = hub_with_history(length)
        # A peer whose update copies the history would take minutes otherwise.
        calls = 50 if IS_PEER and length > 10_000 else CALLS
        times[f'float, after {length:,} values'] = measure(
            lambda hub=hub: hub.update_scalar('x', 1.5), calls, repeat
        )
    for name, value in values().items():
        hub = hub_with_history(0)
        times[name] = measure(
            lambda hub=hub, value=value: hub.update_scalar('x', value), CALLS, repeat
        )
    return times


def resident_mb() -> float:
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


def measure_memory() -> dict[str, float]:
    """MB by which this process has grown after so many iterations."""
    hub = MessageHub('memory')
    start = resident_mb()
    grown = {}
    for iteration in range(1, MEMORY_POINTS[-1] + 1):
        for key in SCALARS:
            hub.update_scalar(key, 1.0 / iteration)
        if iteration % 50 == 0:
            for key in SCALARS:
                hub.get_scalar(key).mean(10)
        if iteration in MEMORY_POINTS:
            grown[f'{iteration:,}'] = round(resident_mb() - start, 1)
    return grown


def measure_peer(python: str, repeat: int) -> dict[str, dict[str, float]]:
    done = subprocess.run(
        [python, __file__, '--repeat', str(repeat)],
        env=os.environ | {'MESSAGE_HUB_PEER': '1'},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    times: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return times


def main() -> int:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--repeat', type=int, default=15)
    parser.add_argument('--peer')
    options = parser.parse_args()

    times = measure_updates(options.repeat)
    if IS_PEER:
        print(json.dumps(times))
        return 0
    peer = measure_peer(options.peer, options.repeat) if options.peer else {}

    rows = [
        [name, *row.values(), peer[name]['median_us'] if peer else '-']
        for name, row in times.items()
    ]
    print(format_table(['one update_scalar', 'median us', 'best us', 'peer us'], rows))
    print(verdict(times['float']['median_us'], BUDGET_US, 'us'), end='\n\n')

    memory = measure_memory()
    print(format_table(['iterations of 4 scalars', 'MB grown'], list(memory.items())))
    write_report(
        options.out,
        calls=CALLS,
        repeat=options.repeat,
        budget_us=BUDGET_US,
        times=times,
        peer_times=peer,
        memory_grown_mb=memory,
    )
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
