"""DeepSpeedStrategy: trains through an engine of DeepSpeed, which splits state by ZeRO."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any

from torch import nn

from mmengine._checkpoint.loader import revise_state_dict_keys
from mmengine._checkpoint.state_dict import get_state_dict, load_state_dict, weights_to_cpu
from mmengine.device import get_device
from mmengine.dist import broadcast
from mmengine.model._build import init_model_weights
from mmengine.optim import BaseOptimWrapper
from mmengine.optim.optimizer.builder import _register_optional
from mmengine.registry import STRATEGIES
from mmengine.strategy._compiling import compile_method
from mmengine.strategy._deepspeed_config import is_half, merged_config, read_config
from mmengine.strategy._deepspeed_engine import check_wrapper, join_alone, make_engine
from mmengine.strategy._deepspeed_folder import (
    DeepSpeedFolderIO,
    is_folder,
    load_engine,
    save_folder,
    weights_in,
)
from mmengine.strategy._deepspeed_gradients import WEIGHTS, gathered
from mmengine.strategy._deepspeed_state import (
    load_optimizer_state,
    optimizer_state,
    whole_parameters,
    write_parameters,
)
from mmengine.strategy._deepspeed_wrappers import DeepSpeedOptimWrapper, MMDeepSpeedEngineWrapper
from mmengine.strategy.base import Checkpoint
from mmengine.strategy.checkpoint_io import SHARDED
from mmengine.strategy.distributed import DDPStrategy
from mmengine.utils.errors import ArgumentError

__all__ = [
    'DeepSpeedOptimWrapper',
    'DeepSpeedStrategy',
    'MMDeepSpeedEngineWrapper',
    'register_deepspeed_optimizers',
]

_OPTIMIZERS = {
    'deepspeed.ops.adam': ('DeepSpeedCPUAdam', 'FusedAdam'),
    'deepspeed.ops.adagrad': ('DeepSpeedCPUAdagrad',),
    'deepspeed.ops.lamb': ('FusedLamb',),
    'deepspeed.ops.lion': ('DeepSpeedCPULion', 'FusedLion'),
    'deepspeed.runtime.fp16.onebit': ('OnebitAdam', 'OnebitLamb', 'ZeroOneAdam'),
}


def register_deepspeed_optimizers() -> list[str]:
    """Register the optimizers of ``deepspeed``, if it is installed; returns their names."""
    return [
        name
        for module, names in _OPTIMIZERS.items()
        for name in _register_optional('deepspeed', module, names)
    ]


@STRATEGIES.register_module()
class DeepSpeedStrategy(DDPStrategy):
    """Trains through an engine of DeepSpeed: ZeRO splits state, gradients and parameters.

    ``optim_wrapper`` of the run decides as with any strategy: its optimizer, accumulation windows
    and ``clip_grad``. An ``AmpOptimWrapper`` becomes DeepSpeed's ``torch_autocast``. Entries of
    DeepSpeed's config for the same things are used if ``optim_wrapper`` does not set them.

    Each rank builds the whole model, and the engine splits it when a training is prepared. Until
    then, and without a training, validation and test use the whole model on each rank.

    Args:
        config: DeepSpeed's config, as a dict or the path of its JSON file; the arguments below are
            entries of it.
        zero_optimization: How optimizer state, gradients and parameters are split:
            ``dict(stage=0)`` to ``dict(stage=3)``, and DeepSpeed's settings of the stage.
        gradient_clipping: Maximum norm of the gradients.
        fp16: Settings of training in float16: ``dict(enabled=True)``.
        inputs_to_half: Parts of a batch that are cast to the dtype of the parameters.
        bf16: Settings of training in bfloat16: ``dict(enabled=True)``.
        amp: Settings of training with apex.
        activation_checkpointing: Activations that are computed again in the backward pass, in
            models that call DeepSpeed's ``checkpoint``.
        aio: Settings of asynchronous reads and writes of offloaded state.
        train_micro_batch_size_per_gpu: Batch size of one device; by default the batch size of the
            dataloader.
        gradient_accumulation_steps: Batches per optimizer step.
        steps_per_print: Steps between two reports of DeepSpeed.
        exclude_frozen_parameters: Do not save frozen parameters in checkpoints.
        checkpoint_format: ``'file'``: rank 0 writes one file with whole tensors, which any strategy
            and any number of ranks resume. ``'folder'``: each rank writes its part to a folder of
            DeepSpeed, which as many ranks resume.
        **kwargs: Arguments of :class:`DDPStrategy`.

    Raises:
        ImportError: If deepspeed is not installed.
        ArgumentError: If an argument has a wrong value, or is given twice.
    """

    def __init__(
        self,
        *,
        config: str | dict[str, Any] | None = None,
        zero_optimization: dict[str, Any] | None = None,
        gradient_clipping: float | None = None,
        fp16: dict[str, Any] | None = None,
        inputs_to_half: list[int | str] | None = None,
        bf16: dict[str, Any] | None = None,
        amp: dict[str, Any] | None = None,
        activation_checkpointing: dict[str, Any] | None = None,
        aio: dict[str, Any] | None = None,
        train_micro_batch_size_per_gpu: int | None = None,
        gradient_accumulation_steps: int | None = None,
        # DeepSpeed must not print reports: the Runner writes the log.
        steps_per_print: int = 10_000_000_000_000,
        exclude_frozen_parameters: bool | None = None,
        checkpoint_format: str = 'file',
        **kwargs: Any,
    ) -> None:
        if find_spec('deepspeed') is None:
            raise ImportError('DeepSpeedStrategy needs deepspeed: pip install deepspeed')
        if checkpoint_format not in ('file', 'folder'):
            raise ArgumentError(
                f"checkpoint_format is 'file' or 'folder'; got {checkpoint_format!r}."
            )
        entries = {
            'zero_optimization': zero_optimization,
            'gradient_clipping': gradient_clipping,
            'fp16': fp16,
            'bf16': bf16,
            'amp': amp,
            'activation_checkpointing': activation_checkpointing,
            'aio': aio,
            'train_micro_batch_size_per_gpu': train_micro_batch_size_per_gpu,
            'gradient_accumulation_steps': gradient_accumulation_steps,
        }
        self.config = read_config(config, entries)
        self.config.setdefault('steps_per_print', steps_per_print)
        super().__init__(**kwargs)
        if self.model_wrapper is not None:
            raise ArgumentError(
                'The model wrapper of DeepSpeedStrategy is MMDeepSpeedEngineWrapper: remove '
                'model_wrapper.'
            )
        self.inputs_to_half = inputs_to_half
        self.exclude_frozen_parameters = bool(exclude_frozen_parameters)
        self.checkpoint_format = checkpoint_format
        self._folders = self.io = DeepSpeedFolderIO()
        if checkpoint_format == 'folder':
            self._folders.setting = "checkpoint_format='folder'"
        self._engine: Any = None
        self._optimizer_to_come: Any = None
        self._batch_size: int | None = None
        self._built_wrapper: DeepSpeedOptimWrapper | None = None

    @property
    def engine(self) -> Any:
        """The engine of the present model; None until a training is prepared."""
        model = self.state.model
        is_present = isinstance(model, MMDeepSpeedEngineWrapper) and model.model is self._engine
        return self._engine if is_present else None

    @property
    def needs_all_ranks(self) -> bool:
        """Whether a forward pass gathers parameters: in stage 3, once there is an engine."""
        engine = self.engine
        return engine is not None and engine.zero_optimization_stage() == WEIGHTS

    # Placing

    def prepare(
        self,
        model: nn.Module | dict[str, Any],
        *,
        optim_wrapper: Any = None,
        dispatch_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """See :meth:`BaseStrategy.prepare`; the engine is made once there is an optimizer."""
        self._optimizer_to_come = optim_wrapper
        self._batch_size = (dispatch_kwargs or {}).get('train_micro_batch_size_per_gpu')
        if optim_wrapper is not None and self.engine is None and self.state.is_placed:
            self.state.placed_model = None  # placed for a validation, as it is
        try:
            return super().prepare(
                model, optim_wrapper=optim_wrapper, dispatch_kwargs=dispatch_kwargs, **kwargs
            )
        finally:
            self._optimizer_to_come = self._built_wrapper = None

    def wrap_model(
        self,
        model: nn.Module,
        model_wrapper_cfg: Any = None,
        find_unused_parameters: bool | None = None,
    ) -> nn.Module:
        """Move ``model`` to its device; make the engine if there is an optimizer to come."""
        model = model.to(get_device())
        if self._optimizer_to_come is None:
            return model
        join_alone()
        if not self.state.has_weights:
            # The engine copies the parameters, so that they must have their values before.
            init_model_weights(model)
        for tensor in (*model.parameters(), *model.buffers()):
            broadcast(tensor.detach())
        built = check_wrapper(super().build_optim_wrapper(self._optimizer_to_come, model))
        config, window, clip_grad = merged_config(self.config, built, self._batch_size)
        self._engine = engine = make_engine(model, built.optimizer, config)
        wrapper = DeepSpeedOptimWrapper(
            built.optimizer, accumulative_counts=window, clip_grad=clip_grad
        )
        wrapper.skip_non_finite = built.skip_non_finite
        wrapper.model = engine
        self._built_wrapper = wrapper
        self._is_half = is_half(config)
        placed: Any = MMDeepSpeedEngineWrapper(model=engine, inputs_to_half=self.inputs_to_half)
        return placed  # type: ignore[no-any-return]  # it reads as the module that it wraps

    def build_optim_wrapper(
        self, optim_wrapper: Any, model: nn.Module | None = None
    ) -> BaseOptimWrapper:
        """The wrapper of the engine, which was built from ``optim_wrapper`` together with it.

        Raises:
            RuntimeError: If the engine has another optimizer already.
        """
        if self._built_wrapper is not None:
            return self._built_wrapper
        is_own = isinstance(optim_wrapper, DeepSpeedOptimWrapper)
        if is_own and self.engine is not None and optim_wrapper._model is self.engine:
            own: DeepSpeedOptimWrapper = optim_wrapper
            return own
        raise RuntimeError(
            'DeepSpeedStrategy has made an engine with another optimizer. Pass optim_wrapper to '
            'prepare together with a new model, or begin a new run.'
        )

    def compile_model(self, model: nn.Module, compile: dict[str, Any] | bool = False) -> nn.Module:
        """Compile ``forward`` of the model; ``target`` of ``compile`` is not used.

        Raises:
            ArgumentError: In stage 3, where hooks gather parameters inside of ``forward``.
        """
        if not compile or self.engine is None:
            return model if not compile else super().compile_model(model, compile)
        if self.engine.zero_optimization_stage() == WEIGHTS:
            raise ArgumentError(
                'compile does not work with stage 3 of ZeRO, which gathers parameters inside of '
                "the forward pass. Use a lower stage, or strategy='fsdp', which compiles blocks."
            )
        options = {**(compile if isinstance(compile, Mapping) else {}), 'target': 'forward'}
        compile_method(self.engine.module, options)
        return model

    def init_weights(self) -> None:
        """Initialise the weights; with an engine, :meth:`prepare` has done it."""
        if self.engine is None:
            super().init_weights()

    # What an optimizer wrapper calls

    def no_sync(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Nothing: the engine exchanges gradients when a window is full, or splits them."""
        return nullcontext()

    # State

    def model_state_dict(self) -> Mapping[str, Any]:
        """The whole model in float32 under unwrapped names. All ranks must call it."""
        engine = self.engine
        if engine is None:
            return super().model_state_dict()
        state = get_state_dict(engine.module)
        for name, whole in whole_parameters(engine, self._is_half):
            if name in state:
                state[name] = whole
        if self.exclude_frozen_parameters:
            for name, param in engine.module.named_parameters(remove_duplicate=False):
                if not param.requires_grad:
                    state.pop(name, None)
        return weights_to_cpu(state)

    def load_model_state_dict(
        self,
        state_dict: Mapping[str, Any],
        *,
        strict: bool = False,
        revise_keys: Sequence[tuple[str, str]] = [(r'^module.', '')],  # the API's default
    ) -> None:
        """Load whole tensors: each rank keeps its part. All ranks must call it."""
        engine = self.engine
        if engine is None:
            super().load_model_state_dict(state_dict, strict=strict, revise_keys=revise_keys)
            return
        revised = revise_state_dict_keys(state_dict, revise_keys)
        module = engine.module
        with gathered(engine, list(module.parameters()), source=0):
            load_state_dict(
                module,
                revised,
                strict,
                self.logger,
                fixed_shapes=self.state.is_resuming,
                must_fit=self.state.needs_weights,
            )
            values = {
                name: revised.get(name, param)
                if getattr(revised.get(name), 'shape', None) == param.shape
                else param.detach().clone()
                for name, param in module.named_parameters()
            }
            write_parameters(engine, values)

    def optim_state_dict(self) -> dict[str, Any]:
        """The state of the optimizer with whole tensors, as of any strategy.

        All ranks must call it.
        """
        wrapper, engine = self.optim_wrapper, self.engine
        if engine is None or not isinstance(wrapper, DeepSpeedOptimWrapper):
            return super().optim_state_dict()
        state = optimizer_state(engine, wrapper._params())
        return {**_without_state(wrapper), 'state': state}

    def load_optim_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the result of :meth:`optim_state_dict`, of this or another strategy.

        All ranks must call it.
        """
        wrapper, engine = self.optim_wrapper, self.engine
        if engine is None or not isinstance(wrapper, DeepSpeedOptimWrapper):
            super().load_optim_state_dict(state_dict)
            return
        if 'param_groups' in state_dict:
            # torch's own loading checks the groups, and copies their options.
            groups = {'state': {}, 'param_groups': state_dict['param_groups']}
            wrapper.optimizer.load_state_dict(groups)
        if state_dict.get('state'):
            load_optimizer_state(engine, wrapper._params(), state_dict['state'])
        wrapper.load_state_dict(state_dict)

    def load_checkpoint(
        self,
        filename: str,
        *,
        callback: Callable[[Checkpoint], None] | None = None,
        **kwargs: Any,
    ) -> Checkpoint:
        """See :meth:`BaseStrategy.load_checkpoint`.

        A folder is read by the engine to resume. Otherwise its weights are merged from all parts.
        DeepSpeed's files are pickles, which execute code: load folders of your own only.

        Raises:
            ArgumentError: If a folder is resumed by another number of ranks, or with another stage.
        """
        if not is_folder(filename):
            return super().load_checkpoint(filename, callback=callback, **kwargs)
        self.logger.info(f'Load checkpoint from {filename}')
        checkpoint = self.io.read(filename, 'cpu')
        show = callback or self.state.checkpoint_read
        if show is not None:
            show(checkpoint)
        layout = checkpoint.pop('deepspeed')
        if self.state.is_resuming and self.engine is not None:
            load_engine(self.engine, filename, layout)
        else:
            self.load_model_state_dict(weights_in(filename, layout))
        self.state.has_weights = True
        self.state.num_changes += 1
        return checkpoint

    def use_checkpoint_format(self, format: str) -> None:
        """Write a file, or for ``'sharded'`` the folder of the engine."""
        self.checkpoint_format = 'folder' if format == 'sharded' else format
        self._folders.setting = SHARDED if format == 'sharded' else None

    def save_checkpoint(
        self,
        filename: str,
        *,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        extra_ckpt: Checkpoint | None = None,
        callback: Callable[[Checkpoint], None] | None = None,
    ) -> None:
        """Write one file or a folder, as ``checkpoint_format`` says. All ranks must call it."""
        if self.checkpoint_format == 'file' or self.engine is None or not save_optimizer:
            super().save_checkpoint(
                filename,
                save_optimizer=save_optimizer,
                save_param_scheduler=save_param_scheduler,
                extra_ckpt=extra_ckpt,
                callback=callback,
            )
            return
        extra = dict(extra_ckpt or {})
        backend_args = extra.pop('backend_args', None)
        checkpoint: Checkpoint = {'meta': extra.pop('meta', {}), 'state_dict': {}, **extra}
        checkpoint['optimizer'] = _without_state(self.optim_wrapper)
        if save_param_scheduler and self.param_schedulers:
            checkpoint['param_schedulers'] = self.scheduler_state_dict()
        if callback is not None:
            callback(checkpoint)
        readers = ['EMAHook'] if checkpoint.get('ema_state_dict') else []
        self._folders.check_saves(filename, backend_args, readers=readers)
        save_folder(
            self.engine,
            filename,
            checkpoint,
            exclude_frozen_parameters=self.exclude_frozen_parameters,
        )


def _without_state(wrapper: Any) -> dict[str, Any]:
    """The state of the wrapper, and the groups of its optimizer, without the optimizer's state."""
    groups = wrapper.optimizer.state_dict()['param_groups']
    return {'state': {}, 'param_groups': groups, **wrapper.state_dict()}


DEEPSPEED_OPTIMIZERS = register_deepspeed_optimizers()
