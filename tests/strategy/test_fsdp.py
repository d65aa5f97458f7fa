"""FSDPStrategy against DDP, and against one process on the joined batch."""

from __future__ import annotations

from typing import Any

import pytest
from fsdp_toy import Exchanges, Mean, by_hand, compare, config, loader, trained

from mmengine.runner import Runner
from mmengine.testing._internal.distributed import run_distributed

pytestmark = pytest.mark.distributed

SGD = {'type': 'SGD', 'lr': 0.01, 'momentum': 0.9}
ADAMW = {'type': 'AdamW', 'lr': 0.001}
# 20 iterations in windows of 3: the last window has 2.
CASES: dict[str, dict[str, Any]] = {
    'sgd': {'optimizer': SGD},
    'adamw': {'optimizer': ADAMW},
    'accumulation': {'optimizer': SGD, 'accumulative_counts': 3},
    'clip': {'optimizer': ADAMW, 'clip_grad': {'max_norm': 0.05}, 'accumulative_counts': 2},
}
BF16 = {'type': 'AmpOptimWrapper', 'dtype': 'bfloat16', 'optimizer': SGD}
VALIDATION = {'val_dataloader': loader(4), 'val_cfg': {}, 'val_evaluator': Mean()}
FSDP = {'type': 'FSDPStrategy', 'blocks': ['Block']}


def _run_all(rank: int, world_size: int, folder: str) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for name, wrapper in {**CASES, 'bf16': BF16}.items():
        for kind, strategy in (('fsdp', FSDP), ('ddp', 'ddp')):
            cfg = {'strategy': strategy}
            runner = Runner(**config(f'{folder}/{name}_{kind}', wrapper, **VALIDATION), cfg=cfg)
            with Exchanges() as exchanges:
                result = trained(runner)
            mean = runner.val()['mean']
            results[f'{name}_{kind}'] = {**result, 'mean': mean, 'dtypes': exchanges.dtypes}
    return results


@pytest.fixture(scope='module')
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return run_distributed(_run_all, 2, str(tmp_path_factory.mktemp('fsdp')))


@pytest.mark.shows(['DDP', 'FSDP'], ['accumulation', 'clipping'], 'works')
@pytest.mark.parametrize('name', CASES)
def test_it_trains_as_ddp_and_as_one_process_on_the_joined_batch(
    name: str, runs: list[dict[str, Any]]
) -> None:
    case = CASES[name]
    truth = by_hand(
        case['optimizer'],
        case.get('accumulative_counts', 1),
        case.get('clip_grad', {}).get('max_norm'),
    )
    for result in runs:
        compare(result[f'{name}_fsdp'], truth)
        compare(result[f'{name}_fsdp'], result[f'{name}_ddp'])


@pytest.mark.shows(['DDP', 'FSDP'], 'AMP in bfloat16', 'works')
def test_bfloat16_stays_as_near_to_float32_as_with_ddp(runs: list[dict[str, Any]]) -> None:
    truth = by_hand(SGD)
    for result in runs:
        # Eight bits of mantissa: one part in 256 for a number, more after 20 steps.
        compare(result['bf16_ddp'], truth, atol=5e-2, rtol=5e-2)
        compare(result['bf16_fsdp'], truth, atol=5e-2, rtol=5e-2)
        # The blocks, and the root.
        dtypes = result['bf16_fsdp']['dtypes']
        assert dtypes['gathered'] == {'torch.bfloat16', 'torch.float32'}
        assert dtypes['reduced'] == {'torch.float32'}
        assert result['sgd_fsdp']['dtypes']['gathered'] == {'torch.float32'}
        # A validation runs without autocast.
        assert result['bf16_fsdp']['mean'] == pytest.approx(truth['mean'], abs=5e-2)
