"""Attributes that code sets, which other expressions cannot stand in for."""

from __future__ import annotations

import libcst as cst

from mmengine.migrate._code._base import Codemod
from mmengine.migrate._code._source import Source


class Assigned(Codemod):
    """Base of codemods that treat what is set otherwise than what is read."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._set: set[cst.CSTNode] = set()

    def visit_AssignTarget(self, node: cst.AssignTarget) -> None:
        """``runner._max_epochs = 3``."""
        self._set |= _stored_in(node.target)

    def visit_AugAssign(self, node: cst.AugAssign) -> None:
        """``runner._epoch += 1``."""
        self._set |= _stored_in(node.target)

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        """``runner._epoch: int = 1``."""
        self._set |= _stored_in(node.target)

    def visit_For(self, node: cst.For) -> None:
        """``for runner._epoch in ...``."""
        self._set |= _stored_in(node.target)

    def visit_CompFor(self, node: cst.CompFor) -> None:
        """The same, in a comprehension."""
        self._set |= _stored_in(node.target)

    def visit_Del(self, node: cst.Del) -> None:
        """``del runner._epoch``."""
        self._set |= _stored_in(node.target)

    def visit_AsName(self, node: cst.AsName) -> None:
        """``with ... as runner._epoch``."""
        self._set |= _stored_in(node.name)


def _stored_in(target: cst.BaseExpression) -> set[cst.CSTNode]:
    """The attributes and items that are set where ``target`` stands, one or several in a tuple."""
    if isinstance(target, (cst.Attribute, cst.Subscript)):
        return {target}
    if isinstance(target, (cst.Tuple, cst.List)):
        return {one for element in target.elements for one in _stored_in(element.value)}
    return set()
