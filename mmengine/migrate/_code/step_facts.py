"""What the ``train_step`` of a model takes and returns, read off its text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class StepFacts:
    """The facts of one ``train_step``.

    Args:
        returns_loss: Whether its loss can be among what is returned once it is converted.
        several: Whether it is passed a dict of optimizers; None if its text does not say.
    """

    returns_loss: bool = False
    several: bool | None = None

    @classmethod
    def of(cls, node: ast.ClassDef) -> StepFacts | None:
        """The facts of a class; None if it has no ``train_step``."""
        methods = {one.name: one for one in node.body if isinstance(one, ast.FunctionDef)}
        step = methods.get('train_step')
        if step is None:
            return None
        if len(step.args.args) < 3:
            return cls()
        optimizer = step.args.args[2].arg
        text = ast.unparse(step)
        asked = rf"\b{optimizer}(\[['\"]|\.(items|values|keys)\()"
        return cls(_returns_loss(step), re.search(asked, text) is not None)


def _returns_loss(step: ast.FunctionDef) -> bool:
    returned = [one.value for one in _walk(step) if isinstance(one, ast.Return)]
    if len(returned) != 1 or returned[0] is None:
        return False
    value = returned[0]
    if isinstance(value, ast.Name):
        made = [
            one.value
            for one in step.body
            if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == value.id
        ]
        value = made[0] if len(made) == 1 else value
    keys = _keys(value)
    # A step that leaves its loss to the optimizer hook returns it.
    return 'loss' in keys if keys is not None else '.step(' not in ast.unparse(step)


def _keys(node: ast.expr) -> list[str] | None:
    """The keys of a dict that is written out; None for another expression."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == 'dict' and not node.args:
        return [one.arg or '' for one in node.keywords]
    if isinstance(node, ast.Dict):
        return [str(one.value) for one in node.keys if isinstance(one, ast.Constant)]
    return None


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """What is in ``node``, nested functions left out."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
            yield child
            yield from _walk(child)
