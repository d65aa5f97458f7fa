"""The agent of torchrun, in a thread: this process handles the signals, and not the agent."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any

from mmengine.launch._notes import FROM_SIGNAL

# It warns that the agent handles no signals when it is in a thread.
_WARNING_LOGGER = 'torch.distributed.elastic.multiprocessing.api'
_WARNING = 'Failed to register signal handlers'


@dataclass(frozen=True)
class Outcome:
    """How the ranks of this machine have ended.

    Attributes:
        exit_code: The code of the rank that failed first; 0 if no rank failed.
        text: What failed; empty if nothing has.
    """

    exit_code: int
    text: str = ''


class Agent:
    """Starts the ranks, and starts them again when one fails.

    Args:
        arguments: Of torchrun, with the command.

    Attributes:
        has_ended: Set when all ranks have ended for good.
    """

    def __init__(self, arguments: list[str]) -> None:
        self.has_ended = threading.Event()
        self._arguments = arguments
        self._outcome: Outcome | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name='agent', daemon=True)

    def start(self) -> None:
        """Start the ranks."""
        self._thread.start()

    def outcome(self) -> Outcome:
        """How the ranks have ended, after they have.

        Raises:
            Exception: If the agent itself failed, such as when the machines do not meet.
        """
        self._thread.join()
        if self._outcome is None:
            assert self._error is not None
            raise self._error
        return self._outcome

    def _run(self) -> None:
        try:
            self._outcome = _run_torchrun(self._arguments)
        except BaseException as error:
            self._error = error
        finally:
            self.has_ended.set()


def _run_torchrun(arguments: list[str]) -> Outcome:
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.getLogger(_WARNING_LOGGER).addFilter(lambda record: _WARNING not in record.getMessage())
    torchrun: Any = run  # its functions have no types
    try:
        torchrun.run(torchrun.parse_args(arguments))
    except ChildFailedError as error:
        return _outcome_of(error)
    return Outcome(0)


def _outcome_of(error: Any) -> Outcome:
    rank, failure = error.get_first_failure()
    code = int(failure.exitcode)
    how = f'exit code {code}' if code >= 0 else f'signal {failure.signal_name()}'
    text = f'Rank {rank} (process {failure.pid}) failed with {how}.'
    return Outcome(code if code > 0 else FROM_SIGNAL - code, text)
