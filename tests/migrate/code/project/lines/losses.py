"""Losses, built by name."""

from mmcv.utils import Registry, build_from_cfg
from torch import nn

LOSSES = Registry('loss')


def build_loss(cfg):
    return build_from_cfg(cfg, LOSSES)


@LOSSES.register_module
class SquareLoss(nn.Module):
    def __init__(self, loss_weight=1.0):
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, prediction, target):
        return self.loss_weight * (prediction - target).square().mean()


@LOSSES.register_module
class AbsLoss(nn.Module):
    def __init__(self, loss_weight=1.0):
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, prediction, target):
        return self.loss_weight * (prediction - target).abs().mean()
