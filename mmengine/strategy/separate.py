"""SeparateStrategy: a separate strategy for each sub-model, such as a generator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from torch import nn

from mmengine.device import get_device
from mmengine.dist import broadcast
from mmengine.dist._dtensor import is_dtensor
from mmengine.model._build import wrap_model
from mmengine.model.wrappers import MMDistributedDataParallel, MMSeparateDistributedDataParallel
from mmengine.optim import BaseOptimWrapper
from mmengine.optim.optimizer.optimizer_wrapper_dict import wrappers_of
from mmengine.registry import STRATEGIES
from mmengine.strategy._blocks import find_blocks
from mmengine.strategy._device_mesh import build_mesh
from mmengine.strategy._gradient_sync import GradientSync
from mmengine.strategy._mixed_precision import dtype_of_optimizer
from mmengine.strategy._parts import PartPlan, find_parts, read_parts
from mmengine.strategy._recomputing import recompute_activations
from mmengine.strategy._sharding import shard_model
from mmengine.strategy.fsdp import FSDPStrategy
from mmengine.utils.errors import ArgumentError


@STRATEGIES.register_module()
class SeparateStrategy(FSDPStrategy):
    """A strategy for each sub-model: ``strategy=dict(generator='fsdp', discriminator='ddp')``.

    The model is in a :class:`~mmengine.model.MMSeparateDistributedDataParallel`, which runs its
    ``train_step``; calls such as ``self.generator(...)`` in it gather or synchronise that sub-model
    only. A sub-model with trainable parameters that is not named is data parallel.

    Args:
        parts: By name of a sub-model ``'ddp'``, ``'fsdp'``, or a dict with one of them as ``type``
            and its arguments: any of :class:`MMDistributedDataParallel`, or ``blocks``,
            ``reshard_after_forward``, ``cpu_offload``, ``mixed_precision``, ``mesh``,
            ``activation_checkpointing`` and ``model_wrapper`` of :class:`FSDPStrategy`.
        model_wrapper: ``MMSeparateDistributedDataParallel`` or a config of it, whose
            arguments count for all sub-models that are data parallel.
        **kwargs: Arguments of :class:`DDPStrategy`.

    Raises:
        ArgumentError: If an argument has a wrong value.
    """

    def __init__(
        self, *, parts: Mapping[str, Any], model_wrapper: Any = None, **kwargs: Any
    ) -> None:
        self._plans = read_parts(parts)
        super().__init__(**kwargs)
        self.model_wrapper = _checked_wrapper(model_wrapper)

    def wrap_model(
        self,
        model: nn.Module,
        model_wrapper_cfg: Any = None,
        find_unused_parameters: bool | None = None,
    ) -> nn.Module:
        """Place each sub-model of ``model``, and wrap the model."""
        device = get_device()
        parts = find_parts(model, self._plans)
        if not self.distributed:
            for name, plan in self._plans.items():
                blocks = find_blocks(parts[name], plan.sharding.blocks)
                recompute_activations(parts[name], blocks, plan.activation_checkpointing)
                self._blocks += blocks or [parts[name]]
            return model.to(device)
        if find_unused_parameters is None:
            find_unused_parameters = self.find_unused_parameters
        for name, plan in self._plans.items():
            if plan.kind == 'fsdp':
                self._shard(parts[name], plan, device)
            else:
                options = {**_options_of(self.model_wrapper), **plan.options}
                options.setdefault('find_unused_parameters', find_unused_parameters)
                wrapper = {'type': MMDistributedDataParallel, **options}
                model._modules[name] = _wrapped(parts[name], wrapper, device)
                self._blocks.append(parts[name])
        wrapped = wrap_model(
            model, self.model_wrapper, find_unused_parameters=find_unused_parameters
        )
        self._sync = GradientSync(wrapped)
        kinds = ', '.join(f'{name} {plan.kind}' for name, plan in self._plans.items())
        self.logger.info(f'Each sub-model has its own strategy: {kinds}.')
        return wrapped

    def _shard(self, part: nn.Module, plan: PartPlan, device: str) -> None:
        for tensor in (*part.parameters(), *part.buffers()):
            broadcast(tensor.detach())
        mesh = build_mesh(device, plan.mesh, self.world_size)
        dtype = dtype_of_optimizer(self._optimizer_to_come, device)
        blocks = shard_model(part, plan.sharding, mesh, dtype)
        recompute_activations(part, blocks, plan.activation_checkpointing)
        self._blocks += blocks or [part]

    def build_optim_wrapper(
        self, optim_wrapper: Any, model: nn.Module | None = None
    ) -> BaseOptimWrapper:
        """See :meth:`BaseStrategy.build_optim_wrapper`.

        An optimizer of sub-models of both kinds updates one parameter after the other, because
        torch cannot update sharded and whole tensors in one call.

        Raises:
            ArgumentError: If such an optimizer is fused or scales its loss.
        """
        built = super().build_optim_wrapper(optim_wrapper, model)
        for wrapper in wrappers_of(built):
            groups = getattr(getattr(wrapper, 'optimizer', None), 'param_groups', [])
            kinds = {is_dtensor(param) for group in groups for param in group['params']}
            if len(kinds) < 2:
                continue
            _check_updates_both(wrapper)
            for group in groups:
                if 'foreach' in group and group['foreach'] is None:
                    group['foreach'] = False
        return built

    # What an optimizer wrapper calls

    def no_sync(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Context in which no sub-model exchanges gradients."""
        placed = self.state.model
        if self._sync is None or not isinstance(placed, MMSeparateDistributedDataParallel):
            return super().no_sync(model)
        return _both(placed.no_sync(), self._sync.paused())

    def average_gradients(self, model: nn.Module, param_groups: list[dict[str, Any]]) -> bool:
        """Average the gradients that backward passes under :meth:`no_sync` have kept."""
        if self._sync is not None:
            self._sync.exchange()
        placed = self.state.model
        whole = [
            {'params': [param for param in group['params'] if not is_dtensor(param)]}
            for group in param_groups
        ]
        return self._gradients.average_gradients(model if placed is None else placed, whole)


@contextmanager
def _both(
    first: AbstractContextManager[Any], second: AbstractContextManager[Any]
) -> Iterator[None]:
    with first, second:
        yield


def _wrapped(part: nn.Module, wrapper: dict[str, Any], device: str) -> nn.Module:
    """``part`` in ``wrapper``; only on its device if it has nothing to train."""
    if not any(param.requires_grad for param in part.parameters()):
        return part.to(device)
    return wrap_model(part, wrapper, device=device)


def _check_updates_both(wrapper: Any) -> None:
    """Raise if ``wrapper`` would need one call of torch for sharded and whole tensors."""
    scaler = getattr(wrapper, 'loss_scaler', None)
    what = None
    if scaler is not None and scaler.is_enabled():
        what = 'scales its loss'
    elif any(
        group.get('fused') or group.get('foreach') for group in wrapper.optimizer.param_groups
    ):
        what = 'is fused or foreach'
    if what is not None:
        raise ArgumentError(
            f'An optimizer {what}, which torch does not support for sub-models of which some are '
            'sharded (fsdp) and some are whole (ddp). Give each sub-model its own optimizer, as in '
            'optim_wrapper=dict(generator=dict(...), discriminator=dict(...)).'
        )


def _checked_wrapper(model_wrapper: Any) -> dict[str, Any]:
    if model_wrapper is None:
        return {'type': MMSeparateDistributedDataParallel}
    arguments = dict(model_wrapper) if isinstance(model_wrapper, Mapping) else {}
    kind = arguments.get('type') if isinstance(model_wrapper, Mapping) else model_wrapper
    name = getattr(kind, '__name__', kind)
    if not isinstance(name, str) or name.rpartition('.')[2] != 'MMSeparateDistributedDataParallel':
        raise ArgumentError(
            'A strategy for each sub-model wraps the model in MMSeparateDistributedDataParallel; '
            f'model_wrapper can only hold arguments of it, got {name!r}.'
        )
    return {**arguments, 'type': MMSeparateDistributedDataParallel}


def _options_of(wrapper: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in wrapper.items() if key != 'type'}
