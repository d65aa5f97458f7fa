"""Data that is only looked up needs no random states; whatever might draw keeps its own."""

import builtins
import copyreg
import functools
import math
import random
from types import FunctionType
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    SequentialSampler,
    Subset,
    TensorDataset,
)
from torch.utils.data._utils import collate as torch_collate

from mmengine.dataset import DefaultSampler, InfiniteSampler, _simple_source, pseudo_collate
from mmengine.dataset._look_up_proof import only_looks_up
from mmengine.dataset._looked_up import draws_nothing
from mmengine.dataset._plain_values import is_plain
from mmengine.dataset._sample_order import number_samples
from mmengine.dataset._sample_seed import SeededMap

SCALE = 2.0
NAMES = {0: 'a', 1: 'b'}


class Points(Dataset):
    """What all examples have: data to look up."""

    transform = None

    def __init__(self) -> None:
        self.inputs = torch.arange(12.0).reshape(6, 2)
        self.labels = torch.arange(6)
        self.array = np.arange(6)
        self.names = ['a', 'b'] * 3
        self.rows = [{'x': float(index), 'id': index} for index in range(6)]
        self.is_flipped = False

    def __len__(self) -> int:
        return 6


class Entries(Points):
    def __getitem__(self, index):
        return {'inputs': self.inputs[index], 'labels': self.labels[index]}


class Tuples(Points):
    def __getitem__(self, index: int) -> Any:
        """A sample."""
        x, y = self.inputs[index], self.array[index]
        return x, int(y), self.names[index]


class Computed(Points):
    def __getitem__(self, index):
        row = dict(self.rows[index], extra=len(self.names))
        value: float = row['x'] * SCALE + math.sqrt(2)
        row['x'] = torch.tensor(value, dtype=torch.float64)
        row['y'] = torch.from_numpy(self.array[index : index + 1].astype(np.float32))
        row['z'] = (self.inputs[index].clone() / 255.0).sum(dim=0) if index % 2 else torch.zeros(())
        row['name'] = f'{self.names[index].upper()}-{NAMES.get(index % 2)}'
        row['shape'] = self.inputs.shape[0]
        if self.is_flipped:
            row['x'] = -row['x']
        for _ in range(2):
            row['id'] += 1
        row['all'] = [entry for entry in (1, 2, 3) if entry > 1]
        return row


class MayTransform(Points):
    def __getitem__(self, index):
        if index >= len(self.inputs):
            raise IndexError(index)
        x = self.inputs[index]
        if self.transform is not None:
            x = self.transform(x)
        return x


class Checked(Points):
    def __getitem__(self, index):
        assert index < 6, 'out of range'
        if not self.is_flipped:
            return self.inputs[index]
        return self.inputs[index].random_()


class Inherited(Entries):
    """Nothing but the class is different."""


def _with_closure(factor: float) -> Any:
    class Scaled(Points):
        def __getitem__(self, index):
            return self.inputs[index] * factor

    return Scaled()


LOOK_UPS = [Entries(), Tuples(), Computed(), MayTransform(), Inherited(), _with_closure(2.0)]


def _id(dataset: Any) -> str:
    return type(dataset).__name__


@pytest.mark.parametrize('dataset', LOOK_UPS, ids=_id)
def test_plain_look_ups_are_proven(dataset):
    assert only_looks_up(dataset)


def test_the_makers_of_the_examples_below_can_make_look_ups():
    assert only_looks_up(_with(inputs=np.zeros(6), labels={0: 1}))
    assert only_looks_up(_with_globals(torch=torch))
    assert only_looks_up(_transformed(None))


def test_a_function_whose_bytecode_its_source_does_not_give_is_not_proven():
    """pytest rewrites `assert`, so this code differs from the file."""
    assert not only_looks_up(Checked())


def _noise(x: Any) -> Any:
    return x + torch.rand(())


class Noisy(torch.Tensor):
    def __getitem__(self, index):
        return torch.rand(())


class NoisyList(list):
    def __getitem__(self, index):
        return random.random()


class NoisyArray(np.ndarray):
    def __getitem__(self, index):
        return np.random.rand()


class NoisyDict(dict):
    def __missing__(self, key):
        return random.random()


class NoisyInt(int):
    def __add__(self, other):
        return random.random()


class Property(Points):
    @property
    def noise(self):
        return torch.rand(())

    def __getitem__(self, index):
        return self.inputs[index] + self.noise


class HiddenProperty(Entries):
    """The property comes before the entry of the object."""

    @property
    def inputs(self):
        return torch.rand(6)

    @inputs.setter
    def inputs(self, value):
        pass


class GetAttr(Points):
    def __getattr__(self, name):
        return torch.rand(6)

    def __getitem__(self, index):
        return self.noise[index]


class GetAttribute(Entries):
    def __getattribute__(self, name):
        return torch.rand(6) if name == 'inputs' else super().__getattribute__(name)


class GetItems(Entries):
    def __getitems__(self, indices):
        return [torch.rand(()) for _ in indices]


class OwnDict(Entries):
    @property
    def __dict__(self):
        return {'inputs': torch.zeros(6), 'labels': torch.zeros(6)}


class Seedable(Entries):
    def seed_sample(self, seed):
        self.inputs = torch.full((6, 2), seed % 7)


class DirectCall(Points):
    def __getitem__(self, index):
        return self.inputs[index] + torch.rand(())


class MethodOfTensor(Points):
    def __getitem__(self, index):
        return self.inputs[index].clone().normal_()


class OwnMethod(Points):
    def load(self, index):
        return torch.rand(())

    def __getitem__(self, index):
        return self.load(index)


class GlobalFunction(Points):
    def __getitem__(self, index):
        return _noise(self.inputs[index])


class CallsTwo(Points):
    def __getitem__(self, index):
        return dict(inputs=torch.tensor(self.names[index]))  # a name to shadow


class OtherTorch:
    tensor = staticmethod(lambda value: torch.rand(()))


def _with_globals(**scope: Any) -> Any:
    """The method of ``CallsTwo`` in a module with these globals."""
    get = FunctionType(CallsTwo.__getitem__.__code__, {'__builtins__': __builtins__, **scope})
    return type('WithGlobals', (Points,), {'__getitem__': get})()


def _closure(function: Any) -> Any:
    class Closure(Points):
        def __getitem__(self, index):
            return function(self.inputs[index])

    return Closure()


def _closure_of_data() -> Any:
    noisy = NoisyList([1] * 6)

    class ClosureOfData(Points):
        def __getitem__(self, index):
            return noisy[index]

    return ClosureOfData()


def _adds_noise(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(self, index):
        return function(self, index)['inputs'] + torch.rand(())

    return wrapper


class Decorated(Points):
    @_adds_noise
    def __getitem__(self, index):
        return {'inputs': self.inputs[index]}


class Cached(Points):
    @functools.lru_cache  # noqa: B019  # the object lives as long as the tests
    def __getitem__(self, index):
        return self.inputs[index]


class Lambda(Points):
    __getitem__ = lambda self, index: self.inputs[index] + torch.rand(())


class Super(Entries):
    def __getitem__(self, index):
        return super().__getitem__(index)


class DefaultArgument(Points):
    def __getitem__(self, index, noise=_noise):
        return noise(self.inputs[index])


class Imports(Points):
    def __getitem__(self, index):
        import random as math

        return math.random()


class Rebinds(Points):
    def __getitem__(self, index):
        self = Property()
        return self.noise


class RebindsInComprehension(Points):
    def __getitem__(self, index):
        return [self.noise for self in [Property()]]


class Writes(Points):
    def __getitem__(self, index):
        self.inputs = index
        return index


class Private(Points):
    def __init__(self):
        super().__init__()
        vars(self)['__noise'] = 1.0
        self.__noise = NoisyInt(1)

    def __getitem__(self, index):
        return self.__noise + 1


class Yields(Points):
    def __getitem__(self, index):
        yield torch.rand(())


class KeyFunction(Points):
    def __getitem__(self, index):
        return sorted([self.labels[index], 1], key=_noise)


class LocalCalled(Points):
    def __getitem__(self, index):
        draw = torch.rand
        return draw(2)


class NumpyRandom(Points):
    def __getitem__(self, index):
        return self.array[index] + np.random.rand()


class ComprehensionName(Points):
    """The global ``NOISY`` and the name in the comprehension are two things."""

    def __getitem__(self, index):
        pair = [NOISY + 1 for NOISY in (1, 2)]
        return NOISY[index], pair


NOISY = NoisyList([1] * 6)


def _with(**attributes: Any) -> Any:
    dataset = Entries()
    vars(dataset).update(attributes)
    type_name = '-'.join(type(value).__name__ for value in attributes.values())
    dataset.__class__ = type(f'Entries_{type_name}', (Entries,), {})
    return dataset


def _transformed(transform: Any) -> Any:
    dataset = MayTransform()
    dataset.transform = transform
    return dataset


def _patched() -> Any:
    class Patched(Points):
        def __getitem__(self, index):
            return self.inputs[index]

    dataset = Patched()
    assert only_looks_up(dataset)
    Patched.__getitem__ = lambda self, index: torch.rand(())
    return dataset


def _with_other_code() -> Any:
    class OtherCode(Points):
        def __getitem__(self, index):
            return self.inputs[index]

    OtherCode.__getitem__.__code__ = DirectCall.__getitem__.__code__
    return OtherCode()


def _own_method(name: str) -> Any:
    dataset = Cloned()
    setattr(dataset.inputs, name, lambda: torch.rand(()))
    return dataset


class Cloned(Points):
    def __getitem__(self, index):
        return self.inputs.clone()


def _metaclass() -> Any:
    class Meta(type):
        pass

    class WithMetaclass(Points, metaclass=Meta):
        def __getitem__(self, index):
            return self.inputs[index]

    return WithMetaclass()


def _without_source() -> Any:
    scope: dict[str, Any] = {}
    exec('def get(self, index): return self.inputs[index]', scope)
    return type('WithoutSource', (Points,), {'__getitem__': scope['get']})()


def _with_holder() -> Any:
    dataset = Entries()
    dataset.transforms = [Seedable()]
    return dataset


MAY_DRAW = [
    Property(), HiddenProperty(), GetAttr(), GetAttribute(), GetItems(), OwnDict(), DirectCall(),
    MethodOfTensor(), OwnMethod(), GlobalFunction(),
    _with_globals(torch=torch, dict=_noise), _with_globals(torch=OtherTorch), _with_globals(),
    _closure(_noise), _closure_of_data(), Decorated(), Cached(), Lambda(), Super(),
    DefaultArgument(), Imports(), Rebinds(), RebindsInComprehension(), Writes(), Private(),
    Yields(), KeyFunction(), LocalCalled(), NumpyRandom(), ComprehensionName(), Seedable(),
    _with(inputs=torch.zeros(6).as_subclass(Noisy)), _with(labels=NoisyList([1] * 6)),
    _with(inputs=np.zeros(6).view(NoisyArray)), _with(inputs=NoisyDict()),
    _with(inputs=[torch.zeros(2).as_subclass(Noisy)] * 6), _with(labels={0: (1, NoisyInt(3))}),
    _with(inputs=np.array([Property()] * 6, dtype=object)),
    _transformed(_noise), _transformed([_noise]), _transformed(torch.nn.Dropout()),
    _patched(), _with_other_code(), _own_method('clone'), _metaclass(), _without_source(),
    torch.nn.ParameterList([torch.zeros(2)]),
]  # fmt: skip


@pytest.mark.parametrize('dataset', MAY_DRAW, ids=_id)
def test_what_may_draw_is_not_proven(dataset):
    assert not only_looks_up(dataset)
    assert not draws_nothing(DataLoader(dataset), BatchSampler(SequentialSampler(dataset), 1, True))


def test_a_holder_of_a_generator_keeps_its_seeds():
    dataset = _with_holder()
    assert not draws_nothing(_loader(dataset), SequentialSampler(dataset))


def test_patched_methods_of_tensors_end_the_proof(monkeypatch):
    dataset = Cloned()
    assert only_looks_up(dataset)
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, 'clone', torch.Tensor.normal_, raising=False)
        assert not only_looks_up(dataset)
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, '__getitem__', lambda self, index: torch.rand(()))
        assert not only_looks_up(dataset)
        assert not draws_nothing(_loader([1, 2]), SequentialSampler([1, 2]))
    assert only_looks_up(dataset)


def test_patched_functions_end_the_proof(monkeypatch):
    dataset = Computed()
    monkeypatch.setattr(torch, 'tensor', lambda *args, **kwargs: torch.rand(()))
    assert not only_looks_up(dataset)


def test_a_patched_builtin_ends_the_proof(monkeypatch):
    dataset = Computed()
    monkeypatch.setattr(builtins, 'dict', lambda *values, **entries: random.random())
    is_proven = only_looks_up(dataset)
    monkeypatch.undo()
    assert not is_proven


def test_the_proof_is_made_anew_with_the_values_of_the_moment():
    dataset = MayTransform()
    assert only_looks_up(dataset)
    dataset.transform = _noise
    assert not only_looks_up(dataset)
    dataset.transform = None
    assert only_looks_up(dataset)
    dataset.is_flipped = NoisyInt(1)
    assert only_looks_up(dataset)  # not used by this class
    dataset.inputs = torch.zeros(6, 2).as_subclass(Noisy)
    assert not only_looks_up(dataset)


def test_a_file_that_changed_since_its_import_proves_nothing(tmp_path, monkeypatch):
    path = tmp_path / 'changing_dataset.py'
    head = 'import torch\nclass Data:\n    def __init__(self): self.x = torch.zeros(4)\n'
    draws = '    def __getitem__(self, index): return self.x[index] + torch.rand(())\n'
    looks_up = '    def __getitem__(self, index): return self.x[index] + torch.zeros(())\n'

    def dataset(imported: str) -> Any:
        scope: dict[str, Any] = {'__name__': 'changing'}
        exec(compile(head + imported, str(path), 'exec'), scope)
        _simple_source.linecache.clearcache()
        return scope['Data']()

    path.write_text(head + looks_up)
    assert only_looks_up(dataset(looks_up))
    assert not only_looks_up(dataset(draws))
    path.unlink()
    _simple_source.definition_of.cache_clear()
    assert not only_looks_up(dataset(looks_up))


@pytest.mark.parametrize(
    'value',
    [1, None, 'a', torch.zeros(2), np.zeros(2), np.float32(1), [1, (2, {'a': {3}})], range(3)],
    ids=str,
)
def test_plain_values(value):
    assert is_plain(value)


_LOOP: list[Any] = []
_LOOP.append(_LOOP)


@pytest.mark.parametrize(
    'value',
    [
        print, slice(NoisyInt(1)), NoisyInt(1), [[[NoisyInt(1)]]], {NoisyInt(1): 1},
        torch.nn.Parameter(torch.zeros(1)),
        np.array([None]), np.zeros(1, dtype=[('a', object)]), _LOOP, iter([1]), Points(), int,
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_other_values_are_not_plain(value):
    assert not is_plain(value)


def _loader(dataset: Any, **options: Any) -> Any:
    loader = DataLoader(dataset, **{'batch_size': 2, **options})
    number_samples(loader, 3)
    return loader


def _is_seeded(loader: Any) -> bool:
    return isinstance(iter(loader)._dataset_fetcher.dataset, SeededMap)


@pytest.mark.parametrize('dataset', LOOK_UPS, ids=_id)
@pytest.mark.parametrize('workers', [0, 1])
def test_batches_are_those_of_seeded_samples_to_the_bit(dataset, workers, monkeypatch):
    def batches() -> list[Any]:
        loader = _loader(dataset, num_workers=workers, collate_fn=pseudo_collate)
        torch.manual_seed(5)
        found = [batch for _ in range(2) for batch in loader]
        return [found, torch.rand(3), np.random.get_state()[1][:3].tolist()]

    np.random.seed(0)
    exempt = batches()
    monkeypatch.setattr('mmengine.dataset._sample_order.draws_nothing', lambda *_: False)
    np.random.seed(0)
    assert str(exempt) == str(batches())


@pytest.mark.parametrize(
    'dataset',
    [
        Entries(), [{'x': 1}], ((1, 2), (3, 4)), TensorDataset(torch.zeros(4)),
        Subset(Entries(), [0, 3]), ConcatDataset([Entries(), Subset(Inherited(), range(2))]),
    ],
    ids=_id,
)  # fmt: skip
def test_datasets_of_look_ups_are_not_seeded(dataset):
    assert not _is_seeded(_loader(dataset))
    assert not _is_seeded(_loader(dataset, sampler=DefaultSampler(dataset, seed=0)))
    assert not _is_seeded(_loader(dataset, sampler=InfiniteSampler(dataset, seed=0)))
    assert not _is_seeded(_loader(dataset, shuffle=True))
    assert not _is_seeded(_loader(dataset, batch_size=None))


class Lazy(dict):
    """A sample that is made when it is collated."""

    def __getitem__(self, key):
        return torch.rand(())


@pytest.mark.parametrize(
    'dataset',
    [
        [Lazy(x=1)], Subset([1, 2], NoisyList([0, 1])), Subset(DirectCall(), [0]),
        ConcatDataset([Entries(), DirectCall()]), type('OwnSubset', (Subset,), {})(Entries(), [0]),
        TensorDataset(torch.zeros(4).as_subclass(Noisy)),
    ],
    ids=_id,
)  # fmt: skip
def test_what_may_draw_within_known_datasets_is_seeded(dataset):
    assert _is_seeded(_loader(dataset))


class NoisyIndices(SequentialSampler):
    def __iter__(self):
        return iter([NoisyInt(0), NoisyInt(1)])


class OwnBatches(BatchSampler):
    pass


def test_indices_of_custom_samplers_are_seeded():
    dataset = Entries()
    assert _is_seeded(_loader(dataset, sampler=NoisyIndices(dataset)))
    own = OwnBatches(SequentialSampler(dataset), 2, False)
    loader = DataLoader(dataset, batch_sampler=own)
    number_samples(loader, 3)
    assert _is_seeded(loader)


def _changes_the_dataset(worker_id: int) -> None:
    torch.utils.data.get_worker_info().dataset.transform = _noise


def test_a_worker_that_starts_with_a_custom_function_is_seeded():
    dataset = MayTransform()
    order = BatchSampler(SequentialSampler(dataset), 2, False)
    loader = _loader(dataset, num_workers=1, worker_init_fn=_changes_the_dataset)
    assert not draws_nothing(loader, order)
    assert draws_nothing(_loader(dataset, num_workers=1), order)


def test_a_custom_collate_function_of_torch_is_seeded(monkeypatch):
    monkeypatch.setitem(
        torch_collate.default_collate_fn_map,
        torch.Tensor,
        lambda batch, *, collate_fn_map=None: torch.rand(2),
    )
    assert _is_seeded(_loader(Entries()))


def test_a_copied_tensor_does_not_end_the_proof():
    # copyreg keeps the names of slots in the class of what is copied.
    copyreg._slotnames(torch.Tensor)
    assert '__slotnames__' in vars(torch.Tensor)
    assert only_looks_up(Entries())
