"""Transformers' Trainer, with the same dataloader, optimizer and schedule."""

from typing import Any

import transformers
from _task import (
    BATCH_SIZE,
    EPOCH_LENGTH,
    EPOCHS,
    LOG_INTERVAL,
    LR_GAMMA,
    LR_STEP_EPOCHS,
    Mlp,
    make_optimizer,
    run,
)
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader


class Classifier(nn.Module):
    def __init__(self, net: Mlp) -> None:
        super().__init__()
        self.net = net

    def forward(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {'loss': cross_entropy(self.net(inputs), labels)}


class TrainerWithLoader(transformers.Trainer):
    loader: DataLoader[Any]

    def get_train_dataloader(self) -> DataLoader[Any]:
        return self.loader


def train(net: Mlp, loader: DataLoader[Any], work_dir: str) -> None:
    transformers.logging.set_verbosity_error()
    optimizer = make_optimizer(net)
    # It steps schedules after every batch, so this one looks at the epoch only.
    schedule = LambdaLR(
        optimizer, lambda step: LR_GAMMA ** (step // EPOCH_LENGTH // LR_STEP_EPOCHS)
    )
    trainer = TrainerWithLoader(
        Classifier(net),
        transformers.TrainingArguments(
            output_dir=work_dir,
            per_device_train_batch_size=BATCH_SIZE,
            num_train_epochs=EPOCHS,
            logging_steps=LOG_INTERVAL,
            save_strategy='no',
            report_to=[],
            max_grad_norm=0,
            use_cpu=True,
            disable_tqdm=True,
        ),
        train_dataset=loader.dataset,
        optimizers=(optimizer, schedule),
    )
    trainer.loader = loader
    trainer.train()


if __name__ == '__main__':
    run(
        train,
        transformers.__version__,
        'logging_steps=50, max_grad_norm=0, save_strategy="no", no reports, no tqdm',
    )
