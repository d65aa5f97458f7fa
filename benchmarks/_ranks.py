"""Starts the ranks of a benchmark as processes of its own script."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _report import silenced


def run_ranks(script: str, world_size: int, *arguments: str) -> list[dict[str, Any]]:
    """What each rank of ``script`` printed last, as JSON; the ranks meet in a file."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            **os.environ,
            'OMP_NUM_THREADS': '1',
            'PYTHONPATH': str(Path(__file__).parents[1]),
            'BENCHMARK_FOLDER': folder,
            'WORLD_SIZE': str(world_size),
        }
        processes = [
            subprocess.Popen(
                [sys.executable, '-W', 'ignore', script, '--rank', str(rank), *arguments],
                env={**environ, 'RANK': str(rank), 'LOCAL_RANK': str(rank)},
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )
            for rank in range(world_size)
        ]  # fmt: skip
        texts = [process.communicate()[1] for process in processes]
    for process, text in zip(processes, texts, strict=True):
        if process.returncode:
            raise SystemExit(text)
    return [json.loads(text.splitlines()[-1]) for text in texts]


def join() -> str:
    """Make the process group of this rank; returns the folder that all ranks share."""
    import torch.distributed as dist

    folder = os.environ['BENCHMARK_FOLDER']
    dist.init_process_group(
        'gloo',
        init_method=f'file://{folder}/store',
        rank=int(os.environ['RANK']),
        world_size=int(os.environ['WORLD_SIZE']),
    )
    return folder


def tell(**what: Any) -> None:
    """Tell :func:`run_ranks` a result."""
    print(json.dumps(what), file=sys.__stderr__, flush=True)


def take_turns(
    runner: Any, by_hand: Callable[[], None], turns: int, steps: int
) -> list[list[float]]:
    """Train epochs of ``runner`` and of a loop by hand in turns, between barriers of the ranks.

    Args:
        runner: A run that has not begun.
        by_hand: Trains one epoch.
        turns: Pairs of epochs; two more come before, which are not measured.
        steps: Steps of an epoch.

    Returns:
        For each pair, microseconds of a step by hand and of one by the engine.
    """
    import torch.distributed as dist

    times: list[list[float]] = []
    loop: Any = runner.build_train_loop(runner._train_loop)

    def run_turns(*args: Any, **kwargs: Any) -> Any:
        """In place of the loop's own ``run``, with everything prepared."""
        runner.call_hook('before_train')
        for turn in range(turns + 2):
            pair = [0.0, 0.0]
            for which in (0, 1) if turn % 2 else (1, 0):
                dist.barrier()
                start = time.perf_counter()
                by_hand() if which == 0 else loop.run_epoch()
                pair[which] = (time.perf_counter() - start) / steps * 1e6
            times.append(pair)
        return runner.model

    loop.run = run_turns
    runner._train_loop = loop
    with silenced():
        runner.train()
    return times[2:]
