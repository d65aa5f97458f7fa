"""Sentences written as several literals keep the space between them."""

import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / 'mmengine'
_BETWEEN = {tokenize.NL, tokenize.COMMENT}
# Python 3.12 and later give an f-string as a start, its parts and an end.
_FSTRING_START = getattr(tokenize, 'FSTRING_START', None)
_FSTRING_END = getattr(tokenize, 'FSTRING_END', None)


def _literals(lines: list[str]) -> Iterator[tuple[int, str | None]]:
    """Line and source of each string literal, an f-string as a whole; None for other code."""
    depth, start = 0, (0, 0)
    for token in tokenize.generate_tokens(iter(lines).__next__):
        if token.type == _FSTRING_START:
            depth += 1
            start = token.start if depth == 1 else start
        elif token.type == _FSTRING_END:
            depth -= 1
            if depth == 0:
                yield start[0], _source(lines, start, token.end)
        elif depth == 0 and token.type not in _BETWEEN:
            yield token.start[0], token.string if token.type == tokenize.STRING else None


def _source(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    (first, begin), (last, stop) = start, end
    if first == last:
        return lines[first - 1][begin:stop]
    return lines[first - 1][begin:] + ''.join(lines[first : last - 1]) + lines[last - 1][:stop]


def _run_together(left: str, right: str) -> bool:
    """Whether words meet at the seam of two literals, given as source."""
    quote = left[-1]
    prefix, _, content = right.partition('"' if '"' in right[:4] else "'")
    if 'r' in (left.partition(quote)[0] + prefix).lower():  # a pattern, not a sentence
        return False
    end, beginning = left.rstrip(quote), content.lstrip('"\'')[:1]
    if end[-2:-1] == '\\':  # as in a line that ends in \n
        return False
    if end[-1:].isalnum():
        # A field in braces may bring its own space, as hints do.
        return beginning.isalnum() or beginning == '('
    return end[-1:] in ('.', ',', ';', ':', '!', '?', ')', '}', ']') and beginning.isalnum()


def seams_without_space(text: str) -> list[str]:
    """``line: end | beginning`` of neighbouring literals whose words run together."""
    found = []
    before: str | None = None
    for line, literal in _literals(text.splitlines(keepends=True)):
        if before is not None and literal is not None and _run_together(before, literal):
            found.append(f'{line}: {before[-20:]} | {literal[:20]}')
        before = literal
    return found


@pytest.mark.parametrize(
    ('code', 'num_found'),
    [
        ("x = ('were'\n     'n')", 1),
        ("x = ('were '\n     'n')", 0),
        ("x = ('were'\n     ' n')", 0),
        ("x = ('were'  # why\n\n     'n')", 1),
        ("x = (f'were {a}'\n     'n')", 1),
        ("x = ('were'\n     f'{a} n')", 0),
        ("x = (f'{a[\"b\"]}, '\n     f'{c} n')", 0),
        ("x = ('The end.'\n     'Next')", 1),
        ("x = ('line\\\\n'\n     'next')", 0),
        ("x = ('The end.'\n     f'{hint}')", 0),
        ("x = (r'pat'\n     r'tern')", 0),
        ("x = ['one', 'two']", 0),
        ("x = 'a' + 'b'", 0),
    ],
)
def test_a_seam_is_found_where_words_meet(code: str, num_found: int) -> None:
    assert len(seams_without_space(code)) == num_found


def test_no_words_of_a_message_run_together() -> None:
    files = sorted(ROOT.rglob('*.py'))
    assert len(files) > 100
    found = {
        str(path.relative_to(ROOT)): seams_without_space(path.read_text(encoding='utf-8'))
        for path in files
    }
    assert {path: seams for path, seams in found.items() if seams} == {}
