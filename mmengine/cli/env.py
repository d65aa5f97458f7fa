"""``mmengine env``: prints the description of the machine for bug reports."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mmengine.cli.options import new_parser

if TYPE_CHECKING:
    from mmengine.cli.options import Commands

_EXAMPLES = """\
  mmengine env                                       paste the whole output into a bug report
"""


def add_parser(commands: Commands) -> None:
    """Add this command to ``commands``."""
    parser = new_parser(
        commands,
        'env',
        'describe this machine and its software',
        'Print the versions of Python, PyTorch and this package, the compilers, the accelerators.',
        _EXAMPLES,
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the report, one entry per line."""
    from mmengine.device._environment import collect_env

    for name, value in collect_env().items():
        print(f'{name}: {str(value).strip()}')
    return 0
