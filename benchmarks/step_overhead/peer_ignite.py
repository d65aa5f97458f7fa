"""pytorch-ignite: its supervised trainer with a running mean of the loss."""

from typing import Any

import ignite
from _task import EPOCHS, LOG_INTERVAL, Mlp, make_optimizer, make_schedule, run
from ignite.engine import Engine, Events, create_supervised_trainer
from ignite.metrics import RunningAverage
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader


def train(net: Mlp, loader: DataLoader[Any], work_dir: str) -> None:
    optimizer = make_optimizer(net)
    schedule = make_schedule(optimizer)
    trainer = create_supervised_trainer(
        net,
        optimizer,
        cross_entropy,
        prepare_batch=lambda batch, device, non_blocking: (batch['inputs'], batch['labels']),
    )
    RunningAverage(output_transform=lambda loss: loss).attach(trainer, 'loss')

    @trainer.on(Events.ITERATION_COMPLETED(every=LOG_INTERVAL))
    def log(engine: Engine) -> None:
        lr = optimizer.param_groups[0]['lr']
        print(f'{engine.state.iteration}  lr {lr:.4e}  loss {engine.state.metrics["loss"]:.4f}')

    @trainer.on(Events.EPOCH_COMPLETED)
    def step(engine: Engine) -> None:
        schedule.step()

    trainer.run(loader, max_epochs=EPOCHS)


if __name__ == '__main__':
    run(train, ignite.__version__)
