"""Copies of models for averaging: tensors and structure, without distributed wrappers."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from mmengine._checkpoint.unwrap import is_model_wrapper, unwrap_model
from mmengine.dist import _fully_sharded
from mmengine.dist._fully_sharded import is_fully_sharded
from mmengine.utils.errors import ArgumentError

_HOOKS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks',
          '_state_dict_hooks', '_state_dict_pre_hooks', '_load_state_dict_pre_hooks',
          '_load_state_dict_post_hooks')  # fmt: skip

_OWNERS_OF_HOOKS = (
    'deepspeed.', 'torch.distributed.fsdp.', 'torch.distributed._composable.',
    'mmengine.strategy._sharding', 'mmengine.strategy._gradient_sync', 'mmengine.strategy.fsdp',
)  # fmt: skip

# Attributes for the state of `fully_shard` and similar; they hold process groups, which cannot be
# copied.
_SHARDING_STATE = '__composable_api_state_key'


def copy_model(model: nn.Module) -> nn.Module:
    """A deep copy of the model inside ``model``.

    Distributed wrappers at any depth are not copied. A module changed by ``fully_shard`` is a plain
    module in the copy, with the same ``DTensor`` parameters: each rank holds its part. Methods that
    were compiled on the instance by :func:`torch.compile` are the methods of the class in the copy.

    Raises:
        ArgumentError: If DeepSpeed has split the parameters, or has them in a low precision.
    """
    plain = unwrap_model(model)
    _refuse_split(plain)
    with _as_written(plain) as plain:
        return copy.deepcopy(plain)


def reshard(model: nn.Module) -> None:
    """Make each module changed by ``fully_shard`` use its sharded parameters.

    After a forward pass without a backward pass, some modules still use the gathered parameters,
    and values written to the sharded parameters would have no effect.
    """
    for module in model.modules():
        if is_fully_sharded(module):
            _fully_sharded.reshard(module)


@contextmanager
def _as_written(model: nn.Module) -> Iterator[nn.Module]:
    undo: list[Any] = []
    try:
        for module in list(model.modules()):
            for name, child in list(module._modules.items()):
                if child is not None and is_model_wrapper(child):
                    module._modules[name] = unwrap_model(child)
                    undo.append((module._modules, name, child))
            for name, value in list(module.__dict__.items()):
                if callable(value) and hasattr(value, '_torchdynamo_orig_callable'):
                    del module.__dict__[name]
                    undo.append((module.__dict__, name, value))
            states = [name for name in module.__dict__ if name.startswith(_SHARDING_STATE)]
            undo += [(module.__dict__, name, module.__dict__.pop(name)) for name in states]
            for name in _HOOKS:
                hooks = module.__dict__[name]
                kept = OrderedDict((key, hook) for key, hook in hooks.items() if _is_kept(hook))
                if len(kept) < len(hooks):
                    undo.append((module.__dict__, name, hooks))
                    module.__dict__[name] = kept
            if is_fully_sharded(module):
                sharded = type(module)
                module.__class__ = sharded.__mro__[2]  # after FSDPModule: the original class
                undo.append((module, None, sharded))
        yield model
    finally:
        for owner, name, value in reversed(undo):
            if name is None:
                owner.__class__ = value
            else:
                owner[name] = value


def _is_kept(hook: Any) -> bool:
    """Whether ``hook`` is the user's: others hold an engine, or process groups."""
    called = getattr(hook, 'hook', hook)  # torch wraps the hooks of state dicts
    owner = str(getattr(getattr(called, 'func', called), '__module__', ''))
    return not owner.startswith(_OWNERS_OF_HOOKS)


def _refuse_split(model: nn.Module) -> None:
    for name, param in model.named_parameters():
        is_low = hasattr(param, '_hp_mapping') and param.dtype in (torch.float16, torch.bfloat16)
        if hasattr(param, 'ds_id') or is_low:
            what = 'split by stage 3 of ZeRO' if hasattr(param, 'ds_id') else f'in {param.dtype}'
            raise ArgumentError(
                f'DeepSpeed has the parameter {name} of {type(model).__name__} {what}, so the '
                'model cannot be copied and averaged. Use float32 parameters and stage 0, 1 or 2 '
                "of ZeRO, or strategy='fsdp', which averages the parts."
            )
