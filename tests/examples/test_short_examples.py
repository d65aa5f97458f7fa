"""The short examples run as they stand, learn, and stay as short as they are said to be."""

import json
import re
import runpy
from pathlib import Path

import pytest

SHORT = Path(__file__).parents[2] / 'examples' / 'short'
MOST_LINES = {'classifier': 45, 'gan': 30, 'language_model': 25}


def lines_of_code(path: Path) -> int:
    """Lines that are neither blank nor a comment."""
    return sum(bool(re.match(r'\s*[^\s#]', line)) for line in path.read_text().splitlines())


def scalars_of(work_dir: Path) -> list[dict[str, float]]:
    (file,) = work_dir.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize('name', MOST_LINES)
def test_it_has_no_more_lines_than_its_peers_need(name: str) -> None:
    assert lines_of_code(SHORT / f'{name}.py') <= MOST_LINES[name]


@pytest.mark.parametrize('name', MOST_LINES)
def test_it_trains_validates_logs_and_saves(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if name == 'classifier':
        pytest.importorskip('sklearn')
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(SHORT / f'{name}.py'), run_name='__main__')
    work_dir = tmp_path / 'work_dirs' / name
    scalars = scalars_of(work_dir)
    assert list(work_dir.glob('*.pth'))
    assert list(work_dir.glob('*/*.log'))
    if name == 'classifier':
        assert max(one.get('accuracy', 0) for one in scalars) > 0.85
        assert list(work_dir.glob('best_accuracy_epoch_*.pth'))
    elif name == 'language_model':
        # 256 for a model that knows nothing; the bytes of a text are fewer and far from equal.
        assert min(one['perplexity'] for one in scalars if 'perplexity' in one) < 30
    else:
        assert {'loss_generator', 'loss_discriminator'} <= set(scalars[-1])
        radius = float(re.search(r'radius ([\d.]+)', capsys.readouterr().out).group(1))  # type: ignore[union-attr]  # printed at the end
        assert 1.5 < radius < 2.5
