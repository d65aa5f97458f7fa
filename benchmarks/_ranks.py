"""Starts the ranks of a benchmark as processes of its own script."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


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
