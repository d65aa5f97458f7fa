import platform
import sys
import types
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from mmengine import __version__
from mmengine.device import _environment
from mmengine.device._environment import (
    _devices_by_name,
    _get_musa_home,
    _version_of,
    collect_env,
)


def test_the_report_says_what_python_and_torch_say() -> None:
    report = collect_env()
    assert report['sys.platform'] == sys.platform
    assert platform.python_version() in report['Python']
    assert report['CUDA available'] is torch.cuda.is_available()
    assert report['PyTorch'] == str(torch.__version__)
    assert report['PyTorch compiling details'] == torch.__config__.show()
    assert report['MMEngine'] == __version__
    assert report['GCC']


def test_the_seed_is_that_of_numpy() -> None:
    state = np.random.get_state()
    try:
        np.random.seed(1234)
        assert collect_env()['numpy_random_seed'] == 1234
    finally:
        np.random.set_state(state)


def test_torchvision_and_opencv_are_reported_by_their_own_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, version in (('torchvision', '9.8'), ('cv2', '7.6')):
        module = ModuleType(name)
        module.__version__ = version  # type: ignore[attr-defined]
        module.__spec__ = SimpleNamespace(name=name)  # type: ignore[assignment]
        monkeypatch.setitem(sys.modules, name, module)
    report = collect_env()
    assert report['TorchVision'] == '9.8'
    assert report['OpenCV'] == '7.6'


def test_absent_packages_and_compilers_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PATH', '')
    monkeypatch.setattr(_environment, '_output_of', _environment._output_of.__wrapped__)
    for name in ('torchvision', 'cv2'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    report = collect_env()
    assert 'TorchVision' not in report
    assert 'OpenCV' not in report
    assert report['GCC'] == 'n/a'


def test_a_package_that_does_not_import_is_reported_with_its_error(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    with open(f'{tmp_path}/broken_build.py', 'w') as file:
        file.write("raise OSError('libGL.so.1 is missing')")
    assert _version_of('broken_build') == 'cannot be imported: OSError: libGL.so.1 is missing'
    assert _version_of('no_such_module') is None


def test_a_module_that_was_made_by_hand_is_reported_too(monkeypatch: pytest.MonkeyPatch) -> None:
    by_hand = types.ModuleType('made_by_hand')
    by_hand.__version__ = '0.0.0'  # type: ignore[attr-defined]  # what such a module is given
    monkeypatch.setitem(sys.modules, 'made_by_hand', by_hand)
    assert _version_of('made_by_hand') == '0.0.0'


def test_devices_of_one_name_share_a_line() -> None:
    names = ['H100', 'A100', 'H100']
    driver = SimpleNamespace(device_count=lambda: 3, get_device_name=names.__getitem__)
    assert _devices_by_name('GPU', driver) == {'GPU 0,2': 'H100', 'GPU 1': 'A100'}
    nameless = SimpleNamespace(device_count=lambda: 1)
    assert _devices_by_name('MPS', nameless) == {'MPS': '1 device(s)'}


def test_musa_home_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('MUSA_HOME', raising=False)
    assert _get_musa_home() is None
    monkeypatch.setenv('MUSA_HOME', '/opt/musa')
    assert _get_musa_home() == '/opt/musa'
