"""An engine with the MMEngine API: this one, or, in the peers' environment, PyPI's."""

from typing import Any

from _task import EPOCHS, LOG_INTERVAL, LR, LR_GAMMA, LR_STEP_EPOCHS, MOMENTUM, Mlp, run
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import mmengine
from mmengine.model import BaseModel
from mmengine.runner import Runner


class Classifier(BaseModel):
    def __init__(self, net: Mlp) -> None:
        super().__init__()
        self.net = net

    def forward(self, inputs: Tensor, labels: Tensor, mode: str) -> Any:
        return {'loss': cross_entropy(self.net(inputs), labels)}


def train(net: Mlp, loader: DataLoader[Any], work_dir: str) -> None:
    Runner(
        model=Classifier(net),
        work_dir=work_dir,
        train_dataloader=loader,
        train_cfg={'by_epoch': True, 'max_epochs': EPOCHS},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': LR, 'momentum': MOMENTUM}},
        param_scheduler={'type': 'StepLR', 'step_size': LR_STEP_EPOCHS, 'gamma': LR_GAMMA},
        # All default hooks act; this one finds nothing due.
        default_hooks={
            'logger': {'type': 'LoggerHook', 'interval': LOG_INTERVAL},
            'checkpoint': {'type': 'CheckpointHook', 'interval': 10**6, 'save_last': False},
        },
        log_processor={'window_size': LOG_INTERVAL},
        randomness={'seed': 0},
    ).train()


if __name__ == '__main__':
    run(
        train,
        mmengine.__version__,
        'all default hooks; LoggerHook(interval=50), window_size=50, no checkpoint due',
    )
