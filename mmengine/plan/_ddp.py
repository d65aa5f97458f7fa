"""DistributedDataParallel in a plan: its reducer, in Python.

torch's own reducer reads the memory of tensors, which fake tensors do not have, and results of
messages, which a fake process group does not have. The one here allocates the same buckets and
sends the same messages after the first step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Variable
from torch.nn.parallel import distributed as ddp_module

from mmengine.plan._memory import BUCKETS, MemoryLedger


class _Silent:
    """Takes any call: a logger, for example, or settings that only matter with numbers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


class PlannedReducer(_Silent):
    """What the reducer of DDP allocates and sends.

    Attributes:
        without_gradient: Numbers of the parameters to which no gradient has come.
    """

    ledger: MemoryLedger
    mode: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # In the order of the arguments of torch's reducer.
        params, indices, _, group, sparse, cap, finds_unused, is_view, _, first_cap = args[:10]
        self._params: list[Tensor] = list(params)
        self._group = group
        self._sparse = list(sparse)
        self._caps = [first_cap, cap]
        self._finds_unused = finds_unused
        self._is_view = is_view
        self._expects = False
        self._arrived: list[int] = []
        self._is_rebuilt = False
        self.without_gradient: list[int] = []
        self._allocate([list(bucket) for bucket in indices])
        for number, param in enumerate(self._params):
            leaf: Any = param
            leaf.register_post_accumulate_grad_hook(self._hook(number))

    def _allocate(self, indices: list[list[int]]) -> None:
        self._indices = indices
        self._bucket_of = {number: at for at, bucket in enumerate(indices) for number in bucket}
        self._buckets = []
        for bucket in indices:
            first = self._params[bucket[0]]
            size = sum(self._params[number].numel() for number in bucket)
            with self.mode or nullcontext():
                self._buckets.append(torch.empty(size, dtype=first.dtype, device=first.device))
        self.ledger.assign(self._buckets, BUCKETS)

    def _rebuild_buckets(self) -> bool:
        """After the first backward pass, the buckets have the order in which gradients come."""
        if self._is_rebuilt or self._finds_unused or len(self._arrived) < len(self._params):
            return False
        self._is_rebuilt = True
        order = self._arrived
        torch_dist: Any = dist
        made = torch_dist._compute_bucket_assignment_by_size(
            [self._params[number] for number in order],
            self._caps,
            [self._sparse[number] for number in order],
            order,
        )
        self._allocate([list(bucket) for bucket in made[0]])
        return True

    def prepare_for_backward(self, outputs: Any) -> None:
        """The coming backward pass exchanges gradients."""
        self._expects = True
        self._arrived = []
        self._pending = [len(bucket) for bucket in self._indices]
        self._is_final_queued = False

    def _hook(self, number: int) -> Any:
        def arrive(param: Tensor) -> None:
            if not self._expects:
                return
            if not self._is_final_queued:
                self._is_final_queued = True
                Variable._execution_engine.queue_callback(self._finish)  # type: ignore[attr-defined]  # untyped
            self._arrived.append(number)
            at = self._bucket_of[number]
            if self._is_view:
                bucket = self._buckets[at]
                param.grad = bucket[: param.numel()].view(param.shape)
            self._pending[at] -= 1
            if not self._pending[at]:
                dist.all_reduce(self._buckets[at], group=self._group)

        return arrive

    def _finish(self) -> None:
        self._expects = False
        missing = set(range(len(self._params))) - set(self._arrived)
        self.without_gradient = sorted(missing)
        if self._finds_unused:
            for at, pending in enumerate(self._pending):
                if pending:
                    dist.all_reduce(self._buckets[at], group=self._group)
            # Which parameters were used by any rank.
            used = torch.empty(len(self._params), dtype=torch.int32)
            dist.all_reduce(used, group=self._group)


@contextmanager
def planned_ddp(ledger: MemoryLedger, reducers: list[PlannedReducer], mode: Any) -> Iterator[None]:
    """Context in which DDP wraps models in ranks that do not exist.

    Args:
        ledger: Counts the buckets.
        reducers: Gets each reducer that is made.
        mode: The ``FakeTensorMode`` of the buckets; None gives them memory.
    """

    def make(*args: Any, **kwargs: Any) -> PlannedReducer:
        reducers.append(kind(*args, **kwargs))
        return reducers[-1]

    kind = type('PlannedReducer', (PlannedReducer,), {'ledger': ledger, 'mode': mode})
    with (
        patch.object(ddp_module, '_verify_param_shape_across_processes', lambda *a, **k: None),
        patch.object(ddp_module, '_sync_module_states', lambda *a, **k: None),
        patch.object(dist, 'Reducer', make),
        patch.object(dist, 'Logger', _Silent),
    ):
        yield
