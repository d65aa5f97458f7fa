"""Reads the command line, runs the command, and reports user errors with an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from mmengine.version import __version__

# Each command is a module here. It is imported when the command is called, so that `mmengine
# --help` needs neither torch nor a config; its summary is therefore written here too.
_COMMANDS = {
    'init': 'write a small project that runs at once',
    'train': 'train the model of a config',
    'test': 'test a checkpoint of the model of a config',
    'predict': 'predict on files, or on the test data of a config',
    'export': 'export a trained model by torch.export or to ONNX',
    'launch': 'start the ranks of a run',
    'plan': 'show what a training will need, without training',
    'report': 'write one page about runs: curves, configs, checkpoints',
    'runs': 'stop a run',
    'ckpt': 'look at, check and convert checkpoints',
    'config': 'show, check or compare configs',
    'env': 'describe this machine and its software',
    'migrate': 'convert configs, code and checkpoints of MMCV 1.x',
}
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
    words = sys.argv[1:] if argv is None else argv
    # The options before a command take no values, so the first other word is the command.
    parser = build_parser([word for word in words if not word.startswith('-')][:1])
    try:
        options = parser.parse_args(argv)
    except ValueError as error:  # argparse itself ends the process
        parser.error(str(error))
    options.words = list(words)
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
        from mmengine.cli import failures

        verdict = failures.judge(error)
        if verdict is None or options.traceback or os.environ.get('MMENGINE_TRACEBACK') == '1':
            raise
        print(f'mmengine {options.command}: error: {verdict.message}', file=sys.stderr)
        return verdict.exit_code


def build_parser(commands: Sequence[str] = tuple(_COMMANDS)) -> argparse.ArgumentParser:
    """The parser of ``commands``; of other commands it has the names and summaries."""
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
    subparsers = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
    for name, summary in _COMMANDS.items():
        if name in commands:
            import_module(f'mmengine.cli.{name}').add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary)
    return parser


if __name__ == '__main__':
    sys.exit(main())
