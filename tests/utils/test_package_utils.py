import importlib.metadata
import json
import os
import subprocess
import sys

import pytest
import torch
import yaml

from mmengine.utils import call_command, get_installed_path, install_package, is_installed
from mmengine.utils.package_utils import package2module


@pytest.mark.parametrize('name', ['torch', 'PyYAML', 'pyyaml', 'yaml', 'json', 'os.path'])
def test_packages_and_modules_count_as_installed(name: str) -> None:
    assert is_installed(name)


@pytest.mark.parametrize('name', ['no-such-package', 'no_such_package.module'])
def test_absent_packages_do_not(name: str) -> None:
    assert not is_installed(name)


def test_installed_path_is_the_folder_of_the_module() -> None:
    assert get_installed_path('torch') == os.path.dirname(torch.__file__)
    assert get_installed_path('PyYAML') == os.path.dirname(yaml.__file__)
    assert get_installed_path('json') == os.path.dirname(json.__file__)


def test_installed_path_of_an_absent_package_is_an_import_error() -> None:
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        get_installed_path('no-such-package')
    with pytest.raises(ImportError):
        get_installed_path('no-such-package')


@pytest.mark.parametrize(
    ('package', 'module'), [('torch', 'torch'), ('PyYAML', 'yaml'), ('scikit-learn', 'sklearn')]
)
def test_package2module(package: str, module: str) -> None:
    assert package2module(package) == module


def test_call_command_raises_what_went_wrong() -> None:
    call_command([sys.executable, '-c', 'pass'])
    with pytest.raises(subprocess.CalledProcessError):
        call_command([sys.executable, '-c', 'raise SystemExit(3)'])
    with pytest.raises(FileNotFoundError):
        call_command(['no-such-program'])


def test_install_package_calls_pip_only_for_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr('mmengine.utils.package_utils.call_command', called.append)
    install_package('torch')
    assert called == []
    install_package('no-such-package')
    assert called == [[sys.executable, '-m', 'pip', 'install', 'no-such-package']]
