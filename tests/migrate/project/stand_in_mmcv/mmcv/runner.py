import torch


def build_optimizer(model, config):
    options = dict(config)
    return getattr(torch.optim, options.pop('type'))(model.parameters(), **options)
