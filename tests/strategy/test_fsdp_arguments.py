"""Arguments of FSDPStrategy: blocks, wrapper config, mesh, precision; and strategies by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fsdp_toy import Block, Net, by_hand, compare, config, seeded_net, trained
from torch import nn

from mmengine.model.wrappers import MMFullyShardedDataParallel
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import FlexibleRunner, Runner
from mmengine.strategy import DDPStrategy, FSDPStrategy, SingleDeviceStrategy
from mmengine.strategy._blocks import find_blocks
from mmengine.strategy._device_mesh import build_mesh
from mmengine.strategy._fsdp_arguments import settings_of_wrapper
from mmengine.strategy._mixed_precision import dtype_of_optimizer, policy_of
from mmengine.strategy._recomputing import recompute_activations
from mmengine.strategy._sharding import Sharding, shard_model

SGD = {'type': 'SGD', 'lr': 0.01, 'momentum': 0.9}


def names(model: nn.Module, blocks: list[nn.Module]) -> list[str]:
    known = {module: name for name, module in model.named_modules()}
    return sorted(known[block] for block in blocks)


def is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.LayerNorm)


@pytest.mark.parametrize(
    ('choice', 'expected'),
    [
        (None, []),
        ('Block', ['blocks.0', 'blocks.1']),
        (['Block', nn.LayerNorm], ['blocks.0', 'blocks.0.norm', 'blocks.1', 'blocks.1.norm']),
        # A linear layer of a block has 30 parameters; with its norm a block would have 10 more.
        (30, ['blocks.0.linear', 'blocks.1.linear']),
        (40, ['blocks.0', 'blocks.1']),
        (is_norm, ['blocks.0.norm', 'blocks.1.norm']),
    ],
    ids=['none', 'name', 'class', 'layer-size', 'block-size', 'function'],
)
def test_blocks_are_chosen(choice: Any, expected: list[str]) -> None:
    model = Net()
    assert names(model, find_blocks(model, choice)) == expected


def test_inner_blocks_come_first() -> None:
    model = Net()
    known = {module: name for name, module in model.named_modules()}
    order = [known[block] for block in find_blocks(model, ['Block', 'LayerNorm'])]
    assert order.index('blocks.0.norm') < order.index('blocks.0')


def test_wrong_blocks_are_explained() -> None:
    with pytest.raises(ValueError, match=r'blocks names Blocks, .* Did you mean .*Block'):
        find_blocks(Net(), ['Blocks'])
    with pytest.raises(ValueError, match='positive integer, got 0'):
        find_blocks(Net(), 0)
    for wrong in (True, 0.5):
        with pytest.raises(TypeError, match='class names, a size or a function'):
            find_blocks(Net(), wrong)  # type: ignore[arg-type]


def test_blocks_that_share_a_parameter_are_refused() -> None:
    model = Net()
    model.blocks[1].linear.weight = model.blocks[0].linear.weight
    with pytest.raises(ValueError, match=r'share a parameter \(blocks\.\d\.linear\.weight'):
        shard_model(model, Sharding(blocks='Block'), None, None)


def test_arguments_of_the_wrapper_are_read() -> None:
    assert settings_of_wrapper(None) == ({}, [])
    assert settings_of_wrapper('MMFullyShardedDataParallel') == ({}, [])
    assert settings_of_wrapper(MMFullyShardedDataParallel) == ({}, [])
    settings, ignored = settings_of_wrapper(
        {
            'type': 'mmengine.model.MMFullyShardedDataParallel',
            'cpu_offload': True,
            'auto_wrap_policy': is_norm,
            'sharding_strategy': 'SHARD_GRAD_OP',
            'mixed_precision': {'param_dtype': 'bfloat16', 'buffer_dtype': 'float32'},
            'use_orig_params': False,
        }
    )
    assert settings == {
        'cpu_offload': True,
        'blocks': is_norm,
        'reshard_after_forward': False,
        'mixed_precision': {'param_dtype': 'bfloat16'},
    }
    assert ignored == ['use_orig_params']
    assert settings_of_wrapper({'sharding_strategy': 'HYBRID_SHARD'})[0]['mesh'] == 'nodes'


@pytest.mark.parametrize(
    ('wrapper', 'message'),
    [
        ('MMDistributedDataParallel', "got 'MMDistributedDataParallel'"),
        ({'sharding_strategy': 'NO_SHARD'}, "use strategy='ddp'"),
        ({'sharding_strategy': 'HALF'}, "got 'HALF'"),
        ({'param_init_fn': print}, 'no counterpart for param_init_fn'),
        ({'mixed_precision': {'dtype': 'float16'}}, 'unknown entries: dtype'),
    ],
    ids=['other', 'no-shard', 'unknown-strategy', 'argument', 'precision'],
)
def test_a_wrapper_without_a_counterpart_is_refused(wrapper: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings_of_wrapper(wrapper)


@pytest.mark.parametrize(
    'sizes', [{'replicate': 3}, {'shard': 3, 'replicate': 2}, {'data': 2}, {}, 'machines']
)
def test_a_mesh_that_does_not_fit_is_refused(sizes: Any) -> None:
    with pytest.raises(ValueError, match='mesh'):
        build_mesh('cpu', sizes, 4)


AMP = {'type': 'AmpOptimWrapper', 'optimizer': SGD}


@pytest.mark.parametrize(
    ('wrapper', 'expected'),
    [
        (None, None),
        ({'optimizer': SGD}, None),
        ({**AMP, 'dtype': 'bfloat16'}, torch.bfloat16),
        ({**AMP, 'dtype': 'float32'}, None),
        (AMP, torch.bfloat16),  # autocast's default on the CPU
        ({'one': {**AMP, 'dtype': 'float16'}, 'two': {**AMP, 'dtype': 'float16'}}, torch.float16),
        ({'one': {**AMP, 'dtype': 'float16'}, 'two': {'optimizer': SGD}}, None),
    ],
    ids=['none', 'plain', 'bfloat16', 'float32', 'default', 'several', 'different'],
)
def test_the_dtype_comes_from_the_optimizer_wrapper(wrapper: Any, expected: Any) -> None:
    assert dtype_of_optimizer(wrapper, 'cpu') is expected


def test_the_dtype_of_a_built_wrapper() -> None:
    optimizer = torch.optim.SGD(Net().parameters(), lr=0.1)
    wrapper = AmpOptimWrapper(optimizer=optimizer, dtype=torch.float16)
    assert dtype_of_optimizer(wrapper, 'cpu') is torch.float16


def test_the_precision_of_blocks_and_root() -> None:
    policy = policy_of('auto', torch.bfloat16, Block())
    assert (policy.param_dtype, policy.reduce_dtype) == (torch.bfloat16, torch.float32)
    for setting, dtype, block in [
        ('auto', torch.bfloat16, None),  # the root
        ('auto', torch.bfloat16, nn.Sequential(nn.BatchNorm1d(2))),
        ('auto', None, Block()),
        (None, torch.bfloat16, Block()),
    ]:
        assert policy_of(setting, dtype, block).param_dtype is None
    assert policy_of({'param_dtype': 'float16'}, None, None).param_dtype is torch.float16
    with pytest.raises(ValueError, match='not a dtype of torch'):
        policy_of({'param_dtype': 'float15'}, None, None)
    with pytest.raises(ValueError, match="'auto', None or a dict"):
        policy_of('half', None, None)


@pytest.mark.parametrize(
    ('choice', 'calls'), [({'check_fn': is_norm}, [1, 1]), ('Block', [2, 2]), (None, [1, 1])]
)
def test_what_is_computed_again(choice: Any, calls: list[int]) -> None:
    model = Net()
    recompute_activations(model, [], choice)
    model(torch.ones(1, 3), torch.ones(1, 1), mode='loss')['loss'].backward()
    assert [block.calls for block in model.blocks] == calls


@pytest.mark.parametrize('choice', [True, {'check_fn': 3}, {'fn': is_norm}])
def test_wrong_checkpointing_is_explained(choice: Any) -> None:
    with pytest.raises(ValueError, match='activation_checkpointing'):
        recompute_activations(Net(), [], choice)


def test_a_wrong_state_dict_cfg_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'full', 'local' or a dict"):
        FSDPStrategy(state_dict_cfg='whole', work_dir=str(tmp_path))


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        (None, SingleDeviceStrategy),
        ('auto', SingleDeviceStrategy),
        ('single', SingleDeviceStrategy),
        ('ddp', DDPStrategy),
        ('fsdp', FSDPStrategy),
        ('FSDPStrategy', FSDPStrategy),
        ({'type': 'FSDPStrategy', 'blocks': 'Block', 'meta_init': True}, FSDPStrategy),
    ],
    ids=str,
)
def test_one_key_chooses_the_strategy_and_one_process_trains(
    name: Any, expected: type, tmp_path: Path
) -> None:
    arguments = config(str(tmp_path / 'runner'), {'optimizer': SGD}, launcher='none')
    arguments['train_dataloader']['batch_size'] = 4
    runner = Runner(**arguments, cfg={'strategy': name})
    flexible = FlexibleRunner(**{**arguments, 'work_dir': str(tmp_path / 'f')}, strategy=name)
    assert type(runner.strategy) is type(flexible.strategy) is expected
    compare(trained(flexible), by_hand(SGD))


def test_a_meta_model_in_one_process(tmp_path: Path) -> None:
    with torch.device('meta'):
        model = Net()
    model.scale = torch.tensor(0.5)
    arguments = config(str(tmp_path), {'optimizer': SGD}, launcher='none')
    arguments['train_dataloader']['batch_size'] = 4
    runner = FlexibleRunner(**{**arguments, 'model': model}, strategy='fsdp')
    runner.strategy.prepare(runner.model)
    torch.manual_seed(5)
    runner.strategy.init_weights()
    runner.state.has_weights = True
    compare(trained(runner), by_hand(SGD))


# The compiler reads the gradients of tensors that are no leaves.
@pytest.mark.filterwarnings('ignore:The .grad attribute of a Tensor:UserWarning')
def test_one_process_computes_activations_again_and_compiles_blocks(tmp_path: Path) -> None:
    graphs: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    arguments = config(str(tmp_path), {'optimizer': SGD}, launcher='none')
    arguments['train_dataloader']['batch_size'] = 4
    strategy = {'type': 'FSDPStrategy', 'blocks': ['Block'], 'activation_checkpointing': True}
    runner = FlexibleRunner(**arguments, strategy=strategy)
    found = trained(runner)
    compare(found, by_hand(SGD))
    assert [block.calls for block in runner.model.blocks] == [40, 40]
    arguments = {**arguments, 'model': seeded_net(), 'work_dir': str(tmp_path / 'compiled')}
    strategy['activation_checkpointing'] = False
    runner = FlexibleRunner(**arguments, strategy=strategy, compile={'backend': backend})
    compare(trained(runner), by_hand(SGD))
    assert graphs


def test_an_unknown_strategy_is_explained(tmp_path: Path) -> None:
    arguments = config(str(tmp_path), {'optimizer': SGD}, launcher='none')
    with pytest.raises(KeyError, match='FSDP'):
        Runner(**arguments, cfg={'strategy': 'FSDPStrateg'})
    with pytest.raises(TypeError, match='a BaseStrategy, a dict or a name, got int'):
        Runner(**arguments, cfg={'strategy': 3})
