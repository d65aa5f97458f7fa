"""A sum over real processes, as gradients are summed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist

from mmengine.doctor._finding import FAIL, OK, Finding, bytes_text
from mmengine.utils._quantities import counted

_AREA = 'collectives'
_TIMEOUT_S = 60.0
_MAX_RANKS = 8
_ADVICE = {
    'gloo': 'Name the network interface in GLOO_SOCKET_IFNAME (ip addr lists them), and let the '
    'firewall pass connections of this machine to itself.',
    'nccl': 'Run again with NCCL_DEBUG=INFO; NCCL_P2P_DISABLE=1 and NCCL_SOCKET_IFNAME are what '
    'most often helps.',
}


def check_collectives(timeout_s: float = _TIMEOUT_S) -> Iterator[Finding]:
    """Sum over two processes with gloo, and over all devices with nccl where there are any."""
    if not dist.is_available():
        yield Finding(_AREA, 'torch.distributed', FAIL, 'this torch has no torch.distributed',
                      'Install another build of torch to train on several ranks.')  # fmt: skip
        return
    yield sum_finding('gloo', 2, timeout_s)
    if torch.cuda.is_available() and dist.is_nccl_available():
        yield sum_finding('nccl', min(torch.cuda.device_count(), _MAX_RANKS), timeout_s)


def sum_finding(backend: str, world_size: int, timeout_s: float) -> Finding:
    """Sum over processes that are started for it, and ended when time is up."""
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder, 'meeting')
        ranks = [
            _start(backend, rank, world_size, meeting, timeout_s) for rank in range(world_size)
        ]
        try:
            outputs = _outputs(ranks, time.monotonic() + timeout_s)
        finally:
            for rank in ranks:
                rank.kill()
                with rank:  # which waits for it, and closes its pipes
                    pass
    name = f'{backend}, {counted(world_size, "rank")}'
    failed = [error for code, _, error in outputs if code != 0]
    if failed:
        return Finding(_AREA, name, FAIL, _last_line(failed), _ADVICE[backend])
    result = json.loads(outputs[0][1].splitlines()[-1])
    if not result['is_right']:
        return Finding(_AREA, name, FAIL, 'the sum is wrong', _ADVICE[backend])
    per_second = result['bytes'] / result['seconds']
    text = f'a sum of {bytes_text(result["bytes"])} takes {result["seconds"] * 1e3:.2g} ms'
    return Finding(_AREA, name, OK, f'{text}, {bytes_text(per_second)}/s')


def _start(
    backend: str, rank: int, world_size: int, meeting: Path, timeout_s: float
) -> subprocess.Popen[str]:
    words = [backend, str(rank), str(world_size), str(meeting), str(timeout_s)]
    path = [str(Path(__file__).parents[2]), os.environ.get('PYTHONPATH', '')]
    return subprocess.Popen(
        [sys.executable, '-m', 'mmengine.doctor._rank', *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1',
             'PYTHONPATH': os.pathsep.join(filter(None, path))},
    )  # fmt: skip


def _outputs(ranks: list[subprocess.Popen[str]], deadline: float) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each process; one that is late has a code that is not 0."""
    found = []
    for rank in ranks:
        try:
            output, errors = rank.communicate(timeout=max(deadline - time.monotonic(), 0.1))
            found.append((rank.returncode, output, errors))
        except subprocess.TimeoutExpired:
            found.append((1, '', 'no answer in time'))
    return found


def _last_line(errors: list[str]) -> str:
    """The error of the first rank that has one, without its traceback."""
    lines = [text.strip().splitlines()[-1] for text in errors if text.strip()]
    return lines[0] if lines else 'the processes ended without a word'
