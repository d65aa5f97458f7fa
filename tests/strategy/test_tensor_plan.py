"""The arguments tp_plan and mesh of FSDPStrategy: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn
from torch.distributed.tensor import Shard
from torch.distributed.tensor.parallel import ColwiseParallel
from tp_toy import PLAN, SEQUENCE_PLAN, former

from mmengine.strategy import FSDPStrategy
from mmengine.strategy._device_mesh import build_mesh, tensor_ranks
from mmengine.strategy._tensor_plan import LayerPlan, find_layers, read_plan


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(8, 4), nn.Linear(4, 8, bias=False)
        self.head.weight = self.embed.weight
        self.again = self.head


def test_a_plan_finds_its_layers() -> None:
    layers = find_layers(former(), read_plan(PLAN, 2), 2)
    assert layers['blocks.1.attn.qkv'] == LayerPlan('colwise')
    assert len(layers) == 2 * 5
    layers = find_layers(former(), read_plan(SEQUENCE_PLAN, 2), 2)
    assert layers['blocks.0.norm2'] == LayerPlan('sequence', 'sequence', 'sequence')
    assert 'norm' in layers


def test_styles_and_placements_of_torch_are_kept() -> None:
    ready = ColwiseParallel()
    plan = read_plan({'embed': ready, 'head': {'style': 'rowwise', 'input': Shard(2)}}, 2)
    assert plan['embed'].style is ready
    assert plan['head'].input == Shard(2)


@pytest.mark.parametrize(
    ('entry', 'message'),
    [
        ('colwize', "tp_plan.'embed'. has the style 'colwize'.* Did you mean 'colwise'"),
        (3, 'needs a style: .* got 3'),
        ({'input': 'last'}, 'needs a style: .* got None'),
        ({'style': 'rowwise', 'outputs': 'last'}, "key 'outputs'.* Did you mean 'output'"),
        ({'style': 'rowwise', 'output': 'replicated'}, "'replicated'. Did you mean 'replicate'"),
        ({'style': ColwiseParallel(), 'input': 'last'}, 'has its own layouts: leave out input'),
    ],
    ids=['style', 'type', 'no-style', 'key', 'layout', 'ready'],
)
def test_a_wrong_entry_is_explained(entry: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_plan({'embed': entry}, 2)


def test_parts_may_be_made_whole_or_be_the_models_own() -> None:
    for output in ('replicate', 'last'):
        plan = read_plan({'blocks.*.fc1': {'style': 'colwise', 'output': output}}, 2)
        assert set(find_layers(former(), plan, 2)) == {'blocks.0.fc1', 'blocks.1.fc1'}


@pytest.mark.parametrize(
    ('plan', 'ranks', 'message'),
    [
        (None, 2, 'mesh has tensor=2, but tp_plan does not say'),
        (PLAN, 1, 'the axis tensor of mesh, which has one rank'),
        (['embed'], 2, 'a dict from names of layers to styles, got list'),
    ],
    ids=['no-plan', 'no-axis', 'list'],
)
def test_a_plan_belongs_to_the_axis_tensor(plan: Any, ranks: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_plan(plan, ranks)


@pytest.mark.parametrize(
    ('plan', 'message'),
    [
        ({'blocks.*.atn.qkv': 'colwise'}, r"no layer of Former. Did you mean 'blocks\.\*\.attn"),
        ({'blocks.*': 'colwise'}, 'splits Linear and Embedding, but blocks.0 is a Layer'),
        ({'blocks.0': 'sequence'}, 'blocks.0 is a Layer with the parameter norm1.weight'),
        ({'blocks.*.fc1': 'colwise', 'blocks.0.fc*': 'rowwise'}, 'blocks.0.fc1 matches .* and'),
        (
            {'blocks.*.fc1': 'colwise'},
            "fc1'. is 'colwise', which gives each rank a part .*'rowwise'",
        ),
    ],
    ids=['no-match', 'container', 'sequence', 'twice', 'parts'],
)
def test_a_plan_that_does_not_fit_the_model_is_explained(plan: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_layers(former(), read_plan(plan, 2), 2)


@pytest.mark.parametrize(
    ('plan', 'message'),
    [
        ({'blocks.*.fc1': 'colwise'}, 'blocks.0.fc1 has 16 output features, which 3 ranks'),
        ({'blocks.*.fc1': 'rowwise'}, 'blocks.0.fc1 has 8 input features, which 3 ranks'),
    ],
    ids=['colwise', 'rowwise'],
)
def test_sizes_that_do_not_divide_are_named(plan: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_layers(former(), read_plan(plan, 3), 3)


def test_a_shared_parameter_is_named() -> None:
    with pytest.raises(ValueError, match=r'embed\.weight and head\.weight are the same parameter'):
        find_layers(Tied(), read_plan({'embed': 'rowwise'}, 2), 2)
    # A second name of a layer is not a second layer.
    model = Tied()
    model.head = model.again = nn.Linear(4, 8)
    whole = {'style': 'colwise', 'output': 'replicate'}
    assert list(find_layers(model, read_plan({'*a*': whole}, 2), 2)) == ['head']


@pytest.mark.parametrize('sizes', [{'tensor': 0}, {'tensor': True}, {'tensor': '2'}])
def test_a_size_of_the_axis_tensor_is_checked(sizes: Any) -> None:
    with pytest.raises(ValueError, match='tensor of mesh is a positive integer'):
        tensor_ranks(sizes)


@pytest.mark.parametrize(
    'sizes', [{'tensor': 3}, {'tensor': 2, 'shard': 4}, {'tensor': 2, 'replicate': 3}]
)
def test_a_mesh_with_tensor_ranks_that_does_not_fit_is_refused(sizes: Any) -> None:
    with pytest.raises(ValueError, match='x tensor = the number of ranks, 4'):
        build_mesh('cpu', sizes, 4)


def test_one_process_checks_the_plan_and_trains_the_whole_model(tmp_path: Path) -> None:
    strategy = FSDPStrategy(mesh={'tensor': 2}, tp_plan=PLAN, work_dir=str(tmp_path))
    model = former()
    assert strategy.wrap_model(model) is model
    assert strategy.data_parallel_info == (0, 1)
    strategy = FSDPStrategy(mesh={'tensor': 2}, tp_plan={'no': 'colwise'}, work_dir=str(tmp_path))
    with pytest.raises(ValueError, match="'no' of tp_plan matches no layer"):
        strategy.wrap_model(model)
