"""``mmengine migrate project``: the command line of the migration of whole projects."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmengine.migrate._command import CONVERTED, NOTHING_WRITTEN, WITH_TODO, needs_libcst
from mmengine.utils.errors import ArgumentError

EXAMPLES = """\
  mmengine migrate project mmproject/ migrated/    configs, code, scripts and requirements
"""
EPILOG = (
    'Exit codes: 0 converted, 1 converted with things left to do, 2 nothing written.\n'
    'DST/MIGRATION.md says what was done, what is left and how sure it is.'
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to ``parser``."""
    parser.add_argument('src', metavar='SRC', type=Path, help='the folder of the project')
    parser.add_argument('dst', metavar='DST', type=Path, help='where to write the migrated one')
    parser.add_argument(
        '--rules',
        metavar='NAMES',
        default='auto',
        help='vocabularies for the configs, as of `mmengine migrate config`',
    )
    parser.add_argument(
        '--mmcv-python',
        metavar='PATH',
        help='the Python of an environment with MMCV 1.x: one training step of each config is '
        'taken there and here, with the same weights and data, and the losses are compared',
    )
    parser.add_argument('--force', action='store_true', help='write into a folder that has files')


@needs_libcst
def run(options: argparse.Namespace) -> int:
    """Convert, write and print the page, return the exit code."""
    from mmengine.migrate._project.migrate import PAGE, migrate_project
    from mmengine.migrate._project.page import page
    from mmengine.migrate._project.steps import compare_steps

    names = [name for name in options.rules.split(',') if name.strip() not in ('', 'none')]
    try:
        migration = migrate_project(options.src, options.dst, rules=names, force=options.force)
        if options.mmcv_python is not None:
            migration.steps = compare_steps(migration, options.mmcv_python)
        text = page(migration)
        (migration.target / PAGE).write_text(text, 'utf-8')
    except (ArgumentError, OSError) as error:
        print(f'mmengine migrate project: {error}', file=sys.stderr)
        return NOTHING_WRITTEN
    print(text, end='')
    return CONVERTED if migration.is_complete else WITH_TODO
