"""A whole project by one command: all its files, one page, and nothing changed by a second run."""

import json
import os
import platform
import shutil
from pathlib import Path

import pytest

from mmengine.cli.__main__ import main
from mmengine.config import Config
from mmengine.migrate._project.files import new_requirements, new_setup, packages_of_mmcv1

pytest.importorskip('libcst')
PROJECT = Path(__file__).parents[1] / 'code' / 'project'


def command(*arguments):
    return main(['migrate', 'project', *map(str, arguments)])


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file() and path.name != 'MIGRATION.md'
    }


@pytest.fixture
def source(tmp_path):
    root = tmp_path / 'lines'
    shutil.copytree(PROJECT, root, ignore=shutil.ignore_patterns('__pycache__'))
    (root / 'requirements.txt').write_text('torch\nmmcv-full==1.7.2\nmmcvtools\n')
    (root / 'setup.cfg').write_text('[options]\ninstall_requires = mmcv-full\n')
    (root / 'Dockerfile').write_text('RUN pip install mmcv-full\n')
    (root / 'README.md').write_text('read me')
    script = root / 'tools' / 'start.sh'
    script.write_text('python tools/train.py "$@"\n')
    script.chmod(0o755)
    return root


def test_all_kinds_of_files_are_migrated_together(source, tmp_path, capsys):
    before, target = contents(source), tmp_path / 'new'
    assert command(source, target) == 1
    assert contents(source) == before
    assert set(contents(target)) == set(before)
    assert 'optim_wrapper' in Config.fromfile(target / 'configs/line.py')
    assert 'Runner(' in (target / 'tools/train.py').read_text()
    requirements = (target / 'requirements.txt').read_text()
    assert requirements == 'torch\nmmengine\nmmcvtools\n'
    assert os.access(target / 'tools/start.sh', os.X_OK) or platform.system() == 'Windows'
    assert (target / 'MIGRATION.md').read_text() == capsys.readouterr().out


def test_the_page_says_what_was_done_what_is_left_and_how_sure_it_is(source, tmp_path):
    command(source, tmp_path / 'new')
    page = (tmp_path / 'new' / 'MIGRATION.md').read_text()
    titles = ['## What was done', '## What is left', '## How sure it is']
    assert [line for line in page.splitlines() if line.startswith('## ')] == titles
    assert '1 of 1 configs converted, 1 files below them.' in page
    # The classes of the project are known, as its code is converted as well.
    assert 'is in no rule' not in page
    assert 'optimizer hook of your own' not in page
    assert '- setup.cfg: mmengine takes the place of MMCV 1.x.' in page
    assert '- Dockerfile names mmcv' in page
    assert 'tools/test.py:37: model.test_step(data)' in page


def test_a_second_run_changes_nothing(source, tmp_path):
    first, second = tmp_path / 'first', tmp_path / 'second'
    command(source, first)
    command(first, second)
    assert contents(second) == contents(first)
    command(source, first, '--force')
    assert contents(second) == contents(first)


def test_a_folder_with_files_is_not_written_into(source, tmp_path, capsys):
    (tmp_path / 'new').mkdir()
    (tmp_path / 'new' / 'mine.txt').write_text('mine')
    assert command(source, tmp_path / 'new') == 2
    assert 'has files already' in capsys.readouterr().err
    assert command(source, source) == 2
    assert command(tmp_path / 'absent', tmp_path / 'other') == 2
    (tmp_path / 'empty').mkdir()
    assert command(tmp_path / 'empty', tmp_path / 'other') == 2
    assert 'holds no Python files' in capsys.readouterr().err


def test_a_project_whose_configs_are_broken_still_gets_its_code(source, tmp_path):
    (source / 'configs/base.py').write_text('optimizer = (\n')
    (source / 'configs/line.py').write_text("_base_ = './base.py'\noptimizer = dict(lr=0.1)\n")
    assert command(source, tmp_path / 'new') == 1
    page = (tmp_path / 'new' / 'MIGRATION.md').read_text()
    assert 'configs/base.py' in page
    assert 'Runner(' in (tmp_path / 'new' / 'tools/train.py').read_text()


@pytest.mark.parametrize(
    ('text', 'needs_mmcv', 'expected'),
    [
        ('mmcv-full>=1.3\n', False, 'mmengine\n'),
        ('mmcv==1.7.2\r\ntorch\r\n', True, 'mmengine\r\nmmcv>=2.0.0\r\ntorch\r\n'),
        ('mmcv\nmmcv-full\n', True, 'mmengine\nmmcv>=2.0.0\n'),
        ('mmcv_tools\n# mmcv\n', True, 'mmcv_tools\n# mmcv\n'),
        ('', True, ''),
        ('-f https://host/mmcv/dist/index.html\nmmcv-full\n', False, 'mmengine\n'),
        ('mmcv-full==1.7.2  # exactly\n', False, 'mmengine\n'),
    ],
)
def test_requirements_name_this_engine(text, needs_mmcv, expected):
    assert new_requirements(text, needs_mmcv=needs_mmcv) == expected


@pytest.mark.parametrize(
    ('text', 'needs_mmcv', 'expected'),
    [
        ("install_requires=['mmcv-full>=1.3,<=1.7.2', 'torch']\n", False,
         "install_requires=['mmengine', 'torch']\n"),
        ('install_requires=["mmcv"],\n', True, 'install_requires=["mmengine", "mmcv>=2.0.0"],\n'),
        ('dependencies = [\n  "torch",\n  "mmcv-full==1.7.2",\n]\n', False,
         'dependencies = [\n  "torch",\n  "mmengine",\n]\n'),
        ('install_requires =\n    torch\n    mmcv>=1.3\n', True,
         'install_requires =\n    torch\n    mmengine\n    mmcv>=2.0.0\n'),
        ('install_requires = mmcv-full\n', False, 'install_requires = mmengine\n'),
        ("packages=['mmcv_tools', 'my-mmcv']\n", False, "packages=['mmcv_tools', 'my-mmcv']\n"),
        ("if 'mmcv' in sys.modules: pass\n", False, "if 'mmcv' in sys.modules: pass\n"),
        ("['mmengine', 'mmcv>=2.0.0']\n", True, "['mmengine', 'mmcv>=2.0.0']\n"),
    ],
)  # fmt: skip
def test_setup_files_name_this_engine(text, needs_mmcv, expected):
    assert new_setup(text, needs_mmcv=needs_mmcv) == expected
    assert new_setup(expected, needs_mmcv=needs_mmcv) == expected


@pytest.mark.parametrize(
    ('line', 'is_told'),
    [
        ('mmcls==0.25', True),
        ('mmcls>=0.20,<1.0', True),
        ('mmdet~=2.28  # exactly', True),
        ('mmdet3d==1.0.0', True),
        ('mmsegmentation<1', True),
        ('mmgen==0.7', True),
        ('mmdet>=3.0', False),
        ('mmdet3d==1.1.0', False),
        ('mmcls', False),
        ('mmclstools==0.2', False),
    ],
)
def test_packages_on_top_of_mmcv_1_are_told(line, is_told):
    assert packages_of_mmcv1(f'torch\n{line}\n') == [line.partition('  #')[0]] * is_told


def test_the_page_tells_packages_and_notebooks(tmp_path):
    root = tmp_path / 'old'
    root.mkdir()
    (root / 'a.py').write_text('from mmcv.runner import Hook\n')
    (root / 'requirements.txt').write_text('mmcv-full==1.7.2\nmmcls==0.25\n')
    (root / 'setup.py').write_text("setup(install_requires=['mmdet==2.25', 'mmpose>=1.0'])\n")
    (root / 'setup.cfg').write_text('[options]\ninstall_requires =\n    mmsegmentation<1\n')
    lines = dict(
        uses='from mmcv.runner import Hook', other='import mmcvtools', gets='!pip install mmcv-full'
    )
    for name, line in lines.items():
        cells = [{'cell_type': 'code', 'source': [line]}]
        (root / f'{name}.ipynb').write_text(json.dumps({'cells': cells}))
    command(root, tmp_path / 'new')
    told = (tmp_path / 'new' / 'MIGRATION.md').read_text()
    assert '- requirements.txt: mmcls==0.25 is for MMCV 1.x' in told
    assert '- setup.py: mmdet==2.25 is for MMCV 1.x' in told
    assert '- setup.cfg: mmsegmentation<1 is for MMCV 1.x' in told
    assert 'mmpose' not in told
    assert '- gets.ipynb names mmcv' in told
    assert 'other.ipynb' not in told
    assert 'from mmengine.hooks import Hook' in (tmp_path / 'new' / 'uses.ipynb').read_text()
