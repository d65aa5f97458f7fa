"""``mmengine report``: writes one page about one or several runs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mmengine.cli.options import new_parser

if TYPE_CHECKING:
    from mmengine.cli.options import Commands

_EXAMPLES = """\
  mmengine report work_dirs/config                   writes report.html
  mmengine report work_dirs/a work_dirs/b --out both.html
"""


def add_parser(commands: Commands) -> None:
    """Add this command to ``commands``."""
    parser = new_parser(
        commands,
        'report',
        'write one page about runs: curves, configs, checkpoints',
        'Write one HTML page with the curves, configs, checkpoints, environments and warnings of\n'
        'runs. The page needs no network and no other file. The runs may still be at work.',
        _EXAMPLES,
    )
    parser.add_argument('work_dirs', nargs='+', metavar='WORK_DIR', help='work dir of a run')
    parser.add_argument('--out', default='report.html', metavar='FILE', help='default: %(default)s')
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the page."""
    from mmengine.report import report

    print(f'Wrote {report(options.work_dirs, options.out)}')
    return 0
