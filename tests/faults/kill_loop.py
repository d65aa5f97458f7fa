"""Kill runs with SIGKILL at random moments, resume them, and compare their ends with unbroken runs.

    python tests/faults/kill_loop.py --kills 500 [--seed 0] [--out report.json]

This process imports torch and trains nothing; each start of a run is a fork of it, with its own
process group. A run is 40 iterations with a checkpoint every third one, validations, EMA, momentum
and a schedule. It is killed again and again until it ends by itself; then the next run begins. A
run is lost if its end does not have the bits of the unbroken run, or if a start of it fails.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from stoppable_run import make, state_of

from mmengine.hooks import Hook
from mmengine.testing._internal.distributed import free_port

LIMIT_S = 180.0
SETTINGS: dict[str, Any] = {'iters': 40, 'interval': 3, 'max_keep': 2, 'resume': 'auto'}
# Kinds of runs, and how many of a hundred are of each kind.
KINDS: dict[str, tuple[int, dict[str, Any], int]] = {
    'one process': (70, {}, 1),
    'two workers': (10, {'workers': 2}, 1),
    'two ranks': (10, {}, 2),
    'one of two ranks': (10, {}, 2),
}


class Tell(Hook):
    """Writes S to a pipe when a checkpoint is being saved, and E when it was."""

    priority = 'LOWEST'

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe
        self.is_saving = False

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        self.is_saving = True
        os.write(self.pipe, b'S')

    def after_train_iter(self, runner: Any, batch_idx: int, **kwargs: Any) -> None:
        if self.is_saving:
            self.is_saving = False
            os.write(self.pipe, b'E')
        else:
            os.write(self.pipe, b'.')


class Start:
    """One start of a run: a process for each rank."""

    def __init__(self, work_dir: Path, settings: dict[str, Any], num_ranks: int) -> None:
        self.work_dir = work_dir
        self.told = b''
        self._pipe, writing = os.pipe()
        port = free_port()
        self.pids = [
            _fork(work_dir, settings, rank, num_ranks, port, writing) for rank in range(num_ranks)
        ]
        os.close(writing)
        self.codes: dict[int, int] = {}

    def wait_for_save(self, limit_s: float) -> None:
        """Wait until a checkpoint is being saved, or the run has ended."""
        deadline = time.monotonic() + limit_s
        while not self.told.endswith(b'S') and self._read(deadline):
            pass

    def wait_for_meeting(self, limit_s: float) -> None:
        """Wait until the ranks have met, or the run has ended."""
        deadline = time.monotonic() + limit_s
        while b'J' not in self.told and self._read(deadline):
            pass

    def wait(self, seconds: float) -> bool:
        """Wait; whether all processes have ended before that."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._has_ended():
                return True
            time.sleep(0.002)
        return self._has_ended()

    def kill(self, rank: int) -> None:
        pid = self.pids[rank]
        if pid not in self.codes:
            with contextlib.suppress(ProcessLookupError):  # it has not come to its setsid yet
                os.killpg(pid, signal.SIGKILL)
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """All processes of the run are gone after this, workers too."""
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        self.wait(LIMIT_S)
        while self._read(time.monotonic()):
            pass
        os.close(self._pipe)

    @property
    def was_saving(self) -> bool:
        return self.told.rpartition(b'S')[1] == b'S' and b'E' not in self.told.rpartition(b'S')[2]

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._pipe], [], [], max(deadline - time.monotonic(), 0))
        found = os.read(self._pipe, 65536) if ready else b''
        self.told += found
        return bool(found)

    def _has_ended(self) -> bool:
        for pid in self.pids:
            if pid not in self.codes:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    self.codes[pid] = os.waitstatus_to_exitcode(status)
        return len(self.codes) == len(self.pids)


def _fork(
    work_dir: Path, settings: dict[str, Any], rank: int, num_ranks: int, port: int, pipe: int
) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        output = os.open(work_dir / f'output_{rank}.txt', os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(
            RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(num_ranks),
            MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port),
        )  # fmt: skip
        torch.set_num_threads(1)
        warnings.simplefilter('ignore')
        if num_ranks > 1:
            settings = {**settings, 'launcher': 'pytorch'}
        runner = make(str(work_dir), settings)
        if rank == 0:
            os.write(pipe, b'J')
            runner.register_hook(Tell(pipe), 'LOWEST')
        runner.train()
        (work_dir / f'state_{rank}.json').write_text(json.dumps(state_of(runner)))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


class Loop:
    """Kills, and what became of the runs."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.figures: Counter[str] = Counter()
        self.lost: list[str] = []
        self._ends: dict[int, tuple[dict[str, Any], float]] = {}

    def run(self, kills: int, kind: str | None = None) -> None:
        """Kill so often, and let the last run end."""
        while self.figures['kills'] < kills:
            weights = [share for share, _, _ in KINDS.values()]
            chosen = kind or self.random.choices(list(KINDS), weights)[0]
            self._one_run(chosen, kills)

    def _one_run(self, kind: str, kills: int) -> None:
        _, more, num_ranks = KINDS[kind]
        expected, seconds = self._unbroken(num_ranks)
        work_dir = self.folder / f'run_{self.figures["runs"]}'
        work_dir.mkdir()
        self.figures['runs'] += 1
        self.figures[f'runs: {kind}'] += 1
        # Beyond that many kills a run ends undisturbed, so that every run is compared.
        to_come = self.random.randint(3, 8)
        while True:
            start = Start(work_dir, {**SETTINGS, **more}, num_ranks)
            try:
                if to_come and self.figures['kills'] < kills:
                    self._kill(start, kind, seconds)
                else:
                    start.wait(LIMIT_S)
            finally:
                start.close()
            to_come = max(to_come - 1, 0)
            if self._is_over(start, kind, expected):
                break
        if not self.lost:
            shutil.rmtree(work_dir)

    def _kill(self, start: Start, kind: str, seconds: float) -> None:
        if kind == 'one of two ranks':
            # Before that, the other one waits for torch's store, which only a launcher can end.
            start.wait_for_meeting(LIMIT_S)
        if self.random.random() < 0.5:
            for _ in range(self.random.randint(1, 4)):
                start.told += b' '
                start.wait_for_save(LIMIT_S)
            ended = start.wait(self.random.uniform(0, 0.02))
        else:
            ended = start.wait(self.random.uniform(0, seconds))
        if ended:
            return
        self.figures['kills'] += 1
        victims = range(len(start.pids))
        if kind == 'one of two ranks':
            victims = range(*((0, 1) if self.random.random() < 0.5 else (1, 2)))
        for rank in victims:
            start.kill(rank)
        if not start.wait(LIMIT_S):
            self._lose(start, f'{kind}: the other rank does not end')
        self.figures['kills within a save'] += start.was_saving

    def _is_over(self, start: Start, kind: str, expected: dict[str, Any]) -> bool:
        codes = [start.codes.get(pid) for pid in start.pids]
        if -signal.SIGKILL in codes:
            return bool(self.lost)
        if any(codes):
            self._lose(start, f'{kind}: a start ended with {codes}')
            return True
        for rank in range(len(codes)):
            state = json.loads((start.work_dir / f'state_{rank}.json').read_text())
            if state != expected:
                self._lose(start, f'{kind}: rank {rank} ended in another state')
                return True
        self.figures['runs with the bits of the unbroken run'] += 1
        self._count_files(start.work_dir)
        return True

    def _count_files(self, work_dir: Path) -> None:
        names = [path.name for path in work_dir.rglob('*')]
        temporary = [name for name in names if name.endswith('.tmp')]
        checkpoints = [name for name in names if name.startswith('iter_') and name[-4:] == '.pth']
        # The checkpoint of the end is kept beside the two of max_keep_ckpts.
        beyond = max(len(checkpoints) - SETTINGS['max_keep'] - 1, 0)
        self.figures['temporary files left'] += len(temporary)
        self.figures['checkpoints left beyond max_keep_ckpts'] += beyond

    def _lose(self, start: Start, why: str) -> None:
        self.figures['runs lost'] += 1
        output = '\n'.join(path.read_text()[-3000:] for path in start.work_dir.glob('output_*.txt'))
        self.lost.append(f'{why}, in {start.work_dir}\n{output}')

    def _unbroken(self, num_ranks: int) -> tuple[dict[str, Any], float]:
        """The end of the unbroken run, and how long it takes."""
        if num_ranks not in self._ends:
            work_dir = self.folder / f'unbroken_{num_ranks}'
            work_dir.mkdir()
            began = time.monotonic()
            start = Start(work_dir, SETTINGS, num_ranks)
            start.wait(LIMIT_S)
            seconds = time.monotonic() - began
            start.close()
            text = (work_dir / 'output_0.txt').read_text()
            assert set(start.codes.values()) == {0}, text
            self._ends[num_ranks] = json.loads((work_dir / 'state_0.json').read_text()), seconds
        return self._ends[num_ranks]

    def report(self) -> dict[str, Any]:
        """The figures."""
        return {'runs lost': 0, **dict(sorted(self.figures.items())), 'lost': self.lost}


def main() -> None:
    """Kill, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--kills', type=int, default=500)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--kind', choices=list(KINDS))
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix='kill_loop_'))
    loop = Loop(folder, args.seed)
    loop.run(args.kills, args.kind)
    report = loop.report()
    print(json.dumps(report, indent=2))
    if args.out is not None:
        args.out.write_text(json.dumps(report, indent=2) + '\n')
    if loop.lost:
        raise SystemExit(1)
    shutil.rmtree(folder)


if __name__ == '__main__':
    main()
