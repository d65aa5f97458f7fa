"""A matrix product on each device: whether it is right, and how fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from mmengine.device.utils import ACCELERATORS
from mmengine.doctor._finding import FAIL, OK, WARN, Finding, bytes_text

_AREA = 'devices'
_CPU_SIZE, _SIZE = 512, 4096
_ROUNDS = 5
# One core of ten years ago makes ten times as many.
_SLOW_CPU = 1e9
_BUSY = 0.5


def check_devices() -> Iterator[Finding]:
    """Check the CPU and each accelerator."""
    yield product_finding(torch.device('cpu'), _CPU_SIZE)
    for accelerator in ACCELERATORS.values():
        if accelerator.is_available():
            for index in range(accelerator.module().device_count()):
                device = torch.device(accelerator.device_type, index)
                yield product_finding(device, _SIZE)
                yield from _memory(device)


def product_finding(
    device: torch.device, size: int, multiply: Callable[[Tensor, Tensor], Tensor] = torch.mm
) -> Finding:
    """Multiply two matrices of small integers, whose product is exact in float32.

    Args:
        device: The device.
        size: Rows and columns.
        multiply: Makes the product.
    """
    try:
        left, right = (_integers(size, step).to(device) for step in (3, 7))
        product = multiply(left, right)
        is_right = bool(torch.equal(product[:64].cpu().double(), _exact(left, right)))
        speed = {kind: _speed(left, right, kind, multiply) for kind in
                 (torch.float32, torch.bfloat16)}  # fmt: skip
    except RuntimeError as error:
        return Finding(_AREA, _name(device), FAIL, str(error).splitlines()[0],
                       'The device cannot be used: nvidia-smi, or the tool of its vendor, shows '
                       'its state.' if device.type != 'cpu' else
                       'Install torch again.')  # fmt: skip
    text = ', '.join(f'{str(kind)[6:]} {each / 1e9:.3g} GFLOP/s' for kind, each in speed.items())
    if not is_right:
        return Finding(_AREA, _name(device), FAIL, f'a wrong matrix product; {text}',
                       'Do not train on this device; check its memory and its driver.')  # fmt: skip
    if device.type == 'cpu' and speed[torch.float32] < _SLOW_CPU:
        return Finding(_AREA, _name(device), WARN, text,
                       'Look for other processes that keep the cores busy.')  # fmt: skip
    return Finding(_AREA, _name(device), OK, text)


def memory_finding(device: torch.device, free: int, total: int) -> Finding:
    """Whether another process holds much of the memory of a device."""
    found = f'{bytes_text(free)} of {bytes_text(total)} free'
    if free < _BUSY * total:
        return Finding(_AREA, f'{device} memory', WARN, found,
                       'End the other processes on this device.')  # fmt: skip
    return Finding(_AREA, f'{device} memory', OK, found)


def _memory(device: torch.device) -> Iterator[Finding]:
    if device.type == 'cuda':
        torch.cuda.empty_cache()
        yield memory_finding(device, *torch.cuda.mem_get_info(device))


def _integers(size: int, step: int) -> Tensor:
    """Integers from -2 to 2; a row differs from its neighbours."""
    rows, columns = torch.arange(size)[:, None], torch.arange(size)[None]
    return ((rows * step + columns) % 5 - 2).float()


def _exact(left: Tensor, right: Tensor) -> Tensor:
    return left[:64].cpu().double() @ right.cpu().double()


def _speed(
    left: Tensor, right: Tensor, kind: torch.dtype, multiply: Callable[[Tensor, Tensor], Tensor]
) -> float:
    """Floating-point operations a second."""
    left, right = left.to(kind), right.to(kind)
    multiply(left, right)
    _wait(left.device)
    begun = time.perf_counter()
    for _ in range(_ROUNDS):
        multiply(left, right)
    _wait(left.device)
    return _ROUNDS * 2 * left.shape[0] ** 3 / (time.perf_counter() - begun)


def _wait(device: torch.device) -> None:
    if device.type != 'cpu':
        ACCELERATORS[device.type].module().synchronize()


def _name(device: torch.device) -> str:
    if device.type == 'cuda':
        return f'{device} ({torch.cuda.get_device_name(device)})'
    return str(device)
