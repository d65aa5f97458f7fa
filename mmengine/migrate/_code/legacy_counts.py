"""Epochs, and iterations within one, of hooks that become a ``LegacyHook``."""

from __future__ import annotations

import libcst as cst

from mmengine.migrate._code._nodes import body_of, is_docstring, statements, with_body

OF_TRAIN_EPOCHS = ('before_train_epoch', 'after_train_epoch')
_INNER = 'self.inner_iter_of({0}, batch_idx)'
IS_SET = '{0} is set: the loops count it here, and a run of iterations has one epoch'
ENDS = (
    '{0} is set: it ends a run of epochs alone. A run of iterations ends at runner.max_iters: set '
    'that there'
)
_COUNTS = {
    'epoch': 'self.epoch_of({0})',
    '_epoch': 'self.epoch_of({0})',
    'max_epochs': 'self.max_epochs_of({0})',
    '_max_epochs': 'self.max_epochs_of({0})',
}
# Calls of the hook's own methods that are passed the place of a batch: {0} is the runner.
CALLS = {
    'every_n_inner_iters': f'self.every_n_inner_iters({_INNER}, {{1}})',
    'end_of_epoch': f'self.end_of_epoch({{0}}.train_dataloader, {_INNER})',
}


def count_of(name: str, runner: str, has_batch: bool) -> str:
    """What an attribute of a runner counts, asked of the hook; empty if it is another one.

    Args:
        name: The attribute.
        runner: What the method calls its runner.
        has_batch: Whether the method is passed the place of a batch.
    """
    if name in ('inner_iter', '_inner_iter'):
        return _INNER.format(runner) if has_batch else ''
    return _COUNTS.get(name, '').format(runner)


def left_in_iterations(method: cst.FunctionDef, runner: str) -> cst.FunctionDef:
    """``before_train_epoch`` or its like, which a run of iterations did not call."""
    shared = method.name.value.replace('_train_', '_')
    lines = f'if self.counts_iterations({runner}):\n    self._{shared}({runner})\n    return\n'
    body = body_of(method)
    has_text = bool(body) and is_docstring(body[0])
    head, rest = (body[:1], body[1:]) if has_text else ([], body)
    return with_body(method, [*head, *statements(lines), *rest])
