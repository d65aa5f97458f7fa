"""The README keeps its word."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text(encoding='utf-8')


def test_its_example_learns_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r'```python\n(.*?)```', README, re.S)
    # As a module, because the runner asks a model's class where it was defined.
    names: dict[str, object] = {'__name__': 'readme_example'}
    exec(compile(code, 'README.md', 'exec'), names)
    assert len(code.splitlines()) == 20
    assert float(names['net'].weight.detach()) == pytest.approx(3, abs=0.01)
    assert float(names['net'].bias.detach()) == pytest.approx(1, abs=0.01)
    assert len(list(tmp_path.glob('work_dirs/line/*.pth'))) == 1


@pytest.mark.parametrize('target', sorted(set(re.findall(r'\]\(([^)#]+)\)', README))))
def test_its_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize('verb', ['demo', 'test'])
def test_its_commands_are_in_the_makefile(verb: str) -> None:
    assert f'make {verb} ' in README
    assert re.search(rf'^{verb}:', (ROOT / 'Makefile').read_text(encoding='utf-8'), re.M)
