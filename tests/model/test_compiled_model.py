"""A model that the caller has compiled trains and predicts by its compiled calls."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner

pytestmark = pytest.mark.filterwarnings('ignore')  # torch's tracer warns of torch's own code

SAMPLES = [{'x': torch.tensor([float(n)])} for n in range(4)]
LOADER = {'dataset': SAMPLES, 'batch_size': 1, 'collate_fn': 'default_collate',
          'sampler': {'type': 'DefaultSampler', 'shuffle': False}}  # fmt: skip


class Line(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([1.0]))

    def forward(self, x: Tensor, mode: str = 'tensor') -> Any:  # type: ignore[override]
        y = self.slope * x
        return {'loss': y.square().mean()} if mode == 'loss' else list(y)


class Mean(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.extend(float(value) for value in data_samples)

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        return {'mean': sum(results) / len(results)}


class Backend:
    """Runs the graphs as they are, and counts how often."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, graph: Any, inputs: Any) -> Any:
        def run(*args: Any) -> Any:
            self.runs += 1
            return graph.forward(*args)

        return run


@pytest.mark.parametrize('way', ['torch.compile', 'Module.compile'])
def test_each_batch_runs_a_compiled_graph(way: str, tmp_path: Path) -> None:
    backend, model = Backend(), Line()
    torch._dynamo.reset()
    if way == 'torch.compile':
        given: Any = torch.compile(model, backend=backend)
    else:
        model.compile(backend=backend)
        given = model
    runner = Runner(
        model=given, work_dir=str(tmp_path), train_cfg={'max_epochs': 1}, train_dataloader=LOADER,
        optim_wrapper={'optimizer': torch.optim.SGD(given.parameters(), lr=0.01)},
        val_dataloader=LOADER, val_cfg={}, val_evaluator={'type': Mean},
    )  # fmt: skip
    runner.train()
    assert backend.runs == 8  # 4 batches to train, 4 to validate
    assert runner.model is model
    # The gradient of (s x)^2 is 2 s x^2, for x = 0, 1, 2, 3 in turn.
    slope = (1 - 0.02) * (1 - 0.08) * (1 - 0.18)
    assert model.slope.item() == pytest.approx(slope, rel=1e-6)
    saved = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)
    assert list(saved['state_dict']) == ['slope']
