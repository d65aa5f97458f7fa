"""``mmengine migrate``: converts configs, code and checkpoints of MMCV 1.x to this engine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from mmengine.cli.options import new_parser
from mmengine.migrate import _checkpoint_cli as checkpoint
from mmengine.migrate._code import cli as code
from mmengine.migrate._config import cli as config
from mmengine.migrate._project import cli as project

if TYPE_CHECKING:
    from mmengine.cli.options import Commands

_SUMMARY = 'convert configs, code and checkpoints of MMCV 1.x'
_SUBJECTS: tuple[tuple[str, Any, str, str], ...] = (
    (
        'config',
        config,
        'convert config files',
        'Convert config files of MMCV 1.x, with their comments, names and inheritance.\n'
        'Each new file is loaded and compared before it is written.',
    ),
    (
        'code',
        code,
        'convert Python code',
        'Convert code written for MMCV 1.x: imports, models, hooks, training scripts.\n'
        'Without --write nothing is changed.',
    ),
    (
        'project',
        project,
        'convert a whole project',
        'Convert the configs, code, scripts and requirements of a project together, and write a\n'
        'page about it. The project itself is not changed.',
    ),
    (
        'checkpoint',
        checkpoint,
        'convert a checkpoint',
        'Convert a checkpoint of MMCV 1.x, so that its training can be resumed here.\n'
        'No code in the file is executed.',
    ),
)


def add_parser(commands: Commands) -> None:
    """Add this command and its sub-commands to ``commands``."""
    parser = new_parser(
        commands,
        'migrate',
        _SUMMARY,
        'Convert configs, code and checkpoints of MMCV 1.x.',
        ''.join(subject.EXAMPLES for _, subject, _, _ in _SUBJECTS),
    )
    subjects = parser.add_subparsers(dest='subject', metavar='WHAT', required=True)
    for name, subject, summary, description in _SUBJECTS:
        words = subjects.add_parser(
            name,
            help=summary,
            description=description,
            epilog=f'examples:\n{subject.EXAMPLES}\n{subject.EPILOG}',
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        subject.add_arguments(words)
        words.set_defaults(run=subject.run)
