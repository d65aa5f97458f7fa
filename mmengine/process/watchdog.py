"""A watchdog: a rank that finishes no batch for too long is seen, and says where it is.

A thread of each rank looks at counters that the run keeps anyway, so a step costs nothing. When
they stand still for ``timeout_s`` seconds, the thread writes ``watchdog_rank<r>.txt`` into the
folder of the log: the Python stacks of the process and of its dataloader workers, which collective
it waits for, and which sample each worker loads. Through the store of the process group it has the
other ranks do the same. Then rank by rank a line is logged, with the collective that waits and the
ranks that did not come to it, and the run goes on (``action='warn'``) or ends with a failing exit
code (``action='stop'``).

A process that is stopped by a signal cannot write. So each rank also leaves its stack in the store,
now and then, and another rank writes down what it left last.

Code that never lets go of Python's interpreter lock, such as a regular expression that does not
end, would also stop this thread. For that case a timer of ``faulthandler``, which needs no lock,
writes the stacks, and ends the process if the action is ``'stop'``.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO, Any, Protocol

from mmengine.dist import get_dist_info, is_distributed
from mmengine.process._absent_ranks import ABSENT, UNKNOWN, LastSeen, who_is_missing
from mmengine.process._interruption import Interruption
from mmengine.process._waiting import waits_for
from mmengine.process.signals import say
from mmengine.utils._settings import check_keys
from mmengine.utils.errors import ArgumentError, did_you_mean

ACTIONS = ('warn', 'stop')
_MAX_TICK_S = 1.0
# How long a rank waits for what it asks of others: the texts of ranks, a path, the log.
_ANSWER_S = 5.0
# How long the run has to end by itself once it is to stop.
_GRACE_S = 10.0
_stage_number = 0


class RunHungError(RuntimeError):
    """The watchdog ended a run that finished no batch in time."""

    def __str__(self) -> str:
        return (
            'The run was ended by its watchdog, as no batch was finished in time. The stacks of '
            'each rank are in watchdog_rank<r>.txt, beside the log.'
        )


class Loading(Protocol):
    """A sample that is being loaded."""

    def __str__(self) -> str: ...

    def path(self) -> str | None:
        """The file that it is read from, if known; may take long."""

    def stacks(self) -> str:
        """The stacks of the worker that loads it; empty if this process does."""


@dataclass(frozen=True)
class WatchdogSettings:
    """``watchdog`` of a run.

    Attributes:
        timeout_s: Seconds without a finished batch that are too long. A validation counts its
            batches; what has no batches, such as a save or the computation of metrics, has to end
            in this time too.
        action: 'warn' or 'stop'.
        first_batch_s: The same for the start of a stage and its first batch, in which a model may
            be compiled; None means three times ``timeout_s``.
    """

    timeout_s: float = 600.0
    action: str = 'warn'
    first_batch_s: float | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any] | WatchdogSettings | None) -> WatchdogSettings | None:
        """The settings in ``watchdog=dict(...)``, checked; None if there are none.

        Raises:
            ArgumentError: If a key is unknown or a value is wrong.
        """
        if settings is None or isinstance(settings, WatchdogSettings):
            return settings
        if not isinstance(settings, Mapping):
            raise ArgumentError(
                'watchdog is a dict of timeout_s, action and first_batch_s, got '
                f'{type(settings).__name__}.'
            )
        check_keys('watchdog', settings, cls.__dataclass_fields__)
        chosen = cls(**settings)
        for name in ('timeout_s', 'first_batch_s'):
            value = getattr(chosen, name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (is_number and value > 0) and not (name == 'first_batch_s' and value is None):
                raise ArgumentError(f'watchdog.{name} must be positive, got {value!r}.')
        if chosen.action not in ACTIONS:
            raise ArgumentError(
                f"watchdog.action is 'warn' or 'stop', got {chosen.action!r}."
                f'{did_you_mean(str(chosen.action), ACTIONS)}'
            )
        return chosen


@dataclass(frozen=True)
class Watched:
    """What the watchdog looks at.

    Attributes:
        progress: Returns whether a batch of the present phase is finished, and something that
            changes with each batch; called in the watchdog's thread.
        place: Returns where the run is, in words.
        loading: Returns the samples that are being loaded.
        warn: Logs a text.
        log_dir: Folder of the log.
    """

    progress: Callable[[], tuple[bool, Any]]
    place: Callable[[], str]
    loading: Callable[[], Sequence[Loading]]
    warn: Callable[[str], None]
    log_dir: str


@contextmanager
def watched(settings: WatchdogSettings | None, run: Watched) -> Iterator[None]:
    """Watch ``run`` within this context, from the thread that enters it; all ranks call it."""
    if settings is None:
        yield
        return
    watchdog = _Watchdog(settings, run)
    watchdog.start()
    try:
        yield
    except BaseException:
        watchdog.close()
        raise
    watchdog.close()
    watchdog.say_that_it_goes_on()


class _Watchdog:
    def __init__(self, settings: WatchdogSettings, run: Watched) -> None:
        global _stage_number
        _stage_number += 1  # equal on all ranks; a later stage must not find an earlier request
        self._settings = settings
        self._run = run
        self._rank, self._world_size = get_dist_info()
        self._key = f'mmengine/watchdog/{_stage_number}'
        self._store: Any = None
        if is_distributed() and self._world_size > 1:
            from torch.distributed.distributed_c10d import _get_default_store

            self._store = _get_default_store()
        self._tick_s = min(settings.timeout_s / 20, _MAX_TICK_S)
        first = settings.first_batch_s
        # How long the run may be without a batch now.
        self._limit_s = settings.timeout_s * 3 if first is None else first
        self._thread_id = threading.get_ident()
        self._stage = Interruption(RunHungError)
        self._is_told = False
        self._idle_s = 0.0
        self._summary = f'rank {self._rank}'
        self._asking: threading.Thread | None = None  # a question to the store, if it waits
        # Rank 0 may hold the store: what it left has to be read before it hangs.
        self._first_rank: LastSeen | None = None
        self._path = Path(run.log_dir, f'watchdog_rank{self._rank}.txt')
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Open all the time: the timer of faulthandler writes to it.
        self._file: IO[str] = self._path.open('a', encoding='utf-8')
        self._thread = threading.Thread(target=self._watch, name='watchdog', daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._set_timer()
        self._thread.start()

    def close(self) -> None:
        """Watch no more."""
        self._stage.leave()
        self._thread.join(timeout=_ANSWER_S)
        faulthandler.cancel_dump_traceback_later()
        self._file.close()
        if self._path.stat().st_size == 0:
            self._path.unlink()

    def say_that_it_goes_on(self) -> None:
        """Log that the run goes on, if it was said that it does not."""
        if self._is_told:
            self._is_told = False
            self._run.warn(f'The run goes on, after {self._idle_s:.1f} s without a batch.')

    # The thread

    def _watch(self) -> None:
        seen, then = self._run.progress(), monotonic()
        paused_s = 2 * self._tick_s
        num_asked, timer_s = self._num_asked(), 0.0
        self._leave_stack()
        is_first = True
        while True:
            slept = monotonic()
            if self._stage.has_left.wait(self._tick_s):
                return
            # A process that was paused has not hung: a long tick counts as two. What this thread
            # itself waits for, as a store that does not answer, counts in full.
            passed = slept - then + min(monotonic() - slept, paused_s)
            then = monotonic()
            timer_s += passed
            if timer_s > self._settings.timeout_s / 4:
                self._set_timer()
                self._leave_stack()
                timer_s = 0.0
            present = self._run.progress()
            if present != seen:
                if present[0] and is_first:
                    is_first = False
                    self._limit_s = self._settings.timeout_s
                    self._set_timer()
                    self._leave_stack()
                self.say_that_it_goes_on()
                seen, self._idle_s = present, 0.0
                continue
            self._idle_s += passed
            asked = self._num_asked()
            if self._idle_s >= self._limit_s and not self._is_told:
                self._is_told = True
                self._tell(f'No batch was finished for {self._idle_s:.1f} s.')
                num_asked = self._num_asked()
                if self._settings.action == 'stop':
                    self._stop()
                    return
            elif asked > num_asked:
                num_asked = asked
                self._write(
                    f'Another rank finishes no batch. This one waits for {self._idle_s:.1f} s.'
                )

    def _num_asked(self) -> int:
        """How often a rank has asked the others where they are."""
        if self._store is None:
            return 0
        found = self._ask(lambda: int(self._store.add(f'{self._key}/asked', 0)))
        return found or 0

    def _ask(self, function: Callable[[], Any], seconds: float = _ANSWER_S) -> Any:
        """What ``function`` learns from the store; None if it does not answer.

        Returns None at once while an earlier question waits for an answer.
        """
        if self._asking is not None and self._asking.is_alive():
            return None
        found, self._asking = _try(seconds, function)
        return found

    def _tell(self, reason: str) -> None:
        if self._store is not None:
            self._ask(lambda: self._store.add(f'{self._key}/asked', 1))
        self._write(reason)
        rows = [self._summary] if self._store is None else self._of_all_ranks()
        missing = who_is_missing(rows)
        lines = '\n'.join(f'  {row}' for row in rows)
        text = f'{reason} {missing or ""}'.rstrip()
        text = f'{text}\n{lines}\nThe stacks are in {self._path.parent}/watchdog_rank<r>.txt.'
        if self._rank == 0 or self._settings.action == 'stop':
            say(f'Watchdog of rank {self._rank}: {text}')
        # The thread that hangs may hold the lock of the log.
        _within(_ANSWER_S, lambda: self._run.warn(f'Watchdog: {text}'))

    def _of_all_ranks(self) -> list[str]:
        keys = [f'{self._key}/where/{rank}' for rank in range(self._world_size)]
        deadline = monotonic() + _ANSWER_S
        while monotonic() < deadline and not self._ask(lambda: self._store.check(keys), 1.0):
            time.sleep(self._tick_s)
        is_reached = self._ask(lambda: self._store.check(keys), 1.0) is not None
        answers = [self._answer(key) if is_reached else None for key in keys]
        answers[self._rank] = self._summary
        # One rank writes for the others; without the store, which rank 0 may hold, it is rank 1.
        present = [rank for rank, answer in enumerate(answers) if answer is not None]
        writes = self._rank == (present[0] if is_reached else 1)
        return [
            self._absent(rank, is_reached, writes) if answer is None else answer
            for rank, answer in enumerate(answers)
        ]

    def _answer(self, key: str) -> str | None:
        def read() -> str | None:
            return self._store.get(key).decode() if self._store.check([key]) else None

        found: str | None = self._ask(read, 1.0)
        return found

    def _absent(self, rank: int, is_reached: bool, writes: bool) -> str:
        """What is known of a rank that has left no answer; ``writes``: also to its file."""
        if not is_reached and rank != 0:
            return f'rank {rank}{UNKNOWN}'
        left = self._answer(f'{self._key}/seen/{rank}') if is_reached else None
        last = self._first_rank if left is None and rank == 0 else left and LastSeen.parse(left)
        if not last:
            return f'rank {rank}{ABSENT}'
        row = last.row(rank)
        if writes:
            with self._path.with_name(f'watchdog_rank{rank}.txt').open('a') as file:
                file.write(
                    f'{time.strftime("%Y-%m-%d %H:%M:%S")} written by rank {self._rank}\n{row}\n\n'
                    f'Its stack then:\n{last.stack}\n'
                )
        return row

    def _leave_stack(self) -> None:
        """Leave the stack, in case this process is stopped, and read what rank 0 left."""
        if self._store is None:
            return
        if self._rank:
            deadline = monotonic() + (_ANSWER_S if self._first_rank is None else 0)
            while (left := self._answer(f'{self._key}/seen/0')) is None and monotonic() < deadline:
                time.sleep(self._tick_s)
            self._first_rank = LastSeen.parse(left) if left else self._first_rank
        frame = sys._current_frames().get(self._thread_id)
        seen = LastSeen.of(f'{self._run.place()}: {self._words(frame)}', frame).text()
        self._ask(lambda: self._store.set(f'{self._key}/seen/{self._rank}', seen))

    @staticmethod
    def _words(frame: Any) -> str:
        return waits_for(frame, is_distributed()) if frame is not None else 'has ended'

    def _write(self, reason: str) -> None:
        """Write where this process is, and leave a line of it for the other ranks."""
        file = self._file
        loading = list(self._run.loading())
        waiting = self._words(sys._current_frames().get(self._thread_id))
        self._summary = f'rank {self._rank}, {self._run.place()}: {waiting}' + ''.join(
            f'; {sample}' for sample in loading
        )
        file.write(
            f'{time.strftime("%Y-%m-%d %H:%M:%S")} rank {self._rank}, process {os.getpid()} on '
            f'{socket.gethostname()}\n{reason}\n{self._summary}\n\nStacks of this process:\n'
        )
        file.flush()
        faulthandler.dump_traceback(file=file, all_threads=True)
        for sample in loading:
            # Both may wait for what the worker waits for.
            path = _within(_ANSWER_S, sample.path) or 'not known'
            stacks = _within(_ANSWER_S, sample.stacks)
            file.write(f'\n{sample}\npath: {path}\n')
            if stacks:
                file.write(f'Stacks of the worker:\n{stacks}')
            self._summary += f' (path: {path})'
        file.write('\n')
        file.flush()
        os.fsync(file.fileno())
        if self._store is not None:
            key, text = f'{self._key}/where/{self._rank}', self._summary
            self._ask(lambda: self._store.set(key, text))

    def _set_timer(self) -> None:
        """Let faulthandler act if this thread gets no turn any more."""
        faulthandler.dump_traceback_later(
            self._limit_s * 1.5 + _MAX_TICK_S,
            exit=self._settings.action == 'stop',
            file=self._file,
        )

    def _stop(self) -> None:
        """End the run: by an error in its thread, or if that does not come, the process."""
        is_interrupted = self._stage.interrupt('no batch was finished in time')
        if is_interrupted and not self._stage.has_left.wait(_GRACE_S):
            say(f'Rank {self._rank} is ended by its watchdog.')
            for child in multiprocessing.active_children():
                child.kill()
            os._exit(1)


def _within(seconds: float, function: Callable[[], Any]) -> Any:
    """What ``function`` returns; None if it takes longer, or raises.

    It is called in a thread: what it needs may hang for the reason that is to be found out.
    """
    return _try(seconds, function)[0]


def _try(seconds: float, function: Callable[[], Any]) -> tuple[Any, threading.Thread]:
    """The result of :func:`_within`, and the thread that calls ``function``."""
    found: list[Any] = []

    def call() -> None:
        with contextlib.suppress(Exception):  # the caller says that nothing was found
            found.append(function())

    thread = threading.Thread(target=call, name='watchdog-asks', daemon=True)
    thread.start()
    thread.join(seconds)
    return (found[0] if found else None), thread
