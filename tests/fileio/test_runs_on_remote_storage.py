"""A run whose checkpoints lie on a server: written, thinned out, resumed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmengine import fileio
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner


class Line(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)
        nn.init.constant_(self.layer.weight, 0.5)

    def forward(self, inputs: list[Tensor], mode: str = 'tensor') -> Any:
        output = self.layer(torch.stack(inputs))
        return {'loss': output.mean()} if mode == 'loss' else list(output)


class Growing(BaseMetric):
    """1.0 after the first validation, 2.0 after the second, ..."""

    def __init__(self) -> None:
        super().__init__()
        self.evaluations = 0

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(1)

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        self.evaluations += 1
        return {'acc': float(self.evaluations)}


def runner(work_dir: Path, out_dir: str, epochs: int, resume: bool = False) -> Runner:
    data = [{'inputs': torch.ones(2) * i} for i in range(4)]
    loader = {
        'batch_size': 2,
        'dataset': data,
        'sampler': {'type': 'DefaultSampler', 'shuffle': False},
    }
    hook = {
        'type': 'CheckpointHook',
        'out_dir': out_dir,
        'max_keep_ckpts': 1,
        'save_best': 'acc',
        'rule': 'greater',
    }
    return Runner(
        model=Line(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        val_dataloader=loader,
        train_cfg={'by_epoch': True, 'max_epochs': epochs},
        val_cfg={},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}},
        val_evaluator=Growing(),
        default_hooks={'checkpoint': hook},
        experiment_name=f'{epochs}_{resume}',
        log_level='ERROR',
        resume=resume,
        randomness={'seed': 0},
    )


@pytest.mark.parametrize('root', ['memory', 's3'], indirect=True)
def test_a_run_keeps_its_checkpoints_on_a_server_and_resumes_there(
    root: str, tmp_path: Path
) -> None:
    work_dir = tmp_path / 'exp'
    first = runner(work_dir, root, epochs=2)
    first.train()
    assert sorted(fileio.list_dir_or_file(root, list_dir=False, recursive=True)) == [
        'exp/best_acc_epoch_2.pth',
        'exp/best_acc_epoch_2.pth.after_val',
        'exp/epoch_2.pth',
        'exp/epoch_2.pth.after_val',
    ]
    assert (work_dir / 'last_checkpoint').read_text() == f'{root}/exp/epoch_2.pth'

    resumed = runner(work_dir, root, epochs=3, resume=True)
    resumed.train()
    straight = runner(tmp_path / 'straight', f'{root}-straight', epochs=3)
    straight.train()
    assert torch.equal(resumed.model.layer.weight, straight.model.layer.weight)
    assert 'exp/epoch_3.pth' in fileio.list_dir_or_file(root, list_dir=False, recursive=True)
