"""What a launch runs on each rank: the training of a config, or a script."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path


def is_script(path: str | Path, as_script: bool | None = None) -> bool:
    """Whether a file is a script: a Python file with ``if __name__ == '__main__':``.

    Args:
        path: The file.
        as_script: The answer, where the user gave it.
    """
    if as_script is not None:
        return as_script
    path = Path(path)
    if path.suffix != '.py':
        return False
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return False  # reading it as a config tells the error
    return any(isinstance(node, ast.If) and _names_main(node.test) for node in tree.body)


def words_of(target: str, arguments: Sequence[str], as_script: bool | None) -> list[str]:
    """The arguments of ``mmengine.launch._rank`` for a target.

    Args:
        target: A config file, or a script.
        arguments: Options of ``mmengine train``, or arguments of the script.
        as_script: Whether it is a script; None finds out by :func:`is_script`.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    if not Path(target).is_file():
        raise FileNotFoundError(2, 'There is no config file or script at this path', target)
    if is_script(target, as_script):
        return ['script', target, *arguments]
    # In front, so that a --launcher of the user comes later and has precedence.
    return ['module', 'mmengine', 'train', target, '--launcher', 'pytorch', *arguments]


def _names_main(test: ast.expr) -> bool:
    return any(isinstance(node, ast.Name) and node.id == '__name__' for node in ast.walk(test))
