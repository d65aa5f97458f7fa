"""``mmengine config``: show, check, describe and compare configs without running them."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from mmengine.cli.options import (
    add_config,
    load_config,
    load_run_config,
    load_with_imports,
    new_parser,
    warn_of_new_keys,
)
from mmengine.config import Config

if TYPE_CHECKING:
    from mmengine.cli.options import Commands

_SHOW_EXAMPLES = """\
  mmengine config show config.py
  mmengine config show config.py --cfg-options train_cfg.max_epochs=3 --format yaml
  mmengine config show config.py > frozen.py         one file that loads without its bases
"""
_CHECK_EXAMPLES = """\
  mmengine config check config.py
  mmengine config check config.py --cfg-options model.depth=50
  mmengine config check config.py --stage test --no-build
"""
_SCHEMA_EXAMPLES = """\
  mmengine config schema > mmengine.schema.json
  mmengine config schema config.yaml > config.schema.json
"""
_DIFF_EXAMPLES = """\
  mmengine config diff config.py work_dirs/config/config.py
"""


def add_parser(commands: Commands) -> None:
    """Add this command and its sub-commands to ``commands``."""
    parser = commands.add_parser(
        'config',
        help='show, check, describe or compare configs',
        description='Show, check, describe and compare configs without running them.',
    )
    own = parser.add_subparsers(dest='subcommand', metavar='show|check|schema|diff', required=True)

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

    check = new_parser(
        own,
        'check',
        'list all mistakes of the config of a run',
        'List all mistakes of CONFIG with file and line, and exit with 2 if there are any: types,\n'
        'arguments, misspelt keys, numbers, files. The model is built without numbers, the data\n'
        'is not built.',
        _CHECK_EXAMPLES,
    )
    add_config(check)
    check.add_argument(
        '--stage', choices=('train', 'val', 'test'), help='check what this stage needs'
    )
    check.add_argument('--no-build', action='store_true', help='do not build the model')
    check.set_defaults(run=run_check, work_dir=None, launcher=None, local_rank=0)

    schema = new_parser(
        own,
        'schema',
        'print the JSON schema of a config, for editors',
        'Print the JSON schema (draft 2020-12) of the config of a run: keys, types and their\n'
        'arguments. Editors complete and check YAML and JSON configs by it. With CONFIG, it has\n'
        'the types that CONFIG names and that its custom_imports register.',
        _SCHEMA_EXAMPLES,
    )
    schema.add_argument('config', nargs='?', metavar='CONFIG', help='config file')
    schema.add_argument(
        '--partial', action='store_true', help='for files that others inherit: nothing is required'
    )
    schema.set_defaults(run=run_schema)

    diff = new_parser(
        own,
        'diff',
        'compare two configs after merging',
        'Print a unified diff of two configs after merging. Equal configs have none: a line on\n'
        'standard error says so.',
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


def run_check(options: argparse.Namespace) -> int:
    """List the mistakes of one config.

    Raises:
        ConfigMistakesError: If there are any.
    """
    from mmengine.runner._check.config import check_config
    from mmengine.runner._check.mistakes import refuse_certain

    found = check_config(
        load_run_config(options),
        options.stage,
        options=options.cfg_options,
        build_model=not options.no_build,
    )
    for mistake in found:
        if not mistake.is_certain:
            print(f'mmengine: warning: {mistake}', file=sys.stderr)
    refuse_certain(found)
    warn_of_new_keys(options)
    print(f'{options.config}: no mistakes found.')
    return 0


def run_schema(options: argparse.Namespace) -> int:
    """Print the schema of a config."""
    import json

    from mmengine.runner import config_schema

    cfg = None if options.config is None else load_with_imports(options.config)
    _print(json.dumps(config_schema(cfg, partial=options.partial), indent=2), 'json')
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
