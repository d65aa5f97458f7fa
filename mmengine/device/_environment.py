"""A report of the machine and its software, for logs and bug reports."""

import importlib
import importlib.util
import subprocess
import sys
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any

import torch

from mmengine.device.utils import ACCELERATORS, is_cuda_available, is_musa_available
from mmengine.utils._toolkits import _get_cuda_home, _get_musa_home
from mmengine.version import __version__


def collect_env() -> dict[str, Any]:
    """The facts about the machine that a bug report needs.

    Missing parts (a GPU, a compiler, torchvision, OpenCV) are left out or reported as missing; they
    are never an error.

    Returns:
        ``sys.platform``, ``Python``, ``CUDA available``, ``MUSA available``, ``numpy_random_seed``,
        a line for each kind of accelerator (``GPU 0,1``) and its toolkit, ``GCC``, ``PyTorch``,
        ``PyTorch compiling details``, ``TorchVision``, ``OpenCV``, ``MMEngine``, in this order.
    """
    import numpy as np

    state: Any = np.random.get_state()
    report: dict[str, Any] = OrderedDict(
        {
            'sys.platform': sys.platform,
            'Python': sys.version.replace('\n', ''),
            'CUDA available': is_cuda_available(),
            'MUSA available': is_musa_available(),
            'numpy_random_seed': int(state[1][0]),
        }
    )
    for accelerator in ACCELERATORS.values():
        if accelerator.is_available():
            label = 'GPU' if accelerator.device_type == 'cuda' else accelerator.device_type.upper()
            report.update(_devices_by_name(label, accelerator.module()))
    if report['CUDA available']:
        cuda_home = _get_cuda_home()
        report['CUDA_HOME'] = cuda_home
        report['NVCC'] = _nvcc_version(cuda_home)
    if report['MUSA available']:
        report['MUSA_HOME'] = _get_musa_home()
    report['GCC'] = _first_line_of('gcc', '--version') or 'n/a'
    report['PyTorch'] = str(torch.__version__)
    report['PyTorch compiling details'] = torch.__config__.show()
    for label, module in (('TorchVision', 'torchvision'), ('OpenCV', 'cv2')):
        version = _version_of(module)
        if version is not None:
            report[label] = version
    report['MMEngine'] = __version__
    return report


def _devices_by_name(label: str, driver: Any) -> dict[str, str]:
    """One entry for all devices of the same name: ``{'GPU 0,1': 'NVIDIA H100'}``."""
    if not hasattr(driver, 'get_device_name'):
        return {label: f'{driver.device_count()} device(s)'}
    indices: dict[str, list[str]] = {}
    for index in range(driver.device_count()):
        indices.setdefault(driver.get_device_name(index), []).append(str(index))
    return {f'{label} {",".join(same)}': name for name, same in indices.items()}


def _first_line_of(*command: str) -> str | None:
    output = _output_of(*command)
    return output.splitlines()[0].strip() if output else None


@cache
def _output_of(*command: str) -> str | None:
    """The output of a program; None when it is missing, fails or takes too long.

    A process that builds several runs asks once.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _nvcc_version(cuda_home: str | None) -> str:
    if cuda_home is None:
        return 'Not Available'
    output = _output_of(str(Path(cuda_home, 'bin', 'nvcc')), '--version') or ''
    releases = [line.strip() for line in output.splitlines() if 'release' in line]
    return releases[0] if releases else 'Not Available'


def _version_of(module: str) -> str | None:
    """Version of a module, or its import error; None when it is not installed."""
    # A loaded module may have no spec, if code created it.
    if module not in sys.modules and importlib.util.find_spec(module) is None:
        return None
    try:
        return str(importlib.import_module(module).__version__)
    except Exception as error:  # a broken build can raise anything, and the report must not fail
        return f'cannot be imported: {type(error).__name__}: {error}'
