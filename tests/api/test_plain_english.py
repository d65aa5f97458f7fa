"""Docstrings, comments and messages avoid phrases that are hard to read for non-native speakers.

``make lint`` runs this.
"""

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / 'mmengine'

INSTEAD = {
    r'(?<!there )\b(is|are|was|were) no (?!longer\b|more\b)': 'is not a ..., has no ...',
    r'\b(is|are|was|were|be|been) (told|asked)\b': 'is passed, is called, receives',
    r'\bknows?\b': 'has, supports, uses',
    r'\bbrings?\b': 'has, imports, returns',
    r'\b(that|those) of\b': 'the noun again',
    r"\bof (its|one's|their) own\b": 'its own ..., a separate ..., custom',
    r"\bsomebody else's\b": 'another',
    r'\bhang(s|ing)? on\b': 'depends on',
    r'\bgo(es)? with\b': 'belongs to, needs',
    r'\bfor (its|their) sake\b': 'for, because of',
    r'\babove 0\b': 'positive',
    r'(?<!learning )(?<!frame )(?<!\w)rates?\b(?!\()': 'learning rate',
}
ANY_OF_THEM = re.compile('|'.join(INSTEAD), re.IGNORECASE)


def words_to_avoid(text: str) -> list[str]:
    """``line: word (instead)`` for each in the comments and strings of Python code."""
    kinds = {
        tokenize.COMMENT,
        tokenize.STRING,
        getattr(tokenize, 'FSTRING_MIDDLE', tokenize.STRING),
    }
    found: list[str] = []
    if not ANY_OF_THEM.search(text):  # most files; tokens take longer
        return found
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in kinds:
            continue
        for pattern, instead in INSTEAD.items():
            for match in re.finditer(pattern, token.string, re.IGNORECASE):
                line = token.start[0] + token.string.count('\n', 0, match.start())
                found.append(f'{line}: {match[0]!r} (write: {instead})')
    return found


@pytest.mark.parametrize(
    ('code', 'words'),
    [
        ('# It is no tensor.', ['is no ']),
        ('# There is no tensor.', []),
        ('# It is no longer here.', []),
        ('"""Shape is that of the input;\nthe hook knows it."""', ['knows', 'that of']),
        ("x = f'{a} has to be above 0'", ['above 0']),
        ("x = 'the learning rate'", []),
        ("x = 'The rate of the group'", ['rate']),
        ("raise ValueError('no such thing')", []),
        ('knows = 1', []),
    ],
)  # fmt: skip
def test_words_are_found_in_comments_and_strings(code: str, words: list[str]) -> None:
    assert sorted(entry.split("'")[1] for entry in words_to_avoid(code)) == words


def test_text_is_plain() -> None:
    files = sorted(ROOT.rglob('*.py'))
    assert len(files) > 100
    found = {
        str(path.relative_to(ROOT)): words_to_avoid(path.read_text(encoding='utf-8'))
        for path in files
    }
    assert {path: words for path, words in found.items() if words} == {}
