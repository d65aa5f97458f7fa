"""FSDPStrategy: splits parameters, gradients and optimizer state over all ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from torch import nn
from torch.optim import Optimizer

from mmengine._checkpoint.files import mapped_reads
from mmengine.device import get_device
from mmengine.dist import broadcast
from mmengine.model import BaseDataPreprocessor
from mmengine.model._copying import reshard
from mmengine.optim import BaseOptimWrapper
from mmengine.optim.optimizer.optimizer_wrapper_dict import wrappers_of
from mmengine.registry import STRATEGIES
from mmengine.strategy._blocks import BlockChoice, find_blocks
from mmengine.strategy._compiling import compile_method
from mmengine.strategy._device_mesh import build_mesh, data_mesh, tensor_ranks
from mmengine.strategy._fsdp_arguments import settings_of_wrapper
from mmengine.strategy._gradient_sync import GradientSync
from mmengine.strategy._meta_init import (
    allocate,
    explain,
    initialise,
    parameters_on_meta,
    unfilled,
)
from mmengine.strategy._mixed_precision import dtype_of_optimizer
from mmengine.strategy._recomputing import recompute_activations
from mmengine.strategy._sharding import Sharding, shard_model
from mmengine.strategy._tensor_check import check_first_step
from mmengine.strategy._tensor_parallel import share_over, split_layers
from mmengine.strategy._tensor_plan import find_layers, read_plan
from mmengine.strategy.base import Checkpoint
from mmengine.strategy.distributed import DDPStrategy
from mmengine.utils.errors import ArgumentError


@STRATEGIES.register_module()
class FSDPStrategy(DDPStrategy):
    """Shards the model over all ranks by torch's ``fully_shard`` (FSDP2).

    Each rank keeps a part of every parameter, of its gradient and of its optimizer state. The
    forward and backward passes gather one block after the other. The results are the same as
    with :class:`DDPStrategy`. Any strategy and any number of ranks can resume
    checkpoints: files hold whole tensors, and sharded folders their parts.

    Every rank must run every step of a training with as many batches as the others, because the
    passes gather parameters. In an evaluation a rank without a batch takes part in the passes.

    Args:
        model_wrapper: ``MMFullyShardedDataParallel`` or a config of it. Its arguments
            ``auto_wrap_policy``, ``cpu_offload``, ``mixed_precision`` and ``sharding_strategy`` are
            used where the arguments below are not given.
        skip_init_weights: Do not call ``init_weights``, because weights are loaded later.
        state_dict_cfg: ``'full'``, ``'local'`` or a dict with ``state_dict_type``. None of them
            changes anything: ``format`` of the config key ``checkpoint`` decides.
        activation_checkpointing: Blocks whose activations are computed again in the backward pass:
            True for all blocks, class names, or ``dict(check_fn=...)``.
        blocks: The sub-modules that are gathered at once, as class names such as
            ``['TransformerBlock']``, a minimal number of parameters, or a function; see
            :func:`~mmengine.strategy._blocks.find_blocks`. Without blocks the whole model is
            gathered at once.
        reshard_after_forward: Whether the blocks free their gathered parameters after the forward
            pass. None means True for the blocks and False for the parameters outside of them.
        cpu_offload: Keep parameters, gradients and optimizer state in host memory. On an
            accelerator this needs ``dist_cfg=dict(backend='cpu:gloo,cuda:nccl')``.
        mixed_precision: ``'auto'``: blocks exchange parameters in the dtype of an
            ``AmpOptimWrapper``, and gradients in float32. None: in the dtype of the parameters. Or
            arguments of ``MixedPrecisionPolicy`` for the whole model.
        meta_init: Build a model that is given as a config with its parameters on the meta device,
            so that no rank ever holds the whole model. Then ``reset_parameters`` of its modules and
            its ``init_weights`` fill the sharded parameters.
        mesh: ``dict(replicate=..., shard=...)``: shard over groups of ``shard`` ranks, and average
            gradients between the groups. ``'nodes'``: one group for each machine. None: shard over
            all ranks. With ``tensor=...`` groups of so many consecutive ranks read the same data
            and compute each batch together; the rest of the ranks shard.
        tp_plan: What the ranks of the axis ``tensor`` split: a dict from names of layers, where a
            ``*`` stands for a part of a name, to ``'colwise'``, ``'rowwise'``, ``'sequence'``, a
            dict of one of them and its layouts, or a ``ParallelStyle`` of torch; see
            :class:`~mmengine.strategy._tensor_plan.LayerPlan`.
        **kwargs: Arguments of :class:`DDPStrategy`.

    Raises:
        ArgumentError: If an argument has a wrong value.
    """

    def __init__(
        self,
        *,
        model_wrapper: Any = None,
        skip_init_weights: bool = False,
        state_dict_cfg: str | dict[str, Any] = 'local',
        activation_checkpointing: bool | Sequence[str] | dict[str, Any] | None = None,
        blocks: BlockChoice = None,
        reshard_after_forward: bool | int | None = None,
        cpu_offload: bool | None = None,
        mixed_precision: str | dict[str, Any] | None = 'auto',
        meta_init: bool = False,
        mesh: dict[str, int] | str | None = None,
        tp_plan: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        settings, ignored = settings_of_wrapper(model_wrapper)
        _check_state_dict_cfg(state_dict_cfg)
        # Before the process is seeded: ranks with the same data draw the same numbers.
        self._ranks_per_batch = tensor_ranks(mesh)
        self._plan = read_plan(tp_plan, self._ranks_per_batch)
        super().__init__(**kwargs)
        given = {
            'blocks': blocks,
            'reshard_after_forward': reshard_after_forward,
            'cpu_offload': cpu_offload,
            'mesh': mesh,
        }
        settings |= {name: value for name, value in given.items() if value is not None}
        if mixed_precision != 'auto':
            settings['mixed_precision'] = mixed_precision
        self._mesh_sizes = settings.pop('mesh', None)
        self.sharding = Sharding(**settings)
        self.skip_init_weights = skip_init_weights
        self.state_dict_cfg = state_dict_cfg
        self.activation_checkpointing = activation_checkpointing
        self.meta_init = meta_init
        self._blocks: list[nn.Module] = []
        self._sync: GradientSync | None = None
        self._tensor_mesh: Any = None
        self._shard_index = 0
        # Names of tensors from the meta device that may not have values yet.
        self._unfilled: list[str] = []
        self._optimizer_to_come: Any = None
        if ignored:
            self.logger.warning(
                f'FSDPStrategy does not use {", ".join(ignored)} of model_wrapper: fully_shard '
                'decides that itself.'
            )

    # Placing

    def prepare(self, model: nn.Module | dict[str, Any], **kwargs: Any) -> Any:
        """See :meth:`BaseStrategy.prepare`."""
        self._optimizer_to_come = kwargs.get('optim_wrapper') or self.state.optim_wrapper
        if self._sync is not None:
            self._sync.exchange()  # gradients of an earlier training, which may be dropped
        prepared = super().prepare(model, **kwargs)
        self._optimizer_to_come = None
        return prepared

    def build_model(self, model: nn.Module | dict[str, Any]) -> nn.Module:
        """See :meth:`BaseStrategy.build_model`."""
        if not self.meta_init:
            return super().build_model(model)
        with parameters_on_meta():
            return super().build_model(model)

    def wrap_model(
        self,
        model: nn.Module,
        model_wrapper_cfg: Any = None,
        find_unused_parameters: bool | None = None,
    ) -> nn.Module:
        """Shard ``model`` in place, and move the part of this rank to its device."""
        device = get_device()
        layers = find_layers(model, self._plan, self._ranks_per_batch)
        if not self.distributed:
            self._unfilled = allocate(model, device)
            self._check_at_first_forward(model)
            self._blocks = find_blocks(model, self.sharding.blocks)
            recompute_activations(model, self._blocks, self.activation_checkpointing)
            return model.to(device)
        mesh = build_mesh(device, self._mesh_sizes, self.world_size)
        for tensor in (*model.parameters(), *model.buffers()):
            if not tensor.is_meta:  # as DDP does: the ranks may have drawn other numbers
                broadcast(tensor.detach())
        if layers:
            self._tensor_mesh = mesh['tensor']
            split_layers(model, layers, self._tensor_mesh)
        dtype = dtype_of_optimizer(self._optimizer_to_come, device)
        self._blocks = shard_model(model, self.sharding, data_mesh(mesh), dtype)
        recompute_activations(model, self._blocks, self.activation_checkpointing)
        params_device = 'cpu' if self.sharding.cpu_offload else device
        self._unfilled = allocate(model, device, params_device)
        self._check_at_first_forward(model)
        for module in model.modules():
            if isinstance(module, BaseDataPreprocessor):  # it moves batches to its device
                module.to(device)
        self._sync = GradientSync(model)
        self._shard_index = mesh.get_local_rank('shard') * self._ranks_per_batch
        if layers:
            self._shard_index += self._tensor_mesh.get_local_rank()
            self.logger.info(
                f'{len(layers)} layers are split over {self._ranks_per_batch} ranks, which compute '
                'each batch together.'
            )
        self.logger.info(
            f'The parameters of {type(model).__name__.removeprefix("FSDP")} are sharded over '
            f'{mesh["shard"].size()} ranks. '
            + (
                f'The forward and backward passes gather {len(self._blocks)} blocks one by one.'
                if self._blocks
                else 'They are all gathered at once: name blocks to save memory.'
            )
        )
        return model

    def compile_model(self, model: nn.Module, compile: dict[str, Any] | bool = False) -> nn.Module:
        """Compile ``forward`` of each block, or of the model if there are no blocks.

        ``target`` of ``compile`` is not used: what gathers parameters is outside of ``forward``,
        and cannot be compiled.
        """
        options = {**(compile if isinstance(compile, Mapping) else {}), 'target': 'forward'}
        if not compile or not self._blocks:
            return super().compile_model(model, options if compile else False)
        self.logger.info(f'The {len(self._blocks)} blocks of the model are compiled, one by one.')
        for block in self._blocks:
            compile_method(block, options)
        return model

    def build_optim_wrapper(
        self, optim_wrapper: Any, model: nn.Module | None = None
    ) -> BaseOptimWrapper:
        """See :meth:`BaseStrategy.build_optim_wrapper`."""
        built = super().build_optim_wrapper(optim_wrapper, model)
        for wrapper in wrappers_of(built) if self._tensor_mesh is not None else ():
            if isinstance(optimizer := getattr(wrapper, 'optimizer', None), Optimizer):
                check_first_step(optimizer, self.present_model(), self._tensor_mesh)
        return built

    def init_weights(self) -> None:
        """Initialise the weights; see :meth:`BaseStrategy.init_weights`.

        Nothing happens with ``skip_init_weights``. Tensors from the meta device get their values
        from ``reset_parameters`` and ``init_weights``; see :func:`initialise`.

        Raises:
            RuntimeError: If a tensor from the meta device has no values afterwards.
        """
        if self.skip_init_weights:
            return
        if not self._unfilled:
            super().init_weights()
            return
        model = self.present_model()
        initialise(model, self._unfilled, self._shard_index)
        if self._tensor_mesh is not None:
            share_over(model, self._tensor_mesh)
        self._check_filled()

    # What an optimizer wrapper calls

    def no_sync(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Context in which forward passes decide that their backward passes keep the gradients."""
        return super().no_sync(model) if self._sync is None else self._sync.paused()

    def average_gradients(self, model: nn.Module, param_groups: list[dict[str, Any]]) -> bool:
        """Average the gradients that backward passes under :meth:`no_sync` have kept."""
        if self._sync is None:
            return super().average_gradients(model, param_groups)
        self._sync.exchange()
        return True

    # State

    def optim_state_dict(self) -> dict[str, Any]:
        """The state of the optimizer wrapper, with whole tensors. All ranks must call it."""
        if self._sync is not None:
            self._sync.exchange()
        return super().optim_state_dict()

    def load_model_state_dict(
        self,
        state_dict: Mapping[str, Any],
        *,
        strict: bool = False,
        revise_keys: Sequence[tuple[str, str]] = [(r'^module.', '')],  # the API's default
    ) -> None:
        """Load whole tensors: each rank keeps its part. All ranks must call it.

        Raises:
            RuntimeError: If a tensor from the meta device has no values afterwards.
        """
        reshard(self.present_model())
        super().load_model_state_dict(state_dict, strict=strict, revise_keys=revise_keys)
        self._check_filled()

    def load_checkpoint(self, filename: str, **kwargs: Any) -> Checkpoint:
        """See :meth:`BaseStrategy.load_checkpoint`.

        ``'default'`` is host memory here, because the device of a rank has room for its part only.
        A local file is mapped into memory, so that a rank reads one tensor after the other. Of a
        folder, and of files in the format safetensors, a rank reads its part.
        """
        with mapped_reads():
            location = _host(kwargs.pop('map_location', 'cpu'))
            return super().load_checkpoint(filename, map_location=location, **kwargs)

    def resume(
        self,
        filename: str,
        *,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: str | Callable[..., Any] = 'default',
        callback: Callable[[Checkpoint], None] | None = None,
    ) -> Checkpoint:
        """See :meth:`BaseStrategy.resume`; ``'default'`` is host memory here."""
        return super().resume(
            filename,
            resume_optimizer=resume_optimizer,
            resume_param_scheduler=resume_param_scheduler,
            map_location=_host(map_location),
            callback=callback,
        )

    def _check_at_first_forward(self, model: nn.Module) -> None:
        if not self._unfilled:
            return

        def check(*_: Any) -> None:  # a function, because copies of the model share it
            self._check_filled()
            handle.remove()

        handle = model.register_forward_pre_hook(check)

    def _check_filled(self) -> None:
        if self._unfilled:
            model = self.present_model()
            self._unfilled = unfilled(model, self._unfilled)
            if self._unfilled:
                raise RuntimeError(explain(model, self._unfilled))


def _host(map_location: Any) -> Any:
    return 'cpu' if map_location == 'default' else map_location


def _check_state_dict_cfg(setting: Any) -> None:
    if setting in ('full', 'local') or (
        isinstance(setting, Mapping) and 'state_dict_type' in setting
    ):
        return
    raise ArgumentError(
        f"state_dict_cfg is 'full', 'local' or a dict with state_dict_type; got {setting!r}."
    )
