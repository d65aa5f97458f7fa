"""Reads the command line, runs the command, and reports user errors with an exit code."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from importlib import import_module

from mmengine.cli._next_command import TypedCommand
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
    'config': 'show, check, describe or compare configs',
    'env': 'describe this machine and its software',
    'doctor': 'find what keeps this machine from training, or makes it slow',
    'migrate': 'convert configs, code and checkpoints of MMCV 1.x',
    'completion': 'let a shell complete commands, options and files',
}
_INTERRUPTED = 130  # the exit code that shells report after Ctrl-C


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments after ``mmengine``; None means the arguments of this process.

    Returns:
        The exit code: 0 for success, 1 if the run failed, 2 if the command, the config or one of
        its files is wrong, 130 after Ctrl-C where there is nothing to save.

    Raises:
        SystemExit: After the help text, or for unknown arguments.
        Exception: A failure that is not a user error, with its traceback.
    """
    try:
        return _run(argv)
    except SystemExit:
        raise  # a run that was stopped on request; for Ctrl-C it is a KeyboardInterrupt too
    except KeyboardInterrupt:
        _print_error('\nInterrupted.')
        return _INTERRUPTED
    finally:
        if argv is None and threading.current_thread() is threading.main_thread():
            # Nothing is left to close, so Ctrl-C ends the interpreter at once, without a traceback.
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _run(argv: Sequence[str] | None) -> int:
    """Run one command, and print the mistakes of a user; see :func:`main`."""
    if '_ARGCOMPLETE' in os.environ:
        from mmengine.cli._completing import complete

        complete(build_parser)  # which ends the process
    words = sys.argv[1:] if argv is None else argv
    # The options before a command take no values, so the first other word is the command.
    parser = build_parser([word for word in words if not word.startswith('-')][:1])
    try:
        options, unknown = parser.parse_known_args(argv)
        if unknown:
            parser.error(_unknown_words(unknown, parser, options.command))
    except ValueError as error:  # argparse itself ends the process
        parser.error(str(error))
    options.typed = TypedCommand(getattr(options, 'parser', parser), words)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader (head, less) has closed the pipe. Without this line the interpreter would
        # report it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from mmengine.cli import failures

        verdict = failures.judge(error)
        if verdict is None or options.traceback or os.environ.get('MMENGINE_TRACEBACK') == '1':
            raise
        text = f'mmengine {options.command}: error: {verdict.message}'
        if verdict.exit_code == failures.USER_MISTAKE:
            from mmengine.cli._told_once import tell_once

            tell_once(text, _print_error)
        else:
            _print_error(text)
        return verdict.exit_code


def _unknown_words(words: Sequence[str], parser: argparse.ArgumentParser, command: str) -> str:
    """The message for words that a command does not take, with the options that were meant."""
    from mmengine.utils.errors import did_you_mean

    known = _options_of(parser, command)
    hints = ''
    for word in (word.partition('=')[0] for word in words if word.startswith('--')):
        # --resume-from means --resume, although --resume-with has more letters of it.
        start = max((each for each in known if word.startswith(f'{each}-')), key=len, default='')
        hints += f' Did you mean {start!r}?' if start else did_you_mean(word, known, limit=1)
    return f'{command} does not take {" ".join(words)}.{hints}'


def _options_of(parser: argparse.ArgumentParser, command: str) -> list[str]:
    """The long options of a command, and of its sub-commands."""
    found: list[str] = []
    pending = [parser]
    while pending:
        for action in pending.pop()._actions:
            found += [name for name in action.option_strings if name.startswith('--')]
            if isinstance(action, argparse._SubParsersAction):
                pending += [one for name, one in action.choices.items() if one is not parser]
    return list(dict.fromkeys(found))


def _print_error(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


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
