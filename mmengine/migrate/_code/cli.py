"""``mmengine migrate code``: the command line of the code migration."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from mmengine.migrate._command import CONVERTED, NOTHING_WRITTEN, WITH_TODO, needs_libcst
from mmengine.utils.errors import ArgumentError

EXAMPLES = """\
  mmengine migrate code mmproject/ --diff     show what would change
  mmengine migrate code mmproject/ --write    change it
"""
EPILOG = (
    'Exit codes: 0 converted, 1 converted with things left to do, 2 nothing written.\n'
    'What needs a hand has a comment "TODO(mmengine migrate): why" above it.'
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to ``parser``."""
    parser.add_argument(
        'src',
        metavar='SRC',
        type=Path,
        nargs='?',
        help='a Python file, a notebook, or a folder of them',
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument('--write', action='store_true', help='change the files')
    action.add_argument('--diff', action='store_true', help='print the changes as a diff')
    action.add_argument('--list', action='store_true', help='list the codemods')


@needs_libcst
def run(options: argparse.Namespace) -> int:
    """Convert, tell what changed and what is left, return the exit code."""
    from mmengine.migrate._code import convert

    if options.list:
        for codemod in convert.CODEMODS:
            print(f'{codemod.name:16} {codemod.summary}')
        return CONVERTED
    if options.src is None:
        print('mmengine migrate code: name a file or folder, or ask for --list.', file=sys.stderr)
        return NOTHING_WRITTEN
    changed = left = failed = 0
    try:
        for conversion in convert.convert_files(options.src, os.cpu_count() or 1):
            if conversion.error:
                failed += 1
                print(f'{conversion.path}: not converted: {conversion.error}', file=sys.stderr)
                continue
            if conversion.new == conversion.old and not conversion.todo:
                continue
            changed += conversion.new != conversion.old
            if options.diff:
                print(conversion.diff(), end='')
            elif conversion.new != conversion.old:
                print(f'{conversion.path}: {", ".join(conversion.applied)}')
            if options.write and conversion.new != conversion.old:
                convert.write(conversion)
            for line, why in conversion.todo:
                left += 1
                print(f'{conversion.path}:{line}: {why}', file=sys.stderr if options.diff else None)
    except (ArgumentError, OSError) as error:
        print(f'mmengine migrate code: {error}', file=sys.stderr)
        return NOTHING_WRITTEN
    if not options.diff:
        verb = 'changed' if options.write else 'would change (--write does it, --diff shows it)'
        print(f'{changed} files {verb}, {left} things left to do, {failed} not readable')
        print('Configs are converted by `mmengine migrate config`.')
    if failed and not changed:
        return NOTHING_WRITTEN
    return WITH_TODO if left or failed else CONVERTED
