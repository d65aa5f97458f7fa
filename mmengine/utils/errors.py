"""ArgumentError, and suggestions of similar names for error messages."""

import difflib
from collections.abc import Iterable


class ArgumentError(ValueError, AssertionError):
    """A user's argument has a wrong value.

    The MMEngine API raises ``AssertionError`` for wrong arguments in many places, and code exists
    that catches it. Both ``except ValueError`` and ``except AssertionError`` catch this class.
    """


class ArgumentTypeError(TypeError, AssertionError):
    """A user's argument is of a wrong kind, where the MMEngine API raised ``AssertionError``."""


class ArgumentKeyError(ArgumentError, KeyError):
    """A user's argument is an unknown name, where the MMEngine API raised ``KeyError``."""

    __str__ = Exception.__str__  # KeyError shows its message in quotes


class WrongMomentError(RuntimeError, AssertionError):
    """Something was called too early or too late, where the MMEngine API raised
    ``AssertionError``."""


def did_you_mean(name: str, known: Iterable[str], limit: int = 3) -> str:
    """A sentence with the known names that are similar to ``name``; empty if there are none.

    Example:
        >>> did_you_mean('AdamV', ['SGD', 'Adam', 'AdamW'])
        " Did you mean 'Adam' or 'AdamW'?"
    """
    by_folded_name: dict[str, str] = {}
    for candidate in known:
        by_folded_name.setdefault(candidate.lower(), candidate)
    near = difflib.get_close_matches(name.lower(), by_folded_name, n=limit, cutoff=0.6)
    if not near:
        return ''
    return f' Did you mean {" or ".join(repr(by_folded_name[match]) for match in near)}?'
