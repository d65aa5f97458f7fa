"""``mmengine runs``: commands for runs that are at work."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.cli.options import new_parser
from mmengine.utils._stop_file import STOP_FILE, write_stop_file
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from mmengine.cli.options import Commands

_EXAMPLES = """\
  mmengine runs stop work_dirs/config            the run saves its state and ends
  mmengine runs stop work_dirs/config --wait 60  the same, and wait until the run has seen it
"""
_POLL_S = 0.2


def add_parser(commands: Commands) -> None:
    """Add this command to ``commands``."""
    parser = new_parser(
        commands, 'runs', 'stop a run', 'Commands for runs that are at work.', _EXAMPLES
    )
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    stop = actions.add_parser('stop', help='ask a run to save its state and end')
    stop.add_argument('work_dir', metavar='RUN', help='work dir of the run')
    stop.add_argument('--reason', default='', help='written to the log of the run')
    stop.add_argument(
        '--wait',
        type=float,
        default=0.0,
        metavar='SECONDS',
        help='wait until the run has seen the request; exit code 1 if it has not',
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the stop file of the run.

    Raises:
        ArgumentError: If the folder is not the work dir of a run.
    """
    folder = Path(options.work_dir)
    if folder.is_dir() and not any(folder.glob('*/*.log')):
        raise ArgumentError(
            f'{folder} is not the work dir of a run: it has no log (TIMESTAMP/TIMESTAMP.log).'
        )
    path = write_stop_file(folder, options.reason)
    deadline = time.monotonic() + options.wait
    while options.wait and path.exists():
        if time.monotonic() > deadline:
            print(f'No run has seen {path} within {options.wait:g} s.')
            return 1
        time.sleep(_POLL_S)
    if options.wait:
        print('The run saves its state and ends.')
    else:
        print(f'Wrote {path}: the run saves its state and ends. Its file {STOP_FILE!r} goes then.')
    return 0
