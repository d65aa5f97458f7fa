"""Every code block of the start pages and the guides runs.

Pages that compare with another engine are run by ``test_side_by_side.py``.
"""

import warnings
from pathlib import Path

import pytest
from guide_blocks import run_page, unchanged_process

DOCS = Path(__file__).parents[2] / 'docs'
PAGES = sorted([*(DOCS / 'start').glob('*.md'), *(DOCS / 'guides').glob('*.md')])
RUN_SIDE_BY_SIDE = ('from_lightning', 'from_hf_trainer', 'from_mmcv', 'from_mmengine')
RUN_HERE = [page for page in PAGES if page.stem not in RUN_SIDE_BY_SIDE]


@pytest.mark.parametrize('page', RUN_HERE, ids=lambda page: page.stem)
def test_its_code_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with unchanged_process(tmp_path), warnings.catch_warnings():
        assert run_page(page, tmp_path) > 0


def test_each_page_is_in_the_table_of_contents() -> None:
    index = (DOCS / 'index.md').read_text(encoding='utf-8').splitlines()
    assert [page.stem for page in PAGES if f'{page.parent.name}/{page.stem}' not in index] == []
