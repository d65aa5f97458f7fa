"""Which ranks a collective waits for, and what is known of a rank that does not answer."""

from __future__ import annotations

import json
import os
import re
import socket
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

ABSENT = ' does not answer'
UNKNOWN = ' cannot be reached'
_WAITING = re.compile(r': waits for other ranks in (?P<what>.*?\(.*?:\d+\))')
_AVERAGING = re.compile(
    r': is in (?P<what>a backward pass), in which .*?(?P<caller>, called by .*?\(.*?:\d+\))'
)


def who_is_missing(rows: Sequence[str]) -> str | None:
    """In words, which collective waits for which ranks; None if no rank waits in one.

    Args:
        rows: Where each rank is, by rank; a rank that waits has the words of
            :func:`~mmengine.process._waiting.waits_for`.

    Example:
        >>> who_is_missing([
        ...     'rank 0, train: waits for other ranks in all_reduce, called by meet (run.py:3)',
        ...     'rank 1, train: is at work in read (run.py:7), called by train (run.py:9)',
        ... ])
        'all_reduce, called by meet (run.py:3), waits for rank 1, which did not come.'
    """
    at: dict[str, list[int]] = {}
    absent = []
    for rank, row in enumerate(rows):
        if row.endswith(UNKNOWN):
            continue
        is_here = ABSENT not in row  # else its words are older
        found = (_WAITING.search(row) or _AVERAGING.search(row)) if is_here else None
        if found is None:
            absent.append(rank)
        else:
            at.setdefault(''.join(found.groups()), []).append(rank)
    if not at:
        return None
    if len(at) > 1:
        places = '; '.join(f'{_named(ranks)} in {what}' for what, ranks in at.items())
        end = f' {_named(absent)[0].upper()}{_named(absent)[1:]} came to none.' if absent else ''
        return f'The ranks wait in different collectives: {places}.{end}'
    (what,) = at
    if not absent:
        return None  # all have come: the network is slow, or a process has lost its way in it
    return f'{what}, waits for {_named(absent)}, which did not come.'


@dataclass(frozen=True)
class LastSeen:
    """A process, and where it was when it told so last.

    Attributes:
        pid: Number of the process.
        host: Its machine.
        time: Seconds since 1970.
        summary: Where it was, in a line.
        stack: Its Python stack.
    """

    pid: int
    host: str
    time: float
    summary: str
    stack: str

    @classmethod
    def of(cls, summary: str, frame: FrameType | None) -> LastSeen:
        """This process now; ``frame`` is the innermost one of the thread that trains."""
        stack = ''.join(traceback.format_stack(frame)) if frame is not None else ''
        return cls(os.getpid(), socket.gethostname(), time.time(), summary, stack)

    @classmethod
    def parse(cls, text: str) -> LastSeen:
        """The result of :meth:`text`."""
        return cls(**json.loads(text))

    def text(self) -> str:
        """For the store."""
        return json.dumps(asdict(self))

    def state(self) -> str:
        """Whether the process is there, in words, as far as this machine can tell."""
        named = f'process {self.pid} on {self.host}'
        if self.host != socket.gethostname() or not Path('/proc/self/stat').exists():
            return named
        try:
            stat = Path(f'/proc/{self.pid}/stat').read_text(encoding='utf-8', errors='replace')
        except OSError:
            return f'{named} has ended'
        letter = stat.rpartition(')')[2].split()[0]
        if letter in 'Tt':
            return f'{named} is stopped by a signal; kill -CONT {self.pid} lets it go on'
        return f'{named} has ended' if letter in 'ZX' else named

    def row(self, rank: int) -> str:
        """A line for a rank that does not answer."""
        past = max(time.time() - self.time, 0.0)
        return f'rank {rank}{ABSENT}: {self.state()}. {past:.1f} s ago, {self.summary}'


def _named(ranks: Sequence[int]) -> str:
    if len(ranks) == 1:
        return f'rank {ranks[0]}'
    shown = [str(rank) for rank in ranks[:16]]
    more = f' and {len(ranks) - 16} more' if len(ranks) > 16 else ''
    return f'ranks {", ".join(shown)}{more}'
