"""What ``mmengine.migrate`` hands on, without importing it before it is asked for."""

import subprocess
import sys

import pytest

import mmengine.migrate
from mmengine.cli.__main__ import main
from mmengine.migrate._legacy_model import LegacyModel


def test_the_names_that_converted_projects_use_are_at_the_top():
    assert mmengine.migrate.LegacyModel is LegacyModel
    for name in mmengine.migrate.__all__:
        assert getattr(mmengine.migrate, name).__name__ == name
    with pytest.raises(AttributeError, match='LegacyModle'):
        _ = mmengine.migrate.LegacyModle


def test_importing_the_package_imports_none_of_its_parts():
    code = 'import sys, mmengine.migrate; print([n for n in sys.modules if "migrate." in n])'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'


@pytest.mark.parametrize('words', [['config', 'old.py'], ['code', 'old.py']])
def test_without_libcst_the_command_says_what_to_install(words, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'libcst', None)
    with pytest.raises(SystemExit, match='2'):
        sys.exit(main(['migrate', *words]))
    assert "pip install 'mmengine[migrate]'" in capsys.readouterr().err
