"""Notes that a launcher and its ranks on one machine leave for each other, as files in a folder."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mmengine.utils._process_identity import parse_identity, this_process

FOLDER_VARIABLE = 'MMENGINE_LAUNCH_DIR'
# Shells add it to the number of the signal that has ended a process.
FROM_SIGNAL = 128
_ASKED = 'asked'


@dataclass(frozen=True)
class Stopped:
    """How a rank has ended that stopped on request.

    Attributes:
        exit_code: Of the run; the process itself ends with 0, so that it is not started again.
        reason: Who asked.
    """

    exit_code: int
    reason: str


@dataclass(frozen=True)
class Notes:
    """The notes in ``folder``."""

    folder: Path

    @classmethod
    def of_environment(cls) -> Notes | None:
        """The notes of the launcher that started this process; None without one."""
        folder = os.environ.get(FOLDER_VARIABLE)
        return Notes(Path(folder)) if folder else None

    def ask_to_stop(self, number: int) -> None:
        """Note that the run is to stop for signal ``number``; ranks that start later end at once.

        It is called in a signal handler.
        """
        self._write(_ASKED, str(number))

    def asked(self) -> int | None:
        """The signal for which the run is to stop."""
        text = self._read(_ASKED)
        return None if text is None else int(text)

    def join(self, local_rank: int) -> None:
        """Note that this process is the rank."""
        (self.folder / f'stopped_{local_rank}').unlink(missing_ok=True)
        self._write(f'rank_{local_rank}', str(this_process()))

    def ranks(self) -> list[int]:
        """Process ids of the ranks that live."""
        texts = [self._read(path.name) for path in sorted(self.folder.glob('rank_*'))]
        identities = [parse_identity(text) for text in texts if text is not None]
        return [one.pid for one in identities if one is not None and one.is_alive()]

    def leave(self, local_rank: int, stopped: Stopped) -> None:
        """Note that the rank ends because it stopped on request."""
        content = {'exit_code': stopped.exit_code, 'reason': stopped.reason}
        self._write(f'stopped_{local_rank}', json.dumps(content))

    def stopped(self) -> Stopped | None:
        """How the ranks have ended, if they stopped on request; the highest exit code counts."""
        texts = [self._read(path.name) for path in sorted(self.folder.glob('stopped_*'))]
        found = [Stopped(**json.loads(text)) for text in texts if text is not None]
        return max(found, key=lambda one: one.exit_code, default=None)

    def _write(self, name: str, text: str) -> None:
        handle, draft = tempfile.mkstemp(dir=self.folder, prefix='.')
        with os.fdopen(handle, 'w') as file:
            file.write(text)
        os.replace(draft, self.folder / name)

    def _read(self, name: str) -> str | None:
        try:
            return (self.folder / name).read_text()
        except FileNotFoundError:
            return None
