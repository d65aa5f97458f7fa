"""``__init__`` of an optimizer hook as ``__init__`` of an optimizer wrapper."""

from __future__ import annotations

import re

import libcst as cst

from mmengine.migrate._code._nodes import code, dotted, expression, parameters
from mmengine.migrate._code._rewriter import Rewriter
from mmengine.migrate._code.hook_positions import POSITIONS

_NEW_NAMES = {'grad_clip': 'clip_grad', 'cumulative_iters': 'accumulative_counts'}
_OPTIONS = {'accumulative_counts': '1', 'clip_grad': 'None'}
# Of Fp16OptimizerHook; a wrapper would begin with a dynamic scale.
_OPTIONS_IN_HALF = {**_OPTIONS, 'loss_scale': '512.0'}
WITHOUT_MEANING = ('coalesce', 'bucket_size_mb', 'distributed', 'detect_anomalous_params')


def wrapper_constructor(
    method: cst.FunctionDef, is_half: bool, above: str
) -> tuple[cst.FunctionDef, list[str]]:
    """The constructor of a wrapper, which is given its optimizer, and what is left to do.

    Args:
        method: ``__init__`` of a subclass of an optimizer hook.
        is_half: Whether the hook trained in half precision.
        above: The hook of MMCV that it is derived from.
    """
    options = _OPTIONS_IN_HALF if is_half else _OPTIONS
    old = method.params
    rest = old.star_kwarg.name.value if old.star_kwarg is not None else ''
    visitor = _Init(options, rest, is_half, above)
    changed = cst.ensure_type(method.visit(visitor), cst.FunctionDef)
    old = changed.params
    reasons = list(visitor.reasons)
    if not visitor.has_super:
        order = ', '.join(options)
        reasons.append(f'__init__ calls super().__init__(optimizer=optimizer, ...) with {order}')
    own = [_plain(param) for param in old.params[1:]]
    keywords = [_plain(param) for param in old.kwonly_params]
    given = {text.partition('=')[0].partition(':')[0].strip() for text in own + keywords}
    added = [
        f'{name}={default}'
        for name, default in options.items()
        if name not in given and name not in visitor.settled
    ]
    parts = ['self', 'optimizer', *(text for text in own if '=' not in text)]
    parts += [text for text in own if '=' in text] + added
    parts += ['*', *keywords] if keywords else []
    # Options of the hook that came through **kwargs have separate parameters now.
    if rest and re.search(rf'\b{rest}\b', code(changed.body)):
        parts.append(f'**{rest}')
    return changed.with_changes(params=parameters(', '.join(parts))), reasons


def _plain(param: cst.Param) -> str:
    return code(param.with_changes(comma=cst.MaybeSentinel.DEFAULT))


class _Init(Rewriter):
    """The call of the base's ``__init__``, and arguments by their new names.

    Attributes:
        has_super: Whether there is such a call.
        settled: Options that the call itself gives a value.
        reasons: What the call says that cannot be converted.
    """

    def __init__(self, options: dict[str, str], rest: str, is_half: bool, above: str) -> None:
        super().__init__()
        self._options = options
        self._rest = rest
        self._is_half = is_half
        self._above = above
        self.has_super = False
        self.settled: set[str] = set()
        self.reasons: list[str] = []

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.Attribute:
        return updated_node.with_changes(attr=original_node.attr)

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.Name:
        new = _NEW_NAMES.get(updated_node.value)
        return cst.Name(new) if new else updated_node

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:
        return updated_node.with_changes(keyword=original_node.keyword)

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        func = original_node.func
        if not isinstance(func, cst.Attribute) or func.attr.value != '__init__':
            return updated_node
        base = dotted(func.value).rpartition('.')[2]
        if base in POSITIONS:
            updated_node = updated_node.with_changes(func=expression('super().__init__'))
        elif not code(func.value).startswith('super('):
            return updated_node
        self.has_super = True
        values = {name: name for name in self._options}
        for name, value in self._given(updated_node, base).items():
            new = _NEW_NAMES.get(name, name)
            if new in values and code(value) != new:
                values[new] = code(value)
                self.settled.add(new)
            elif new not in values and new not in WITHOUT_MEANING:
                self.reasons.append(f'an optimizer wrapper takes no {name}; it was {code(value)}')
        given = ', '.join(f'{name}={value}' for name, value in values.items())
        first = 'optimizer=optimizer' if self._is_half else 'optimizer'
        half = ", dtype='float16'" if self._is_half else ''
        call = cst.ensure_type(expression(f'f({first}, {given}{half})'), cst.Call)
        return updated_node.with_changes(args=call.args)

    def _given(self, call: cst.Call, base: str) -> dict[str, cst.BaseExpression]:
        """The arguments of the call by name; those passed on as they came left out."""
        names = POSITIONS.get(base, POSITIONS[self._above])
        given: dict[str, cst.BaseExpression] = {}
        args = call.args[1:] if base in POSITIONS else call.args
        for index, arg in enumerate(args):
            if arg.star:
                continue
            if arg.keyword is not None:
                given[arg.keyword.value] = arg.value
            elif index < len(names):
                given[names[index]] = arg.value
        return given
