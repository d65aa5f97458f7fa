"""The loop that everything else is compared with: what a careful person writes in plain PyTorch."""

from typing import Any

import torch
from _task import EPOCHS, LOG_INTERVAL, Mlp, make_optimizer, make_schedule, run
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader


def train(net: Mlp, loader: DataLoader[Any], work_dir: str) -> None:
    optimizer = make_optimizer(net)
    schedule = make_schedule(optimizer)
    net.train()
    window = []
    for epoch in range(EPOCHS):
        for index, batch in enumerate(loader, start=1):
            loss = cross_entropy(net(batch['inputs']), batch['labels'])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            window.append(loss.detach())
            if index % LOG_INTERVAL == 0:
                mean = torch.stack(window).mean().item()
                window.clear()
                lr = optimizer.param_groups[0]['lr']
                print(f'epoch {epoch + 1} [{index}/{len(loader)}]  lr {lr:.4e}  loss {mean:.4f}')
        schedule.step()


if __name__ == '__main__':
    run(
        train,
        torch.__version__,
        'losses kept in a list, their mean and the learning rate printed every 50 steps',
    )
