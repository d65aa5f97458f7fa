"""``mmengine config`` and ``mmengine env`` in this process."""

import json
from pathlib import Path

import pytest
import yaml

from mmengine.cli.__main__ import main
from mmengine.config import Config

EXPECTED = {'lr': 0.5, 'model': {'depth': 18, 'stages': [1, 2]}}


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A config that inherits everything but the depth."""
    monkeypatch.chdir(tmp_path)
    Path('base.py').write_text('lr = 0.5\nmodel = dict(depth=50, stages=[1, 2])\n')
    Path('child.py').write_text("_base_ = './base.py'\nmodel = dict(depth=18)\n")
    return 'child.py'


def test_show_prints_the_merged_config_as_python_that_loads_again(
    child: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['config', 'show', child]) == 0
    Path('frozen.py').write_text(capsys.readouterr().out)
    assert Config.fromfile('frozen.py').to_dict() == EXPECTED


@pytest.mark.parametrize(('form', 'load'), [('json', json.loads), ('yaml', yaml.safe_load)])
def test_show_prints_other_formats(
    child: str, capsys: pytest.CaptureFixture[str], form: str, load: object
) -> None:
    main(['config', 'show', child, '--format', form])
    assert load(capsys.readouterr().out) == EXPECTED


def test_show_applies_options(child: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(['config', 'show', child, '--cfg-options', 'model.stages.1=7', 'lr=1', '--format', 'json'])
    assert json.loads(capsys.readouterr().out) == {
        'lr': 1,
        'model': {'depth': 18, 'stages': [1, 7]},
    }


def test_show_imports_nothing_that_the_config_names(
    child: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path(child).open('a') as file:
        file.write("custom_imports = dict(imports=['not_installed_here'])\n")
    assert main(['config', 'show', child]) == 0


def test_show_colours_for_a_terminal(
    child: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('sys.stdout.isatty', lambda: True)
    monkeypatch.setenv('FORCE_COLOR', '1')
    monkeypatch.setenv('TERM', 'xterm')
    main(['config', 'show', child])
    assert '\x1b[' in capsys.readouterr().out


def test_diff_prints_what_merging_leaves_different(
    child: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['config', 'diff', 'base.py', child]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line[0] in '+-'] == [
        '--- base.py',
        '+++ child.py',
        '-model = dict(depth=50, stages=[1, 2])',
        '+model = dict(depth=18, stages=[1, 2])',
    ]


def test_diff_of_equal_configs_prints_nothing(
    child: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path('copy.py').write_text('lr = 0.5\nmodel = dict(depth=18, stages=[1, 2])\n')
    assert main(['config', 'diff', child, 'copy.py']) == 0
    printed = capsys.readouterr()
    assert printed.out == ''
    assert printed.err == 'child.py and copy.py are equal after merging.\n'


def test_env_names_the_versions_that_matter(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    from mmengine.version import __version__

    assert main(['env']) == 0
    facts = dict(
        line.split(': ', 1) for line in capsys.readouterr().out.splitlines() if ': ' in line
    )
    assert facts['PyTorch'] == torch.__version__
    assert facts['MMEngine'] == __version__
