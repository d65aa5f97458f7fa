"""FSDPStrategy, which splits a model over all ranks; not implemented yet."""

from typing import Any

from typing_extensions import Self

from mmengine.registry import STRATEGIES
from mmengine.strategy._unavailable import raise_unavailable
from mmengine.strategy.base import Checkpoint
from mmengine.strategy.distributed import DDPStrategy


@STRATEGIES.register_module()
class FSDPStrategy(DDPStrategy):
    """Splits parameters, gradients and optimizer state over all ranks. Not implemented yet.

    The wrapper :class:`mmengine.model.MMFullyShardedDataParallel` works without this strategy.

    Args:
        model_wrapper: The wrapper's name, config or class.
        skip_init_weights: Skip the initialisation, because weights are loaded later.
        state_dict_cfg: ``'local'`` (each rank writes its part), ``'full'``, or a dict with
            ``state_dict_type`` and its configs.
        activation_checkpointing: Activations that are computed again in the backward pass.
        **kwargs: Arguments of :class:`DDPStrategy`.

    Raises:
        NotImplementedError: Always.
    """

    def __new__(
        cls,
        *,
        model_wrapper: Any = None,
        skip_init_weights: bool = False,
        state_dict_cfg: str | dict[str, Any] = 'local',
        activation_checkpointing: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        raise_unavailable(cls)

    def load_checkpoint(self, filename: str, **kwargs: Any) -> Checkpoint:
        """See :meth:`BaseStrategy.load_checkpoint`."""
        return super().load_checkpoint(filename, **kwargs)
