"""Copies on a side stream: in which order streams copy, wait and keep memory.

The streams are fakes, which note what is queued. The device is 'meta', whose copies need no
hardware.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from mmengine.model import BaseDataPreprocessor
from mmengine.model.base_model import _device_copies

META = torch.device('meta')


class Stream:
    """Notes what is queued on it."""

    def __init__(self, streams: 'Streams', name: str) -> None:
        self.streams, self.name = streams, name

    def wait_stream(self, other: 'Stream') -> None:
        self.streams.queued.append((self.name, f'waits for {other.name}'))


class Streams:
    """In the place of ``torch.cuda``."""

    is_capturing = False

    def __init__(self) -> None:
        self.queued: list[tuple[str, str]] = []
        self.main = self.current = Stream(self, 'main')

    def Stream(self, device: torch.device) -> Stream:
        return Stream(self, 'side')

    def current_stream(self, device: torch.device) -> Stream:
        return self.current

    def is_current_stream_capturing(self) -> bool:
        return self.is_capturing

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before


@pytest.fixture
def streams(monkeypatch) -> Iterator[Streams]:
    streams = Streams()
    plain_to = Tensor.to

    def to(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        streams.queued.append((streams.current.name, f'copies {tensor.numel()}'))
        return plain_to(tensor, *args, **kwargs)

    def record_stream(tensor: Tensor, stream: Stream) -> None:
        streams.queued.append((stream.name, f'keeps {tensor.numel()}'))

    monkeypatch.setattr(Tensor, 'to', to)
    monkeypatch.setattr(Tensor, 'record_stream', record_stream)
    monkeypatch.setattr(
        _device_copies, '_streams_of', lambda device: streams if device == META else None
    )
    _device_copies._side_stream.cache_clear()
    yield streams
    _device_copies._side_stream.cache_clear()


def preprocessor() -> BaseDataPreprocessor:
    found = BaseDataPreprocessor()
    found._device = META
    return found


def test_a_batch_is_copied_beside_the_step_before(streams: Streams) -> None:
    batch = preprocessor()({'inputs': torch.zeros(2, 3), 'labels': [torch.zeros(1)]})
    assert batch['inputs'].device == batch['labels'][0].device == META
    assert streams.queued == [
        ('side', 'copies 6'),
        ('main', 'waits for side'),
        ('main', 'keeps 6'),
        ('side', 'copies 1'),
        ('main', 'waits for side'),
        ('main', 'keeps 1'),
    ]
    assert streams.current is streams.main


def test_all_copies_share_one_side_stream(streams: Streams, monkeypatch) -> None:
    made = []
    make = streams.Stream
    monkeypatch.setattr(streams, 'Stream', lambda device: made.append(1) or make(device))
    for _ in range(3):
        preprocessor()([torch.zeros(1)])
    assert made == [1]


@pytest.mark.parametrize('reason', ['needs a gradient', 'captures a graph', 'compiles'])
def test_where_a_side_stream_would_be_wrong(streams: Streams, monkeypatch, reason: str) -> None:
    tensor = torch.zeros(1, requires_grad=reason == 'needs a gradient')
    streams.is_capturing = reason == 'captures a graph'
    monkeypatch.setattr(torch.compiler, 'is_compiling', lambda: reason == 'compiles')
    assert preprocessor()([tensor])[0].device == META
    assert streams.queued == [('main', 'copies 1')]


def test_a_tensor_on_the_device_is_not_copied(streams: Streams) -> None:
    tensor = torch.zeros(1, device=META)
    assert preprocessor()([tensor])[0] is tensor
    assert streams.queued == []


def test_a_stream_is_left_when_a_copy_fails(streams: Streams) -> None:
    def fails(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        raise RuntimeError('out of memory')

    Tensor.to = fails  # type: ignore[method-assign]  # put back by the fixture
    with pytest.raises(RuntimeError, match='out of memory'):
        preprocessor()([torch.zeros(1)])
    assert streams.current is streams.main
    assert streams.queued == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
def test_values_are_right_on_a_device() -> None:
    found = BaseDataPreprocessor(non_blocking=True).cuda()
    for number in range(50):
        host = torch.full((1 << 20,), float(number)).pin_memory()
        torch.testing.assert_close(found([host])[0].sum().item(), float(number << 20))
