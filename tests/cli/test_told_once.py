"""A mistake that all ranks find is printed by one of them, and all ranks exit with code 2."""

import os
import re
import threading
from pathlib import Path

import pytest
import torch.distributed as torch_dist

from mmengine.cli import _told_once
from mmengine.cli._told_once import tell_once
from mmengine.testing._internal.forked_python import run_python

ROOT = Path(__file__).parents[2]


def told_by(messages: dict[int, str], wait_s: float = 60.0) -> list[tuple[int, str]]:
    """What ranks show, each in a thread, in the order in which they show it."""
    store = torch_dist.HashStore()  # type: ignore[attr-defined]  # not listed in its stubs
    shown: list[tuple[int, str]] = []
    _told_once._WAIT_S, before = wait_s, _told_once._WAIT_S
    threads = [
        threading.Thread(
            target=_told_once._tell_once,
            args=(store, rank, 2, message, lambda text, rank=rank: shown.append((rank, text))),
        )
        for rank, message in messages.items()
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        _told_once._WAIT_S = before
    return shown


@pytest.mark.parametrize('order', [(0, 1), (1, 0)])
def test_rank_0_shows_what_both_have(order: tuple[int, int]) -> None:
    assert told_by(dict.fromkeys(order, 'wrong')) == [(0, 'wrong')]


def test_another_mistake_is_shown_too() -> None:
    assert sorted(told_by({0: 'wrong', 1: 'missing'})) == [(0, 'wrong'), (1, 'missing')]


def test_a_rank_that_is_alone_shows_its_mistake_after_a_while() -> None:
    assert told_by({1: 'missing'}, wait_s=0.05) == [(1, 'missing')]


def test_without_torchrun_it_is_shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.delenv('TORCHELASTIC_USE_AGENT_STORE', raising=False)
    tell_once('wrong', shown.append)
    assert shown == ['wrong']


@pytest.mark.distributed
def test_under_torchrun_mistakes_are_listed_once(project: Path) -> None:
    with (project / 'toy.py').open('a') as file:
        file.write('optim_wrapper = dict(optimizer=dict(type="SGD", lrr=0.1))\n')
    launch = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']
    search_path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    environment = {**os.environ, 'PYTHONPATH': search_path, 'OMP_NUM_THREADS': '1'}
    command = [*launch, '-m', 'mmengine', 'train', 'toy.py', '--launcher', 'pytorch']
    done = run_python(command, cwd=project, env=environment)
    assert done.stderr.count("Did you mean 'lr'?") == 1, done.stderr
    codes = re.findall(r'exitcode\s*: (-?\d+)', done.stderr)
    assert set(codes) == {'2'}
    assert done.returncode != 0
