"""BaseDataElement: the annotations or predictions of one sample, and facts about the sample."""

import copy
import inspect
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from typing_extensions import Self

from mmengine.utils.errors import ArgumentError, did_you_mean

_FIELD_SETS = ('_metainfo_fields', '_data_fields')
_PLAIN_TYPES = frozenset((int, float, bool, str, bytes, type(None)))


class BaseDataElement:
    """Named data of one sample (boxes, masks, scores), with metainfo about it (image size, path).

    Both are read and deleted as attributes. What is set as an attribute is data; metainfo is set by
    ``metainfo=`` and :meth:`set_metainfo`, is copied on the way in, and is not touched by
    :meth:`to`, :meth:`numpy` and their like. A name is either data or metainfo, never both.

    A subclass may check a field through a property: a property ``boxes`` whose setter calls
    ``self.set_field(value, '_boxes', dtype=Tensor)`` is listed as ``boxes``.

    Args:
        metainfo: Facts about the sample; copied deeply.
        kwargs: Data fields.

    Example:
        >>> sample = BaseDataElement(metainfo=dict(img_shape=(4, 6)), scores=torch.ones(2))
        >>> sample.labels = torch.tensor([3, 5])
        >>> sample.keys(), sample.metainfo
        (['scores', 'labels'], {'img_shape': (4, 6)})
        >>> 'labels' in sample, sample.pop('labels')
        (True, tensor([3, 5]))
    """

    # The fields are ordinary attributes, in the order of __dict__. These two sets only say which
    # attribute is metainfo and which is data.
    _metainfo_fields: set[str]
    _data_fields: set[str]

    def __init__(self, *, metainfo: dict[str, Any] | None = None, **kwargs: Any) -> None:
        self._metainfo_fields = set()
        self._data_fields = set()
        if metainfo is not None:
            self.set_metainfo(metainfo)
        if kwargs:
            self.set_data(kwargs)

    # Writing

    def set_metainfo(self, metainfo: dict[str, Any]) -> None:
        """Add facts about the sample, or replace facts of the same name.

        Args:
            metainfo: Name to value; copied deeply.

        Raises:
            ArgumentError: If ``metainfo`` is not a dict.
            AttributeError: If a name already belongs to a data field.
        """
        if not isinstance(metainfo, dict):
            raise ArgumentError(f'metainfo must be a dict, got {type(metainfo).__name__}.')
        for name, value in metainfo.items():
            self.set_field(_detached_copy(value), name, field_type='metainfo')

    def set_data(self, data: dict[str, Any]) -> None:
        """Set data fields, as setting attributes does.

        Args:
            data: Name to value; the values are not copied.

        Raises:
            ArgumentError: If ``data`` is not a dict.
            AttributeError: If a name already belongs to metainfo.
        """
        if not isinstance(data, dict):
            raise ArgumentError(f'data must be a dict, got {type(data).__name__}.')
        for name, value in data.items():
            # Not set_field: a subclass may check or convert in its __setattr__, or have a property
            # of this name.
            setattr(self, name, value)

    def set_field(
        self,
        value: Any,
        name: str,
        dtype: type | tuple[type, ...] | None = None,
        field_type: Literal['metainfo', 'data'] = 'data',
    ) -> None:
        """Set one field, after a check of its type.

        Args:
            value: The value; not copied.
            name: Name of the field.
            dtype: The type, or types, of which ``value`` must be an instance.
            field_type: 'data' or 'metainfo'.

        Raises:
            ArgumentError: If the value is of another type, or ``field_type`` is neither of the two.
            AttributeError: If ``name`` is a field of the other kind, a method or a read-only
                property of the class, or one of the two attributes that keep the names.
        """
        if field_type == 'data':
            mine, others = self._data_fields, self._metainfo_fields
        elif field_type == 'metainfo':
            mine, others = self._metainfo_fields, self._data_fields
        else:
            raise ArgumentError(f"field_type must be 'data' or 'metainfo', got {field_type!r}.")
        if dtype is not None and not isinstance(value, dtype):
            wanted = ' or '.join(
                kind.__name__ for kind in (dtype if isinstance(dtype, tuple) else (dtype,))
            )
            raise ArgumentError(
                f'{type(self).__name__}.{name} must be of type {wanted}, got '
                f'{type(value).__name__}.'
            )
        if name in others:
            other_type = 'metainfo' if field_type == 'data' else 'data'
            raise AttributeError(
                f'{name!r} is already a {other_type} field of this {type(self).__name__}, so it '
                f'cannot be {field_type}. Delete it first, or use another name.'
            )
        if name in _FIELD_SETS:
            raise _reserved(self, name)
        if name not in mine and _is_taken(type(self), name):
            raise AttributeError(
                f'{name!r} is part of the class {type(self).__name__}, so it cannot be the name of '
                f'a {field_type} field: {type(self).__name__}.{name} would no longer be what other '
                'code calls. Use another name.'
            )
        object.__setattr__(self, name, value)
        mine.add(name)

    def update(self, instance: 'BaseDataElement') -> None:
        """Copy the metainfo and data of ``instance``. Its values replace fields of the same name.

        Raises:
            ArgumentError: If ``instance`` is not a BaseDataElement.
            AttributeError: If a name is data in one and metainfo in the other.
        """
        if not isinstance(instance, BaseDataElement):
            raise ArgumentError(
                f'instance must be a BaseDataElement, got {type(instance).__name__}.'
            )
        self.set_metainfo(instance.metainfo)
        self.set_data(dict(instance.items()))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIELD_SETS:
            if name in self.__dict__:
                raise _reserved(self, name)
            object.__setattr__(self, name, value)
        else:
            self.set_field(value, name)

    def __delattr__(self, name: str) -> None:
        if name in _FIELD_SETS:
            raise _reserved(self, name)
        object.__delattr__(self, name)
        self._metainfo_fields.discard(name)
        self._data_fields.discard(name)

    __delitem__ = __delattr__

    def pop(self, *args: Any) -> Any:
        """``pop(name)`` or ``pop(name, default)``: remove a field and return its value.

        Raises:
            KeyError: If there is no such field and no default.
            ArgumentError: If there are more than two arguments.
        """
        if not 1 <= len(args) <= 2:
            raise ArgumentError(
                f'pop takes a name and perhaps a default, got {len(args)} arguments.'
            )
        name = args[0]
        if name in self:
            value = getattr(self, name)
            delattr(self, name)
            return value
        if len(args) == 2:
            return args[1]
        raise KeyError(
            f'{type(self).__name__} has no field '
            f'{name!r}.{did_you_mean(str(name), self.all_keys())}'
        )

    # Reading

    @property
    def metainfo(self) -> dict[str, Any]:
        """The metainfo as a new dict; its values are not copied."""
        return dict(self.metainfo_items())

    def keys(self) -> list[str]:
        """Names of the data fields, in the order in which they were set."""
        fields = self._data_fields
        names = [name for name in self.__dict__ if name in fields]
        if len(names) != len(fields):
            # Some are properties; the attribute behind one is listed under the property's name.
            names = [
                name[1:] if name.startswith('_') and name[1:] in fields else name for name in names
            ]
            names += sorted(fields.difference(names, self.__dict__))
        return names

    def values(self) -> list[Any]:
        """Values of the data fields."""
        return [getattr(self, name) for name in self.keys()]

    def items(self) -> Iterator[tuple[str, Any]]:
        """Names and values of the data fields."""
        for name in self.keys():
            yield name, getattr(self, name)

    def metainfo_keys(self) -> list[str]:
        """Names of the metainfo."""
        fields = self._metainfo_fields
        return [name for name in self.__dict__ if name in fields]

    def metainfo_values(self) -> list[Any]:
        """Values of the metainfo."""
        return [value for _, value in self.metainfo_items()]

    def metainfo_items(self) -> Iterator[tuple[str, Any]]:
        """Names and values of the metainfo."""
        for name in self.metainfo_keys():
            yield name, self.__dict__[name]

    def all_keys(self) -> list[str]:
        """Names of the metainfo, then of the data fields."""
        return self.metainfo_keys() + self.keys()

    def all_values(self) -> list[Any]:
        """Values of the metainfo, then of the data fields."""
        return self.metainfo_values() + self.values()

    def all_items(self) -> Iterator[tuple[str, Any]]:
        """Names and values of the metainfo, then of the data fields."""
        yield from self.metainfo_items()
        yield from self.items()

    def get(self, key: str, default: Any = None) -> Any:
        """The attribute ``key``, or ``default`` if there is none."""
        return getattr(self, key, default)

    def __contains__(self, item: object) -> bool:
        return item in self._data_fields or item in self._metainfo_fields

    def to_dict(self) -> dict[str, Any]:
        """Metainfo and data in one dict; nested elements become dicts too."""
        return {
            name: value.to_dict() if isinstance(value, BaseDataElement) else value
            for name, value in self.all_items()
        }

    def __repr__(self) -> str:
        from mmengine.structures._text import element_as_text

        return element_as_text(self)

    # Copying

    def new(self, *, metainfo: dict[str, Any] | None = None, **kwargs: Any) -> Self:
        """An element of the same class.

        Args:
            metainfo: Its metainfo; by default the metainfo of this element. Copied deeply.
            kwargs: Its data; by default the data of this element, not copied.
        """
        twin = self._empty_twin()
        if metainfo is None:
            self._copy_metainfo_to(twin)
        else:
            twin.set_metainfo(metainfo)
        if kwargs:
            twin.set_data(kwargs)
        else:
            self._map_data_to(twin, _itself)
        return twin

    def clone(self) -> Self:
        """An element with the same fields; the data is shared, the metainfo copied."""
        return self._mapped(_itself)

    def __copy__(self) -> Self:
        twin = type(self).__new__(type(self))
        twin.__dict__.update(
            self.__dict__,
            _metainfo_fields=set(self._metainfo_fields),
            _data_fields=set(self._data_fields),
        )
        return twin

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """A copy on another device or of another dtype.

        Calls ``value.to(*args, **kwargs)`` for every data field that has such a method.
        """
        return self._mapped(_method_caller('to', args, kwargs))

    def cpu(self) -> Self:
        """A copy with all data in host memory."""
        return self._mapped(_method_caller('cpu'))

    def cuda(self) -> Self:
        """A copy with all data on the current CUDA device."""
        return self._mapped(_method_caller('cuda'))

    def npu(self) -> Self:
        """A copy with all data on the current Ascend NPU."""
        return self._mapped(_method_caller('npu', required_of_tensors='torch_npu'))

    def mlu(self) -> Self:
        """A copy with all data on the current Cambricon MLU."""
        return self._mapped(_method_caller('mlu', required_of_tensors='torch_mlu'))

    def musa(self) -> Self:
        """A copy with all data on the current Moore Threads GPU."""
        return self._mapped(_method_caller('musa', required_of_tensors='torch_musa'))

    def detach(self) -> Self:
        """A copy whose tensors need no gradient."""
        return self._mapped(_method_caller('detach'))

    def numpy(self) -> Self:
        """A copy with arrays in place of tensors."""
        return self._mapped(_as_array)

    def to_tensor(self) -> Self:
        """A copy with tensors in place of arrays, which share their memory."""
        return self._mapped(_as_tensor)

    def _mapped(self, convert: Callable[[Any], Any]) -> Self:
        """A copy whose data went through ``convert``."""
        twin = self._empty_twin()
        self._copy_metainfo_to(twin)
        self._map_data_to(twin, convert)
        return twin

    def _empty_twin(self) -> Self:
        if type(self).__init__ is not BaseDataElement.__init__:
            return type(self)()
        twin = type(self).__new__(type(self))
        twin.__dict__.update(_metainfo_fields=set(), _data_fields=set())
        return twin

    # The two methods below write straight into __dict__: what they write passed the checks once.

    def _copy_metainfo_to(self, twin: 'BaseDataElement') -> None:
        state = self.__dict__
        for name in self.metainfo_keys():
            twin.__dict__[name] = _detached_copy(state[name])
        twin._metainfo_fields.update(self._metainfo_fields)

    def _map_data_to(self, twin: 'BaseDataElement', convert: Callable[[Any], Any]) -> None:
        fields = self._data_fields
        written = [name for name in self.__dict__ if name in fields]
        for name in written:
            twin.__dict__[name] = convert(self.__dict__[name])
        twin._data_fields.update(written)
        if len(written) != len(fields):
            for name in sorted(fields.difference(written)):
                if '_' + name in fields:
                    twin._data_fields.add(name)
                else:  # a property that stores its value elsewhere
                    setattr(twin, name, convert(getattr(self, name)))


def _is_taken(cls: type, name: str) -> bool:
    """Whether a field of this name would hide a method, or a property that cannot be set."""
    for base in cls.__mro__:
        if name in base.__dict__:
            attribute = base.__dict__[name]
            if isinstance(attribute, property):
                return attribute.fset is None
            is_method = inspect.isroutine(attribute) or isinstance(
                attribute, (staticmethod, classmethod)
            )
            return is_method or name.startswith('__')
    return False


def _reserved(element: BaseDataElement, name: str) -> AttributeError:
    return AttributeError(
        f'{name!r} keeps the names of the fields of a {type(element).__name__}; it cannot be set '
        'or deleted.'
    )


def _detached_copy(value: Any) -> Any:
    """A deep copy, made only where the value can change."""
    if type(value) in _PLAIN_TYPES:
        return value
    if type(value) is tuple and all(type(item) in _PLAIN_TYPES for item in value):
        return value
    return copy.deepcopy(value)


def _itself(value: Any) -> Any:
    return value


def _method_caller(
    name: str,
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    required_of_tensors: str = '',
) -> Callable[[Any], Any]:
    """A function that calls a method of its argument where the argument has it."""
    options = kwargs or {}

    def call(value: Any) -> Any:
        method = getattr(value, name, None)
        if method is not None and not isinstance(value, type):
            return method(*args, **options)
        if required_of_tensors and isinstance(value, torch.Tensor):
            raise AttributeError(
                f'Tensors have no {name}() until {required_of_tensors} is imported: '
                f'pip install {required_of_tensors.replace("_", "-")}.'
            )
        return value

    return call


def _as_array(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy()
    return value.numpy() if isinstance(value, BaseDataElement) else value


def _as_tensor(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    return value.to_tensor() if isinstance(value, BaseDataElement) else value
