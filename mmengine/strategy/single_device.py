"""SingleDeviceStrategy: one process on one device."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from mmengine._checkpoint.loader import revise_state_dict_keys
from mmengine._checkpoint.state_dict import get_state_dict, load_state_dict, weights_to_cpu
from mmengine.device import get_device
from mmengine.dist import barrier, is_main_process
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import STRATEGIES
from mmengine.strategy._training_state import has_any
from mmengine.strategy.base import BaseStrategy, Checkpoint
from mmengine.strategy.checkpoint_io import checkpoint_io


@STRATEGIES.register_module()
class SingleDeviceStrategy(BaseStrategy):
    """The whole model on one device of one process.

    Saving and loading also work for subclasses that shard the model in :meth:`wrap_model` (by
    ``fully_shard``, for example): a checkpoint holds whole tensors for any number of ranks.
    """

    def convert_model(self, model: nn.Module) -> nn.Module:
        """Convert SyncBN, which needs a process group, to BN."""
        return revert_sync_batchnorm(model)

    def wrap_model(
        self, model: nn.Module, model_wrapper_cfg: Any = None, find_unused_parameters: bool = False
    ) -> nn.Module:
        """Move ``model`` to the device; one process needs no wrapper."""
        return model.to(get_device())

    def model_state_dict(self) -> Mapping[str, Any]:
        """The state of the model in host memory. All ranks must call it."""
        return weights_to_cpu(get_state_dict(self.present_model()))

    def load_model_state_dict(
        self,
        state_dict: Mapping[str, Any],
        *,
        strict: bool = False,
        revise_keys: Sequence[tuple[str, str]] = [(r'^module.', '')],  # the API's default
    ) -> None:
        """Load a state into the model, wrapped or not. All ranks must call it."""
        revised = revise_state_dict_keys(state_dict, revise_keys)
        load_state_dict(
            self.present_model(),
            revised,
            strict,
            self.logger,
            fixed_shapes=self.state.is_resuming,
            must_fit=self.state.needs_weights,
        )

    def use_checkpoint_format(self, format: str) -> None:
        """Write ``'file'`` or ``'sharded'`` checkpoints from now on."""
        self.io = checkpoint_io(format)

    def save_checkpoint(
        self,
        filename: str,
        *,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        extra_ckpt: Checkpoint | None = None,
        callback: Callable[[Checkpoint], None] | None = None,
    ) -> None:
        """Collect the state on all ranks and write it. Every rank waits for that.

        With ``format='file'`` rank 0 writes: of sharded tensors, only rank 0 keeps the whole, and
        in the checkpoint that ``callback`` gets on other ranks they are on the meta device. With
        ``format='sharded'`` each rank writes its part, and they stay sharded.
        """
        extra = dict(extra_ckpt or {})
        backend_args = extra.pop('backend_args', None)
        with self.io.gathering():
            checkpoint: Checkpoint = {
                'meta': extra.pop('meta', {}),
                'state_dict': self.model_state_dict(),
                **extra,
            }
            if save_optimizer and self.optim_wrapper is not None:
                checkpoint['optimizer'] = self.optim_state_dict()
            if save_param_scheduler and has_any(self.param_schedulers):
                checkpoint['param_schedulers'] = self.scheduler_state_dict()
            if callback is not None:
                callback(checkpoint)
        if self.io.writes_together or is_main_process():
            self.io.write(checkpoint, filename, backend_args)
        barrier()
