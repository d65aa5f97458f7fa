"""Learning rates and momenta of one optimizer or of several, as hooks ask a runner for them."""

from __future__ import annotations

import re

import libcst as cst

from mmengine.migrate._code._nodes import dotted, expression, plain

KINDS = {'current_lr': 'lr', 'current_momentum': 'momentum'}
_UNKNOWN = (
    '{0}() gave a dict for several optimizers: then take {{name: one.get_{1}()[{1!r}] for name, '
    'one in runner.optim_wrapper.items()}}'
)


def of_one(node: cst.Subscript, runner: str) -> cst.BaseExpression | None:
    """``runner.current_lr()['name']`` of several optimizers; None for another node."""
    asked = re.fullmatch(rf"""{runner}\.current_(lr|momentum)\(\)(\['.*'\])""", plain(node))
    if asked is None:
        return None
    what, key = asked[1], asked[2]
    return expression(f"{runner}.optim_wrapper{key}.get_{what}()['{what}']")


class Dicts:
    """Where the answer of ``runner.current_lr()`` is a dict by optimizer."""

    def __init__(self) -> None:
        self._calls: set[cst.CSTNode] = set()

    def note(self, node: cst.Attribute) -> None:
        """Note ``runner.current_lr().items`` and the like, which only a dict has."""
        is_call = isinstance(node.value, cst.Call)
        if is_call and node.attr.value in ('items', 'values', 'keys', 'get'):
            self._calls.add(node.value)

    def answer(
        self, call: cst.Call, runner: str, method: str, several: bool | None
    ) -> tuple[str, str]:
        """The new expression for a call, and a mark, empty for none.

        Args:
            call: The call, of the runner.
            runner: What the method at hand calls its runner.
            method: The text of that method.
            several: Whether there are several optimizers; None if that is not known.
        """
        name = dotted(call.func).rpartition('.')[2]
        what = KINDS[name]
        of_each = (
            f"{{name: one.get_{what}()['{what}'] for name, one in {runner}.optim_wrapper.items()}}"
        )
        of_one_optimizer = f"{runner}.optim_wrapper.get_{what}()['{what}']"
        kept = re.findall(rf'(\w+) = {re.escape(runner)}\.{name}\(\)', method)
        kinds = [rf'\bisinstance\({one}, [\w., ()]*(dict|Mapping)' for one in kept]
        uses = [rf"\b{one}(\.(items|values|keys|get)\(|\[['\"])" for one in kept]
        if call in self._calls or several:
            return of_each, ''
        if several is False:
            return of_one_optimizer, ''
        if any(re.search(pattern, method) for pattern in kinds):
            return of_one_optimizer, _UNKNOWN.format(name, what)
        is_dict = any(re.search(pattern, method) for pattern in uses)
        return (of_each if is_dict else of_one_optimizer), ''
