"""Time to build a small object from its config, by registry, warm.

    python benchmarks/registry_build.py [--repeat 20] [--out benchmarks/results/registry_build.json]

CPU time of one ``Registry.build`` in microseconds, over calling the class itself: median and best
of the repeats, each the mean of 10,000 calls. The budget is for the median of the whole build.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _report import format_table, make_parser, verdict, write_report

from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope, Registry

BUDGET_US = 4.0
CALLS = 10_000


@MODELS.register_module()
class SmallObject:
    def __init__(self, width: int, depth: int = 1, name: str = '') -> None:
        self.width, self.depth, self.name = width, depth, name


PROJECT = Registry('model', parent=MODELS, scope='project')
PROJECT.register_module('ProjectObject', module=SmallObject)

ARGUMENTS = {'width': 3, 'depth': 2, 'name': 'small'}


def cases() -> dict[str, Callable[[], Any]]:
    """What is timed: a config, and how it is found."""
    by_name = {'type': 'SmallObject', **ARGUMENTS}
    config_dict = ConfigDict(by_name)
    by_class = {'type': SmallObject, **ARGUMENTS}
    in_project = {'type': 'project.ProjectObject', **ARGUMENTS}
    by_path = {'type': 'collections.OrderedDict', **ARGUMENTS}
    defaults = {'name': 'other'}
    return {
        'the class itself, called': lambda: SmallObject(**ARGUMENTS),
        'dict, registered name': lambda: MODELS.build(by_name),
        'ConfigDict, registered name': lambda: MODELS.build(config_dict),
        'dict, class as type': lambda: MODELS.build(by_class),
        'dict, with default_args': lambda: MODELS.build(by_name, default_args=defaults),
        'dict, name of a parent': lambda: PROJECT.build(by_name),
        'dict, name of another scope': lambda: MODELS.build(in_project),
        'dict, import path (OrderedDict)': lambda: MODELS.build(by_path),
    }


def measure(call: Callable[[], Any], repeat: int) -> list[float]:
    """Microseconds a call, for each repeat."""
    call()
    samples = []
    for _ in range(repeat):
        began = time.process_time()
        for _ in range(CALLS):
            call()
        samples.append((time.process_time() - began) / CALLS * 1e6)
    return samples


def main() -> int:
    parser = make_parser(__file__, __doc__)
    parser.add_argument('--repeat', type=int, default=20)
    options = parser.parse_args()

    times: dict[str, dict[str, float]] = {}
    with DefaultScope.overwrite_default_scope('mmengine'):
        for name, call in cases().items():
            samples = measure(call, options.repeat)
            times[name] = {
                'median_us': round(statistics.median(samples), 3),
                'best_us': round(min(samples), 3),
            }

    rows = [[name, *row.values()] for name, row in times.items()]
    print(format_table(['one build', 'median us', 'best us'], rows))
    print(verdict(times['dict, registered name']['median_us'], BUDGET_US, 'us'))
    write_report(options.out, calls=CALLS, repeat=options.repeat, budget_us=BUDGET_US, times=times)
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
