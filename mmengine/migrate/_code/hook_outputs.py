"""``runner.outputs`` in hooks: what ``train_step`` returned, of which log variables are left."""

from __future__ import annotations

import re
from collections.abc import Collection

import libcst as cst

from mmengine.migrate._code._nodes import code
from mmengine.migrate._code.classes import Classes

_LOG_VARIABLES = '{}: outputs is what train_step returns, log variables'
_LOSS = (
    '{}: outputs holds what train_step logs: let it return the loss, a tensor, under that name '
    'as well'
)
NO_BACKWARD = (
    'backward() in a hook: update_params(loss) has done the step when hooks see outputs. Add to '
    'the loss in the model, or in update_params of an optimizer wrapper'
)
_WHOLE = (
    'runner.outputs as a whole held loss, log_vars and num_samples; outputs holds the log '
    'variables alone'
)


def read(rest: str, given: Collection[str], classes: Classes) -> tuple[str, str]:
    """The expression for a part of the outputs, empty to keep it, and a mark, empty for none.

    Args:
        rest: The text behind ``runner.outputs``, with single quotes.
        given: The names that the method at hand is passed.
        classes: The classes of the project.
    """
    if rest == "['num_samples']":
        count = classes.num_samples()
        if count and 'data_batch' in given:
            return count.replace('{data}', 'data_batch'), ''
        return '', 'num_samples is not in outputs here: take the length of data_batch'
    if 'outputs' not in given:
        return '', ''
    if rest == "['log_vars']['loss']" and classes.reads_losses():
        # A hook takes the tensor, so that it is what train_step returns.
        return "float(outputs['loss'])", ''
    if rest == "['loss']":
        return '', loss_mark("outputs['loss']", classes)
    if re.fullmatch(r"\[(?!'log_vars'\])('[^']*'|[^]'[]+)\]", rest):
        return '', _LOG_VARIABLES.format(f'outputs{rest}')
    return '', ''


def loss_mark(text: str, classes: Classes) -> str:
    """A mark for ``text``, which reads the loss; empty where each model returns it."""
    return '' if classes.returns_losses() else _LOSS.format(text)


def mark_of_key(key: cst.BaseExpression, classes: Classes) -> str:
    """A mark for ``key`` in a question for it; empty for what is among the outputs here."""
    name = key.evaluated_value if isinstance(key, cst.SimpleString) else None
    if name == 'loss':
        return loss_mark(code(key), classes)
    return '' if name is None else _LOG_VARIABLES.format(code(key))


class Parts:
    """Where ``runner.outputs`` stands as the owner of something, and where as a whole."""

    def __init__(self) -> None:
        self._owners: set[cst.CSTNode] = set()

    def note(self, node: cst.CSTNode) -> None:
        """Note what ``node`` takes a part of, or asks for one."""
        if isinstance(node, (cst.Subscript, cst.Attribute)):
            takes_part = isinstance(node, cst.Subscript) or node.attr.value in ('get', 'pop')
            self._owners |= {node.value} if takes_part else set()
        elif isinstance(node, cst.Comparison):
            self._owners |= {one.comparator for one in node.comparisons}
            self._owners.add(node.left)
        elif isinstance(node, cst.Call) and code(node.func) == 'isinstance':
            self._owners |= {arg.value for arg in node.args}

    def mark_of(self, node: cst.Attribute) -> str:
        """A mark for ``runner.outputs`` as a whole; empty where a part of it is taken."""
        return '' if node in self._owners else _WHOLE
