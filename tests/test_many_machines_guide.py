"""docs/many_machines.md keeps its word: its files are written, and its commands run on them."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch

from mmengine.cli.__main__ import build_parser, main
from mmengine.testing._internal.distributed import run_distributed

GUIDE = (Path(__file__).parents[1] / 'docs' / 'many_machines.md').read_text(encoding='utf-8')
COMMANDS = [
    shlex.split(line) for line in re.findall(r'^    (mmengine .*|torchrun .*)$', GUIDE, re.M)
]
FILES = dict(re.findall(r'^`(\w+\.py)` .*?```python\n(.*?)```', GUIDE, re.M | re.S))


def _written(folder: Path) -> None:
    for name, text in FILES.items():
        (folder / name).write_text(text)


def _training_of(words: list[str]) -> list[str]:
    """The command that each rank of a launch runs."""
    at = words.index('mmengine') if words[0] == 'torchrun' else 0
    options = build_parser(words[at + 1 : at + 2]).parse_args(words[at + 1 :])
    if words[0] == 'torchrun':
        return words[at + 1 :]
    return ['train', options.config, *options.rest, '--launcher', 'pytorch']


def _is_on_ranks(words: list[str]) -> bool:
    return words[0] == 'torchrun' or words[1:3] == ['launch', 'local']


def _on_two_ranks(rank: int, world_size: int, folder: str) -> list[list[str]]:
    """Run what the launches run; a training that another command ran already is not repeated."""
    os.chdir(folder)
    sys.path.insert(0, folder)
    done: list[list[str]] = []
    for words in filter(_is_on_ranks, COMMANDS):
        command = _training_of(words)
        if command not in done:
            assert main(command) == 0
            done.append(command)
    return done


@pytest.mark.distributed
def test_its_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _written(tmp_path)
    done = run_distributed(_on_two_ranks, 2, str(tmp_path))[0]
    # Sharded, in checkpoints of parts, and on two machines, for which the launch differs only.
    assert [command[1] for command in done].count('fsdp.py') == 3
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    outputs = {}
    for words in COMMANDS:
        if not _is_on_ranks(words):
            assert main(words[1:]) == 0, words
            outputs[' '.join(words)] = capsys.readouterr().out
    (script,) = (text for command, text in outputs.items() if 'slurm' in command)
    assert script.startswith('#!/bin/bash\n')
    plans = [text for command, text in outputs.items() if ' plan ' in command]
    assert 'It fits' in plans[0]
    assert 'all_gather' in plans[1]

    weights = {}
    for name, file in (('one', 'epoch_2.pth'), ('ddp', 'epoch_2.pth'), ('fsdp', 'epoch_2.pth')):
        path = tmp_path / 'runs' / name / file
        weights[name] = torch.load(path, weights_only=True)['state_dict']
    # Two ranks with batches of 4 take the steps of one device with batches of 8.
    torch.testing.assert_close(weights['ddp'], weights['one'], atol=1e-6, rtol=0)
    assert weights['fsdp'].keys() == weights['one'].keys()
    assert (tmp_path / 'runs' / 'tensor' / 'epoch_2.pth').is_file()
    assert (tmp_path / 'runs' / 'parts' / 'epoch_2.pth').is_dir()
    assert (tmp_path / 'runs' / 'parts' / 'epoch_3.pth').is_file()  # as one process
    assert (tmp_path / 'runs' / 'net.safetensors').is_file()
