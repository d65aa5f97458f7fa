"""Write values as Python: new ones neatly, old ones as they were written."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mmengine.migrate._config.files.sources import dict_parts
from mmengine.migrate._config.trace import origin_of, plain

if TYPE_CHECKING:
    import libcst as cst

LINE_LENGTH = 79
_STEP = '    '


class Renderer:
    """Writes the values of one file.

    Args:
        code_of: The text of an expression.
        may_reuse: Whether an expression, at the place where it would stand now, still has the
            value given.
        named: Long values that have a name at that place, with the name.
    """

    def __init__(
        self,
        code_of: Callable[[cst.CSTNode], str],
        may_reuse: Callable[[cst.BaseExpression, Any, Any], bool],
        named: Sequence[tuple[Any, str]] = (),
    ) -> None:
        self._code_of = code_of
        self._may_reuse = may_reuse
        self._named = named

    def statement(self, name: str, value: Any) -> str:
        """``name = value`` over as many lines as it takes."""
        prefix = f'{name} = '
        if isinstance(value, dict):
            # A list inside may have a name; the value as a whole is what the name is for.
            same = next((code for known, code in self._named if _same(known, plain(value))), None)
            if same is not None and same != name:
                return f'{prefix}{same}\n'
        return f'{prefix}{self.expression(value, "", len(prefix))}\n'

    def expression(self, value: Any, indent: str = '', used: int = 0) -> str:
        """The expression for ``value``.

        Args:
            value: What to write.
            indent: Of the line it begins on.
            used: Columns of that line that are taken.
        """
        origin = origin_of(value)
        if origin is not None:
            node, old, was_indented = origin
            now = plain(value)
            if self._may_reuse(node, old, now):
                kept = _reindented(self._code_of(node), was_indented, indent)
                is_long = used + len(kept) > LINE_LENGTH and '\n' not in kept
                has_parts = isinstance(value, (dict, list)) and dict_parts(node) is not None
                return self._laid_out(value, indent, used) if is_long and has_parts else kept
            if _same(old, now) is False:
                edited = self._edited(node, value, was_indented)
                if edited is not None:
                    moved = _reindented(edited, was_indented, indent)
                    code = self._code_of(node)
                    return moved if '#' in code else self._tidy(code, moved, value, indent, used)
        name = self._name_of(value)
        return name if name is not None else self._laid_out(value, indent, used)

    def _name_of(self, value: Any) -> str | None:
        if not isinstance(value, list) or len(value) < 2:
            return None
        now = plain(value)
        return next((code for known, code in self._named if _same(known, now)), None)

    def _tidy(self, before: str, edited: str, value: Any, indent: str, used: int) -> str:
        """``edited``, or the value laid out anew where the edit left a poor layout: a line that is
        too long, many lines for what fits on one, or old line breaks between new entries."""
        first, *rest = edited.split('\n')
        is_long = used + len(first) > LINE_LENGTH or any(len(line) > LINE_LENGTH for line in rest)
        shrank = bool(rest) and edited.count('=') < before.count('=')
        if not is_long and not shrank:
            return edited
        anew = self._laid_out(value, indent, used)
        if is_long and not any(len(line) > LINE_LENGTH for line in anew.split('\n')):
            return anew
        return anew if shrank and '\n' not in anew else edited

    def _laid_out(self, value: Any, indent: str, used: int) -> str:
        if isinstance(value, dict):
            opening, closing = ('dict(', ')') if _is_keywords(value) else ('{', '}')
            label = '{}=' if opening == 'dict(' else '{!r}: '
            entries = [(label.format(key), item) for key, item in value.items()]
        elif isinstance(value, (list, tuple)):
            opening, closing = ('[', ']') if isinstance(value, list) else ('(', ')')
            entries = [('', item) for item in value]
        else:
            return _atom(value)
        if not entries:
            return f'{opening}{closing}'
        tail = ',' if isinstance(value, tuple) and len(value) == 1 else ''
        flat = [prefix + self.expression(item, indent) for prefix, item in entries]
        line = f'{opening}{", ".join(flat)}{tail}{closing}'
        if '\n' not in line and '#' not in line and used + len(line) <= LINE_LENGTH:
            return line
        inner = indent + _STEP
        lines = [
            f'{inner}{prefix}{self.expression(item, inner, len(inner) + len(prefix) + 1)},\n'
            for prefix, item in entries
        ]
        if isinstance(value, (list, tuple)) and all(_is_short(item) for item in value):
            return _filled(opening, flat, tail, closing, inner, indent)
        return f'{opening}\n{"".join(lines)}{indent}{closing}'

    def _edited(self, node: cst.BaseExpression, value: Any, indent: str) -> str | None:
        """The expression with only those parts written anew that changed; None when it has no
        parts."""
        import libcst as cst

        if isinstance(value, dict) and isinstance(node, cst.Call) and dict_parts(node) is not None:
            if not _is_keywords(value):
                return None
            return self._edited_call(node, value, indent)
        if isinstance(value, list) and isinstance(node, cst.List):
            return self._edited_list(node, value, indent)
        return None

    def _edited_call(self, node: cst.Call, value: dict[str, Any], indent: str) -> str | None:
        import libcst as cst

        if not node.args or not value:
            return None
        old = {arg.keyword.value: arg for arg in node.args if arg.keyword is not None}
        code = self._code_of(node)
        if '#' not in code and 2 * len(old.keys() & value.keys()) < len(value):
            return None
        gap = _gap([arg.comma for arg in node.args], node.whitespace_before_args)
        inner = _indent_of(gap, indent)
        args = []
        for key, item in value.items():
            text = self.expression(item, inner, len(inner) + len(key) + 2)
            arg = old.get(key)
            if arg is not None and self._code_of(arg.value) == text:
                args.append(arg)
                continue
            new = cst.parse_expression(text)
            if arg is not None:
                args.append(arg.with_changes(value=new))
                continue
            equal = cst.AssignEqual(cst.SimpleWhitespace(''), cst.SimpleWhitespace(''))
            args.append(cst.Arg(value=new, keyword=cst.Name(key), equal=equal))
        last = node.args[-1]
        spaced = _with_commas(args, last.comma, gap, last.whitespace_after_arg)
        return self._code_of(node.with_changes(args=spaced))

    def _edited_list(self, node: cst.List, value: list[Any], indent: str) -> str | None:
        import libcst as cst

        if not node.elements or not value:
            return None
        old = {id(element.value): element for element in node.elements}
        gap = _gap([element.comma for element in node.elements], node.lbracket.whitespace_after)
        inner = _indent_of(gap, indent)
        elements: list[Any] = []
        for item in value:
            text = self.expression(item, inner, len(inner) + 1)
            origin = origin_of(item)
            element = None if origin is None else old.get(id(origin.node))
            if element is not None and self._code_of(element.value) == text:
                elements.append(element)
            elif element is not None:
                elements.append(element.with_changes(value=cst.parse_expression(text)))
            else:
                elements.append(cst.Element(cst.parse_expression(text)))
        spaced = _with_commas(elements, node.elements[-1].comma, gap, None)
        return self._code_of(node.with_changes(elements=spaced))


def _with_commas(items: list[Any], last_comma: Any, gap: Any, after_last: Any) -> list[Any]:
    """``items`` with a comma after each but the last, which ends as the last one did before."""
    import libcst as cst

    spaced = []
    for item in items[:-1]:
        has_comma = isinstance(item.comma, cst.Comma) and item.comma is not last_comma
        comma = item.comma if has_comma else cst.Comma(whitespace_after=gap)
        changes: dict[str, Any] = {'comma': comma}
        if hasattr(item, 'whitespace_after_arg'):
            changes['whitespace_after_arg'] = cst.SimpleWhitespace('')
        spaced.append(item.with_changes(**changes))
    changes = {'comma': last_comma}
    if after_last is not None:
        changes['whitespace_after_arg'] = after_last
    spaced.append(items[-1].with_changes(**changes))
    return spaced


def _gap(commas: list[Any], before_first: Any) -> Any:
    """The white space between two entries: of a line break where there is one, without comments."""
    import libcst as cst

    spaces = [comma.whitespace_after for comma in commas[:-1] if isinstance(comma, cst.Comma)]
    for space in (*spaces, before_first):
        if isinstance(space, cst.ParenthesizedWhitespace):
            clean = cst.TrailingWhitespace()
            return space.with_changes(first_line=clean, empty_lines=())
    return cst.SimpleWhitespace(' ')


def _indent_of(gap: Any, indent: str) -> str:
    last = getattr(gap, 'last_line', None)
    return indent if last is None else str(last.value)


def _reindented(code: str, before: str, after: str) -> str:
    """``code`` moved from a line indented by ``before`` to one indented by ``after``."""
    shift = len(after) - len(before)
    if shift == 0 or '\n' not in code or '"""' in code or "'''" in code:
        return code
    first, *rest = code.split('\n')
    return '\n'.join([first, *(_shifted(line, shift) for line in rest)])


def _shifted(line: str, shift: int) -> str:
    if not line.strip():
        return line
    depth = len(line) - len(line.lstrip())
    return ' ' * max(depth + shift, 0) + line.lstrip()


def _filled(opening: str, flat: list[str], tail: str, closing: str, inner: str, indent: str) -> str:
    """Many short values wrapped like words."""
    lines, line = [], inner
    for text in flat:
        if len(line) + len(text) + 1 > LINE_LENGTH and line.strip():
            lines.append(line.rstrip())
            line = inner
        line += f'{text}, '
    lines.append(line.rstrip())
    return f'{opening}\n' + '\n'.join(lines) + f'\n{indent}{closing}'


def _is_short(value: Any) -> bool:
    return isinstance(value, (int, float, str)) and len(repr(value)) <= 24


def _atom(value: Any) -> str:
    value = plain(value)
    if isinstance(value, float) and (value != value or value in (float('inf'), float('-inf'))):
        return f"float('{value}')"
    return repr(value)


def _is_keywords(value: dict[Any, Any]) -> bool:
    return all(
        isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key) for key in value
    )


def _same(old: Any, new: Any) -> bool:
    return type(old) is type(new) and bool(old == new)


_BASE_PATH = re.compile(r'_base_\.([\w.]+)')


def names_in(code: str) -> tuple[set[str], set[str]] | None:
    """Names that an expression reads, and paths of base variables; None when it is not to be
    understood."""
    bases = set(_BASE_PATH.findall(code))
    try:
        tree = ast.parse(f'({code}\n)', mode='eval')
    except SyntaxError:
        return None
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names - {'_base_'}, bases
