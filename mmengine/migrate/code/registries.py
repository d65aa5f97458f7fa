"""Registries: decorators that were not called, and builders of optimizers and runners."""

from __future__ import annotations

import libcst as cst

from mmengine.migrate.code._base import Codemod, dotted


class Registries(Codemod):
    """``@HOOKS.register_module`` is called; what a registry now holds is said."""

    name = 'registries'
    summary = '@REGISTRY.register_module -> called; marks builders of optimizers and runners'
    triggers = ('register_module',)

    def leave_Decorator(
        self, original_node: cst.Decorator, updated_node: cst.Decorator
    ) -> cst.Decorator:
        """Call the decorator; mark registries whose entries are another thing now."""
        node = updated_node.decorator
        func = node.func if isinstance(node, cst.Call) else node
        if dotted(func).rpartition('.')[2] != 'register_module':
            return updated_node
        origin = self.source.name_of(func)
        if origin.startswith('mmcv.') and origin.endswith('.OPTIMIZER_BUILDERS.register_module'):
            self.mark('its __call__(model) returns an OptimWrapper here, not an optimizer')
        elif origin.startswith('mmcv.') and origin.endswith('.RUNNERS.register_module'):
            self.mark('what differs between runners is a train loop here: register one in LOOPS')
        if isinstance(node, cst.Call):
            return updated_node
        return updated_node.with_changes(decorator=cst.Call(func=func))
