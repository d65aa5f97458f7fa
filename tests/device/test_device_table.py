import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mmengine import device
from mmengine.device.utils import ACCELERATORS, Accelerator, _can_import


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine with the devices that a test names; torch says no to all others."""

    def with_devices(*available: str, **drivers: Any) -> None:
        for accelerator in ACCELERATORS.values():
            name = accelerator.device_type
            driver = SimpleNamespace(is_available=lambda name=name: name in available)
            driver.__dict__.update(drivers.get(name, {}))
            if accelerator.plugin is not None and name in available:
                monkeypatch.setitem(sys.modules, accelerator.plugin, SimpleNamespace())
            if accelerator.probe is not None:
                module = sys.modules[f'torch.{accelerator.probe}']
                monkeypatch.setattr(module, 'is_available', driver.is_available)
            else:
                monkeypatch.setattr(torch, name, driver, raising=False)
        _can_import.cache_clear()

    yield with_devices
    _can_import.cache_clear()


def test_a_machine_without_accelerators_trains_on_the_cpu(machine: Any) -> None:
    machine()
    assert device.get_device() == 'cpu'


@pytest.mark.parametrize('name', ['cuda', 'npu', 'mlu', 'dipu', 'musa', 'xpu', 'mps'])
def test_each_accelerator_is_found(machine: Any, name: str) -> None:
    machine(name)
    assert device.get_device() == name
    answers = {other: getattr(device, f'is_{other}_available')() for other in ACCELERATORS}
    assert answers == {other: other == name for other in ACCELERATORS}


def test_cuda_goes_before_mps_and_npu_before_cuda(machine: Any) -> None:
    machine('mps', 'cuda')
    assert device.get_device() == 'cuda'
    machine('mps', 'cuda', 'npu')
    assert device.get_device() == 'npu'


def test_answers_agree_with_torch_on_this_machine() -> None:
    assert device.is_cuda_available() == torch.cuda.is_available()
    assert device.is_mps_available() == torch.backends.mps.is_available()
    assert device.is_xpu_available() == torch.xpu.is_available()
    torch.ones(1, device=device.get_device())


def test_a_plugin_that_is_not_installed_makes_its_device_absent() -> None:
    absent = Accelerator('npu', plugin='no_such_plugin')
    assert absent.module() is None
    assert not absent.is_available()
    with pytest.raises(RuntimeError, match='no_such_plugin'):
        absent.max_memory_mb()


def test_max_memory_is_in_whole_megabytes_and_starts_anew(machine: Any) -> None:
    calls: list[Any] = []
    driver = {
        'max_memory_allocated': lambda device: (7 << 20) + 800_000,
        'reset_peak_memory_stats': lambda device: calls.append(device),
    }
    machine('cuda', 'musa', cuda=driver, musa=driver)
    asked = torch.device('cuda', 1)
    assert device.get_max_cuda_memory(asked) == 7
    assert device.get_max_musa_memory() == 7
    assert device.get_max_memory() == 7
    assert calls == [asked, None, None]


def test_the_cpu_keeps_no_record_of_memory(machine: Any) -> None:
    machine()
    assert device.get_max_memory() == 0
    assert device.get_max_memory(torch.device('cpu')) == 0


@pytest.mark.parametrize(('soc_version', 'answer'), [(104, False), (220, True), (240, True)])
def test_newer_npus_compute_in_float32(
    machine: Any, monkeypatch: pytest.MonkeyPatch, soc_version: int, answer: bool
) -> None:
    utils = SimpleNamespace(get_soc_version=lambda: soc_version)
    machine('npu')
    monkeypatch.setitem(sys.modules, 'torch_npu', SimpleNamespace(npu=SimpleNamespace(utils=utils)))
    monkeypatch.setitem(sys.modules, 'torch_npu.npu', SimpleNamespace(utils=utils))
    monkeypatch.setitem(sys.modules, 'torch_npu.npu.utils', utils)
    assert device.is_npu_support_full_precision() is answer


def test_no_npu_no_full_precision(machine: Any) -> None:
    machine()
    assert not device.is_npu_support_full_precision()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
def test_peak_memory_of_a_real_gpu() -> None:
    device.get_max_cuda_memory()
    before = device.get_max_cuda_memory()
    held = torch.ones(64 << 20, dtype=torch.uint8, device='cuda')
    assert device.get_max_cuda_memory() == before + 64
    del held
