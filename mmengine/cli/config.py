"""``mmengine config``: show and compare configs without running them."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from mmengine.cli.options import add_config, load_config, new_parser
from mmengine.config import Config

if TYPE_CHECKING:
    from mmengine.cli.options import Commands

_SHOW_EXAMPLES = """\
  mmengine config show config.py
  mmengine config show config.py --cfg-options train_cfg.max_epochs=3 --format yaml
  mmengine config show config.py > frozen.py         one file that loads without its bases
"""
_DIFF_EXAMPLES = """\
  mmengine config diff config.py work_dirs/config/config.py
"""


def add_parser(commands: Commands) -> None:
    """Add this command and its two sub-commands to ``commands``."""
    parser = commands.add_parser(
        'config',
        help='show or compare configs',
        description='Show and compare configs without running them.',
    )
    own = parser.add_subparsers(dest='subcommand', metavar='show|diff', required=True)

    show = new_parser(
        own,
        'show',
        'print a config after merging its bases and variables',
        'Print CONFIG after merging the configs that it inherits, replacing its variables and\n'
        'applying --cfg-options. The modules in custom_imports are not imported.',
        _SHOW_EXAMPLES,
    )
    add_config(show)
    show.add_argument(
        '--format', choices=('py', 'json', 'yaml'), default='py', help='default: %(default)s'
    )
    show.set_defaults(run=run_show)

    diff = new_parser(
        own,
        'diff',
        'compare two configs after merging',
        'Print a unified diff of two configs after merging; print nothing if they are equal.',
        _DIFF_EXAMPLES,
    )
    diff.add_argument('old', metavar='A', help='config file')
    diff.add_argument('new', metavar='B', help='config file')
    diff.set_defaults(run=run_diff)


def run_show(options: argparse.Namespace) -> int:
    """Print one config."""
    cfg = load_config(options)
    _print(_written(cfg, options.format), 'python' if options.format == 'py' else options.format)
    return 0


def run_diff(options: argparse.Namespace) -> int:
    """Print the differences between two configs."""
    old, new = (
        Config.fromfile(file, import_custom_modules=False) for file in (options.old, options.new)
    )
    difference = Config.diff(old, new)
    if difference:
        _print(difference, 'diff')
    else:
        print(f'{options.old} and {options.new} are equal after merging.', file=sys.stderr)
    return 0


def _written(cfg: Config, language: str) -> str:
    if language == 'py':
        return cfg.pretty_text
    from mmengine.config._writing.data_text import json_text, yaml_text

    return (json_text if language == 'json' else yaml_text)(cfg.to_dict())


def _print(text: str, language: str) -> None:
    """Print in colour to a terminal, and byte for byte to other outputs."""
    if not sys.stdout.isatty():
        print(text.rstrip('\n'))
        return
    from rich.console import Console
    from rich.syntax import Syntax

    Console().print(Syntax(text, language, theme='ansi_dark', background_color='default'))
