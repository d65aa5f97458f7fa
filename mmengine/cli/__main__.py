"""Read the command line, run the command, turn mistakes into a sentence and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from mmengine.cli import config, env, failures, migrate, test, train
from mmengine.utils.errors import ArgumentError
from mmengine.version import __version__

_COMMANDS = (train, test, config, env, migrate)
_INTERRUPTED = 130  # what shells report for a program that Ctrl-C ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after ``mmengine``; those of this process by default.

    Returns:
        The exit code: 0 fine, 1 the run failed, 2 the command, the config or a file it names is
        wrong.

    Raises:
        SystemExit: After help, or for words that no command takes.
        Exception: A failure that is no mistake in what was asked for, with its traceback.
    """
    parser = build_parser()
    try:
        options = parser.parse_args(argv)
    except ArgumentError as error:
        parser.error(str(error))
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader (head, less) has left; the interpreter would complain of it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print('\nInterrupted.', file=sys.stderr)
        return _INTERRUPTED
    except Exception as error:
        verdict = failures.judge(error)
        if verdict is None or options.traceback or os.environ.get('MMENGINE_TRACEBACK') == '1':
            raise
        print(f'mmengine {options.command}: error: {verdict.message}', file=sys.stderr)
        return verdict.exit_code


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog='mmengine',
        description='Train and test PyTorch models that config files describe.',
        epilog=(
            'Exit codes: 0 fine, 1 the run failed, 2 the command, the config or a file it names is '
            'wrong.\nA mistake of the last kind is told in a sentence; MMENGINE_TRACEBACK=1 or '
            '--traceback adds\nwhere in the code it was found.'
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'mmengine {__version__}')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser


if __name__ == '__main__':
    sys.exit(main())
