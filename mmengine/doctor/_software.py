"""Versions that do not fit, and programs that are missing."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

import mmengine
from mmengine.doctor._finding import FAIL, OK, WARN, Finding
from mmengine.version import __version__

_AREA = 'software'
# Packages that are built for one version of another one.
_BUILT_FOR = frozenset(('torch', 'numpy', 'mmengine'))
_NVIDIA_DRIVER = Path('/proc/driver/nvidia/version')


def check_software() -> Iterator[Finding]:
    """Check versions of packages, numpy in torch, CUDA in torch, and the compiler."""
    yield Finding(_AREA, 'python', OK, f'{platform.python_version()}, {platform.platform()}')
    yield _package(_installed_version('mmengine'))
    yield _requirements()
    yield _numpy()
    yield cuda_finding(torch.version.cuda, torch.cuda.is_available(), _NVIDIA_DRIVER.exists())
    compiler = next(filter(None, map(shutil.which, ('c++', 'g++', 'clang++', 'cl'))), None)
    yield Finding(_AREA, 'compiler', OK if compiler else WARN, compiler or 'none',
                  '' if compiler else 'For compile=True install a C++ compiler: '
                  'apt install build-essential.')  # fmt: skip


def unmet(installed: Mapping[str, str], needed_by: Mapping[str, Iterable[str]]) -> list[str]:
    """Requirements of mmengine, and of others on torch, numpy and mmengine, that are not met.

    Args:
        installed: Versions by normalised names.
        needed_by: Requirements by the name of the package that has them.
    """
    found = []
    for name, requirements in needed_by.items():
        for text in requirements:
            try:
                need = Requirement(text)
            except InvalidRequirement:
                continue  # written before there was a standard for it
            wanted = canonicalize_name(need.name)
            if name != 'mmengine' and wanted not in _BUILT_FOR:
                continue
            if need.marker is not None and not need.marker.evaluate({'extra': ''}):
                continue
            version = installed.get(wanted)
            if version is None:
                if name == 'mmengine':
                    found.append(f'{wanted} is not installed')
            elif not need.specifier.contains(version, prereleases=True):
                wants = f'{name} {installed.get(name, "")}'.strip()
                found.append(f'{wants} needs {wanted}{need.specifier}, {version} is installed')
    return found


def cuda_finding(built_for: str | None, is_available: bool, has_driver: bool) -> Finding:
    """Whether torch can use the NVIDIA devices of this machine.

    Args:
        built_for: The version of CUDA that torch is built for; None for none.
        is_available: Whether torch finds a device.
        has_driver: Whether there is a driver.
    """
    if is_available:
        return Finding(_AREA, 'cuda', OK, f'torch is built for CUDA {built_for}')
    if not has_driver:
        return Finding(_AREA, 'cuda', OK, 'no NVIDIA driver: nothing to use')
    if built_for is None:
        return Finding(_AREA, 'cuda', WARN, 'there is an NVIDIA driver, and torch has no CUDA',
                       'Install the build of torch for your version of CUDA.')  # fmt: skip
    return Finding(
        _AREA, 'cuda', FAIL, f'torch is built for CUDA {built_for} and finds no device',
        'Update the driver, which nvidia-smi shows with its devices, or unset '
        'CUDA_VISIBLE_DEVICES.',
    )  # fmt: skip


def _package(distribution: str | None) -> Finding:
    place = Path(mmengine.__file__).parent
    found = f'{__version__} in {place}'
    if distribution in (None, __version__):
        return Finding(_AREA, 'mmengine', OK, found)
    return Finding(
        _AREA, 'mmengine', WARN, f'{found}, and a package mmengine {distribution} is installed',
        'Uninstall the other package mmengine, so that no process imports it by mistake.',
    )  # fmt: skip


def _requirements() -> Finding:
    installed: dict[str, str] = {}
    needed_by: dict[str, list[str]] = {}
    for distribution in metadata.distributions():
        name = canonicalize_name(distribution.metadata['Name'] or '')
        if name in installed:
            continue  # hidden by one earlier on the path
        installed[name] = distribution.version
        needed_by[name] = distribution.requires or []
    wrong = unmet(installed, needed_by)
    if not wrong:
        versions = ', '.join(f'{name} {installed.get(name, "?")}' for name in ('torch', 'numpy'))
        return Finding(_AREA, 'versions', OK, f'{versions}, and what is built for them')
    return Finding(_AREA, 'versions', FAIL, '; '.join(sorted(wrong)),
                   'Install versions that fit: pip install --upgrade NAME.')  # fmt: skip


def _numpy() -> Finding:
    try:
        torch.from_numpy(np.zeros(1)).numpy()
    except RuntimeError as error:
        return Finding(_AREA, 'numpy in torch', FAIL, str(error).splitlines()[0],
                       f'Install a numpy that torch {torch.__version__} is built for.')  # fmt: skip
    return Finding(_AREA, 'numpy in torch', OK, 'arrays become tensors without a copy')


def _installed_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
