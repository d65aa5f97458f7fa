"""Errors that teach: one class for wrong arguments, and the nearest right names."""

import difflib
from collections.abc import Iterable


class ArgumentError(ValueError, AssertionError):
    """A user's argument has a wrong value.

    The MMEngine API raised ``AssertionError`` at users in many places, so code exists that catches
    it. This class is caught by ``except ValueError`` and by ``except AssertionError`` alike.
    """


def did_you_mean(name: str, known: Iterable[str], limit: int = 3) -> str:
    """A sentence that names the known names nearest to ``name``; empty when none comes near.

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
