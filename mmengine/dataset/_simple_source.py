"""The source of a function, if it is simple enough to be followed and gives the very same code.

The file may have changed since it was imported, so the source is compiled again and compared.
"""

from __future__ import annotations

import ast
import linecache
import warnings
from collections.abc import Iterator
from functools import lru_cache
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, CO_VARARGS, CO_VARKEYWORDS
from types import CodeType

# Other nodes bind names in other ways, or run at other times. They must not stand even in a branch
# that is not taken, because they would change what names mean elsewhere.
_NODES = (
    ast.expr_context, ast.operator, ast.boolop, ast.unaryop, ast.cmpop, ast.arguments, ast.arg,
    ast.keyword, ast.comprehension,
    ast.Return, ast.Raise, ast.Expr, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Assert, ast.For,
    ast.If, ast.Pass, ast.Break, ast.Continue,
    ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.Tuple, ast.List, ast.Set,
    ast.Dict, ast.Starred, ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.JoinedStr, ast.FormattedValue,
    ast.Compare, ast.IfExp, ast.Call, ast.ListComp, ast.SetComp, ast.DictComp,
)  # fmt: skip
_FLAGS = CO_VARARGS | CO_VARKEYWORDS | CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR


@lru_cache(maxsize=64)
def definition_of(code: CodeType) -> ast.FunctionDef | None:
    """The definition that ``code`` was compiled from, if it is at hand and simple enough."""
    if code.co_argcount != 2 or code.co_kwonlyargcount or code.co_flags & _FLAGS:
        return None
    source = ''.join(linecache.getlines(code.co_filename))
    with warnings.catch_warnings():
        # Python has given the warnings of this source already.
        warnings.simplefilter('ignore')
        try:
            tree = ast.parse(source)
            compiled = compile(source, code.co_filename, 'exec', dont_inherit=True)
        except (SyntaxError, ValueError):
            return None
    if not any(_is_same(code, other) for other in _codes_in(compiled)):
        return None
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.FunctionDef)
            and node.name == code.co_name
            # The code begins at the first decorator.
            and min([node.lineno, *(part.lineno for part in node.decorator_list)])
            == code.co_firstlineno
        ):
            return node if _is_simple(node) else None
    return None


def _is_simple(definition: ast.FunctionDef) -> bool:
    for statement in definition.body:
        for node in ast.walk(statement):
            if not isinstance(node, _NODES):
                return False
            # Private names of a class are not what they look like.
            name = getattr(node, 'id', getattr(node, 'attr', ''))
            if name.startswith('__'):
                return False
    return True


def names_bound_in(definition: ast.FunctionDef) -> set[str]:
    """The locals. Names of comprehensions are not, unless they are bound elsewhere as well."""
    nodes = [node for statement in definition.body for node in ast.walk(statement)]
    of_comprehensions = {
        id(name)
        for node in nodes
        if isinstance(node, ast.comprehension)
        for name in ast.walk(node.target)
    }
    return {
        node.id
        for node in nodes
        if isinstance(node, ast.Name)
        and isinstance(node.ctx, ast.Store)
        and id(node) not in of_comprehensions
    }


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes_in(constant)


def _is_same(one: CodeType, other: CodeType) -> bool:
    """Equality of code objects, which some versions of Python deny once the code has run."""
    names = ('co_code', 'co_name', 'co_firstlineno', 'co_names', 'co_varnames', 'co_freevars')
    if any(getattr(one, name) != getattr(other, name) for name in names):
        return False
    if len(one.co_consts) != len(other.co_consts):
        return False
    for own, theirs in zip(one.co_consts, other.co_consts, strict=True):
        if isinstance(own, CodeType) and isinstance(theirs, CodeType):
            if not _is_same(own, theirs):
                return False
        # repr tells 1 from 1.0 and from True, and 0.0 from -0.0.
        elif type(own) is not type(theirs) or repr(own) != repr(theirs):
            return False
    return True
