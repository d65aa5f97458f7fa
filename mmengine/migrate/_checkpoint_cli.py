"""``mmengine migrate checkpoint``: the command line of the checkpoint migration."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmengine.migrate._command import CONVERTED, NOTHING_WRITTEN, WITH_TODO
from mmengine.utils.errors import ArgumentError

EXAMPLES = """\
  mmengine migrate checkpoint epoch_12.pth new/epoch_12.pth
  mmengine migrate checkpoint old.pth new.pth --rename '^bbox_head\\.=head.' '^=model.'
"""
EPILOG = (
    'Exit codes: 0 converted, 1 converted with things left to do, 2 nothing written.\n'
    "A model wrapped in LegacyModel has its weights under 'model.': --rename '^=model.'"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to ``parser``."""
    parser.add_argument('old', metavar='OLD', type=Path, help='a checkpoint of MMCV 1.x')
    parser.add_argument('new', metavar='NEW', type=Path, help='where to write')
    parser.add_argument(
        '--rename', metavar='RULES', nargs='+', default=[],
        help='PATTERN=REPLACEMENT for names of weights, or a .json or .yaml file of them',
    )  # fmt: skip
    parser.add_argument(
        '--iterations', metavar='N', type=int,
        help='finished iterations, if it was saved by iteration and OLD is not named iter_<N>.pth',
    )  # fmt: skip
    parser.add_argument(
        '--averages', choices=('plain', 'ema_'),
        help='where EMAHook left the averaged weights: under the plain names, or under those with '
        'ema_; told by the file otherwise',
    )  # fmt: skip
    parser.add_argument('--force', action='store_true', help='overwrite NEW')


def run(options: argparse.Namespace) -> int:
    """Convert one file, tell what was found, return the exit code."""
    from mmengine._checkpoint._outside import CheckpointReadError
    from mmengine._checkpoint.files import read_checkpoint, save_checkpoint
    from mmengine.migrate import _checkpoint as migration

    try:
        if options.new.exists() and not options.force:
            raise ArgumentError(f'{options.new} is there already; --force overwrites it.')
        rules = migration.parse_rename_rules(options.rename)
        checkpoint = read_checkpoint(options.old, map_location='cpu')
        iterations = options.iterations
        if iterations is None:
            iterations = migration.iterations_from_name(options.old)
        result = migration.migrate_checkpoint(
            checkpoint, rules, iterations, options.old.resolve().name, options.averages
        )
        save_checkpoint(result.content, options.new)
    except (ArgumentError, CheckpointReadError, OSError) as error:
        print(f'mmengine migrate checkpoint: {error}', file=sys.stderr)
        return NOTHING_WRITTEN
    print(f'{options.old} -> {options.new}: {migration.summary_of(result.content)}')
    for note in result.notes:
        print(f'  {note}')
    for todo in result.todo:
        print(f'  left: {todo}')
    return WITH_TODO if result.todo else CONVERTED
