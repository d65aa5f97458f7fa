"""Optimizer wrapper and model wrapper for a ColossalAI booster."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import Self

from mmengine.model.base_model.base_model import forward_batch
from mmengine.optim import OptimWrapper
from mmengine.registry import MODEL_WRAPPERS, OPTIM_WRAPPERS, STRATEGIES
from mmengine.strategy.base import BaseStrategy

Batch = dict[str, Any] | tuple[Any, ...] | list[Any]


@OPTIM_WRAPPERS.register_module()
class ColossalAIOptimWrapper(OptimWrapper):
    """Runs backward passes through a ColossalAI booster.

    Args:
        optimizer: A boosted optimizer.
        booster: The booster; None runs plain backward passes.
        accumulative_counts: Batches per optimizer step.
    """

    def __init__(
        self, optimizer: Optimizer, booster: Any = None, accumulative_counts: int = 1
    ) -> None:
        super().__init__(optimizer, accumulative_counts=accumulative_counts)
        self.booster = booster

    def optim_context(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Skip the gradient exchange until the last batch of a window, if the booster can."""
        if self.booster is None:
            return super().optim_context(model)
        if self.should_sync() or not getattr(self.booster.plugin, 'support_no_sync', bool)():
            return nullcontext()
        context: AbstractContextManager[Any] = self.booster.no_sync(model, self.optimizer)
        return context

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Add the gradients of ``loss``, through the booster, and count the batch."""
        if self.booster is None:
            super().backward(loss, **kwargs)
            return
        self.booster.backward(loss, self.optimizer, **kwargs)
        self._inner_count += 1


@MODEL_WRAPPERS.register_module(name=['ColossalAIModelWrapper', 'CollosalAIModelWrapper'])
class ColossalAIModelWrapper:
    """Adds ``train_step``, ``val_step`` and ``test_step`` of a ``BaseModel`` to a boosted model.

    Other attributes are read from the boosted model.

    Args:
        model_wrapper: The boosted model; its ``forward`` is called.
        model: The original model, which has the data preprocessor and computes the losses.
    """

    def __init__(self, model_wrapper: Any, model: Any) -> None:
        self.model_wrapper = model_wrapper
        self.model = model

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.model_wrapper(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == 'model_wrapper':  # not set yet: a copy is being made
            raise AttributeError(name)
        return getattr(self.model_wrapper, name)

    def train_step(self, data: Batch, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Update the parameters from one batch; see :meth:`BaseModel.train_step`."""
        data = self.model.data_preprocessor(data, True)
        with optim_wrapper.optim_context(self.model_wrapper):
            losses = forward_batch(self.model_wrapper, data, 'loss')
        loss, log_vars = self.model.parse_losses(losses)
        optim_wrapper.update_params(loss)
        return log_vars  # type: ignore[no-any-return]  # the model's parse_losses

    def val_step(self, data: Batch) -> list[Any]:
        """The predictions for one validation batch."""
        return self._predict(data)

    def test_step(self, data: Batch) -> list[Any]:
        """The predictions for one test batch."""
        return self._predict(data)

    def _predict(self, data: Batch) -> list[Any]:
        data = self.model.data_preprocessor(data, False)
        return forward_batch(self.model_wrapper, data, 'predict')  # type: ignore[no-any-return]  # the user's forward


@STRATEGIES.register_module()
class ColossalAIStrategy(BaseStrategy):
    """The name and the arguments of the API; it cannot train, and says why.

    Args:
        config: Launch config of ColossalAI.
        mixed_precision: Name of the mixed precision mode, or a dict of its settings.
        plugin: Name of the plugin that splits the model, or a dict of its settings.
        model_wrapper: Config of the wrapper around the boosted model.
        **kwargs: Arguments of :class:`BaseStrategy`.

    Raises:
        NotImplementedError: Always.
    """

    OPTIMIZER_DIR = 'optimizer'
    MODEL_DIR = 'model'
    SCHEDULER_DIR = 'scheduler'

    def __new__(
        cls,
        *,
        config: str | dict[str, Any] | None = None,
        mixed_precision: str | dict[str, Any] | None = None,
        plugin: str | dict[str, Any] = 'gemini',
        model_wrapper: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        raise NotImplementedError(
            f'{cls.__name__} is a name only, so that configs which have it are read. The newest '
            'release of ColossalAI (0.5.0) needs an older torch than this package, so nothing here '
            "can be tested with it. Use strategy='fsdp' or 'deepspeed' for a model that does not "
            "fit on one device, and 'ddp' otherwise."
        )
