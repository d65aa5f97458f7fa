"""``runner.meta``, where hooks kept values for each other and for checkpoints: the message hub."""

from __future__ import annotations

import re

import libcst as cst

from mmengine.migrate._code._nodes import (
    body_of,
    code,
    expression,
    only,
    statements,
    with_body,
)
from mmengine.migrate._code._rewriter import Rewriter

# What runners of MMCV and their scripts put there, or what the hub has under the same name.
_OF_RUNNERS = frozenset((
    'epoch', 'iter', 'max_epochs', 'max_iters', 'seed', 'config', 'cfg', 'env_info', 'env',
    'exp_name', 'hook_msgs', 'mmcv_version', 'time', 'dataset_meta', 'experiment_name',
    'fp16', 'CLASSES', 'PALETTE', 'last_ckpt', 'train_cfg', 'loop_stage',
))  # fmt: skip


def keys_set(text: str) -> frozenset[str]:
    """The keys that a module sets in the ``meta`` of a runner, and that are its own."""
    found = re.findall(r"""\brunner\.meta\[['"](\w+)['"]\]\s*(?:[-+*/|&]|\*\*|//)?=(?!=)""", text)
    return frozenset(found) - _OF_RUNNERS


def in_hub(method: cst.FunctionDef, runner: str, keys: frozenset[str]) -> cst.FunctionDef:
    """``method`` with these keys of ``meta`` in the message hub, which is saved as well.

    Args:
        method: A method of a hook.
        runner: What it calls its runner.
        keys: The keys that the project itself sets.
    """
    return cst.ensure_type(method.visit(_InHub(runner, keys)), cst.FunctionDef)


class _InHub(Rewriter):
    """Reads become ``get_info``, assignments ``update_info``."""

    def __init__(self, runner: str, keys: frozenset[str]) -> None:
        super().__init__()
        self._meta = f'{runner}.meta'
        self._hub = f'{runner}.message_hub'
        self._keys = keys

    def _key_of(self, node: cst.CSTNode) -> str:
        """The text of the key that ``node`` asks for; empty if it is not one of the project's."""
        found = re.fullmatch(rf"""{re.escape(self._meta)}\[(['"])(\w+)\1\]""", code(node))
        return repr(found[2]) if found is not None and found[2] in self._keys else ''

    def leave_Subscript(
        self, original_node: cst.Subscript, updated_node: cst.Subscript
    ) -> cst.BaseExpression:
        key = self._key_of(original_node)
        return expression(f'{self._hub}.get_info({key})') if key else updated_node

    def leave_AssignTarget(
        self, original_node: cst.AssignTarget, updated_node: cst.AssignTarget
    ) -> cst.AssignTarget:
        return original_node if self._key_of(original_node.target) else updated_node

    def leave_AugAssign(
        self, original_node: cst.AugAssign, updated_node: cst.AugAssign
    ) -> cst.AugAssign:
        if self._key_of(original_node.target):
            return updated_node.with_changes(target=original_node.target)
        return updated_node

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        args = original_node.args
        if code(original_node.func) != f'{self._meta}.get' or not args:
            return updated_node
        name = code(args[0].value)
        if args[0].keyword is not None or name.strip('\'"') not in self._keys:
            return updated_node
        return updated_node.with_changes(func=expression(f'{self._hub}.get_info'))

    def leave_If(
        self, original_node: cst.If, updated_node: cst.If
    ) -> cst.BaseStatement | cst.RemovalSentinel:
        """``if runner.meta is None: runner.meta = dict()``: the hub is always there."""
        tests = (f'{self._meta} is None', f'not {self._meta}', f'{self._meta} == None')
        text = re.sub(r'#.*', '', code(original_node.body)).strip()
        sets = re.fullmatch(rf'{re.escape(self._meta)} = (dict\(\)|\{{\}}|OrderedDict\(\))', text)
        if code(original_node.test) not in tests or sets is None or original_node.orelse:
            return updated_node
        return cst.RemoveFromParent()

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        return updated_node if body_of(updated_node) else with_body(updated_node, [])

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.BaseStatement:
        small = only(updated_node)
        if isinstance(small, cst.Assign) and len(small.targets) == 1:
            key, value = self._key_of(small.targets[0].target), code(small.value)
        elif isinstance(small, cst.AugAssign):
            key = self._key_of(small.target)
            operator = code(small.operator).strip().removesuffix('=')
            is_plain = isinstance(small.value, (cst.Name, cst.Attribute, cst.Call, cst.Subscript))
            value = code(small.value)
            is_plain = is_plain or isinstance(small.value, (cst.Integer, cst.Float))
            value = value if is_plain else f'({value})'
            value = f'{self._hub}.get_info({key}) {operator} {value}'
        else:
            return updated_node
        if not key:
            return updated_node
        new = statements(f'{self._hub}.update_info({key}, {value})\n')[0]
        return cst.ensure_type(new, cst.SimpleStatementLine).with_changes(
            leading_lines=updated_node.leading_lines,
            trailing_whitespace=updated_node.trailing_whitespace,
        )
