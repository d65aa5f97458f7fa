"""Metainfo and data of one sample."""

import copy
import pickle

import numpy as np
import pytest
import torch

from mmengine.structures import BaseDataElement, InstanceData, LabelData, PixelData
from mmengine.utils.errors import ArgumentError


class Sample(BaseDataElement):
    """With a checked field, as projects declare them."""

    @property
    def boxes(self) -> torch.Tensor:
        return self._boxes

    @boxes.setter
    def boxes(self, value: torch.Tensor) -> None:
        self.set_field(value, '_boxes', dtype=torch.Tensor)

    @boxes.deleter
    def boxes(self) -> None:
        del self._boxes


@pytest.fixture
def element() -> BaseDataElement:
    return BaseDataElement(
        metainfo={'img_shape': (4, 6), 'path': ['a', 'b']},
        scores=torch.tensor([0.5, 0.25]),
        labels=np.array([1, 2]),
    )


# Fields


def test_metainfo_and_data_are_listed_in_order_and_read_as_attributes(
    element: BaseDataElement,
) -> None:
    assert element.metainfo_keys() == ['img_shape', 'path']
    assert element.metainfo_values() == [(4, 6), ['a', 'b']]
    assert element.keys() == ['scores', 'labels']
    assert element.all_keys() == ['img_shape', 'path', 'scores', 'labels']
    assert [name for name, _ in element.items()] == element.keys()
    assert [name for name, _ in element.metainfo_items()] == element.metainfo_keys()
    assert [name for name, _ in element.all_items()] == element.all_keys()
    assert element.values()[1] is element.labels
    assert element.all_values()[0] == element.img_shape == (4, 6)
    assert element.metainfo == {'img_shape': (4, 6), 'path': ['a', 'b']}


def test_what_is_set_as_attribute_is_data(element: BaseDataElement) -> None:
    element.masks = [1, 2]
    assert element.keys() == ['scores', 'labels', 'masks']
    assert 'masks' in element
    assert 'img_shape' in element
    assert 'nothing' not in element


def test_metainfo_is_copied_on_the_way_in_and_data_is_not() -> None:
    path, boxes = ['a'], [1]
    element = BaseDataElement(metainfo={'path': path}, boxes=boxes)
    assert element.path == path
    assert element.path is not path
    assert element.boxes is boxes
    assert element.metainfo['path'] is element.path


def test_metainfo_can_be_replaced_by_set_metainfo_only(element: BaseDataElement) -> None:
    element.set_metainfo({'img_shape': (1, 2)})
    assert element.img_shape == (1, 2)
    with pytest.raises(AttributeError, match="'img_shape' is already a metainfo field"):
        element.img_shape = (3, 4)
    with pytest.raises(AttributeError, match="'scores' is already a data field"):
        element.set_metainfo({'scores': 1})


@pytest.mark.parametrize('value', [None, [1], 3], ids=repr)
def test_fields_come_in_dicts(element: BaseDataElement, value: object) -> None:
    with pytest.raises(ArgumentError, match='metainfo must be a dict'):
        element.set_metainfo(value)
    with pytest.raises(AssertionError, match='data must be a dict'):
        element.set_data(value)


@pytest.mark.parametrize('name', ['_metainfo_fields', '_data_fields'])
def test_the_lists_of_names_cannot_be_overwritten(element: BaseDataElement, name: str) -> None:
    for attack in (
        lambda: setattr(element, name, set()),
        lambda: delattr(element, name),
        lambda: element.set_field(1, name),
        lambda: BaseDataElement(**{name: 1}),
        lambda: BaseDataElement(metainfo={name: 1}),
    ):
        with pytest.raises(AttributeError, match=name):
            attack()
    assert name not in element
    assert element.keys() == ['scores', 'labels']


def test_deleting_takes_a_field_of_either_kind_away(element: BaseDataElement) -> None:
    del element.scores
    del element.img_shape
    del element['labels']
    assert element.all_keys() == ['path']
    assert not hasattr(element, 'scores')
    with pytest.raises(AttributeError, match='scores'):
        del element.scores


def test_pop_removes_and_returns(element: BaseDataElement) -> None:
    labels = element.labels
    assert element.pop('labels') is labels
    assert element.pop('img_shape') == (4, 6)
    assert element.all_keys() == ['path', 'scores']
    assert element.pop('labels', 'default') == 'default'
    with pytest.raises(KeyError, match=r"no field 'score'\. Did you mean 'scores'"):
        element.pop('score')
    with pytest.raises(KeyError):
        element.pop('_data_fields')


@pytest.mark.parametrize('arguments', [(), ('a', 1, 2)], ids=len)
def test_pop_takes_a_name_and_a_default(element: BaseDataElement, arguments: tuple) -> None:
    with pytest.raises(AssertionError, match=f'got {len(arguments)} arguments'):
        element.pop(*arguments)


def test_get_has_a_default(element: BaseDataElement) -> None:
    assert element.get('scores') is element.scores
    assert element.get('img_shape') == (4, 6)
    assert element.get('nothing') is None
    assert element.get('nothing', 3) == 3


def test_set_field_checks_the_type(element: BaseDataElement) -> None:
    element.set_field(3, 'count', dtype=int)
    element.set_field('x', 'word', dtype=(int, str), field_type='metainfo')
    assert element.keys()[-1] == 'count'
    assert element.metainfo_keys()[-1] == 'word'
    with pytest.raises(ArgumentError, match='count must be of type str, got int'):
        element.set_field(3, 'count', dtype=str)
    with pytest.raises(AssertionError, match='count must be of type str or float'):
        element.set_field(3, 'count', dtype=(str, float))
    with pytest.raises(AssertionError, match="field_type must be 'data' or 'metainfo'"):
        element.set_field(3, 'count', field_type='other')


def test_update_takes_over_the_fields_of_another(element: BaseDataElement) -> None:
    other = BaseDataElement(metainfo={'path': ['c'], 'id': 7}, scores=1, masks=2)
    element.update(other)
    assert element.metainfo == {'img_shape': (4, 6), 'path': ['c'], 'id': 7}
    assert element.path is not other.path
    assert dict(element.items())['scores'] == 1
    assert element.keys() == ['scores', 'labels', 'masks']
    with pytest.raises(ArgumentError, match='instance must be a BaseDataElement, got dict'):
        element.update({'a': 1})
    with pytest.raises(AttributeError, match='already a data field'):
        element.update(BaseDataElement(metainfo={'scores': 1}))


ELEMENTS = {
    BaseDataElement: lambda: torch.ones(3),
    InstanceData: lambda: torch.ones(3),
    LabelData: lambda: torch.ones(3),
    PixelData: lambda: torch.ones(1, 2, 2),
}
TAKEN_NAMES = [
    (cls, name)
    for cls in ELEMENTS
    for name in dir(cls)
    if callable(getattr(cls, name)) or isinstance(getattr(cls, name), property)
]


@pytest.mark.parametrize(
    ('cls', 'name'), TAKEN_NAMES, ids=lambda value: getattr(value, '__name__', value)
)
def test_a_field_never_hides_a_part_of_the_class(cls: type[BaseDataElement], name: str) -> None:
    value = ELEMENTS[cls]()
    element = cls(kept=value)
    for attack in (
        lambda: setattr(element, name, value),
        lambda: element.set_field(value, name),
        lambda: element.set_data({name: value}),
        lambda: element.set_metainfo({name: 1}),
        lambda: cls(**{name: value}),
    ):
        with pytest.raises((AttributeError, ArgumentError, TypeError), match=name):
            attack()
    assert element.all_keys() == ['kept']
    assert element.to('cpu').kept is value


def test_methods_of_a_subclass_are_kept_as_well() -> None:
    class Counted(BaseDataElement):
        default = 3

        def total(self) -> int:
            return 1

        @staticmethod
        def unit() -> str:
            return 'px'

        @property
        def area(self) -> int:
            return 4

    counted = Counted()
    for name in ('total', 'unit', 'area'):
        with pytest.raises(AttributeError, match=f"'{name}' is part of the class Counted"):
            setattr(counted, name, 1)
    counted.default = 5  # a plain value of the class is a default, which a field may replace
    assert counted.keys() == ['default']
    assert counted.clone().default == 5


# Fields behind a property


def test_a_property_field_is_listed_by_its_own_name() -> None:
    sample = Sample(metainfo={'id': 1}, first=0, boxes=torch.ones(1), last=2)
    assert sample.keys() == ['first', 'boxes', 'last']
    assert sample.boxes is sample._boxes
    assert 'boxes' in sample
    assert '_boxes' in sample
    assert set(sample.to_dict()) == {'id', 'first', 'boxes', 'last'}
    assert sample.new().keys() == sample.keys()
    assert sample.to(torch.float64).boxes.dtype == torch.float64


def test_a_property_field_is_checked_and_deleted_through_its_property() -> None:
    sample = Sample(boxes=torch.ones(1))
    with pytest.raises(AssertionError, match='must be of type Tensor, got int'):
        sample.boxes = 3
    assert sample.pop('boxes').tolist() == [1.0]
    assert sample.all_keys() == []
    assert '_boxes' not in sample.__dict__


def test_a_property_that_keeps_its_value_elsewhere_survives_copies() -> None:
    class Odd(BaseDataElement):
        @property
        def boxes(self) -> torch.Tensor:
            return self.__dict__['store']

        @boxes.setter
        def boxes(self, value: torch.Tensor) -> None:
            self.__dict__['store'] = value

    odd = Odd(boxes=torch.ones(1), scores=torch.ones(2))
    assert set(odd.keys()) == {'boxes', 'scores'}
    assert odd.to(torch.float64).boxes.dtype == torch.float64


def test_a_private_field_without_property_is_listed_as_it_is() -> None:
    assert BaseDataElement(_x=1, x=2).keys() == ['_x', 'x']


# Copies


def test_new_shares_data_and_copies_metainfo(element: BaseDataElement) -> None:
    twin = element.new()
    assert type(twin) is BaseDataElement
    assert twin.all_keys() == element.all_keys()
    assert twin.scores is element.scores
    assert twin.path == element.path
    assert twin.path is not element.path
    twin.extra = 1
    del twin.scores
    assert element.keys() == ['scores', 'labels']


def test_new_takes_other_metainfo_or_data(element: BaseDataElement) -> None:
    assert element.new(metainfo={'id': 1}).all_keys() == ['id', 'scores', 'labels']
    assert element.new(metainfo={}).all_keys() == ['scores', 'labels']
    assert element.new(boxes=1).all_keys() == ['img_shape', 'path', 'boxes']
    assert element.new(metainfo={'id': 1}, boxes=1).all_keys() == ['id', 'boxes']


def test_clone_shares_data(element: BaseDataElement) -> None:
    twin = element.clone()
    assert twin.scores is element.scores
    assert twin.metainfo == element.metainfo
    assert twin.path is not element.path


def test_a_shallow_copy_has_fields_of_its_own(element: BaseDataElement) -> None:
    twin = copy.copy(element)
    twin.extra = 1
    del twin.scores
    assert element.keys() == ['scores', 'labels']
    assert twin.keys() == ['labels', 'extra']
    assert twin.path is element.path


def test_deep_copies_and_pickles_are_equal_and_apart(element: BaseDataElement) -> None:
    for twin in (copy.deepcopy(element), pickle.loads(pickle.dumps(element))):
        assert twin.all_keys() == element.all_keys()
        assert torch.equal(twin.scores, element.scores)
        twin.scores[0] = 9
        assert element.scores[0] == 0.5
        twin.extra = 1
        assert 'extra' not in element


def test_a_subclass_with_its_own_constructor_keeps_its_state() -> None:
    class Counting(BaseDataElement):
        def __init__(self, **kwargs: object) -> None:
            super().__init__(**kwargs)
            self.set_field('yes', 'made', field_type='metainfo')

    assert Counting(x=1).new().made == 'yes'
    assert Counting(x=1).to('cpu').all_keys() == ['made', 'x']


# Conversions


@pytest.fixture
def mixed() -> BaseDataElement:
    return BaseDataElement(
        metainfo={'tensor': torch.ones(1)},
        inner=BaseDataElement(weights=torch.ones(1, requires_grad=True)),
        listed=[torch.ones(1)],
        array=np.ones(1, dtype=np.float32),
        word='a',
        kind=torch.Tensor,
    )


def test_to_reaches_tensors_and_nested_elements_only(mixed: BaseDataElement) -> None:
    moved = mixed.to(torch.float64)
    assert moved.inner.weights.dtype == torch.float64
    assert moved.listed[0].dtype == torch.float32
    assert moved.array is mixed.array
    assert moved.tensor.dtype == torch.float32
    assert moved.kind is torch.Tensor
    assert mixed.inner.weights.dtype == torch.float32
    assert mixed.to(dtype=torch.int32, non_blocking=True).inner.weights.dtype == torch.int32


def test_detach_drops_gradients_and_cpu_keeps_them(mixed: BaseDataElement) -> None:
    assert mixed.detach().inner.weights.requires_grad is False
    assert mixed.cpu().inner.weights.requires_grad is True


def test_numpy_and_to_tensor_turn_into_each_other(mixed: BaseDataElement) -> None:
    arrays = mixed.numpy()
    assert isinstance(arrays.inner.weights, np.ndarray)
    assert isinstance(arrays.tensor, torch.Tensor)
    assert isinstance(arrays.listed[0], torch.Tensor)
    tensors = arrays.to_tensor()
    assert isinstance(tensors.inner.weights, torch.Tensor)
    assert isinstance(tensors.array, torch.Tensor)
    assert tensors.word == 'a'
    mixed.array[0] = 5
    assert tensors.array[0] == 5  # the memory is shared


def test_objects_that_can_move_are_moved_with_the_data() -> None:
    class Boxes:
        def __init__(self, place: str) -> None:
            self.place = place

        def cpu(self) -> 'Boxes':
            return Boxes('cpu')

        def to(self, place: str) -> 'Boxes':
            return Boxes(place)

    element = BaseDataElement(boxes=Boxes('far'))
    assert element.cpu().boxes.place == 'cpu'
    assert element.to('near').boxes.place == 'near'
    assert element.detach().boxes is element.boxes


@pytest.mark.parametrize('device', ['npu', 'mlu', 'musa'])
def test_a_device_without_its_package_is_named(mixed: BaseDataElement, device: str) -> None:
    if hasattr(torch.Tensor, device):
        pytest.skip(f'tensors have {device}()')
    with pytest.raises(AttributeError, match=f'pip install torch-{device}'):
        getattr(mixed, device)()
    assert getattr(BaseDataElement(word='a'), device)().word == 'a'


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_cuda_moves_data_there_and_back(mixed: BaseDataElement) -> None:
    moved = mixed.cuda()
    assert moved.inner.weights.is_cuda
    assert not moved.tensor.is_cuda
    assert not moved.cpu().inner.weights.is_cuda
    assert moved.numpy().inner.weights.tolist() == [1.0]


def test_to_dict_unfolds_nested_elements(mixed: BaseDataElement) -> None:
    plain = mixed.to_dict()
    assert list(plain) == ['tensor', 'inner', 'listed', 'array', 'word', 'kind']
    assert list(plain['inner']) == ['weights']


def test_repr_shows_both_blocks_with_nested_values_indented() -> None:
    element = BaseDataElement(
        metainfo={'shape': (4, 6), 'more': {'a': {'b': 1}}, 'none': {}},
        table=torch.tensor([[1, 2], [3, 4]]),
        inner=BaseDataElement(x='y'),
    )
    lines = repr(element).split('\n')
    assert lines[0] == '<BaseDataElement('
    assert lines[1:-1] == [
        '',
        '    META INFORMATION',
        '    shape: (4, 6)',
        '    more:',
        '        a:',
        '            b: 1',
        '    none: {}',
        '',
        '    DATA FIELDS',
        '    table: tensor([[1, 2],',
        '                   [3, 4]])',
        '    inner: <BaseDataElement(',
        '',
        '        META INFORMATION',
        '',
        '        DATA FIELDS',
        "        x: 'y'",
        f'    ) at {id(element.inner):#x}>',
    ]
    assert lines[-1] == f') at {id(element):#x}>'
    assert str(element) == repr(element)
