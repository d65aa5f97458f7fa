"""``return_loss`` of a legacy ``forward`` as ``mode``, and further names of a model's methods."""

from __future__ import annotations

import libcst as cst

from mmengine.migrate._code._nodes import code, dotted, expression
from mmengine.migrate._code._rewriter import Rewriter

FLAG = 'return_loss'


def mode_of(arg: cst.Arg) -> cst.Arg:
    """``return_loss=...`` of a call as ``mode=...``."""
    text = code(arg.value)
    modes = {'True': "'loss'", 'False': "'predict'", FLAG: 'mode'}
    value = modes.get(text, f"'loss' if {text} else 'predict'")
    return arg.with_changes(keyword=cst.Name('mode'), value=expression(value))


class Modes(Rewriter):
    """``return_loss`` in a signature and in tests of it."""

    def leave_Param(self, original_node: cst.Param, updated_node: cst.Param) -> cst.Param:
        if original_node.name.value != FLAG:
            return updated_node
        default = updated_node.default
        if default is not None:
            # Calls that do not say return_loss= go on meaning what they meant.
            is_loss = dotted(default) == 'True'
            default = expression("'loss'" if is_loss else "'tensor'")
        return updated_node.with_changes(name=cst.Name('mode'), default=default)

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.Attribute:
        return updated_node.with_changes(attr=original_node.attr)

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        if original_node.value != FLAG:
            return updated_node
        return expression("(mode == 'loss')")

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:
        return updated_node.with_changes(keyword=original_node.keyword)

    def leave_If(self, original_node: cst.If, updated_node: cst.If) -> cst.If:
        if dotted(original_node.test) == FLAG:
            return updated_node.with_changes(test=expression("mode == 'loss'"))
        return updated_node


class InitCfg(Rewriter):
    """``init_cfg`` is the second argument of BaseModel: give it by name.

    Args:
        is_rebased: Whether the base was a BaseModule, of which it was the first.
    """

    def __init__(self, is_rebased: bool) -> None:
        super().__init__()
        self._is_rebased = is_rebased

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        func, args = updated_node.func, updated_node.args
        if (
            isinstance(func, cst.Attribute)
            and func.attr.value == '__init__'
            and code(func.value).startswith('super(')
            and len(args) == 1
            and args[0].keyword is None
            and not args[0].star
            and (self._is_rebased or dotted(args[0].value) == 'init_cfg')
        ):
            call = cst.ensure_type(expression(f'f(init_cfg={code(args[0].value)})'), cst.Call)
            return updated_node.with_changes(args=call.args)
        return updated_node


class ParseLosses(Rewriter):
    """The method has lost its underscore."""

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.Attribute:
        if dotted(updated_node) == 'self._parse_losses':
            return updated_node.with_changes(attr=cst.Name('parse_losses'))
        return updated_node
