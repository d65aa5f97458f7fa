"""``mmengine plan``: what the training of a config will need."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from mmengine.cli.options import add_config, load_run_config, new_parser, warn_of_new_keys
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from mmengine.cli.options import Commands

DOES_NOT_FIT = 1
_EXAMPLES = """\
  mmengine plan config.py
  mmengine plan config.py --world-size 8 --memory 24GB
  mmengine plan config.py --mesh replicate=4,shard=8 --cfg-options strategy=fsdp
  mmengine plan config.py --world-size 64 --ranks-per-node 8 \\
      --flops 150T --bandwidth 25GB --node-bandwidth 300GB
  mmengine plan config.py --shape inputs=3,224,224 label=:int64 --num-samples 1281167
  mmengine plan config.py --picture schedule.png --json
"""


def add_parser(commands: Commands) -> None:
    """Add this command to ``commands``."""
    parser = new_parser(
        commands,
        'plan',
        'show what a training will need, without training',
        'Show the parameters, the schedule, the length, the memory of a rank, what it sends and\n'
        'how long the training of CONFIG takes. The model is built without numbers, as rank 0 of\n'
        'ranks that do not exist; one sample of the dataset is loaded. Exit code 1: it does not\n'
        'fit.',
        _EXAMPLES,
    )
    add_config(parser)
    parser.add_argument('--world-size', type=int, metavar='N', help='number of ranks (default: 1)')
    parser.add_argument(
        '--mesh', metavar='AXIS=N,...', help='device mesh of the strategy: replicate=2,shard=8'
    )
    parser.add_argument('--ranks-per-node', type=int, metavar='N', help='ranks of a machine')
    parser.add_argument(
        '--flops', metavar='NUMBER', help='operations that a rank makes in a second: 150T'
    )
    parser.add_argument(
        '--bandwidth', metavar='BYTES', help='bytes that a rank sends in a second: 25GB'
    )
    parser.add_argument(
        '--node-bandwidth', metavar='BYTES', help='the same between ranks of one machine'
    )
    parser.add_argument('--memory', metavar='BYTES', help='memory of a rank: 24GB, 80GiB')
    parser.add_argument(
        '--shape',
        nargs='+',
        metavar='KEY=SHAPE[:DTYPE]',
        help='entries of a sample, in place of the dataset: inputs=3,224,224 label=:int64',
    )
    parser.add_argument(
        '--num-samples', type=int, metavar='N', help='length of the dataset, with --shape'
    )
    parser.add_argument('--depth', type=int, default=1, help='levels of modules (default: 1)')
    parser.add_argument(
        '--real',
        action='store_true',
        help='build and step the model with numbers, for models that read values of tensors',
    )
    parser.add_argument('--picture', metavar='FILE', help='draw the schedule into FILE')
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.set_defaults(run=run, work_dir=None, launcher=None, local_rank=0)


def run(options: argparse.Namespace) -> int:
    """Print the plan; the exit code is 1 if it does not fit into ``--memory``."""
    from mmengine.plan import plan_run
    from mmengine.plan._schedule import draw_schedule
    from mmengine.plan._text import plan_text

    mesh = None if options.mesh is None else _pairs('--mesh', options.mesh.split(','))
    shapes = None if options.shape is None else _pairs('--shape', options.shape)
    cfg = load_run_config(options)
    warn_of_new_keys(options)
    plan = plan_run(
        cfg,
        world_size=options.world_size,
        mesh=None if mesh is None else {name: _number(name, size) for name, size in mesh.items()},
        ranks_per_node=options.ranks_per_node,
        flops=options.flops,
        bandwidth=options.bandwidth,
        node_bandwidth=options.node_bandwidth,
        memory=options.memory,
        shapes=shapes,
        num_samples=options.num_samples,
        depth=options.depth,
        real=options.real,
    )
    if options.picture is not None:
        draw_schedule(plan.schedule, options.picture)
    print(json.dumps(plan.to_dict(), indent=2) if options.json else plan_text(plan))
    return DOES_NOT_FIT if plan.fits is False else 0


def _pairs(name: str, words: list[str]) -> dict[str, Any]:
    pairs = {}
    for word in words:
        key, sign, value = word.partition('=')
        if not sign or not key:
            raise ArgumentError(f'{name} takes KEY=VALUE, got {word!r}.')
        pairs[key.strip()] = value.strip()
    return pairs


def _number(name: str, text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ArgumentError(f'--mesh {name} should be a positive integer, got {text!r}.')
    return int(text)
