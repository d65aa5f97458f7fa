"""What the commands of the migration share: their exit codes, and a library that may be missing."""

import argparse
import functools
import sys
from collections.abc import Callable
from importlib.util import find_spec

CONVERTED, WITH_TODO, NOTHING_WRITTEN = 0, 1, 2


def needs_libcst(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Let ``run`` tell how to install libcst where it is missing."""

    @functools.wraps(run)
    def checked(options: argparse.Namespace) -> int:
        if find_spec('libcst') is None:
            print("mmengine migrate needs libcst: pip install 'mmengine[migrate]'", file=sys.stderr)
            return NOTHING_WRITTEN
        return run(options)

    return checked
