"""Registries: decorators that were not called, and builders of optimizers and runners."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from mmengine.migrate._code._base import Codemod
from mmengine.migrate._code._nodes import dotted


class Registries(Codemod):
    """``@HOOKS.register_module`` is called; what a registry now holds is said."""

    name = 'registries'
    summary = '@REGISTRY.register_module -> called; marks builders of optimizers and runners'
    triggers = ('register_module',)
    in_expressions = False

    def leave_ClassDef(
        self, original_node: cst.ClassDef, updated_node: cst.ClassDef
    ) -> cst.ClassDef:
        """A registered class."""
        return updated_node.with_changes(decorators=self._called(updated_node.decorators))

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        """A registered function."""
        return updated_node.with_changes(decorators=self._called(updated_node.decorators))

    def _called(self, decorators: Sequence[cst.Decorator]) -> list[cst.Decorator]:
        return [self._called_one(decorator) for decorator in decorators]

    def _called_one(self, decorator: cst.Decorator) -> cst.Decorator:
        """Call the decorator; mark registries whose entries are another thing now."""
        node = decorator.decorator
        func = node.func if isinstance(node, cst.Call) else node
        if dotted(func).rpartition('.')[2] != 'register_module':
            return decorator
        origin = self.source.name_of(func)
        if origin.startswith('mmcv.') and origin.endswith('.OPTIMIZER_BUILDERS.register_module'):
            self.mark(
                'its __call__(model) returns an OptimWrapper here, not an optimizer: '
                "OPTIM_WRAPPERS.build(dict(type='OptimWrapper', optimizer=optimizer)), with the "
                'further entries of optim_wrapper_cfg, which its __init__ is passed'
            )
        elif origin.startswith('mmcv.') and origin.endswith('.RUNNERS.register_module'):
            self.mark('what differs between runners is a train loop here: register one in LOOPS')
        if isinstance(node, cst.Call):
            return decorator
        return decorator.with_changes(decorator=cst.Call(func=func))
