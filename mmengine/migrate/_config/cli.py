"""``mmengine migrate config``: the command line of the config migration."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmengine.migrate._command import CONVERTED, NOTHING_WRITTEN, WITH_TODO, needs_libcst
from mmengine.utils.errors import ArgumentError

EXAMPLES = """\
  mmengine migrate config configs/ -o configs_new/                  a tree, with its inheritance
  mmengine migrate config a.py -o new/a.py --flatten --check        one file, and compare the curves
"""
EPILOG = 'Exit codes: 0 converted, 1 converted with things left to do, 2 nothing written.'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to ``parser``."""
    parser.add_argument('src', metavar='SRC', type=Path, help='a config file or a folder of them')
    parser.add_argument(
        '-o', '--output', metavar='DST', type=Path,
        help='where to write: a folder, or for one file a file (default: SRC with "_migrated")',
    )  # fmt: skip
    parser.add_argument(
        '--flatten', action='store_true', help='write resolved files, without _base_'
    )
    parser.add_argument(
        '--rules', metavar='NAMES', default='auto',
        help='vocabularies, comma-separated: auto (the default) chooses for each config; mmdet, '
        'mmcls, ..., or a file of your own (see docs/migration.md); none for no rules',
    )  # fmt: skip
    parser.add_argument(
        '--iters-per-epoch', metavar='N', type=int,
        help='iterations of an epoch: for --check, and for what cannot be said in epochs',
    )  # fmt: skip
    parser.add_argument(
        '--check', action='store_true', help='compare the schedules at every iteration'
    )  # fmt: skip
    parser.add_argument(
        '--report',
        metavar='FILE',
        type=Path,
        help='write a page with both curves (.html), or the first picture alone (.svg)',
    )
    parser.add_argument('--force', action='store_true', help='overwrite files that are there')
    parser.add_argument('--verbose', action='store_true', help='print every note')


@needs_libcst
def run(options: argparse.Namespace) -> int:
    """Convert, print what there is to tell, return the exit code."""
    from mmengine.migrate._config.migrate import migrate_configs
    from mmengine.migrate._config.report.page import written_report
    from mmengine.migrate._config.report.text import text_report

    try:
        report = migrate_configs(
            options.src,
            options.output,
            rules=[name for name in options.rules.split(',') if name.strip() not in ('', 'none')],
            flatten=options.flatten,
            iters_per_epoch=options.iters_per_epoch,
            check=options.check or options.report is not None,
            force=options.force,
        )
    except (ArgumentError, OSError) as error:
        print(f'mmengine migrate config: {error}', file=sys.stderr)
        return NOTHING_WRITTEN
    print(text_report(report, verbose=options.verbose))
    is_complete = report.is_complete
    if options.report is not None:
        try:
            options.report.parent.mkdir(parents=True, exist_ok=True)
            options.report.write_text(written_report(report, options.report), 'utf-8')
        except OSError as error:
            print(f'mmengine migrate config: no report: {error}', file=sys.stderr)
            is_complete = False
    if not report.written:
        return NOTHING_WRITTEN
    return CONVERTED if is_complete else WITH_TODO
