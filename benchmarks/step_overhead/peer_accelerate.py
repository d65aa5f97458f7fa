"""Accelerate: the loop by hand, with its parts prepared by the accelerator."""

from typing import Any

import accelerate
import torch
from _task import EPOCHS, LOG_INTERVAL, Mlp, make_optimizer, make_schedule, run
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader


def train(net: Mlp, loader: DataLoader[Any], work_dir: str) -> None:
    accelerator = accelerate.Accelerator(cpu=True)
    bare_optimizer = make_optimizer(net)
    model, optimizer, batches, schedule = accelerator.prepare(
        net, bare_optimizer, loader, make_schedule(bare_optimizer)
    )
    model.train()
    window = []
    for epoch in range(EPOCHS):
        for index, batch in enumerate(batches, start=1):
            loss = cross_entropy(model(batch['inputs']), batch['labels'])
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            window.append(loss.detach())
            if index % LOG_INTERVAL == 0:
                mean = torch.stack(window).mean().item()
                window.clear()
                lr = schedule.get_last_lr()[0]
                print(f'epoch {epoch + 1} [{index}/{len(batches)}]  lr {lr:.4e}  loss {mean:.4f}')
        schedule.step()


if __name__ == '__main__':
    run(
        train,
        accelerate.__version__,
        'the loop by hand with model, optimizer, loader and schedule prepared; no tracker',
    )
