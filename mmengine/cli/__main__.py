"""Reads the command line, runs the command, and reports user errors with an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from mmengine.cli import ckpt, config, env, failures, migrate, runs, test, train
from mmengine.utils.errors import ArgumentError
from mmengine.version import __version__

_COMMANDS = (train, test, runs, ckpt, config, env, migrate)
_INTERRUPTED = 130  # the exit code that shells report after Ctrl-C


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments after ``mmengine``; None means the arguments of this process.

    Returns:
        The exit code: 0 for success, 1 if the run failed, 2 if the command, the config or one of
        its files is wrong.

    Raises:
        SystemExit: After the help text, or for unknown arguments.
        Exception: A failure that is not a user error, with its traceback.
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
        # The reader (head, less) has closed the pipe. Without this line the interpreter would
        # report it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit:
        raise  # a run that was stopped on request; for Ctrl-C it is a KeyboardInterrupt too
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
        description='Train and test PyTorch models defined by config files.',
        epilog=(
            'Exit codes: 0 success, 1 the run failed, 2 the command, the config or one of its '
            'files is wrong.\nErrors with exit code 2 are printed as one message; '
            'MMENGINE_TRACEBACK=1 or --traceback adds\nthe traceback.'
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
