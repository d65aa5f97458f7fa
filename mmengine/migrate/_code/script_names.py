"""What the names of a script stand for where its runner is made."""

from __future__ import annotations

import ast
import textwrap
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

import libcst as cst

from mmengine.migrate._code._nodes import code, only

# Methods that change a dict or a list in place.
_CHANGES = frozenset((
    'update', 'pop', 'popitem', 'setdefault', 'clear', 'append', 'extend', 'insert', 'remove',
    'merge_from_dict',
))  # fmt: skip
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def constants_of(body: Sequence[cst.CSTNode]) -> dict[str, cst.BaseExpression]:
    """What each name is set to by a block, where that is certain.

    It is not for a name that is set twice, in a branch or a loop, changed in place, or read before
    it is set.
    """
    counts = _times_set(body)
    found = {}
    read: set[str] = set()
    for statement in body:
        read |= _read_by(statement)
        small = only(statement)
        if isinstance(small, cst.Assign):
            for target in small.targets:
                name = target.target.value if isinstance(target.target, cst.Name) else ''
                if counts[name] == 1 and name not in read:
                    found[name] = small.value
    return found


def _read_by(statement: cst.CSTNode) -> set[str]:
    """The names that a statement reads as it is run, not those that its functions do later."""
    return {
        node.id
        for node in _inside(ast.parse(textwrap.dedent(code(statement))))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


def choices_of(body: Sequence[cst.CSTNode]) -> dict[str, list[cst.BaseExpression]]:
    """The values of names that only assignments set, in branches of an ``if`` or outside."""
    counts = _times_set(body)
    found: dict[str, list[cst.BaseExpression]] = {}
    for small in _assignments(body):
        for target in small.targets:
            if isinstance(target.target, cst.Name):
                found.setdefault(target.target.value, []).append(small.value)
    return {name: values for name, values in found.items() if counts[name] == len(values)}


def _assignments(body: Sequence[cst.CSTNode]) -> Iterator[cst.Assign]:
    for statement in body:
        small = only(statement)
        if isinstance(small, cst.Assign):
            yield small
        branch: cst.CSTNode | None = statement
        while isinstance(branch, (cst.If, cst.Else)):
            yield from _assignments(branch.body.body)
            branch = branch.orelse if isinstance(branch, cst.If) else None


def _times_set(body: Sequence[cst.CSTNode]) -> Counter[str]:
    """How often each name is set, and changed in place."""
    trees = (ast.parse(textwrap.dedent(code(statement))) for statement in body)
    return Counter(name for tree in trees for name in _set_by(tree))


def _set_by(tree: ast.AST) -> Iterator[str]:
    for node in _inside(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, (ast.Attribute, ast.Subscript)):
            owner = node.value
            is_change = not isinstance(node.ctx, ast.Load) or (
                isinstance(node, ast.Attribute) and node.attr in _CHANGES
            )
            while isinstance(owner, (ast.Attribute, ast.Subscript)):
                owner = owner.value
            if is_change and isinstance(owner, ast.Name):
                yield owner.id


def _inside(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a statement, without what functions hold, whose names are apart."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, (*_FUNCTIONS, ast.ClassDef, ast.Lambda)):
            continue
        yield child
        yield from _inside(child)


def without_own(
    constants: Mapping[str, cst.BaseExpression], functions: Collection[cst.FunctionDef]
) -> dict[str, cst.BaseExpression]:
    """Constants of a module, without names that one of the functions at hand has for itself.

    Args:
        constants: What the names of the module stand for.
        functions: The functions, from the outer to the inner.
    """
    own: set[str] = set()
    for function in functions:
        tree = ast.parse(textwrap.dedent(code(function)))
        for node in ast.walk(tree):
            if isinstance(node, ast.arg):
                own.add(node.arg)
        own.update(name for one in tree.body for name in _set_by_function(one))
    return {name: value for name, value in constants.items() if name not in own}


def _set_by_function(tree: ast.AST) -> Iterator[str]:
    return (name for child in ast.iter_child_nodes(tree) for name in _set_by(child))
