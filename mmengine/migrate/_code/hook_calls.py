"""Methods of hooks: their names and signatures here, and calls of them by the hook itself."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import libcst as cst

from mmengine.migrate._code import legacy_counts
from mmengine.migrate._code._nodes import (
    body_of,
    code,
    dotted,
    is_docstring,
    parameters,
    statements,
    with_body,
)

_BEFORE = 'self, {0}, batch_idx, data_batch=None'
_AFTER = 'self, {0}, batch_idx, data_batch=None, outputs=None'
METHODS = {
    'before_train_iter': ('before_train_iter', _BEFORE),
    'before_val_iter': ('before_val_iter', _BEFORE),
    'after_train_iter': ('after_train_iter', _AFTER),
    'after_val_iter': ('after_val_iter', _AFTER),
    'before_iter': ('_before_iter', f"{_BEFORE}, mode='train'"),
    'after_iter': ('_after_iter', f"{_AFTER}, mode='train'"),
    'before_epoch': ('_before_epoch', "self, {0}, mode='train'"),
    'after_epoch': ('_after_epoch', "self, {0}, mode='train'"),
    'after_val_epoch': ('after_val_epoch', 'self, {0}, metrics=None'),
}
"""Of each old method the new name, and the parameters with {0} for the runner."""

QUESTIONS = {
    'every_n_iters': 'every_n_train_iters({0}, {1})',
    'every_n_inner_iters': 'every_n_inner_iters(batch_idx, {1})',
    'end_of_epoch': 'end_of_epoch({0}.train_dataloader, batch_idx)',
    'is_last_epoch': 'is_last_train_epoch({0})',
    'is_last_iter': 'is_last_train_iter({0})',
}
"""What MMCV's Hook answered: {0} is the runner, {1} the second argument."""

_NEEDS_BATCH = ('every_n_inner_iters', 'end_of_epoch')

_IN_TRAINING = "if mode != 'train':\n    return\n"


class OwnCall(NamedTuple):
    """A call of a hook's own method, of the one above, or of one that is named: ``Base.f(self)``.

    Args:
        owner: The text before the dot.
        method: The name of the method.
        args: The texts of its arguments, the runner first.
        is_explicit: Whether ``self`` is handed over.
    """

    owner: str
    method: str
    args: list[str]
    is_explicit: bool

    @classmethod
    def of(cls, call: cst.Call, runner: str) -> OwnCall | None:
        """The call, if it is one and is given the runner first."""
        func = call.func
        if not isinstance(func, cst.Attribute) or any(arg.star for arg in call.args):
            return None
        owner, args = code(func.value), [code(arg.value) for arg in call.args]
        is_explicit = bool(dotted(func.value)) and owner != 'self' and args[:1] == ['self']
        if is_explicit:
            args = args[1:]
        elif owner != 'self' and not owner.startswith('super('):
            return None
        if args[:1] != [runner]:
            return None
        return cls(owner, func.attr.value, args, is_explicit)

    def as_text(self, tail: str) -> str:
        """The call of ``name(arguments)`` in its place."""
        name, _, arguments = tail.partition('(')
        given = f'self, {arguments}' if self.is_explicit else arguments
        return f'{self.owner}.{name}({given}'

    def of_method(self, given: Collection[str]) -> str:
        """The call of a method whose signature changed; empty where a batch is not at hand.

        Args:
            given: The names that the method at hand is passed.
        """
        name, params = METHODS[self.method]
        names = [one.name.value for one in parameters(params.format('runner')).params[2:]]
        if 'batch_idx' in names and 'batch_idx' not in given:
            return ''
        passed = [one if one == 'batch_idx' else f'{one}={one}' for one in names if one in given]
        return self.as_text(f'{name}({", ".join([self.args[0], *passed])})')

    def question(self, given: Collection[str], *, counts_as_before: bool) -> str:
        """The call of what MMCV's Hook answered; empty where a batch is not at hand."""
        if self.method in _NEEDS_BATCH and 'batch_idx' not in given:
            return ''
        tail = QUESTIONS[self.method]
        if counts_as_before and self.method in legacy_counts.CALLS:
            tail = legacy_counts.CALLS[self.method].removeprefix('self.')
        return self.as_text(tail.format(*self.args, *([''] * (2 - len(self.args)))))


def names_runner(method: cst.FunctionDef) -> bool:
    return 'runner' in method.params.params[1].name.value


def in_training(method: cst.FunctionDef) -> cst.FunctionDef:
    """``method`` leaving validation and test alone, where its call is not MMCV's."""
    body = body_of(method)
    has_text = bool(body) and is_docstring(body[0])
    head, rest = (body[:1], body[1:]) if has_text else ([], body)
    return with_body(method, [*head, *statements(_IN_TRAINING), *rest])


def takes_runner_alone(method: cst.FunctionDef) -> bool:
    params = method.params
    return len(params.params) == 2 and not (
        params.kwonly_params or params.star_kwarg or isinstance(params.star_arg, cst.Param)
    )
