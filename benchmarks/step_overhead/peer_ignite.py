"""pytorch-ignite: its supervised trainer, with the handlers for the same output."""

from typing import Any

import ignite
from _task import EPOCHS, LOG_INTERVAL, Mlp, make_optimizer, make_schedule, run
from ignite.engine import Engine, Events, create_supervised_trainer
from ignite.handlers import LRScheduler, Timer
from ignite.metrics import RunningAverage
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader


def train(net: Mlp, loader: DataLoader[Any], work_dir: str) -> None:
    optimizer = make_optimizer(net)
    trainer = create_supervised_trainer(
        net,
        optimizer,
        cross_entropy,
        prepare_batch=lambda batch, device, non_blocking: (batch['inputs'], batch['labels']),
    )
    RunningAverage(output_transform=lambda loss: loss).attach(trainer, 'loss')
    timer = Timer(average=True)
    timer.attach(trainer, step=Events.ITERATION_COMPLETED)
    # It calls the schedule when an epoch starts, and leaves out the first.
    schedule = LRScheduler(make_schedule(optimizer))
    trainer.add_event_handler(Events.EPOCH_STARTED, schedule)

    @trainer.on(Events.ITERATION_COMPLETED(every=LOG_INTERVAL))
    def log(engine: Engine) -> None:
        lr = optimizer.param_groups[0]['lr']
        loss, each_s = engine.state.metrics['loss'], timer.value()
        print(f'{engine.state.iteration}  lr {lr:.4e}  time {each_s:.4f}  loss {loss:.4f}')

    trainer.run(loader, max_epochs=EPOCHS)


if __name__ == '__main__':
    run(
        train,
        ignite.__version__,
        'create_supervised_trainer with RunningAverage of the loss, LRScheduler, Timer, and a '
        'handler that prints every 50 iterations',
    )
