"""MMFullyShardedDataParallel: runs the steps of BaseModel through torch's FSDP.

Importing this module imports ``torch.distributed.fsdp``, which takes most of a second, so
:mod:`mmengine.model` imports it when the class is first used.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import (
    BackwardPrefetch,
    CPUOffload,
    FullyShardedDataParallel,
    MixedPrecision,
    ShardingStrategy,
    wrap,
)

from mmengine.model.base_model.base_model import forward_batch
from mmengine.model.wrappers._forward_redirect import forward_through
from mmengine.model.wrappers.utils import this_rank_device
from mmengine.registry import FUNCTIONS, MODEL_WRAPPERS
from mmengine.utils.errors import ArgumentError, did_you_mean

if TYPE_CHECKING:
    from mmengine.optim import OptimWrapper

Batch = dict[str, Any] | tuple[Any, ...] | list[Any]
E = TypeVar('E', bound=Enum)


@MODEL_WRAPPERS.register_module()
class MMFullyShardedDataParallel(FullyShardedDataParallel):
    """Trains a :class:`BaseModel` whose parameters, gradients and optimizer state are sharded.

    Each rank keeps a part of every parameter; forward and backward passes gather one unit after the
    other. Therefore every rank must construct the wrapper and run every step, including validation
    and test. The training step is ``train_step`` of the model, as in
    :class:`MMDistributedDataParallel`.

    Build the optimizer from the parameters of this wrapper, after wrapping. Clip gradients with
    ``clip_grad_norm_`` of this wrapper, because an optimizer wrapper sees only the parts of its
    rank.

    All arguments can be set in config files: enumeration members by name, dtypes as ``'bfloat16'``,
    functions by their name in ``FUNCTIONS`` or ``torch.distributed.fsdp.wrap``, or by import path.

    Args:
        module: A :class:`BaseModel`.
        process_group: The ranks that share the model; None means all ranks.
        sharding_strategy: A ``ShardingStrategy`` or its name; None means ``'FULL_SHARD'``.
        cpu_offload: Keep the parts in host memory between uses.
        auto_wrap_policy: Selects the sub-modules that become separate units: a function, its name,
            or ``dict(type=..., **arguments)``. None makes the model one unit.
        backward_prefetch: A ``BackwardPrefetch`` or its name; None means torch's default.
        mixed_precision: A ``MixedPrecision`` or a dict of its arguments.
        param_init_fn: A function that initialises modules on the meta device, its name, or
            ``dict(type=..., **arguments)``.
        use_orig_params: Keep the parameters under their original names; needed if parameter groups
            or frozen parameters differ inside a unit.
        **kwargs: Other arguments of ``torch.distributed.fsdp.FullyShardedDataParallel``. The
            default of ``device_id`` is the device of this rank.

    Raises:
        TypeError: If an argument has a wrong type.
        ArgumentError: If a name is unknown.
    """

    def __init__(
        self,
        module: nn.Module,
        process_group: Any = None,
        sharding_strategy: str | ShardingStrategy | None = None,
        cpu_offload: bool | CPUOffload | None = None,
        auto_wrap_policy: str | Callable[..., Any] | dict[str, Any] | None = None,
        backward_prefetch: str | BackwardPrefetch | None = None,
        mixed_precision: dict[str, Any] | MixedPrecision | None = None,
        param_init_fn: str | Callable[[nn.Module], None] | dict[str, Any] | None = None,
        use_orig_params: bool = True,
        **kwargs: Any,
    ) -> None:
        optional: dict[str, Any] = {}
        if backward_prefetch is not None:
            optional['backward_prefetch'] = _member(
                BackwardPrefetch, backward_prefetch, 'backward_prefetch'
            )
        super().__init__(
            module=module,
            process_group=process_group,
            sharding_strategy=None
            if sharding_strategy is None
            else _member(ShardingStrategy, sharding_strategy, 'sharding_strategy'),
            cpu_offload=_offload(cpu_offload),
            auto_wrap_policy=_function(auto_wrap_policy, 'auto_wrap_policy'),
            mixed_precision=_precision(mixed_precision),
            param_init_fn=_function(param_init_fn, 'param_init_fn'),
            use_orig_params=use_orig_params,
            **{'device_id': this_rank_device(), **optional, **kwargs},
        )

    def train_step(self, data: Batch, optim_wrapper: 'OptimWrapper') -> dict[str, Tensor]:
        """Run the training step of the model on the batch of this rank."""
        model: Any = self.module
        with forward_through(self, model):
            return model.train_step(data, optim_wrapper=optim_wrapper)  # type: ignore[no-any-return]  # a BaseModel

    def val_step(self, data: Batch) -> list[Any]:
        """The predictions for one validation batch. All ranks must call it the same number of
        times."""
        return self._predict(data)

    def test_step(self, data: Batch) -> list[Any]:
        """The predictions for one test batch. All ranks must call it the same number of times."""
        return self._predict(data)

    def _predict(self, data: Batch) -> list[Any]:
        model: Any = self.module
        return self._run_forward(model.data_preprocessor(data, False), mode='predict')  # type: ignore[no-any-return]  # the user's forward

    def _run_forward(self, data: Batch, mode: str) -> Any:
        # Call this wrapper, not the model: the wrapper gathers the parameters.
        return forward_batch(self, data, mode)


def _member(kind: type[E], value: Any, argument: str) -> E:
    if isinstance(value, kind):
        return value
    if not isinstance(value, str):
        raise TypeError(
            f'{argument} should be a {kind.__name__} or its name, got {type(value).__name__}.'
        )
    if value not in kind.__members__:
        raise ArgumentError(
            f'{argument} should be one of {list(kind.__members__)}, got {value!r}.'
            + did_you_mean(value, kind.__members__)
        )
    return kind[value]


def _offload(value: Any) -> CPUOffload | None:
    if value is None or isinstance(value, CPUOffload):
        return value
    if isinstance(value, bool):
        return CPUOffload(offload_params=value)
    raise TypeError(f'cpu_offload should be a bool or a CPUOffload, got {type(value).__name__}.')


def _precision(value: Any) -> MixedPrecision | None:
    if value is None or isinstance(value, MixedPrecision):
        return value
    if not isinstance(value, Mapping):
        raise TypeError(
            f'mixed_precision should be a dict or a MixedPrecision, got {type(value).__name__}.'
        )
    return MixedPrecision(
        **{
            name: _dtype(entry) if name.endswith('_dtype') else entry
            for name, entry in value.items()
        }
    )


def _dtype(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    dtype = getattr(torch, value.removeprefix('torch.'), None)
    if not isinstance(dtype, torch.dtype):
        raise ArgumentError(
            f"{value!r} is not a dtype of torch; use 'float16' or 'bfloat16', for example."
        )
    return dtype


def _function(value: Any, argument: str) -> Any:
    if value is None or callable(value):
        return value
    if isinstance(value, str):
        return _named(value, argument)
    if not isinstance(value, Mapping):
        raise TypeError(
            f'{argument} should be a function, its name or dict(type=...), '
            f'got {type(value).__name__}.'
        )
    arguments = dict(value)
    if 'type' not in arguments:
        raise ArgumentError(f"{argument} as a dict needs the key 'type', got {sorted(arguments)}.")
    function = arguments.pop('type')
    if isinstance(function, str):
        function = _named(function, argument)
    return partial(function, **arguments) if arguments else function


def _named(name: str, argument: str) -> Any:
    found = FUNCTIONS.get(name) or getattr(wrap, name, None)
    if not callable(found):
        raise ArgumentError(
            f'{argument} {name!r} is neither in FUNCTIONS nor in torch.distributed.fsdp.wrap.'
            + did_you_mean(name, [*FUNCTIONS.module_dict, *wrap.__all__])
        )
    return found
