"""Functions that prepare a model: building, initialisation, sync batch norm and wrapping."""

import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmengine._checkpoint.dtensor import whole_parameters
from mmengine._checkpoint.unwrap import is_model_wrapper, unwrap_model
from mmengine.dist import broadcast, is_distributed
from mmengine.logging import print_log
from mmengine.model.utils import convert_sync_batchnorm, revert_sync_batchnorm
from mmengine.model.wrappers import MMDistributedDataParallel
from mmengine.registry import MODEL_WRAPPERS, MODELS
from mmengine.utils.errors import ArgumentError, short_form


def build_model(cfg_or_module: Mapping[str, Any] | nn.Module) -> nn.Module:
    """Build a model from a config in ``MODELS``; a module is returned unchanged.

    Of a module that :func:`torch.compile` has wrapped, the module inside is returned, whose calls
    are compiled with the options of the wrapper. The steps of a model call the module itself, so
    they would not call the wrapper.

    Raises:
        TypeError: If the argument is neither a module nor a config of a module.
    """
    model = MODELS.build(cfg_or_module) if isinstance(cfg_or_module, Mapping) else cfg_or_module
    if not isinstance(model, nn.Module):
        raise TypeError(
            'model must be a torch.nn.Module or a config (dict with `type`) of one, got '
            f'{short_form(model)}.'
        )
    return _with_compiled_calls(model)


def _with_compiled_calls(model: nn.Module) -> nn.Module:
    # torch imports this module, which takes a second, when something is compiled.
    eval_frame: Any = sys.modules.get('torch._dynamo.eval_frame')
    if eval_frame is None or not isinstance(model, eval_frame.OptimizedModule):
        return model
    wrapper: Any = model
    inner: nn.Module = wrapper._orig_mod
    # As `inner.compile(...)` does it: keys of the state dict stay as they are.
    inner._compiled_call_impl = wrapper.dynamo_ctx(inner._call_impl)
    return inner


def init_model_weights(model: nn.Module) -> None:
    """Call ``init_weights`` of the model, then copy the weights of rank 0 to all ranks.

    All ranks must call this, because their random numbers may differ. Sharded parameters
    (``DTensor``) are gathered first, so that they get the same values as in one process.
    """
    inner = unwrap_model(model)
    if not callable(init_weights := getattr(inner, 'init_weights', None)):
        return
    with whole_parameters(inner):
        init_weights()
        if is_distributed():
            for tensor in inner.state_dict().values():
                if isinstance(tensor, torch.Tensor):
                    broadcast(tensor)


def convert_model_sync_bn(model: nn.Module, sync_bn: str | None) -> nn.Module:
    """Convert the batch norm layers for the number of ranks.

    Args:
        model: Changed in place.
        sync_bn: ``'torch'`` or ``'mmcv'``: convert to layers that share statistics among the ranks.
            None keeps the layers. With a single process every synchronised layer is converted to a
            plain layer, which also runs on a CPU.
    """
    if not is_distributed():
        return revert_sync_batchnorm(model)
    return model if sync_bn is None else convert_sync_batchnorm(model, sync_bn)


def wrap_model(
    model: nn.Module,
    model_wrapper_cfg: Mapping[str, Any] | str | type | None = None,
    *,
    find_unused_parameters: bool = False,
    broadcast_buffers: bool = False,
    device: str | torch.device | None = None,
) -> nn.Module:
    """Wrap ``model`` if there are several ranks or ``model_wrapper_cfg`` is given.

    All ranks must call this. DDP wrappers need a process group: without a process group the model
    is not wrapped, and a warning is logged.

    Args:
        model: The model; a model that is already wrapped is returned unchanged.
        model_wrapper_cfg: None for :class:`MMDistributedDataParallel`; or the name of a wrapper in
            ``MODEL_WRAPPERS``, its config (with ``type`` a name or a class), or its class.
        find_unused_parameters: Passed to DDP wrappers whose config does not set it.
        broadcast_buffers: Passed to DDP wrappers whose config does not set it.
        device: Device to which the model is moved first; None does not move it.

    Raises:
        TypeError: If ``model_wrapper_cfg`` has another type.
        KeyError: If ``MODEL_WRAPPERS`` does not contain the name.
    """
    if device is not None:
        model = model.to(device)
    if is_model_wrapper(model):
        return model
    if model_wrapper_cfg is None and not is_distributed():
        return model
    settings = _as_settings(model_wrapper_cfg)
    wrapper = _wrapper_class(settings.pop('type'))
    if issubclass(wrapper, DistributedDataParallel):
        if not is_distributed():
            print_log(
                f'There is one process only, so the model is not wrapped in {wrapper.__name__}.',
                logger='current',
                level='WARNING',
            )
            return model
        settings.setdefault('find_unused_parameters', find_unused_parameters)
        settings.setdefault('broadcast_buffers', broadcast_buffers)
        if issubclass(wrapper, MMDistributedDataParallel):
            settings = {**_device_ids(model), **settings}
    return MODEL_WRAPPERS.build(dict(type=wrapper, module=model, **settings))


def _as_settings(model_wrapper_cfg: Mapping[str, Any] | str | type | None) -> dict[str, Any]:
    """Convert any form of ``model_wrapper_cfg`` to a config with ``type``."""
    if isinstance(model_wrapper_cfg, Mapping):
        return {'type': MMDistributedDataParallel, **model_wrapper_cfg}
    if model_wrapper_cfg is None:
        return {'type': MMDistributedDataParallel}
    if isinstance(model_wrapper_cfg, (str, type)):
        return {'type': model_wrapper_cfg}
    raise TypeError(
        'model_wrapper_cfg must be the name of a wrapper, such as '
        "'MMSeparateDistributedDataParallel', its config or its class, got "
        f'{type(model_wrapper_cfg).__name__}.'
    )


def _wrapper_class(kind: str | type) -> type:
    if isinstance(kind, type):
        return kind
    with MODEL_WRAPPERS.switch_scope_and_registry(None) as registry:
        found = registry.get(kind)
    if found is None:
        # The registry raises an error that lists similar names.
        MODEL_WRAPPERS.build({'type': kind})
    if not isinstance(found, type):
        raise ArgumentError(
            f'{kind!r} is a {type(found).__name__} in MODEL_WRAPPERS, but a wrapper must be a '
            'class.'
        )
    return found


def _device_ids(model: nn.Module) -> dict[str, Any]:
    """DDP's ``device_ids`` for a model on one accelerator; empty for a model in host memory."""
    parameter = next(model.parameters(), None)
    if parameter is None or parameter.device.index is None or parameter.device.type == 'cpu':
        return {}
    return {'device_ids': [parameter.device.index]}
