"""Checks and conversions of sequences, and a map over nested containers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import Any

from mmengine.utils.errors import ArgumentError

Types = type | tuple[type, ...]


def is_str(x: object) -> bool:
    """Whether ``x`` is a string."""
    return isinstance(x, str)


def is_seq_of(seq: Any, expected_type: Types, seq_type: type[Any] | None = None) -> bool:
    """Whether ``seq`` is a sequence whose items all have one of the expected types.

    Args:
        seq: The object to check.
        expected_type: Type of the items, or a tuple of allowed types.
        seq_type: Type of the sequence itself; any ``Sequence`` (strings too) by default.

    Raises:
        ArgumentError: If ``seq_type`` is not a type.
    """
    if seq_type is None:
        seq_type = Sequence
    elif not isinstance(seq_type, type):
        raise ArgumentError(f'seq_type must be a type such as list, got {seq_type!r}.')
    return isinstance(seq, seq_type) and all(isinstance(item, expected_type) for item in seq)


def is_list_of(seq: Any, expected_type: Types) -> bool:
    """:func:`is_seq_of` for lists."""
    return is_seq_of(seq, expected_type, list)


def is_tuple_of(seq: Any, expected_type: Types) -> bool:
    """:func:`is_seq_of` for tuples."""
    return is_seq_of(seq, expected_type, tuple)


def iter_cast(inputs: Iterable[Any], dst_type: type, return_type: type | None = None) -> Any:
    """Convert every item of ``inputs`` to ``dst_type``.

    Args:
        inputs: The items.
        dst_type: Called with each item.
        return_type: Called with the iterator of results; without it the iterator itself is
            returned.

    Raises:
        TypeError: If ``inputs`` cannot be iterated or ``dst_type`` is not a type.
    """
    if not isinstance(inputs, Iterable):
        raise TypeError(f'inputs must be iterable, got {type(inputs).__name__}.')
    if not isinstance(dst_type, type):
        raise TypeError(f'dst_type must be a type such as int, got {dst_type!r}.')
    converted = map(dst_type, inputs)
    return converted if return_type is None else return_type(converted)


def list_cast(inputs: Iterable[Any], dst_type: type) -> list[Any]:
    """:func:`iter_cast` into a list."""
    return list(iter_cast(inputs, dst_type))


def tuple_cast(inputs: Iterable[Any], dst_type: type) -> tuple[Any, ...]:
    """:func:`iter_cast` into a tuple."""
    return tuple(iter_cast(inputs, dst_type))


def slice_list(in_list: Any, lens: int | list[int] | tuple[int, ...]) -> list[Any]:
    """Cut a list into consecutive pieces.

    Args:
        in_list: The list (or any sequence that can be sliced).
        lens: The length of every piece, or one length for all of them.

    Raises:
        TypeError: If ``lens`` is neither an integer nor a list of integers.
        ArgumentError: If the pieces do not add up to the list.

    Example:
        >>> slice_list([1, 2, 3], [1, 2])
        [[1], [2, 3]]
    """
    total = len(in_list)
    if isinstance(lens, int):
        if lens <= 0 or total % lens:
            raise ArgumentError(f'A list of {total} items has no equal pieces of {lens}.')
        lens = [lens] * (total // lens)
    elif not is_seq_of(lens, int) or isinstance(lens, str):
        raise TypeError(f'lens must be an integer or a list of integers, got {lens!r}.')
    if sum(lens) != total:
        raise ArgumentError(f'lens adds up to {sum(lens)} items, but the list has {total}.')
    return [in_list[end - count : end] for end, count in zip(accumulate(lens), lens, strict=True)]


def concat_list(in_list: Iterable[Iterable[Any]]) -> list[Any]:
    """Join lists into one."""
    return list(chain.from_iterable(in_list))


def _ntuple(n: int) -> Callable[[Any], Any]:
    """A function that repeats a single value ``n`` times and leaves an iterable as it is."""

    def to_n(x: Any) -> Any:
        return x if isinstance(x, Iterable) else (x,) * n

    to_n.__name__ = to_n.__qualname__ = f'to_{n}tuple'
    to_n.__doc__ = (
        f'Repeat a single value {n} times; an iterable (a string too) comes back as it is.'
    )
    return to_n


to_1tuple = _ntuple(1)
to_2tuple = _ntuple(2)
to_3tuple = _ntuple(3)
to_4tuple = _ntuple(4)
to_ntuple = _ntuple


def apply_to(data: Any, expr: Callable[[Any], bool], apply_func: Callable[[Any], Any]) -> Any:
    """Replace the matching leaves of nested dicts, lists and tuples.

    Containers are rebuilt with their own type (named tuples too), the input is left alone; anything
    else is a leaf.

    Args:
        data: A leaf, or nested mappings, lists and tuples of leaves.
        expr: Whether a leaf is replaced.
        apply_func: The replacement of a leaf.

    Example:
        >>> apply_to({'a': [1, 'x']}, lambda v: isinstance(v, int), lambda v: v + 1)
        {'a': [2, 'x']}
    """
    if expr(data):
        return apply_func(data)
    if isinstance(data, Mapping):
        items = {key: apply_to(value, expr, apply_func) for key, value in data.items()}
        return items if type(data) is dict else type(data)(items)  # type: ignore[call-arg]  # mappings are built from a dict
    if isinstance(data, tuple) and hasattr(data, '_fields'):
        return type(data)(*(apply_to(value, expr, apply_func) for value in data))
    if isinstance(data, (list, tuple)):
        return type(data)([apply_to(value, expr, apply_func) for value in data])
    return data
