"""Read YAML that somebody else wrote: plain values alone, and no more of them than were meant.

PyYAML's own loaders leave three things open. ``FullLoader`` returns any function or class of an
imported module (``!!python/name``). A few lines of aliases stand for billions of values, which
appear as soon as somebody copies what was read. And the loader in C calls itself for each level of
nesting, so that a deep file ends the process.
"""

from __future__ import annotations

from functools import cache
from typing import Any

MAX_DEPTH = 500
# With all aliases written out. A file may also be large by itself: then it may grow ten times.
MAX_VALUES = 1_000_000
MAX_GROWTH = 10


def read_yaml(text: str) -> Any:
    """The value of a YAML document, made of mappings, lists, tuples and scalars.

    Raises:
        yaml.YAMLError: If the text is not YAML, names a Python object, contains itself, is nested
            more than 500 levels deep, or grows to millions of values through its aliases.
    """
    import yaml

    loader = plain_loader()
    _check_events(yaml.parse(text, Loader=loader))
    return yaml.load(text, Loader=loader)


def _check_events(events: Any) -> None:
    """Follow the events of a document, which cost no memory, before any value is made of them."""
    import yaml

    sizes: dict[str, int] = {}  # by anchor, aliases in it written out
    open_values: list[tuple[str | None, int]] = []
    total = written = 0
    for event in events:
        mark = event.start_mark
        if isinstance(event, yaml.CollectionStartEvent):
            open_values.append((event.anchor, total))
            if len(open_values) > MAX_DEPTH:
                raise yaml.MarkedYAMLError(None, None, _TOO_DEEP, mark)
            sizes.pop(event.anchor or '', None)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_values.pop()
            if anchor is not None:
                sizes[anchor] = total + 1 - before
        elif isinstance(event, yaml.AliasEvent):
            if any(event.anchor == anchor for anchor, _ in open_values):
                raise yaml.MarkedYAMLError(None, None, 'a value contains itself', mark)
            total += sizes.get(event.anchor or '', 0)
        elif not isinstance(event, yaml.ScalarEvent):
            continue
        elif event.anchor is not None:
            sizes[event.anchor] = 1
        written += 1
        total += not isinstance(event, (yaml.AliasEvent, yaml.CollectionStartEvent))
        if total > max(MAX_VALUES, MAX_GROWTH * written):
            raise yaml.MarkedYAMLError(None, None, _TOO_MANY, mark)


_TOO_DEEP = f'more than {MAX_DEPTH} levels of nesting'
_TOO_MANY = f'aliases that stand for more than {MAX_VALUES:,} values'


@cache
def plain_loader() -> Any:
    """PyYAML's safe loader, which also reads the plain Python values that PyYAML writes."""
    import yaml

    class Loader(getattr(yaml, 'CSafeLoader', yaml.SafeLoader)):  # type: ignore[misc]  # run time
        pass

    def tuple_of(loader: Any, node: Any) -> tuple[Any, ...]:
        return tuple(loader.construct_sequence(node, deep=True))

    def complex_of(loader: Any, node: Any) -> complex:
        return complex(loader.construct_scalar(node))

    python = 'tag:yaml.org,2002:python/'
    Loader.add_constructor(f'{python}tuple', tuple_of)
    Loader.add_constructor(f'{python}complex', complex_of)
    plain = {'none': 'null', 'unicode': 'str', 'long': 'int', 'list': 'seq', 'dict': 'map'}
    for name in ('none', 'bool', 'int', 'long', 'float', 'str', 'unicode', 'bytes', 'list', 'dict'):
        kind = 'binary' if name == 'bytes' else plain.get(name, name)
        Loader.add_constructor(
            f'{python}{name}', Loader.yaml_constructors[f'tag:yaml.org,2002:{kind}']
        )
    return Loader
