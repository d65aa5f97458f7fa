"""The collective operations of a step, and the bytes that a rank sends for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

# Parts of the names of operations of torch, longer ones first.
_KINDS = {
    'reduce_scatter': 'reduce_scatter',
    'allgather': 'all_gather',
    'all_gather': 'all_gather',
    'allreduce': 'all_reduce',
    'all_reduce': 'all_reduce',
    'alltoall': 'all_to_all',
    'all_to_all': 'all_to_all',
    'broadcast': 'broadcast',
}


@dataclass(frozen=True)
class Message:
    """A collective operation.

    Attributes:
        kind: Its name.
        payload: Bytes of the whole tensor: of the gathered one, or of the one to reduce.
        ranks: Ranks that take part.
        is_in_node: Whether all of them are in one machine.
    """

    kind: str
    payload: int
    ranks: int
    is_in_node: bool

    @property
    def sent(self) -> float:
        """Bytes that a rank sends in a ring, which is the least that is possible.

        All-reduce is a reduce-scatter and an all-gather (Patarasuk and Yuan 2009,
        doi:10.1016/j.jpdc.2008.09.002).
        """
        share = (self.ranks - 1) / self.ranks
        return self.payload * share * (2 if self.kind == 'all_reduce' else 1)


class Traffic:
    """Collects the messages of a step."""

    def __init__(self, ranks_per_node: int) -> None:
        self._ranks_per_node = ranks_per_node
        self.messages: Counter[Message] = Counter()

    def see(self, name: str, args: Iterable[Any], result: Any) -> None:
        """Count the call of the operation ``name`` of torch, if it is a collective one."""
        if 'c10d' not in name:
            return
        operation = name.partition('::')[2]
        kind = next((kind for part, kind in _KINDS.items() if part in operation), None)
        if kind is None:
            return
        arguments = list(args)
        # All ranks of a group are in the largest of the tensors: the gathered one, for example.
        payload = max(map(_bytes_of, [*arguments, result]))
        ranks = _ranks_of(arguments)
        nodes = {rank // self._ranks_per_node for rank in ranks}
        self.messages[Message(kind, payload, len(ranks), len(nodes) <= 1)] += 1

    def take(self) -> Counter[Message]:
        """The messages since the last call."""
        taken, self.messages = self.messages, Counter()
        return taken


def _bytes_of(part: Any) -> int:
    if isinstance(part, Tensor):
        return part.numel() * part.element_size()
    return sum(map(_bytes_of, part)) if isinstance(part, (list, tuple)) else 0


def _ranks_of(arguments: list[Any]) -> list[int]:
    for argument in arguments:
        if isinstance(argument, torch.ScriptObject) and 'ProcessGroup' in str(argument._type()):
            return dist.get_process_group_ranks(dist.ProcessGroup.unbox(argument))
    resolve: Any = dist.distributed_c10d._resolve_process_group  # type: ignore[attr-defined]  # private
    name = next(part for part in reversed(arguments) if isinstance(part, str))
    return dist.get_process_group_ranks(resolve(name))
