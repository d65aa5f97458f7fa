"""Samples joined without a search for their kind: equal to what torch's default_collate gives."""

from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate
from torch.utils.data._utils.collate import default_collate_fn_map

from mmengine.dataset._direct_batches import direct_batches
from mmengine.dataset._direct_collate import direct_collate

Point = namedtuple('Point', 'x y')


class Marked(Tensor):
    pass


def tensors(count: int, *shape: int) -> list[Tensor]:
    return [torch.full(shape, float(index)) for index in range(count)]


SAMPLES: dict[str, list[Any]] = {
    'dicts': [{'a': x, 'b': torch.tensor(1)} for x in tensors(3, 2)],
    'dicts in dicts': [{'a': {'b': x, 'c': 'name'}, 'd': (1, 2.5)} for x in tensors(2, 2)],
    'dicts with more keys later': [{'a': torch.ones(1)}, {'a': torch.ones(1), 'b': 1}],
    'ordered dicts': [OrderedDict(a=x) for x in tensors(2, 2)],
    'tuples': [(x, index) for index, x in enumerate(tensors(3, 2, 2))],
    'tuples in tuples': [((x, x), (x,)) for x in tensors(2)],
    'lists': [[x, 'name'] for x in tensors(2, 3)],
    'named tuples': [Point(x, 1) for x in tensors(2, 3)],
    'tensors': tensors(3, 2),
    'empty tuples': [(), ()],
    'empty dicts': [{}, {}],
    'one sample': [{'a': torch.ones(2)}],
    'arrays': [{'a': np.ones(2), 'b': np.float32(1)}, {'a': np.zeros(2), 'b': np.float32(2)}],
    'mixed dtypes': [{'a': torch.ones(1)}, {'a': torch.ones(1, dtype=torch.float64)}],
    'parameters': [(torch.nn.Parameter(torch.ones(2)),) for _ in range(2)],
    'subclasses': [(torch.ones(2).as_subclass(Marked),) for _ in range(2)],
}
WRONG: dict[str, list[Any]] = {
    'shapes': [{'a': torch.ones(2)}, {'a': torch.ones(3)}],
    'missing key': [{'a': torch.ones(2)}, {}],
    'lengths': [(torch.ones(2), 1), (torch.ones(2),)],
    'other kind later': [(torch.ones(2),), (1,)],
    'tuple without length later': [(torch.ones(2),), 1],
    'sparse': [{'a': torch.ones(2).to_sparse()} for _ in range(2)],
    'nested': [
        (torch.nested.nested_tensor([torch.ones(2)], layout=torch.jagged),) for _ in range(2)
    ],
    'objects': [{'a': object()}],
    'none': [None, None],
    'no samples': [],
}


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, Tensor):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected


@pytest.mark.parametrize('kind', SAMPLES)
def test_equals_torch(kind: str) -> None:
    assert_same(direct_collate(SAMPLES[kind]), default_collate(SAMPLES[kind]))


@pytest.mark.parametrize('kind', WRONG)
def test_fails_as_torch_does(kind: str) -> None:
    with pytest.raises(Exception) as expected:  # whatever torch raises
        default_collate(WRONG[kind])
    with pytest.raises(type(expected.value)) as found:
        direct_collate(WRONG[kind])
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize('changed', [Tensor, dict, str])
def test_kinds_of_the_user_count_at_once(changed: type, monkeypatch) -> None:
    monkeypatch.setitem(default_collate_fn_map, changed, lambda batch, **_: ('own', len(batch)))
    samples = [{'a': torch.ones(2), 'b': 'x'}, {'a': torch.ones(2), 'b': 'y'}]
    assert_same(direct_collate(samples), default_collate(samples))


def test_is_used_only_instead_of_torchs_own() -> None:
    def fetched(**kwargs: Any) -> Any:
        batches: Any = iter(DataLoader(SAMPLES['dicts'], batch_size=2, **kwargs))  # type: ignore[arg-type]
        direct_batches(batches)
        return batches._dataset_fetcher.collate_fn

    assert fetched() is direct_collate
    assert fetched(collate_fn=list) is list
    loader: Any = DataLoader(SAMPLES['dicts'])  # type: ignore[arg-type]
    direct_batches(iter(loader))
    assert loader.collate_fn is default_collate  # the user's object is not changed
