"""Names that are there still, and take or call something else."""

from __future__ import annotations

import re

import libcst as cst

from mmengine.migrate._code._base import Codemod
from mmengine.migrate._code._nodes import body_of, code, dotted, expression, keys, keyword

_SAVING = (
    'save_checkpoint takes what is to be stored: dict(state_dict=model.state_dict(), '
    'optimizer=optimizer.state_dict(), meta=...), and a file'
)
_LOGGING = (
    'LoggerHook calls no log(runner): write a backend for VISBACKENDS, or log in after_train_iter '
    'and after_val_epoch'
)

_PROFILER = (
    'by_epoch', 'profile_iters', 'activities', 'schedule', 'on_trace_ready', 'record_shapes',
    'profile_memory', 'with_stack', 'with_flops', 'json_trace_path',
)  # fmt: skip
_PROFILING = (
    'ProfilerHook takes profile_times for profile_iters, and activity_with_cpu and '
    'activity_with_cuda for activities'
)
_OF_MMCV = (
    'OptimizerHook', 'Fp16OptimizerHook', 'GradientCumulativeOptimizerHook',
    'GradientCumulativeFp16OptimizerHook',
)  # fmt: skip
_NO_HOOK = '{0} is an optimizer wrapper here: give optim_wrapper=dict(type=...) and no hook'


class Calls(Codemod):
    """``save_checkpoint`` with a model, ``use_rank_shift``, and loggers with a ``log`` method."""

    name = 'calls'
    summary = 'arguments that changed: set_random_seed(diff_rank_seed=...); marks others'
    triggers = (
        'save_checkpoint', 'set_random_seed', 'LoggerHook', 'ProfilerHook', 'custom_hooks',
        'register_hook',
    )  # fmt: skip

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        """A function of MMCV by its full name."""
        name = self.source.mmcv_name(original_node.func)
        if name == 'save_checkpoint':
            self.mark(_SAVING)
        is_config = dotted(original_node.func) == 'dict'
        told = keyword(original_node, 'type') if is_config else None
        old_names = {'profile_iters', 'activities'}.intersection(keys(original_node))
        if name == 'ProfilerHook' or (
            told is not None and code(told).strip('\'"') == 'ProfilerHook' and old_names
        ):
            return self._profiler(updated_node)
        if name != 'set_random_seed':
            return updated_node
        renamed = [
            arg.with_changes(keyword=cst.Name('diff_rank_seed'))
            if arg.keyword is not None and arg.keyword.value == 'use_rank_shift'
            else arg
            for arg in updated_node.args
        ]
        return updated_node.with_changes(args=renamed)

    def _profiler(self, call: cst.Call) -> cst.Call:
        """``ProfilerHook`` by the names of its arguments here."""
        if any(arg.star for arg in call.args) or len(call.args) > len(_PROFILER) + 1:
            self.mark(_PROFILING)
            return call
        texts = []
        for index, arg in enumerate(call.args):
            old = arg.keyword.value if arg.keyword is not None else _PROFILER[index]
            if old == 'activities':
                value = code(arg.value)
                # A list that is written out tells both.
                texts += [
                    f'activity_with_{one}={self._has(one, arg.value, value)}'
                    for one in ('cpu', 'cuda')
                ]
            else:
                new = 'profile_times' if old == 'profile_iters' else old
                texts.append(f'{new}={code(arg.value)}')
        made = cst.ensure_type(expression(f'f({", ".join(texts)})'), cst.Call)
        return made.with_changes(func=call.func)

    def _has(self, name: str, node: cst.BaseExpression, text: str) -> str:
        if not isinstance(node, (cst.List, cst.Tuple)):
            return f'{name!r} in {text}'
        return str(name in [code(one.value).strip('\'"') for one in node.elements])

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine:
        """Optimizer hooks among other hooks: here each is a wrapper."""
        text = code(original_node.with_changes(leading_lines=()))
        if re.search(r'custom_hooks|register_hook\(', text):
            for name in dict.fromkeys(re.findall(r'\b[A-Z]\w*', text)):
                if self.source.classes.is_optimizer_hook(name) or name in _OF_MMCV:
                    self.mark(_NO_HOOK.format(name))
        return updated_node

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
