"""Mixed precision: the optimizer wrapper's context replaces decorators of MMCV."""

from __future__ import annotations

import libcst as cst

from mmengine.migrate._code._base import Codemod
from mmengine.migrate._code._nodes import call_of, dotted, only

_FLAG = 'fp16_enabled'


class Precision(Codemod):
    """Remove ``@auto_fp16()`` and ``fp16_enabled``; remove ``@force_fp32()`` and mark it."""

    name = 'precision'
    summary = '@auto_fp16, @force_fp32, wrap_fp16_model -> the context of AmpOptimWrapper'
    triggers = ('fp16', 'fp32')
    in_expressions = False

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        """Note which classes ask for half precision, for their own steps."""
        if 'auto_fp16' in self.source.text_of(node):
            self.source.half_precision.add(node.name.value)

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        """Drop the decorators."""
        kept = []
        for decorator in updated_node.decorators:
            call = decorator.decorator
            name = self.source.name_of(call.func if isinstance(call, cst.Call) else call)
            if not name.startswith('mmcv.') or not name.endswith(('.auto_fp16', '.force_fp32')):
                kept.append(decorator)
            elif name.endswith('.force_fp32'):
                self.mark(
                    'it ran in float32; autocast keeps most losses so by itself, '
                    'torch.autocast(device_type, enabled=False) all of it'
                )
        return updated_node.with_changes(decorators=kept)

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | cst.RemovalSentinel:
        """Drop ``self.fp16_enabled = False`` and ``wrap_fp16_model(model)``."""
        small = only(updated_node)
        if isinstance(small, cst.Assign) and all(
            dotted(target.target) == f'self.{_FLAG}' for target in small.targets
        ):
            return cst.RemoveFromParent()
        call = call_of(updated_node)
        name = self.source.name_of(call.func) if call is not None else ''
        if name.startswith('mmcv.') and name.endswith('.wrap_fp16_model'):
            return cst.RemoveFromParent()
        return updated_node
