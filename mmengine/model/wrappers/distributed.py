"""MMDistributedDataParallel: runs the steps of BaseModel through torch's DDP."""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from mmengine.model.base_model.base_model import forward_batch
from mmengine.model.utils import detect_anomalous_params
from mmengine.model.wrappers._forward_redirect import forward_through
from mmengine.registry import MODEL_WRAPPERS

if TYPE_CHECKING:
    from mmengine.optim import OptimWrapper


@MODEL_WRAPPERS.register_module()
class MMDistributedDataParallel(DistributedDataParallel):
    """Trains a :class:`BaseModel` on every rank, with gradients averaged over the ranks.

    The training step is ``train_step`` of the model. Each call of the model in it goes through DDP,
    which averages the gradients. Every rank must construct the wrapper and run every step.

    Args:
        module: A :class:`BaseModel` on this rank's device.
        detect_anomalous_params: Log at every step the parameters that the loss does not depend on.
            This is slow; use it to find the unused parameters that DDP reports.
        **kwargs: Arguments of :class:`torch.nn.parallel.DistributedDataParallel`.
    """

    def __init__(self, module: Any, detect_anomalous_params: bool = False, **kwargs: Any) -> None:
        with warnings.catch_warnings():
            # torch 2.13 renames this argument and changes its meaning at the start, where buffers
            # are already equal. The old name works with every supported version of torch.
            warnings.filterwarnings('ignore', '`broadcast_buffers` is deprecated', FutureWarning)
            super().__init__(module=module, **kwargs)
        self.detect_anomalous_params = detect_anomalous_params

    def train_step(
        self, data: dict[str, Any] | tuple[Any, ...] | list[Any], optim_wrapper: 'OptimWrapper'
    ) -> dict[str, Tensor]:
        """Run the training step of the model on the batch of this rank."""
        model: Any = self.module
        if self.detect_anomalous_params:
            return self._step_with_report(model, data, optim_wrapper)
        with self._training(model):
            return model.train_step(data, optim_wrapper=optim_wrapper)  # type: ignore[no-any-return]  # a BaseModel

    def _training(self, model: Any) -> AbstractContextManager[None]:
        """Context in which the step of ``model`` runs its forward pass through this wrapper."""
        if type(self)._run_forward is forward_batch:
            return forward_through(self, model)
        return self._training_with_own_forward(model)

    @contextmanager
    def _training_with_own_forward(self, model: Any) -> Iterator[None]:
        """As :meth:`_training`, where a subclass overrides :meth:`_run_forward`."""

        def run_forward(data: Any, mode: str) -> Any:
            redirected, model.__class__ = type(model), own  # the wrapper calls the model itself
            try:
                return self._run_forward(data, mode=mode)
            finally:
                model.__class__ = redirected

        own = type(model)
        with forward_through(self, model):
            model.__dict__['_run_forward'] = run_forward
            try:
                yield
            finally:
                del model.__dict__['_run_forward']

    def _step_with_report(
        self, model: Any, data: Any, optim_wrapper: 'OptimWrapper'
    ) -> dict[str, Tensor]:
        """Run the step, and check each total loss before its backward pass."""

        def parse_losses(losses: Any) -> Any:
            loss, log_vars = type(model).parse_losses(model, losses)
            if isinstance(loss, Tensor):
                detect_anomalous_params(loss, model=self)
            return loss, log_vars

        model.__dict__['parse_losses'] = parse_losses
        try:
            with self._training(model):
                return model.train_step(data, optim_wrapper=optim_wrapper)  # type: ignore[no-any-return]  # a BaseModel
        finally:
            model.__dict__.pop('parse_losses', None)

    def val_step(self, data: dict[str, Any] | tuple[Any, ...] | list[Any]) -> list[Any]:
        """The wrapped model's predictions for one validation batch; no communication."""
        return self.module.val_step(data)  # type: ignore[no-any-return]  # a BaseModel

    def test_step(self, data: dict[str, Any] | tuple[Any, ...] | list[Any]) -> list[Any]:
        """The wrapped model's predictions for one test batch; no communication."""
        return self.module.test_step(data)  # type: ignore[no-any-return]  # a BaseModel

    _run_forward = forward_batch
