"""Installed packages: whether they exist, where, and under which module name."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata


def is_installed(package: str) -> bool:
    """Whether a package is installed, by its PyPI name or its import name."""
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        pass
    else:
        return True
    try:
        return importlib.util.find_spec(package) is not None
    except (ModuleNotFoundError, ValueError):  # parent missing, or a module without a spec
        return package in sys.modules


def package2module(package: str) -> str:
    """The name to import an installed package by.

    For a package with several modules this is the module with the name of the package, or else
    the first public module.

    Args:
        package: PyPI name.

    Raises:
        importlib.metadata.PackageNotFoundError: If the package is not installed (an
            ``ImportError``).
        ValueError: If it contains no module.

    Example:
        >>> package2module('PyYAML')
        'yaml'
    """
    modules = _top_level_modules(metadata.distribution(package))
    if not modules:
        raise ValueError(f'The package {package!r} is installed, but holds no module to import.')
    same_name = package.lower().replace('-', '_')
    return min(modules, key=lambda name: (name.lower() != same_name, name.startswith('_'), name))


def _top_level_modules(distribution: metadata.Distribution) -> set[str]:
    listed = distribution.read_text('top_level.txt')
    if listed and listed.strip():
        return {line.replace('/', '.') for line in listed.split()}
    return {
        file.parts[0].removesuffix('.py')
        for file in distribution.files or ()
        if file.suffix == '.py'
        and not file.parts[0].endswith(('.dist-info', '.data'))
        and file.parts[0].removesuffix('.py').isidentifier()
    }


def get_installed_path(package: str) -> str:
    """The folder of an installed package.

    Args:
        package: PyPI name or import name.

    Raises:
        importlib.metadata.PackageNotFoundError: If there is no such package (an ``ImportError``).
        ValueError: If the package consists of several folders.
    """
    try:
        module = package2module(package)
    except metadata.PackageNotFoundError:
        module = package
        if not is_installed(package):
            raise
    spec = importlib.util.find_spec(module)
    if spec is None:
        raise metadata.PackageNotFoundError(package)
    if spec.submodule_search_locations is None:
        return os.path.dirname(spec.origin or '')
    folders = list(spec.submodule_search_locations)
    if len(folders) != 1:
        raise ValueError(f'{package!r} is a namespace package in several folders: {folders}.')
    return folders[0]


def call_command(cmd: Sequence[str]) -> None:
    """Run a program and wait for it.

    Raises:
        FileNotFoundError: If there is no such program.
        subprocess.CalledProcessError: If it fails.
    """
    subprocess.run(cmd, check=True)


def install_package(package: str) -> None:
    """Install a package with the pip of this interpreter, unless it is installed."""
    if not is_installed(package):
        call_command([sys.executable, '-m', 'pip', 'install', package])
