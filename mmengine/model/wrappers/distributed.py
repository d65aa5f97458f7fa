"""Data parallel training with one process a device: the steps of BaseModel through torch's DDP."""

import warnings
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from mmengine.model.base_model.base_model import forward_batch, nothing_to_minimise
from mmengine.model.utils import detect_anomalous_params
from mmengine.registry import MODEL_WRAPPERS

if TYPE_CHECKING:
    from mmengine.optim import OptimWrapper


@MODEL_WRAPPERS.register_module()
class MMDistributedDataParallel(DistributedDataParallel):
    """Trains a :class:`BaseModel` on every rank with the average of their gradients.

    The training step is that of :meth:`BaseModel.train_step`, with ``forward`` called through DDP,
    which is what averages the gradients. A model that overrides ``train_step`` is not asked: wrap
    it in a subclass that overrides it alike, or in :class:`MMSeparateDistributedDataParallel`.
    Every rank must construct it and take every step.

    Args:
        module: A :class:`BaseModel` on this rank's device.
        detect_anomalous_params: Log at every step the parameters that the loss does not depend on.
            Slow; for finding out why DDP complains of unused parameters.
        **kwargs: Arguments of :class:`torch.nn.parallel.DistributedDataParallel`.
    """

    def __init__(self, module: Any, detect_anomalous_params: bool = False, **kwargs: Any) -> None:
        with warnings.catch_warnings():
            # torch 2.13 renames this argument for another meaning at the start, where buffers are
            # equal here anyway; the old name says what is wanted on every torch that is supported.
            warnings.filterwarnings('ignore', '`broadcast_buffers` is deprecated', FutureWarning)
            super().__init__(module=module, **kwargs)
        self.detect_anomalous_params = detect_anomalous_params

    def train_step(
        self, data: dict[str, Any] | tuple[Any, ...] | list[Any], optim_wrapper: 'OptimWrapper'
    ) -> dict[str, Tensor]:
        """Update the parameters from this rank's batch; see :meth:`BaseModel.train_step`."""
        model: Any = self.module
        data = model.data_preprocessor(data, True)
        with optim_wrapper.optim_context(self):
            losses = self._run_forward(data, mode='loss')
        loss, log_vars = model.parse_losses(losses)
        if isinstance(loss, int):
            raise nothing_to_minimise(model, losses)
        if self.detect_anomalous_params:
            detect_anomalous_params(loss, model=self)
        optim_wrapper.update_params(loss)
        return log_vars  # type: ignore[no-any-return]  # the model's parse_losses

    def val_step(self, data: dict[str, Any] | tuple[Any, ...] | list[Any]) -> list[Any]:
        """The wrapped model's predictions for one validation batch; no communication."""
        return self.module.val_step(data)  # type: ignore[no-any-return]  # a BaseModel

    def test_step(self, data: dict[str, Any] | tuple[Any, ...] | list[Any]) -> list[Any]:
        """The wrapped model's predictions for one test batch; no communication."""
        return self.module.test_step(data)  # type: ignore[no-any-return]  # a BaseModel

    _run_forward = forward_batch
