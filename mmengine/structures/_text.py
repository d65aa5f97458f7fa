"""How a data element prints."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmengine.structures.base_data_element import BaseDataElement

_INDENT = ' ' * 4


def element_as_text(element: 'BaseDataElement') -> str:
    """Metainfo and data in two blocks, a field a line; nested elements and dicts indented."""
    blocks = [
        f'\n{heading}\n' + ''.join(_field(name, value) for name, value in items)
        for heading, items in (
            ('META INFORMATION', element.metainfo_items()),
            ('DATA FIELDS', element.items()),
        )
    ]
    return f'<{type(element).__name__}(\n{_indented("".join(blocks))}) at {id(element):#x}>'


def _field(name: str, value: Any) -> str:
    if isinstance(value, dict) and value:
        return f'{name}:\n' + _indented(''.join(_field(str(k), v) for k, v in value.items()))
    first, *rest = repr(value).split('\n')
    if not rest:
        return f'{name}: {first}\n'
    if first.startswith('<'):
        return f'{name}: {first}\n' + ''.join(f'{line}\n' for line in rest)
    # The rows of a tensor stay below each other.
    margin = ' ' * (len(name) + 2)
    return f'{name}: {first}\n' + ''.join(f'{margin}{line}\n' for line in rest)


def _indented(text: str) -> str:
    return ''.join(
        _INDENT + line if line.strip() else line for line in text.splitlines(keepends=True)
    )
