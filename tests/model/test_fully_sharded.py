"""FSDP with two real processes: what they compute together equals one process on all the data."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmengine.model import BaseModel
from mmengine.model._build import wrap_model
from mmengine.optim import OptimWrapper
from mmengine.registry import FUNCTIONS
from mmengine.testing._internal.distributed import run_distributed

STEPS = 4


class Regression(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 8)
        self.second = nn.Linear(8, 1)

    def forward(self, inputs: Tensor, target: Tensor | None = None, mode: str = 'tensor') -> Any:
        prediction = self.second(self.first(inputs).tanh())
        if mode == 'loss':
            assert target is not None
            return {'loss': (prediction - target).pow(2)}
        return list(prediction) if mode == 'predict' else prediction


def start() -> Regression:
    torch.manual_seed(3)
    return Regression()


def batch(step: int, rank: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(10 * step + rank)
    return {
        'inputs': torch.randn(5, 3, generator=generator),
        'target': torch.randn(5, 1, generator=generator),
    }


def by_hand(accumulate: int = 1) -> tuple[dict[str, Tensor], list[float]]:
    """SGD on the batches of both ranks at once, in plain torch; weights and losses of rank 0."""
    model = start()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for step in range(STEPS):
        losses.append(model(**batch(step, 0), mode='loss')['loss'].mean().item())
        both = [model(**batch(step, rank), mode='loss')['loss'].mean() for rank in range(2)]
        ((both[0] + both[1]) / 2 / accumulate).backward()
        if (step + 1) % accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()
    return model.state_dict(), losses


def in_two_processes(rank: int, world_size: int) -> dict[str, Any]:
    from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy

    from mmengine.model import MMFullyShardedDataParallel

    found: dict[str, Any] = {}
    policy = {'type': 'size_based_auto_wrap_policy', 'min_num_params': 20}
    for name, accumulate, settings in (
        ('whole', 1, {}),
        ('units', 1, {'auto_wrap_policy': policy, 'sharding_strategy': 'SHARD_GRAD_OP'}),
        ('accumulated', 2, {'sharding_strategy': 'NO_SHARD'}),
    ):
        wrapped: Any = wrap_model(start(), {'type': 'MMFullyShardedDataParallel', **settings})
        assert type(wrapped) is MMFullyShardedDataParallel
        optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
        wrapper = OptimWrapper(optimizer, accumulative_counts=accumulate)
        losses = [wrapped.train_step(batch(s, rank), wrapper)['loss'].item() for s in range(STEPS)]
        found[name] = {
            'losses': losses,
            'predictions': torch.stack(wrapped.val_step(batch(0, rank))).detach(),
            'tested': torch.stack(wrapped.test_step(batch(0, rank))).detach(),
            'own': sum(p.numel() for p in wrapped.parameters()),
            'units': len(FullyShardedDataParallel.fsdp_modules(wrapped)),
            'strategy': wrapped.sharding_strategy.name,
            'weights': {k: v.clone() for k, v in wrapped.state_dict().items()},
        }
    half = MMFullyShardedDataParallel(
        start(),
        sharding_strategy=ShardingStrategy.FULL_SHARD,
        mixed_precision={'param_dtype': 'bfloat16', 'reduce_dtype': torch.float32},
        cpu_offload=False,
        backward_prefetch='BACKWARD_POST',
        param_init_fn=None,
    )
    found['half'] = half.test_step(batch(0, rank))[0].dtype
    return found


@pytest.fixture(scope='module')
def ranks() -> list[dict[str, Any]]:
    return run_distributed(in_two_processes, 2)


pytestmark = [
    pytest.mark.distributed,
    # torch's own, once FSDP is imported or used.
    pytest.mark.filterwarnings('ignore::FutureWarning'),
]


@pytest.mark.parametrize(
    ('name', 'accumulate'), [('whole', 1), ('units', 1), ('accumulated', 2)]
)  # fmt: skip
def test_training_equals_one_process_on_all_batches(
    ranks: list[dict[str, Any]], name: str, accumulate: int
) -> None:
    weights, losses = by_hand(accumulate)
    for found in ranks:
        assert found[name]['weights'].keys() == weights.keys()
        for key, value in weights.items():
            torch.testing.assert_close(found[name]['weights'][key], value)
    assert ranks[0][name]['losses'] == pytest.approx(losses, rel=1e-5)


def test_predictions_use_the_parts_of_all_ranks(ranks: list[dict[str, Any]]) -> None:
    model = start()
    model.load_state_dict(by_hand()[0])
    for rank, found in enumerate(ranks):
        expected = model(batch(0, rank)['inputs'])
        torch.testing.assert_close(found['units']['predictions'], expected)
        torch.testing.assert_close(found['units']['tested'], expected)


def test_each_rank_holds_a_part(ranks: list[dict[str, Any]]) -> None:
    # 3*8 + 8 in the first layer, 8 + 1 in the second; one number of padding on an odd total.
    assert sum(found['whole']['own'] for found in ranks) == 41
    assert max(found['whole']['own'] for found in ranks) == 21
    assert [found['accumulated']['own'] for found in ranks] == [41, 41]


def test_settings_are_found_by_their_names(ranks: list[dict[str, Any]]) -> None:
    assert [found['units']['units'] for found in ranks] == [2, 2]  # the first layer and the root
    assert ranks[0]['units']['strategy'] == 'SHARD_GRAD_OP'
    assert ranks[0]['whole']['strategy'] == 'FULL_SHARD'
    assert ranks[0]['half'] == torch.bfloat16


@pytest.mark.parametrize(
    ('settings', 'error', 'message'),
    [
        ({'sharding_strategy': 'FULL_SHART'}, ValueError, "Did you mean 'FULL_SHARD'"),
        ({'sharding_strategy': 3}, TypeError, 'ShardingStrategy or its name, got int'),
        ({'backward_prefetch': 'PRE'}, ValueError, "BACKWARD_PRE.*got 'PRE'"),
        ({'cpu_offload': 'yes'}, TypeError, 'bool or a CPUOffload, got str'),
        ({'mixed_precision': 'bf16'}, TypeError, 'dict or a MixedPrecision, got str'),
        ({'mixed_precision': {'param_dtype': 'bf'}}, ValueError, "'bf' is not a dtype"),
        ({'auto_wrap_policy': 'size_base_auto_wrap_policy'}, ValueError, 'Did you mean .size_base'),
        ({'auto_wrap_policy': 3}, TypeError, 'auto_wrap_policy should be a function.*got int'),
        ({'auto_wrap_policy': {'min_num_params': 1}}, ValueError, "needs the key 'type'"),
        ({'param_init_fn': 'absent'}, ValueError, "param_init_fn 'absent' is neither"),
    ],
)
def test_wrong_settings_are_named(
    settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    from mmengine.model import MMFullyShardedDataParallel

    with pytest.raises(error, match=message):
        MMFullyShardedDataParallel(start(), **settings)


def test_functions_come_from_the_registry_by_path_or_with_arguments() -> None:
    from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy

    from mmengine.model.wrappers.fully_sharded_distributed import _function

    def fill(module: nn.Module, value: int = 0) -> int:
        return value

    FUNCTIONS.register_module(name='fill_for_test', module=fill)
    try:
        assert _function('fill_for_test', 'param_init_fn') is fill
        bound = _function({'type': 'fill_for_test', 'value': 7}, 'param_init_fn')
        assert isinstance(bound, partial)
        assert bound(None) == 7
    finally:
        FUNCTIONS.module_dict.pop('fill_for_test')
    path = 'torch.distributed.fsdp.wrap.size_based_auto_wrap_policy'
    assert _function(path, 'auto_wrap_policy') is size_based_auto_wrap_policy
    assert _function({'type': fill}, 'param_init_fn') is fill
