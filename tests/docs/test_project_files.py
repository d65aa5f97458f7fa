"""CONTRIBUTING and its like, and the files of hosted services, name what exists."""

import re
import sys
from pathlib import Path

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest needs it there

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / 'Makefile').read_text(encoding='utf-8')
VERBS = set(re.findall(r'^([a-z][\w-]*):', MAKEFILE, re.M))
PAGES = ['CONTRIBUTING', 'CHANGELOG', 'VERSIONING', 'SECURITY']
WORKFLOWS = sorted((ROOT / '.github' / 'workflows').glob('*.yml'))


@pytest.mark.parametrize('name', PAGES)
def test_links_lead_somewhere(name: str) -> None:
    text = (ROOT / f'{name}.md').read_text(encoding='utf-8')
    for target in re.findall(r'\]\(([^)#:]+)\)', text):
        assert (ROOT / target).exists(), target


def test_files_and_folders_of_the_map_exist() -> None:
    text = (ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8')
    for path in re.findall(r'`((?:mmengine|tests|docs|benchmarks|examples|\.ci)/[\w./]*)`', text):
        if 'NAME' not in path:
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize(
    'path', [ROOT / 'CONTRIBUTING.md', *WORKFLOWS, ROOT / '.ci' / 'run'], ids=lambda path: path.name
)
def test_verbs_of_make_exist(path: Path) -> None:
    text = path.read_text(encoding='utf-8')
    named = re.findall(r'(?:^ {4}|run: |`)make ((?:[a-z][\w-]* ?)+)', text, re.M)
    named += re.findall(r'^ *verb ([\w-]+)$', text, re.M)
    assert {verb for verbs in named for verb in verbs.split()} - VERBS == set()


def test_hosted_checks_run_on_every_python_that_is_supported() -> None:
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']
    jobs = yaml.safe_load((ROOT / '.github/workflows/ci.yml').read_text(encoding='utf-8'))['jobs']
    oldest = project['requires-python'].removeprefix('>=')
    for job in ('test', 'core'):
        assert jobs[job]['strategy']['matrix']['python'][0] == oldest
    pinned = re.search(r'^torch==(\S+)', (ROOT / 'constraints.txt').read_text(), re.M)
    assert pinned is not None
    assert jobs['core']['strategy']['matrix']['torch'] == ['2.6.0', pinned[1]]
    assert 'torch>=2.6' in project['dependencies']


def test_fragments_of_the_changelog_are_of_a_kind() -> None:
    settings = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))
    settings = settings['tool']['towncrier']
    kinds = {kind['directory'] for kind in settings['type']}
    for path in (ROOT / settings['directory']).glob('*.md'):
        assert path.name.split('.')[1:] in [[kind, 'md'] for kind in kinds], path.name
    assert settings['start_string'] in (ROOT / settings['filename']).read_text(encoding='utf-8')
