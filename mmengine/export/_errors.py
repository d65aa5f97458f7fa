"""Why a model cannot be exported, in one sentence."""

from __future__ import annotations

import re

from mmengine.runner._unsuited import line_of


class ExportError(RuntimeError):
    """The model cannot be exported, or the file does not compute what the model computes."""


_DATA_DEPENDENT = re.compile(
    r'data.dependent|unbacked symint|Could not (guard on|extract specialized)', re.IGNORECASE
)
_SPECIALISED = re.compile(r'specialized|Constraints violated|marked .* as dynamic', re.IGNORECASE)
_SIZE = re.compile(r"L\['(\w+)'\]\.size\(\)\[([1-9]\d*)\] as dynamic but your code specialized")
_NO_OPERATOR = re.compile(r"No ONNX function found for \W*(?:OpOverload\(op=')?([\w.:]+)")


def reason_of(error: BaseException, is_dynamic: bool = False) -> str:
    """The reason in one sentence, with the line of the user's code that it comes from.

    Args:
        error: What torch raised.
        is_dynamic: Whether sizes were to vary.
    """
    chain = _chain(error)
    text = '\n'.join(str(one) for one in chain)
    place = next((found for one in reversed(chain) if (found := _own_line(one))), '')
    where = f' ({place})' if place else ''
    names = {type(one).__name__ for one in chain}
    missing = _NO_OPERATOR.search(text)
    if missing:
        return f'ONNX has no operator for {missing[1]}{where}.'
    if 'GuardOnDataDependentSymNode' in names or _DATA_DEPENDENT.search(text):
        return (
            f'it decides by the values of a tensor{where}, as in `if x.sum() > 0` or `int(x)`. A '
            'file has the same steps for all inputs: use torch.where or masks, or export a part '
            'with --module.'
        )
    size = _SIZE.search(text)
    if size:
        return (
            f'dimension {size[2]} of {size[1]} cannot vary, because the model makes it a '
            f'constant{where}, as `range(x.shape[{size[2]}])` or a view with a number do.'
        )
    if is_dynamic and _SPECIALISED.search(text):
        return (
            f'its batch size cannot vary, because the model makes it a constant{where}, as '
            '`len(x)`, `range(len(x))` or `view(2, -1)` do; x.shape[0] varies. For one batch size '
            'pass --batch-size N, or batch_size=N.'
        )
    return f'{type(chain[-1]).__name__}: {_first_line(chain[-1])}{where}'


def _chain(error: BaseException) -> list[BaseException]:
    """The error and its causes, the first cause at the end."""
    found, current = [], error
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__ or current.__context__  # type: ignore[assignment]  # ends with None
    return found


def _own_line(error: BaseException) -> str:
    line = line_of(error)
    return '' if line == 'in a library' else line


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    return first if first.endswith('.') else f'{first}.'
