"""Models."""

from collections import OrderedDict

import torch
from mmcv.cnn import MODELS, constant_init
from mmcv.runner import BaseModule, auto_fp16

from .losses import build_loss


@MODELS.register_module()
class LineNet(BaseModule):
    """A line, and two losses."""

    def __init__(self, slope, loss_square, loss_abs, init_cfg=None):
        super().__init__(init_cfg)
        self.line = torch.nn.Linear(1, 1)
        self.losses = torch.nn.ModuleList([build_loss(loss_square), build_loss(loss_abs)])
        self.fp16_enabled = False
        constant_init(self.line, val=slope, bias=-0.5)

    @auto_fp16(apply_to=('x',))
    def forward(self, x, y=None, return_loss=True):
        if return_loss:
            return self.forward_train(x, y)
        else:
            return self.forward_test(x)

    def forward_train(self, x, y):
        prediction = self.line(x)
        square, absolute = (loss(prediction, y) for loss in self.losses)
        return dict(loss_square=square, loss_abs=absolute)

    def forward_test(self, x):
        return list(self.line(x))

    def _parse_losses(self, losses):
        log_vars = OrderedDict()
        for name, value in losses.items():
            log_vars[name] = value.mean()
        loss = sum(value for name, value in log_vars.items() if 'loss' in name)
        log_vars['loss'] = loss
        return loss, OrderedDict((name, value.item()) for name, value in log_vars.items())

    def train_step(self, data, optimizer):
        losses = self(**data)
        loss, log_vars = self._parse_losses(losses)

        outputs = dict(loss=loss, log_vars=log_vars, num_samples=len(data['x']))

        return outputs  # noqa: RET504

    def val_step(self, data, optimizer=None):
        return self(**data, return_loss=False)
