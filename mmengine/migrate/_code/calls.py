"""Names that are there still, and take or call something else."""

from __future__ import annotations

import libcst as cst

from mmengine.migrate._code._base import Codemod
from mmengine.migrate._code._nodes import body_of

_SAVING = (
    'save_checkpoint takes what is to be stored: dict(state_dict=model.state_dict(), '
    'optimizer=optimizer.state_dict(), meta=...), and a file'
)
_LOGGING = (
    'LoggerHook calls no log(runner): write a backend for VISBACKENDS, or log in after_train_iter '
    'and after_val_epoch'
)


class Calls(Codemod):
    """``save_checkpoint`` with a model, ``use_rank_shift``, and loggers with a ``log`` method."""

    name = 'calls'
    summary = 'arguments that changed: set_random_seed(diff_rank_seed=...); marks others'
    triggers = ('save_checkpoint', 'set_random_seed', 'LoggerHook')

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        """A function of MMCV by its full name."""
        name = self.source.mmcv_name(original_node.func)
        if name == 'save_checkpoint':
            self.mark(_SAVING)
        if name != 'set_random_seed':
            return updated_node
        renamed = [
            arg.with_changes(keyword=cst.Name('diff_rank_seed'))
            if arg.keyword is not None and arg.keyword.value == 'use_rank_shift'
            else arg
            for arg in updated_node.args
        ]
        return updated_node.with_changes(args=renamed)

    def leave_ClassDef(
        self, original_node: cst.ClassDef, updated_node: cst.ClassDef
    ) -> cst.ClassDef:
        """A logger of the project, whose ``log`` nothing would call."""
        names = [self.source.mmcv_name(base.value) for base in original_node.bases]
        methods = [one.name.value for one in body_of(original_node)
                   if isinstance(one, cst.FunctionDef)]  # fmt: skip
        if 'LoggerHook' in names and 'log' in methods:
            self.mark(_LOGGING)
        return updated_node
