"""``mmengine completion``: lets a shell complete commands, options, files and keys of configs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mmengine.cli.options import new_parser

if TYPE_CHECKING:
    from mmengine.cli.options import Commands

SHELLS = ('bash', 'zsh', 'fish')
_EXAMPLES = """\
  eval "$(mmengine completion bash)"                 in ~/.bashrc
  eval "$(mmengine completion zsh)"                  in ~/.zshrc, after compinit
  mmengine completion fish | source                  in ~/.config/fish/config.fish
"""


def add_parser(commands: Commands) -> None:
    """Add this command to ``commands``."""
    parser = new_parser(
        commands,
        'completion',
        'let a shell complete commands, options and files',
        'Print a script for SHELL. It completes commands, options and their values, files, and\n'
        'after --cfg-options the keys of the config, which is read without executing it.',
        _EXAMPLES,
    )
    parser.add_argument('shell', choices=SHELLS, help='the shell')
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    print(completion_script(options.shell))
    return 0


def completion_script(shell: str) -> str:
    """The script with which ``shell`` completes the words after ``mmengine``.

    Args:
        shell: ``'bash'``, ``'zsh'`` or ``'fish'``.

    Raises:
        ArgumentError: If it is another one.
        ImportError: If argcomplete is not installed.
    """
    from mmengine.utils.errors import ArgumentError

    if shell not in SHELLS:
        raise ArgumentError(f'The shells are {", ".join(SHELLS)}; got {shell!r}.')
    try:
        from argcomplete.shell_integration import shellcode
    except ImportError as error:
        raise ImportError(
            "Completion needs argcomplete: pip install 'mmengine[completion]'"
        ) from error
    script: str = shellcode(['mmengine'], shell=shell)
    return script
