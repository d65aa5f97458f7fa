"""Logged values of a distributed training are means over its ranks."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as torch_dist
from torch import nn
from torch.utils.data import DataLoader

from mmengine.hooks import LoggerHook
from mmengine.model import BaseModel
from mmengine.runner import LogProcessor, Runner
from mmengine.runner._rank_means import RankMeans
from mmengine.testing._internal.distributed import run_distributed

pytestmark = pytest.mark.distributed

STEPS = 6
INTERVAL = 2


class OfRank(BaseModel):
    """On rank r and step k, from 1: loss_a = 10 k + r; loss_b = 7 on rank 1; acc = 1 + 2 r."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.0]))
        self.step = 0

    def forward(self, x: torch.Tensor, mode: str) -> Any:
        self.step += 1
        rank = torch_dist.get_rank()
        unused = 0 * self.weight.sum()
        losses = {'loss_a': unused + 10 * self.step + rank, 'acc': torch.tensor(1.0 + 2 * rank)}
        if rank == 1 and self.step > 2:
            losses['loss_b'] = unused + 7
        if self.step == STEPS:
            losses['acc'] = torch.tensor(math.nan if rank == 1 else 1.0)
        return losses


def _train(
    rank: int, world_size: int, work_dir: str, processor: dict[str, Any]
) -> list[dict[str, Any]]:
    sent: list[int] = []
    gather = torch_dist.all_gather
    torch_dist.all_gather = lambda *args, **kwargs: sent.append(1) or gather(*args, **kwargs)
    runner = Runner(
        OfRank(), work_dir, launcher='pytorch', log_level='ERROR',
        # Each rank gets half of them.
        train_dataloader=DataLoader([{'x': torch.ones(1)} for _ in range(2 * STEPS)]),
        train_cfg={'by_epoch': True, 'max_epochs': 1},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
        default_hooks={'logger': {'type': 'LoggerHook', 'interval': INTERVAL}, 'checkpoint': None},
        log_processor={'window_size': INTERVAL, **processor},
        env_cfg={'dist_cfg': {'backend': 'gloo'}},
    )  # fmt: skip
    seen = []
    add = runner.visualizer.add_scalars

    def record(tag: dict[str, Any], **kwargs: Any) -> None:
        seen.append({**tag, 'sent': len(sent)})
        sent.clear()
        add(tag, **kwargs)

    runner.visualizer.add_scalars = record
    runner.train()
    if rank == 0:
        lines = Path(runner.log_dir, 'vis_data', 'scalars.json').read_text().splitlines()
        assert [json.loads(line).get('loss_a') for line in lines] == [
            tag.get('loss_a') for tag in seen
        ]
    return seen


def test_lines_have_the_mean_over_all_ranks(tmp_path):
    of_ranks = run_distributed(_train, 2, str(tmp_path), {})
    for tags in of_ranks:
        # Steps 1 and 2: (10 + 20) / 2 = 15 on rank 0, 16 on rank 1.
        assert [tag['loss_a'] for tag in tags] == [15.5, 35.5, 55.5]
        assert tags[0]['acc'] == 2.0
        assert math.isnan(tags[2]['acc'])  # rank 1 has NaN
        assert [tag.get('loss_b') for tag in tags] == [None, 7.0, 7.0]  # of rank 1 alone
    assert of_ranks[0][1]['time'] != of_ranks[1][1]['time']


def test_a_line_needs_one_collective_once_names_are_known(tmp_path):
    for tags in run_distributed(_train, 2, str(tmp_path), {}):
        assert tags[-1]['sent'] == 1


def test_each_rank_logs_its_own_values_if_asked_to(tmp_path):
    first, second = run_distributed(_train, 2, str(tmp_path), {'mean_over_ranks': False})
    assert [tag['loss_a'] for tag in first] == [15.0, 35.0, 55.0]
    assert [tag['loss_a'] for tag in second] == [16.0, 36.0, 56.0]


def test_a_maximum_is_that_of_all_ranks(tmp_path):
    custom = [
        {'data_src': 'loss_a', 'method_name': name, 'log_name': name, 'window_size': 'global'}
        for name in ('max', 'min')
    ]
    for tags in run_distributed(_train, 2, str(tmp_path), {'custom_cfg': custom}):
        assert (tags[-1]['max'], tags[-1]['min']) == (61.0, 10.0)


def test_the_mode_in_names_changes_nothing(tmp_path):
    for tags in run_distributed(_train, 2, str(tmp_path), {'log_with_hierarchy': True}):
        assert tags[0]['train/loss_a'] == 15.5


def _reduce(rank: int, world_size: int) -> list[dict[str, Any]]:
    means = RankMeans()
    first = means.reduce({'a': rank, 'text': 'x'} if rank else {'b': 5.0, 'a': 1.0}, {})
    second = means.reduce({'a': 2.0 * rank}, {})
    return [first, second]


def test_values_of_some_ranks_are_averaged_over_these():
    zero, one = run_distributed(_reduce, 2)
    assert zero == [{'b': 5.0, 'a': 1.0}, {'a': 1.0}]
    assert one == [{'a': 1.0, 'text': 'x', 'b': 5.0}, {'a': 1.0}]


def _even(rank: int, world_size: int, lengths: list[int], reduces: bool) -> bool:
    hook = LoggerHook()
    hook.before_train_epoch(
        SimpleNamespace(
            epoch=0,
            iter=0,
            log_processor=LogProcessor(mean_over_ranks=reduces),
            train_loop=SimpleNamespace(dataloader=range(lengths[rank])),
        )
    )
    return hook._are_ranks_even


@pytest.mark.parametrize(
    ('lengths', 'reduces', 'expected'),
    [([4, 4], True, True), ([4, 5], True, False), ([4, 4], False, False)],
)
def test_ranks_of_different_lengths_exchange_nothing(lengths, reduces, expected):
    assert run_distributed(_even, 2, lengths, reduces) == [expected] * 2
