"""docs/plan.md keeps its word: each row names a test that exists, and its command is accepted."""

import re
import shlex
from pathlib import Path

from mmengine.cli.__main__ import build_parser

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / 'docs' / 'plan.md').read_text(encoding='utf-8')


def test_its_command_is_accepted() -> None:
    (command,) = re.findall(r'```bash\nmmengine (.*?)\n```', GUIDE)
    assert build_parser().parse_args(shlex.split(command)).command == 'plan'


def test_its_tests_exist() -> None:
    names = re.findall(r'`([\w/]+\.py)::(\w+)`', GUIDE)
    assert len(names) == 4
    for file, symbol in names:
        text = (ROOT / 'tests' / file).read_text(encoding='utf-8')
        assert re.search(rf'^def {symbol}\b', text, re.M), (file, symbol)
