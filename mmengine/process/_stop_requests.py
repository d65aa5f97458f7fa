"""Requests to stop a run: where they come from, and at which batch a run stops for them.

A run in one process stops at the next batch. Ranks of a distributed run must stop at the same
batch, or some would wait for the others in a collective. They agree through the key-value store of
the process group, and only when somebody has asked:

1. A rank with a request writes it to the store. The watcher thread of every rank finds it there.
2. Every rank writes the last place at which its main thread can be without having looked: the main
   thread does so at its next batch. If the main thread does not come, because it waits for another
   rank within a batch, then the watcher writes the end of that batch.
3. A main thread at the end of a batch waits until all ranks have written. The ranks stop at the
   latest of these places, which each of them still reaches.

Step 2 never waits for a main thread, so no rank waits for a rank that waits for it.
"""

from __future__ import annotations

import _thread
import faulthandler
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import monotonic
from types import FrameType
from typing import Any

from mmengine.dist import get_dist_info, is_distributed
from mmengine.process.signals import Preempt, RunInterrupted, RunStopped, handled, say
from mmengine.utils._stop_file import take_stop_file

NEVER = float('inf')
# How often rank 0 looks for the stop file, and each watcher into the store.
_FILE_EVERY_S = 1.0
_STORE_EVERY_S = 0.5
_TICK_S = 0.1
# How long a watcher waits for the main thread to come to the end of a batch.
_ARRIVAL_S = 0.1
# How long ranks wait for each other's answers; only a process that does not run at all needs it.
_ANSWER_S = 60.0
# Ctrl-C reaches a rank twice: from the terminal and from its launcher.
_SAME_REQUEST_S = 1.0
_SHOW_CURSOR = '\x1b[?25h'
_stage_number = 0

Place = tuple[int, int]
"""Number of a phase of the run, and finished batches in it; equal on all ranks."""


class EvaluationCut(BaseException):
    """A validation or a test ends before its last batch, as the run is to stop."""


@dataclass(frozen=True)
class Request:
    """What somebody asked for.

    Attributes:
        reason: Who asked.
        ends_training: Whether the training is over, as for ``stop_training``. Otherwise it is
            interrupted, and goes on when it is resumed.
        from_keyboard: Whether it was Ctrl-C.
    """

    reason: str
    ends_training: bool = False
    from_keyboard: bool = False


class StopRequests:
    """The requests to stop one stage of a run.

    A loop compares ``look_at`` with the clock after each batch, and calls :meth:`reached` when it
    is time. It declares by :meth:`begin_phase` which counter its batches have.

    Args:
        preempt: Signals and exit code; None handles no signal.
        work_dir: Folder of the run, where a stop file may appear; None looks for none.

    Attributes:
        look_at: When a loop has to look, on the clock ``time.monotonic``.
        request: The request for which the run stops, the same on all ranks, once it is known.
        is_reached: Whether the place is reached at which the run stops.
        is_watched: Whether a loop looks. Until then, a signal ends the run where it is.
        batch: Finished batches of the evaluation that runs.
    """

    def __init__(self, preempt: Preempt | None = None, work_dir: str | None = None) -> None:
        self.look_at = NEVER
        self.request: Request | None = None
        self.is_reached = False
        self.batch = 0
        self._preempt = preempt
        self._work_dir = work_dir
        self._wanted: Request | None = None
        self._asked_at = 0.0
        self.is_watched = False
        self._is_done = False
        # Number, and the object that counts batches (`iter`); None: `batch` counts.
        self._phase: tuple[int, Any] = (0, None)
        self._began_at = 0
        self._ranks: _Ranks | None = None
        self._pid = os.getpid()
        self._on_dead_child: Any = None

    @contextmanager
    def active(self) -> Iterator[StopRequests]:
        """Handle signals, and look for requests of other ranks, within this context."""
        assert self._preempt is not None
        if is_distributed() and get_dist_info()[1] > 1:
            self._ranks = _Ranks(self)
            self._ranks.start()
        elif self._work_dir is not None:
            self.look_at = 0.0
        try:
            with handled(self._preempt.signals, self._on_signal):
                yield self
        finally:
            self._is_done = True
            self.look_at = NEVER
            if self._on_dead_child is not None:
                signal.signal(signal.SIGCHLD, self._on_dead_child)
            if self._ranks is not None:
                self._ranks.close()

    @property
    def interrupts(self) -> bool:
        """Whether the run stops before its end, so that it goes on when it is resumed."""
        return self.is_reached and self.request is not None and not self.request.ends_training

    def watch(self, counter: Any) -> None:
        """A loop begins that looks after each batch; for ``counter`` see :meth:`begin_phase`."""
        self.is_watched = True
        self.begin_phase(counter)

    def begin_phase(self, counter: Any = None) -> None:
        """Batches are counted by ``counter.iter`` from now on; None: by ``batch``, from 0."""
        self.batch = 0
        self._began_at = getattr(counter, 'iter', 0)
        self._phase = (self._phase[0] + 1, counter)

    @property
    def is_asked(self) -> bool:
        """Whether there is a request, as far as this process has heard."""
        return self._wanted is not None or self.request is not None

    @property
    def progress(self) -> tuple[int, int]:
        """The number of the present phase, and its finished batches."""
        number, counter = self._phase
        return number, self.batch if counter is None else counter.iter - self._began_at

    def is_due(self, batch: int) -> bool:
        """Whether the run stops here, after ``batch`` batches of the phase."""
        return monotonic() >= self.look_at and self.reached(batch)

    def reached(self, batch: int) -> bool:
        """The same, without a look at the clock."""
        if self.is_reached:
            return True
        if self._ranks is not None:
            self.is_reached = self._ranks.stop_at((self._phase[0], batch))
        else:
            # Before the look: a signal in between makes the loop look again at once.
            self.look_at = monotonic() + _FILE_EVERY_S
            self._look_for_file()
            self.request = self._wanted
            self.is_reached = self._wanted is not None
        if self.is_reached:
            self.look_at = 0.0
        return self.is_reached

    def end_evaluation_batches(self) -> None:
        """The batches of an evaluation are over; what follows is not cut any more.

        Raises:
            EvaluationCut: If the run stops in these batches.
        """
        self.begin_phase()
        if self.is_due(0):
            raise EvaluationCut

    def end_training(self, reason: str) -> None:
        """Ask for the end of the training; the other ranks learn of it."""
        if self._wanted is None:
            self._wanted = Request(reason, ends_training=True)

    def raise_if_asked(self) -> None:
        """Leave the run after it is closed, if there was a request to stop it.

        Raises:
            RunStopped: If somebody has asked for it; also if the run was over before it looked.
        """
        for request in (self._wanted, self.request):
            if request is not None and not request.ends_training:
                raise self._leaving(request)

    def place_after_this_batch(self) -> Place:
        """The end of the batch in which the main thread is; called in the watcher's thread."""
        while True:
            phase = self._phase
            number, counter = phase
            batch = self.batch if counter is None else counter.iter
            if self._phase is phase:
                return number, batch + 1

    def _leaving(self, request: Request) -> RunStopped:
        code = 0 if self._preempt is None else self._preempt.exit_code
        return (RunInterrupted if request.from_keyboard else RunStopped)(request.reason, code)

    def _look_for_file(self) -> None:
        if self._wanted is not None or self._work_dir is None:
            return
        reason = take_stop_file(self._work_dir)
        if reason is not None:
            self._wanted = Request(f'the stop file{f" ({reason})" if reason else ""}')

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Note a signal. It may arrive anywhere in the main thread, so no lock is taken here."""
        if os.getpid() != self._pid:
            if number == signal.SIGTERM:  # this process, or somebody else, ends a forked child
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return  # a signal to the whole job: the child ends with this process
        name, now = signal.Signals(number).name, monotonic()
        from_keyboard = number == signal.SIGINT
        if self._asked_at:
            if from_keyboard and now - self._asked_at > _SAME_REQUEST_S:
                raise KeyboardInterrupt
            return
        request = Request(f'signal {name}', from_keyboard=from_keyboard)
        if not self.is_watched:
            # Nothing is trained yet, or a custom loop runs, which does not look.
            if from_keyboard:
                raise KeyboardInterrupt
            raise self._leaving(request)
        self._asked_at = now
        self._outlive_workers()
        if self._wanted is None or self._wanted.ends_training:
            self._wanted = request
        self.look_at = 0.0
        seconds = self._preempt.save_within_s if self._preempt is not None else None
        if seconds is not None:
            # A Thread object takes a lock that the interrupted code may hold.
            _thread.start_new_thread(self._end_after, (seconds,))
        if get_dist_info()[0] == 0:
            more = ' Ctrl-C again ends it at once.' if from_keyboard else ''
            say(f'{name}: the run stops after this batch and saves its state.{more}')

    def _outlive_workers(self) -> None:
        """Finish the present batch also if the signal has ended the workers of the dataloader.

        A scheduler may send it to all processes of a job. The handler of torch for a worker that
        is gone would raise an error in the middle of the batch.
        """
        if hasattr(signal, 'SIGCHLD') and callable(signal.getsignal(signal.SIGCHLD)):
            self._on_dead_child = signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def _end_after(self, seconds: float) -> None:
        """End the process if the run is not closed in time."""
        deadline = monotonic() + seconds
        while monotonic() < deadline:
            if self._is_done:
                return
            time.sleep(_TICK_S)
        if self._is_done:
            return
        assert self._preempt is not None
        say(
            f'The run did not save its state within {seconds:g} s (preempt.save_within_s). At work:'
        )
        faulthandler.dump_traceback(all_threads=True)
        if sys.stdout.isatty():
            os.write(1, _SHOW_CURSOR.encode())
        os._exit(self._preempt.exit_code or 1)


class _Ranks:
    """The agreement of the ranks, through the store of the process group."""

    def __init__(self, requests: StopRequests) -> None:
        from torch.distributed.distributed_c10d import _get_default_store

        global _stage_number
        _stage_number += 1  # equal on all ranks; a later stage must not find an earlier request
        self._store: Any = _get_default_store()
        self._rank, self._world_size = get_dist_info()
        self._key = f'mmengine/stop/{_stage_number}'
        self._requests = requests
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._arrived = threading.Event()
        self._has_answered = False
        self._agreed: Place | None = None
        self._file_at = self._store_at = 0.0
        self._thread = threading.Thread(target=self._watch, name='stop-watcher', daemon=True)

    def start(self) -> None:
        """Begin to look for requests."""
        self._thread.start()

    def close(self) -> None:
        """Look no more. Rank 0, whose process often holds the store, waits for the other ranks."""
        self._closed.set()
        self._thread.join(timeout=_STORE_EVERY_S * 4)
        if self._rank != 0 or self._agreed is None:
            return
        deadline = monotonic() + _ANSWER_S / 6
        try:
            while self._store.add(f'{self._key}/known', 0) < self._world_size:
                if monotonic() > deadline:
                    return
                time.sleep(_TICK_S / 10)
        except RuntimeError:  # the store is gone, so nobody reads from it
            return

    def stop_at(self, place: Place) -> bool:
        """Whether the ranks stop at ``place``, where the main thread is; waits for their answers.

        Raises:
            RuntimeError: If a rank does not answer.
        """
        self._arrived.set()
        with self._lock:
            if not self._answer(place):
                return False
        if self._agreed is None:
            self._agreed = self._latest_place()
            self._store.add(f'{self._key}/known', 1)
        return place >= self._agreed

    def _answer(self, place: Place) -> bool:
        """Publish a request of this rank, adopt the one that came first, and write ``place``.

        Returns False if nobody has asked.
        """
        if self._has_answered:
            return True
        asked = f'{self._key}/asked'
        if self._requests._wanted is not None:
            own = json.dumps(asdict(self._requests._wanted))
            first = self._store.compare_set(asked, '', own).decode()
        elif self._store.check([asked]):
            first = self._store.get(asked).decode()
        else:
            return False
        self._requests.request = Request(**json.loads(first))
        self._store.set(f'{self._key}/place/{self._rank}', json.dumps(place))
        self._has_answered = True
        self._requests.look_at = 0.0
        return True

    def _latest_place(self) -> Place:
        keys = [f'{self._key}/place/{rank}' for rank in range(self._world_size)]
        deadline = monotonic() + _ANSWER_S
        while not self._store.check(keys):
            if monotonic() > deadline:
                silent = [rank for rank, key in enumerate(keys) if not self._store.check([key])]
                raise RuntimeError(
                    f'The run is to stop, but ranks {silent} did not answer within {_ANSWER_S:g} s.'
                )
            time.sleep(_TICK_S / 10)
        return max((*map(int, json.loads(self._store.get(key))),) for key in keys)  # type: ignore[return-value]  # two numbers each

    def _watch(self) -> None:
        try:
            while not self._closed.wait(_TICK_S):
                if not self._is_asked():
                    continue
                self._requests.look_at = 0.0
                if not self._arrived.wait(_ARRIVAL_S):
                    with self._lock:
                        self._answer(self._requests.place_after_this_batch())
                return
        except RuntimeError:  # the store is gone: the collectives of the main thread fail too
            return

    def _is_asked(self) -> bool:
        now = monotonic()
        if self._rank == 0 and now >= self._file_at:
            self._file_at = now + _FILE_EVERY_S
            self._requests._look_for_file()
        if self._requests._wanted is not None:
            return True
        if now < self._store_at:
            return False
        self._store_at = now + _STORE_EVERY_S
        return bool(self._store.check([f'{self._key}/asked']))
