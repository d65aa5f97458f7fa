"""Observes the operations of a training step: memory, floating-point operations and messages."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import flop_counter
from torch.utils._python_dispatch import TorchDispatchMode

from mmengine.plan._memory import MemoryLedger
from mmengine.plan._traffic import Traffic

_ATTENTION_OF_CPU = '_scaled_dot_product_flash_attention_for_cpu'


class StepTracer(TorchDispatchMode):  # type: ignore[no-untyped-call]  # untyped in torch
    """Sees each operation after autograd and autocast, with or without numbers in its tensors.

    Attributes:
        memory: What is allocated.
        traffic: What is sent.
        flops: Floating-point operations of products so far (a multiply-add counts as two), forward
            and backward. Other arithmetic is not counted.
    """

    def __init__(self, ranks_per_node: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in torch
        self.memory = MemoryLedger()
        self.traffic = Traffic(ranks_per_node)
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(kind.__name__ == 'DTensor' for kind in types):
            return NotImplemented  # it calls operations on its local tensors, which come here
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self.traffic.see(func.name(), args, result)
        self.flops += _flops_of(func, args, kwargs, result)
        self._count(result)
        return result

    def _count(self, result: Any) -> None:
        if isinstance(result, Tensor):
            if result.layout is torch.strided:
                self.memory.see(result)
        elif isinstance(result, (list, tuple)):
            for part in result:
                self._count(part)

    def take_flops(self) -> int:
        """The operations since the last call."""
        taken, self.flops = self.flops, 0
        return taken


def _flops_of(func: Any, args: Any, kwargs: Any, result: Any) -> int:
    counter: Any = flop_counter
    packet = func._overloadpacket
    count = counter.flop_registry.get(packet)
    if count is not None:
        return int(count(*args, **kwargs, out_val=result))
    name = packet.__name__
    if name == _ATTENTION_OF_CPU:
        query, key, value = args[:3]
        return int(counter.sdpa_flop_count(query.shape, key.shape, value.shape))
    if name == f'{_ATTENTION_OF_CPU}_backward':
        gradient, query, key, value = args[:4]
        return int(
            counter.sdpa_backward_flop_count(gradient.shape, query.shape, key.shape, value.shape)
        )
    return 0
