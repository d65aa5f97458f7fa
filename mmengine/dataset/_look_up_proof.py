"""Proof, from the source of a dataset's ``__getitem__``, that it draws no random numbers.

The source is read as a program over one kind of values: plain ones (:func:`is_plain`). The index is
plain, an attribute of the dataset is looked at, and each operation that is known here gives a plain
value from plain ones. Whatever is not known here ends the proof: calls of other functions,
properties, subclasses of tensors, nested functions, attributes that are written, and more. The
proof holds for the attributes and globals as they are when it is made.

The source counts only if compiling it gives the very code of the function (``_simple_source``).
"""

from __future__ import annotations

import ast
import builtins
import math
from abc import ABCMeta
from collections.abc import Sequence
from types import BuiltinFunctionType, FunctionType, GetSetDescriptorType
from typing import Any

import numpy as np
import torch

from mmengine.dataset._plain_values import PLAIN_TYPES, is_plain, tensors_are_unpatched
from mmengine.dataset._simple_source import definition_of, names_bound_in

_MISSING = object()
_MODULES = (torch, np, math)

# Of tensors, arrays, strings, lists and dicts. Not here: what draws (normal_, bernoulli, ...) and
# what takes a function that it calls.
_METHODS = frozenset(
    """
    abs add all amax amin any append argmax argmin astype bfloat16 bool byte ceil chunk clamp clip
    clone contiguous copy count cpu cumsum decode detach dim div double encode endswith exp expand
    expand_as extend find flatten flip float floor gather get half index index_select int item items
    join keys log long lower lstrip max mean min mul narrow nonzero numel numpy permute pow prod
    ravel repeat replace reshape roll round rsplit rstrip select setdefault short size split sqrt
    square squeeze startswith std strip sub sum swapaxes t take to tobytes tolist transpose unbind
    unsqueeze update upper values var view where
    """.split()  # noqa: SIM905
)
_ATTRIBUTES = frozenset(['T', 'device', 'dtype', 'imag', 'mT', 'ndim', 'real', 'shape'])

_OF_BUILTINS = """
    abs all any bool bytes complex dict divmod enumerate float frozenset int len list max min pow
    range reversed round set slice sorted str sum tuple zip
""".split()  # noqa: SIM905
_OF_TORCH = """
    abs arange argmax as_tensor cat clamp concat concatenate div empty_like exp flip from_numpy full
    full_like log max mean min mul ones ones_like permute reshape roll round sqrt squeeze stack sum
    tensor transpose unsqueeze where zeros zeros_like
""".split()  # noqa: SIM905
_OF_NUMPY = """
    abs arange argmax array asarray ascontiguousarray clip concatenate exp expand_dims flip full log
    max mean min ones ones_like ravel reshape roll round sqrt squeeze stack sum transpose where
    zeros zeros_like
""".split()  # noqa: SIM905
# Exceptions for `raise`: the rest of what a look-up may do.
_ERRORS = (AssertionError, IndexError, KeyError, RuntimeError, StopIteration, TypeError, ValueError)


def _known_functions() -> dict[int, Any]:
    """By identity: what may be called with plain values. Patched functions do not get in."""
    found = [getattr(builtins, name) for name in _OF_BUILTINS]
    found = [value for value in found if getattr(value, '__module__', None) == 'builtins']
    for name in _OF_TORCH:
        value = getattr(torch, name, None)
        if isinstance(value, BuiltinFunctionType) and value.__name__ == name:
            found.append(value)
    for name in _OF_NUMPY:
        value = getattr(np, name, None)
        module = str(getattr(value, '__module__', None))
        if isinstance(value, np.ufunc) or module.partition('.')[0] == 'numpy':
            found.append(value)
    found += [value for value in vars(math).values() if isinstance(value, BuiltinFunctionType)]
    found += [*PLAIN_TYPES, *_ERRORS]
    return {id(value): value for value in found}


_FUNCTIONS = _known_functions()


def only_looks_up(dataset: Any) -> bool:
    """Whether ``dataset[index]``, for a plain ``index``, provably runs code of look-ups only."""
    try:
        _ItemProof(dataset).run()
    except _Unproven:
        return False
    return True


class _Unproven(Exception):
    """Here is something that might draw random numbers."""


class _ItemProof:
    """One proof. Its methods raise ``_Unproven``, or the part of the source is proven."""

    def __init__(self, dataset: Any) -> None:
        cls = type(dataset)
        if type(cls) not in (type, ABCMeta):
            raise _Unproven
        self._classes = [vars(base) for base in cls.__mro__ if base is not object]
        _check_access(self._classes)
        self._attributes = vars(dataset) if hasattr(dataset, '__dict__') else {}
        if type(self._attributes) is not dict or '__getitems__' in self._attributes:
            raise _Unproven
        function = next((own['__getitem__'] for own in self._classes if '__getitem__' in own), None)
        if type(function) is not FunctionType or type(function.__globals__) is not dict:
            raise _Unproven
        self._function = function
        definition = definition_of(function.__code__)
        if definition is None:
            raise _Unproven
        self._body = definition.body
        self._self = function.__code__.co_varnames[0]
        self._locals = {function.__code__.co_varnames[1], *names_bound_in(definition)}
        if self._self in self._locals:
            raise _Unproven
        self._methods: set[str] = set()
        self._known_plain: dict[int, bool] = {}

    def run(self) -> None:
        """Look at the whole function."""
        self._check_block(self._body)
        if not tensors_are_unpatched(self._methods):
            raise _Unproven

    def _check_block(self, statements: Sequence[ast.stmt]) -> bool:
        """Returns whether the block certainly ends the function."""
        return any(self._check_statement(statement) for statement in statements)

    def _check_statement(self, statement: ast.stmt) -> bool:
        match statement:
            case ast.Return(value=value):
                self._check_all(value)
                return True
            case ast.Raise(exc=error, cause=cause):
                if error is None or id(self._resolved(error)) not in _FUNCTIONS:
                    self._check_all(error)
                self._check_all(cause)
                return True
            case ast.Expr(value=value):
                self._check(value)
            case ast.Assign(targets=targets, value=value):
                self._check_all(value)
                self._check_targets(targets)
            case ast.AnnAssign(target=target, value=value):
                self._check_all(value)
                self._check_targets([target])
            case ast.AugAssign(target=target, value=value):
                self._check_all(value)
                self._check_targets([target])
            case ast.Assert(test=test, msg=message):
                self._check_all(test, message)
            case ast.For(target=target, iter=values, body=body, orelse=orelse):
                self._check(values)
                self._check_targets([target])
                self._check_block(body)
                self._check_block(orelse)
            case ast.If(test=test, body=body, orelse=orelse):
                return self._check_if(test, body, orelse)
            case ast.Pass() | ast.Break() | ast.Continue():
                pass
            case _:
                raise _Unproven
        return False

    def _check_if(self, test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt]) -> bool:
        known = self._truth_of(test)
        if known is not None:
            return self._check_block(body if known else orelse)
        self._check(test)
        ends = [self._check_block(body), self._check_block(orelse)]
        return all(ends)

    def _check_targets(self, targets: Sequence[ast.expr]) -> None:
        for target in targets:
            match target:
                case ast.Name():
                    pass  # a local: `global` is not known here
                case ast.Tuple(elts=parts) | ast.List(elts=parts):
                    self._check_targets(parts)
                case ast.Starred(value=value):
                    self._check_targets([value])
                case ast.Subscript(value=value, slice=index):
                    self._check_all(value, index)
                case _:
                    raise _Unproven

    def _check_all(self, *expressions: ast.expr | None) -> None:
        for expression in expressions:
            if expression is not None:
                self._check(expression)

    def _check(self, expression: ast.expr) -> None:
        """Prove that ``expression`` gives a plain value."""
        match expression:
            case ast.Constant():
                pass
            case ast.Name(id=name) if name in self._locals:
                pass
            case ast.Name() | ast.Attribute():
                self._check_name(expression)
            case ast.Subscript(value=value, slice=index):
                self._check_all(value, index)
            case ast.Slice(lower=lower, upper=upper, step=step):
                self._check_all(lower, upper, step)
            case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
                self._check_all(*parts)
            case ast.Dict(keys=keys, values=values):
                self._check_all(*keys, *values)
            case ast.Starred(value=value) | ast.UnaryOp(operand=value):
                self._check(value)
            case ast.BinOp(left=left, right=right):
                self._check_all(left, right)
            case ast.BoolOp(values=values) | ast.JoinedStr(values=values):
                self._check_all(*values)
            case ast.Compare(left=left, comparators=others):
                self._check_all(left, *others)
            case ast.FormattedValue(value=value, format_spec=spec):
                self._check_all(value, spec)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                known = self._truth_of(test)
                self._check_all(*([test, body, orelse] if known is None else []))
                self._check_all(*([] if known is None else [body if known else orelse]))
            case ast.Call(func=function, args=args, keywords=keywords):
                self._check_callee(function)
                self._check_all(*args, *(keyword.value for keyword in keywords))
            case (
                ast.ListComp(elt=part, generators=loops)
                | ast.SetComp(elt=part, generators=loops)
            ):  # fmt: skip
                self._check_comprehension(loops, part)
            case ast.DictComp(key=key, value=value, generators=loops):
                self._check_comprehension(loops, key, value)
            case _:
                raise _Unproven

    def _check_comprehension(self, loops: list[ast.comprehension], *parts: ast.expr) -> None:
        outer = self._locals
        for loop in loops:
            self._check(loop.iter)
            names = {node.id for node in ast.walk(loop.target) if isinstance(node, ast.Name)}
            if self._self in names or loop.is_async:
                raise _Unproven
            self._locals = self._locals | names
            self._check_targets([loop.target])
            self._check_all(*loop.ifs)
        self._check_all(*parts)
        self._locals = outer

    def _check_callee(self, function: ast.expr) -> None:
        if id(self._resolved(function)) in _FUNCTIONS:
            return
        if not isinstance(function, ast.Attribute) or function.attr not in _METHODS:
            raise _Unproven
        self._check(function.value)
        self._methods.add(function.attr)

    def _check_name(self, expression: ast.Name | ast.Attribute) -> None:
        value = self._value_of(expression)
        if value is _MISSING:
            if not isinstance(expression, ast.Attribute) or expression.attr not in _ATTRIBUTES:
                raise _Unproven
            self._check(expression.value)
            self._methods.add(expression.attr)
        elif not self._is_plain(value):
            raise _Unproven

    def _is_plain(self, value: Any) -> bool:
        if id(value) not in self._known_plain:
            is_type = type(value) is type and value in PLAIN_TYPES
            self._known_plain[id(value)] = is_type or is_plain(value)
        return self._known_plain[id(value)]

    def _truth_of(self, test: ast.expr) -> bool | None:
        """Whether ``test`` holds, if that follows from an attribute that is None or a bool."""
        match test:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                known = self._truth_of(operand)
                return None if known is None else not known
            case ast.Compare(
                left=ast.Attribute() as left,
                ops=[ast.Is() | ast.IsNot() as operator],
                comparators=[ast.Constant(value=None)],
            ):
                value = self._value_of(left)
                if value is _MISSING:
                    return None
                return (value is None) == isinstance(operator, ast.Is)
            case ast.Attribute():
                value = self._value_of(test)
                return bool(value) if value is None or type(value) is bool else None
        return None

    def _value_of(self, expression: ast.Name | ast.Attribute) -> Any:
        """The value of ``self.name``, of a global or of ``module.name``; _MISSING for others."""
        match expression:
            case ast.Attribute(value=ast.Name(id=self._self), attr=name):
                return self._attribute(name)
        return self._resolved(expression)

    def _attribute(self, name: str) -> Any:
        """``self.name``, where neither a property nor a method stands behind it."""
        of_class = next((own[name] for own in self._classes if name in own), _MISSING)
        # Data descriptors come before the attributes of the object. Plain values are none.
        if of_class is not _MISSING and not is_plain(of_class):
            raise _Unproven
        value = self._attributes.get(name, of_class)
        if value is _MISSING:
            raise _Unproven
        return value

    def _resolved(self, expression: ast.expr) -> Any:
        """The object that a name, or an attribute of a known module, stands for."""
        match expression:
            case ast.Name(id=name) if name not in self._locals and name != self._self:
                return self._global(name)
            case ast.Attribute(value=ast.Name() as base, attr=name):
                module = self._resolved(base)
                if any(module is known for known in _MODULES):
                    return vars(module).get(name, _MISSING)
        return _MISSING

    def _global(self, name: str) -> Any:
        function = self._function
        free = function.__code__.co_freevars
        if name in free:
            cell = (function.__closure__ or ())[free.index(name)]
            try:
                return cell.cell_contents
            except ValueError:  # still empty
                raise _Unproven from None
        for scope in (function.__globals__, _builtins_of(function)):
            if name in scope:
                return scope[name]
        raise _Unproven


def _builtins_of(function: FunctionType) -> dict[str, Any]:
    scope: dict[str, Any] = function.__builtins__  # type: ignore[attr-defined]  # since Python 3.10
    return scope


def _check_access(classes: list[Any]) -> None:
    """Attributes and items are found in the ordinary way, and one item at a time is loaded."""
    for own in classes:
        if not {'__getattr__', '__getattribute__', '__getitems__', 'seed_sample'}.isdisjoint(own):
            raise _Unproven
        if '__dict__' in own and not isinstance(own['__dict__'], GetSetDescriptorType):
            raise _Unproven
