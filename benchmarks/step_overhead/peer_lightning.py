"""Lightning: its trainer with a CSV logger; without progress bar, summary and checkpoints."""

import logging
from typing import Any

import lightning
from _task import EPOCHS, LOG_INTERVAL, Mlp, make_optimizer, make_schedule, run
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader


class Classifier(lightning.LightningModule):
    def __init__(self, net: Mlp) -> None:
        super().__init__()
        self.net = net

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        loss = cross_entropy(self.net(batch['inputs']), batch['labels'])
        self.log('loss', loss)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = make_optimizer(self.net)
        return [optimizer], [make_schedule(optimizer)]


def train(net: Mlp, loader: DataLoader[Any], work_dir: str) -> None:
    logging.getLogger('lightning.pytorch').setLevel(logging.ERROR)
    lightning.Trainer(
        accelerator='cpu',
        max_epochs=EPOCHS,
        log_every_n_steps=LOG_INTERVAL,
        logger=CSVLogger(work_dir),
        default_root_dir=work_dir,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(Classifier(net), loader)


if __name__ == '__main__':
    run(
        train,
        lightning.__version__,
        'CSVLogger, log_every_n_steps=50; no progress bar, model summary or checkpoints',
    )
