"""Values that are spread over ranks, in a history."""

import subprocess
import sys

import pytest
import torch

from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.testing._internal.distributed import run_distributed


def _log(rank: int, world_size: int) -> tuple[list[float], float, list[str]]:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh = init_device_mesh('cpu', (world_size,))
    values = distribute_tensor(torch.tensor([1.0, 2.0, 6.0]), mesh, [Shard(0)])
    loss = values.clone().requires_grad_().mean()  # each rank holds a part of the sum
    buffer = HistoryBuffer()
    buffer.update(loss)
    buffer.update(values[2:3], 2)  # one element, on one rank only
    buffer.update(torch.tensor(4.0))
    hub = MessageHub('dtensors')
    hub.update_scalar('train/loss', loss)
    tensors = (value[0] if type(value) is tuple else value for value in buffer._pending_values)
    pending = [type(tensor).__name__ for tensor in tensors]
    return buffer.data[0].tolist(), float(hub.get_scalar('train/loss').current()), pending


@pytest.mark.distributed
def test_history_holds_the_full_value_on_every_rank() -> None:
    for values, in_hub, pending in run_distributed(_log):
        assert values == [3.0, 6.0, 4.0]  # (1 + 2 + 6) / 3
        assert in_hub == 3.0
        assert pending == ['Tensor'] * 3


def test_logging_does_not_import_the_package_of_dtensors() -> None:
    code = (
        'import sys, torch; before = set(sys.modules)\n'
        'from mmengine.logging import HistoryBuffer\n'
        'HistoryBuffer().update(torch.nn.Parameter(torch.ones(())))\n'
        'print([name for name in set(sys.modules) - before if "distributed.tensor" in name])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
