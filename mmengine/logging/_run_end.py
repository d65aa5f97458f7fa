"""How a stage of a run ended: the sentence in its log, and what a reader of the log finds."""

from __future__ import annotations

import re

_NAMES = {'train': 'training', 'val': 'validation', 'test': 'test'}
_OF_OTHER_RANK = 'RankFailedError'
# The sentences below, of trainings.
_FOUND = re.compile(
    r'The training (failed after .+|ended.*)$'
    r'|The training was (stopped by .+)$'
    r'|The run (stops for .+?)\. resume=True continues it\.$',
    re.MULTILINE,
)


def failed(stage: str, iterations: int, error: BaseException) -> str:
    """The sentence for a stage that an error ends."""
    first = next(iter(str(error).strip().splitlines()), '')
    text = f'{type(error).__name__}: {first}' if first else type(error).__name__
    return f'The {_NAMES[stage]} failed after {_counted(iterations)}: {text}'


def stopped(stage: str, iterations: int, reason: str) -> str:
    """The sentence for a stage that somebody stops, and whose state is not saved."""
    return f'The {_NAMES[stage]} was stopped by {reason} after {_counted(iterations)}.'


def stops_for(reason: str, iterations: int, max_iterations: int) -> str:
    """The sentence for a training that saves its state and stops."""
    return (
        f'The run stops for {reason} after {iterations} of {max_iterations} iterations. '
        'resume=True continues it.'
    )


def ended(iterations: int, max_iterations: int) -> str:
    """The sentence for a training that ends by its length, or early on purpose.

    Args:
        iterations: Finished ones; 0 if the loop does not count them.
        max_iterations: Length of the training; -1 if unknown.
    """
    if not iterations:
        return 'The training ended.'
    if iterations > max_iterations:
        return f'The training ended after {_counted(iterations)}.'
    return f'The training ended after {iterations} of {_counted(max_iterations)}.'


def end_in(log: str) -> str:
    """How the last training of a log ended, such as ``'failed after 3 iterations: ...'``.

    Empty if the log does not say so: the training is still at work, or its process was killed.

    Args:
        log: Texts of the logs of all ranks of a start.
    """
    found: list[str] = [
        next(filter(None, match.groups())).replace('stops for', 'stopped by')
        for match in _FOUND.finditer(log)
    ]
    own = [one for one in found if _OF_OTHER_RANK not in one]
    *_, last = '', *(own or found)
    return last.removesuffix('.')


def _counted(iterations: int) -> str:
    return f'{iterations} iteration{"" if iterations == 1 else "s"}'
