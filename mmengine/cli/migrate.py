"""``mmengine migrate``: bring configs of MMCV 1.x to this engine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mmengine.cli.options import new_parser
from mmengine.migrate.config import cli as config

if TYPE_CHECKING:
    from mmengine.cli.options import Commands

_SUMMARY = 'bring what was written for MMCV 1.x to this engine'


def add_parser(commands: Commands) -> None:
    """Add this command, and its own sub-commands, to ``commands``."""
    parser = new_parser(
        commands, 'migrate', _SUMMARY, 'Convert what was written for MMCV 1.x.', config.EXAMPLES
    )
    subjects = parser.add_subparsers(dest='subject', metavar='WHAT', required=True)
    configs = subjects.add_parser(
        'config',
        help='convert config files',
        description=(
            'Convert config files of MMCV 1.x, with their comments, names and inheritance.\n'
            'Each new file is loaded and compared before it is written.'
        ),
        epilog=f'examples:\n{config.EXAMPLES}\n{config.EPILOG}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    config.add_arguments(configs)
    configs.set_defaults(run=config.run)
