"""``mmengine ckpt``: commands for checkpoint files."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmengine.cli.options import new_parser

if TYPE_CHECKING:
    from mmengine.cli.options import Commands

_EXAMPLES = """\
  mmengine ckpt ls work_dirs/digits
  mmengine ckpt verify work_dirs/digits
  mmengine ckpt inspect epoch_3.pth --weights
  mmengine ckpt diff epoch_2.pth epoch_3.pth
  mmengine ckpt average epoch_1.pth epoch_2.pth --out mean.pth
  mmengine ckpt publish best_acc_epoch_3.pth
  mmengine ckpt convert epoch_3.pth epoch_3.safetensors
  mmengine ckpt convert sharded/epoch_3.pth hf/model.safetensors --shard-size 5GB
  mmengine ckpt rm work_dirs/digits/epoch_1.pth
"""
_EPILOG = """
Nothing in a file is executed. Exit codes: 0 success, 1 a file is damaged (verify) or weights
differ (diff), 2 the command or one of its files is wrong.
"""


def add_parser(commands: Commands) -> None:
    """Add this command to ``commands``."""
    parser = new_parser(
        commands,
        'ckpt',
        'look at, check and convert checkpoints',
        'Commands for checkpoints (.pth, .safetensors, folders), of this engine or another one.',
        _EXAMPLES + _EPILOG,
    )
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)

    listing = _add(actions, 'ls', _ls, 'list the checkpoints of a work dir')
    listing.add_argument('work_dir', metavar='DIR', nargs='?', default='.', help='default: .')
    _add_json(listing)

    verifying = _add(actions, 'verify', _verify, 'check that files hold what was written')
    verifying.add_argument('paths', metavar='PATH', nargs='+', help='file or folder')
    _add_json(verifying)

    inspecting = _add(actions, 'inspect', _inspect, 'show what a checkpoint has')
    inspecting.add_argument('path', metavar='FILE')
    inspecting.add_argument('--weights', action='store_true', help='list each weight')
    _add_json(inspecting)

    comparing = _add(actions, 'diff', _diff, 'compare the weights of two checkpoints')
    comparing.add_argument('one', metavar='FILE')
    comparing.add_argument('other', metavar='FILE')
    _add_json(comparing)

    averaging = _add(actions, 'average', _average, 'write the mean of the weights of several')
    averaging.add_argument('paths', metavar='FILE', nargs='+')
    averaging.add_argument('--out', metavar='FILE', required=True, help='file to write')
    averaging.add_argument(
        '--weights', metavar='NUMBER', nargs='+', type=float, help='one for each file'
    )
    averaging.add_argument('--force', action='store_true', help='overwrite the file')

    publishing = _add(actions, 'publish', _publish, 'write a copy with the weights only')
    publishing.add_argument('path', metavar='FILE')
    publishing.add_argument('--out-dir', metavar='DIR', help='default: the folder of FILE')
    publishing.add_argument(
        '--keys', metavar='KEY', nargs='+', help='parts to keep (default: meta state_dict)'
    )

    converting = _add(
        actions, 'convert', _convert, 'convert between .pth, .safetensors and sharded folders'
    )
    converting.add_argument('path', metavar='SRC')
    converting.add_argument(
        'out',
        metavar='DST',
        help='its suffix tells the form: .pth, .safetensors, .safetensors.index.json (several '
        'files with an index); no suffix, or a slash at the end: a sharded folder',
    )
    converting.add_argument(
        '--shard-size',
        metavar='SIZE',
        help='of one of several files (default: 5GB, and 256MiB in a folder)',
    )
    converting.add_argument('--force', action='store_true', help='overwrite DST')

    removing = _add(actions, 'rm', _rm, 'remove checkpoints')
    removing.add_argument('paths', metavar='FILE', nargs='+')
    removing.add_argument(
        '--force',
        action='store_true',
        help='also the one that a run resumes from, the best, and all of a run at work',
    )


def _add(actions: Any, name: str, run: Any, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=summary, description=summary)
    parser.set_defaults(run=run)
    return parser


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--json', action='store_true', help='print JSON')


def _ls(options: argparse.Namespace) -> int:
    from mmengine._checkpoint.tools import ls

    found = ls(options.work_dir)
    if options.json:
        return _print_json(found)
    if not found:
        print(f'{options.work_dir} has no checkpoint.')
        return 0
    rows = [('file', 'epoch', 'iter', 'MB', 'written', 'metrics', '')]
    rows += [
        (
            one['path'],
            _text(one['epoch']),
            _text(one['iter']),
            f'{one["bytes"] / 1e6:.1f}',
            _text(one['time'])[:19].replace('T', ' '),
            ' '.join(f'{name}={value:.4g}' for name, value in (one['metrics'] or {}).items()),
            ', '.join(one['marks']),
        )
        for one in found
    ]
    print(_table(rows))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from mmengine._checkpoint.tools import verify

    results = verify(options.paths)
    if options.json:
        _print_json(results)
    else:
        for one in results:
            print(f'{one["path"]}: {one["fault"] or "whole"}')
    return int(any(one['fault'] for one in results))


def _inspect(options: argparse.Namespace) -> int:
    from mmengine._checkpoint.tools import inspect

    facts = inspect(options.path, options.weights)
    if options.json:
        return _print_json(facts)
    shapes = facts.pop('shapes', {})
    parts = facts.pop('parts')
    rows = [(key, _text(value)) for key, value in facts.items()]
    rows += [(f'part {key}', f'{size:,} bytes of tensors') for key, size in parts.items()]
    rows += [
        (name, f'{one["dtype"]} {" x ".join(map(str, one["shape"])) or "scalar"}')
        for name, one in shapes.items()
    ]
    print(_table(rows))
    return 0


def _diff(options: argparse.Namespace) -> int:
    from mmengine._checkpoint.tools import diff

    found = diff(options.one, options.other)
    if options.json:
        _print_json(found)
        return int(not found['same'])
    for key, (mine, theirs) in found['meta'].items():
        print(f'{key}: {_text(mine)} and {_text(theirs)}')
    for name in found['only_in_one']:
        print(f'{name}: only in {options.one}')
    for name in found['only_in_other']:
        print(f'{name}: only in {options.other}')
    for name, (mine, theirs) in found['shapes'].items():
        print(f'{name}: shape {mine} and {theirs}')
    for name, one in found['values'].items():
        dtypes = f', {" and ".join(one["dtypes"])}' if 'dtypes' in one else ''
        largest = '' if one['largest'] is None else f', by at most {one["largest"]:.6g}'
        print(f'{name}: {one["different"]:,} values differ{largest}{dtypes}')
    print(f'{found["equal"]} weights are equal.')
    return int(not found['same'])


def _average(options: argparse.Namespace) -> int:
    from mmengine._checkpoint.tools import average

    print(average(options.paths, options.out, options.weights, options.force))
    return 0


def _publish(options: argparse.Namespace) -> int:
    from mmengine._checkpoint.tools import publish

    keys = {} if options.keys is None else {'keys': options.keys}
    print(publish(options.path, options.out_dir, **keys))
    return 0


def _convert(options: argparse.Namespace) -> int:
    from mmengine._checkpoint.tools import convert

    left_out = convert(options.path, options.out, options.force, options.shard_size)
    print(options.out)
    if left_out:
        print(f'Not in it: {", ".join(left_out)}.')
    return 0


def _rm(options: argparse.Namespace) -> int:
    from mmengine._checkpoint.tools import rm
    from mmengine.process._lock import refuse_if_held

    if not options.force:
        for folder in {os.path.dirname(os.path.abspath(path)) for path in options.paths}:
            refuse_if_held(folder)
    for path in rm(options.paths, options.force):
        print(f'Removed {path}')
    return 0


def _print_json(value: Any) -> int:
    print(json.dumps(value, indent=2, default=str))
    return 0


def _text(value: Any) -> str:
    if value is None:
        return '-'
    return f'{value:,}' if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return '\n'.join(
        '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
