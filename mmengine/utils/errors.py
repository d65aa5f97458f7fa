"""Errors of a user's arguments, and parts of their messages."""

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


def short_form(value: object) -> str:
    """What a message shows of a value of a wrong kind.

    Example:
        >>> short_form('ResNet'), short_form(3), short_form(int), short_form([1])
        ("the text 'ResNet'", '3', 'the class int, not an object', 'an object of type list')
    """
    if isinstance(value, str):
        return f'the text {value!r}'
    if isinstance(value, type):
        return f'the class {value.__name__}, not an object'
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    return f'an object of type {type(value).__name__}'


def unknown_metric(reader: str, metric: str, known: Iterable[str]) -> str:
    """The message for a metric that a validation did not report.

    Args:
        reader: What was to read it.
        metric: Its name.
        known: Names of the metrics that were reported.

    Example:
        >>> unknown_metric('save_best', 'val/f1', ['f1'])
        "save_best watches 'val/f1', which is not among the metrics (f1). Did you mean 'f1'?"
    """
    names = [str(name) for name in known]
    # Logs and trackers show `val/f1` for the metric `f1`.
    bare = metric.removeprefix('val/')
    hint = f' Did you mean {bare!r}?' if bare in names else did_you_mean(metric, names)
    listed = ', '.join(names) or 'there are none'
    return f'{reader} watches {metric!r}, which is not among the metrics ({listed}).{hint}'


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
