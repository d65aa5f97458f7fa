"""Writes all generated pages: `python docs/_generate/pages.py FOLDER`."""

import re
import shutil
import sys
from pathlib import Path

if __name__ == '__main__':
    sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from _generate import config_keys, hook_points, reference, schedules

ROOT = Path(__file__).parents[2]
ROOT_PAGES = ('CONTRIBUTING', 'CHANGELOG', 'VERSIONING', 'SECURITY')


def write(folder: Path) -> None:
    """Write every generated page below ``folder``; what was there before is removed."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    reference.write(folder / 'api')
    config_keys.write(folder)
    hook_points.write(folder)
    schedules.write(folder)
    for name in ROOT_PAGES:
        text = (ROOT / f'{name}.md').read_text(encoding='utf-8')
        (folder / f'{name.lower()}.md').write_text(_as_page(text), encoding='utf-8')


def _as_page(text: str) -> str:
    """Text of a file in the repository's root, with links that hold two folders further down."""
    text = re.sub(r'\]\(docs/', '](../', text)
    names = '|'.join(ROOT_PAGES)
    return re.sub(rf'\]\(({names})\.md', lambda match: f']({match[1].lower()}.md', text)


if __name__ == '__main__':
    write(Path(sys.argv[1]))
