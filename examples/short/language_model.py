"""Learn to write Python. Run it with `python examples/short/language_model.py`."""

import inspect

import torch
from torch import nn

from mmengine.model import LanguageModel
from mmengine.runner import Runner


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(256, 64)
        self.recurrent = nn.GRU(64, 128, batch_first=True)
        self.head = nn.Linear(128, 256)

    def forward(self, tokens):
        return self.head(self.recurrent(self.embedding(tokens))[0])


pieces = torch.tensor(list(inspect.getsource(inspect).encode()[:38400])).view(600, 64)
Runner(
    model=LanguageModel(Network()),
    work_dir='work_dirs/language_model',
    train_dataloader=dict(dataset=pieces[:540], batch_size=32, shuffle=True),
    train_cfg=dict(max_epochs=2),
    optim_wrapper=dict(optimizer=dict(type='AdamW', lr=3e-3)),
    val_dataloader=dict(dataset=pieces[540:], batch_size=60),
    val_cfg=dict(),
    val_evaluator='perplexity',
).train()
