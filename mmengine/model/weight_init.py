"""Weight initialisation: functions for layers, initialisers for models, and ``init_cfg``."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from mmengine.logging import print_log
from mmengine.model._fills import (
    _no_grad_trunc_normal_,
    bias_init_with_prob,
    caffe2_xavier_init,
    constant_init,
    kaiming_init,
    normal_init,
    trunc_normal_,
    trunc_normal_init,
    uniform_init,
    xavier_init,
)
from mmengine.model._init_record import note
from mmengine.registry import WEIGHT_INITIALIZERS, build_from_cfg
from mmengine.utils.errors import ArgumentError, did_you_mean

Fill = Callable[[Tensor], object]


__all__ = [
    'BaseInit',
    'Caffe2XavierInit',
    'ConstantInit',
    'KaimingInit',
    'NormalInit',
    'PretrainedInit',
    'TruncNormalInit',
    'UniformInit',
    'XavierInit',
    '_as_names',
    '_get_bases_name',
    '_initialize',
    '_initialize_override',
    '_no_grad_trunc_normal_',
    'bias_init_with_prob',
    'caffe2_xavier_init',
    'constant_init',
    'initialize',
    'is_pretrained',
    'kaiming_init',
    'normal_init',
    'trunc_normal_',
    'trunc_normal_init',
    'uniform_init',
    'update_init_info',
    'xavier_init',
]


def update_init_info(module: nn.Module, init_info: str) -> None:
    """Record how the parameters of ``module`` that changed since the last call were initialised.

    Call this in an ``init_weights`` that sets values itself; the text is written to the log.

    Args:
        module: A part of the model whose ``init_weights`` is running.
        init_info: Short description of the initialisation.

    Raises:
        ArgumentError: If no ``BaseModule.init_weights`` is running over ``module``.
    """
    record = getattr(module, '_params_init_info', None)
    if record is None:
        raise ArgumentError(
            'update_init_info works only while BaseModule.init_weights of the module runs, which '
            f'is not the case for this {type(module).__name__}. Call it inside init_weights, after '
            'super().init_weights().'
        )
    note(record, module, init_info)


def _get_bases_name(m: nn.Module) -> list[str]:
    return [base.__name__ for base in type(m).__bases__]


class BaseInit:
    """Base class of the initialisers: selects the layers and sets their bias.

    A layer is selected if ``layer`` contains the name of its class or of a direct base class.

    Args:
        bias: Value of the bias.
        bias_prob: Set the bias to :func:`bias_init_with_prob` of this value instead.
        layer: Name of a class or a list of names. If None, only an ``override`` in the config
            initialises layers.

    Raises:
        TypeError: If an argument has a wrong type.
    """

    def __init__(
        self,
        *,
        bias: float = 0,
        bias_prob: float | None = None,
        layer: str | list[str] | None = None,
    ) -> None:
        self.wholemodule = False
        if not isinstance(bias, (int, float)):
            raise TypeError(f'bias must be a number, got {type(bias).__name__}.')
        if bias_prob is not None and not isinstance(bias_prob, float):
            raise TypeError(
                f'bias_prob must be a float between 0 and 1, got {type(bias_prob).__name__}.'
            )
        self.bias = bias if bias_prob is None else bias_init_with_prob(bias_prob)
        self.layer = _as_names(layer)

    def __call__(self, module: nn.Module) -> None:
        """Initialise the selected layers of ``module``, innermost first.

        All layers are selected if ``wholemodule`` is set.
        """
        module.apply(self._init_if_meant)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, self._get_init_info())

    def _init_if_meant(self, layer: nn.Module) -> None:
        if self.wholemodule or not self._names_of(layer).isdisjoint(self.layer):
            self._init_layer(layer)

    @staticmethod
    def _names_of(layer: nn.Module) -> set[str]:
        return {type(layer).__name__, *_get_bases_name(layer)}

    def _init_layer(self, layer: nn.Module) -> None:
        raise NotImplementedError(f'{type(self).__name__} must define __call__(module).')

    def _get_init_info(self) -> str:
        settings = {
            name: value
            for name, value in vars(self).items()
            if name not in ('wholemodule', 'layer', 'bias')
        }
        shown = ', '.join(
            f'{name}={value}' for name, value in [*settings.items(), ('bias', self.bias)]
        )
        return f'{type(self).__name__}: {shown}'


def _as_names(layer: Any) -> list[str]:
    names = [] if layer is None else [layer] if isinstance(layer, str) else layer
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise TypeError(f'layer must be the name of a class or a list of names, got {layer!r}.')
    return list(names)


@WEIGHT_INITIALIZERS.register_module(name='Constant')
class ConstantInit(BaseInit):
    """:func:`constant_init` for the layers of a model; see :class:`BaseInit` too."""

    def __init__(self, val: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.val = val

    def _init_layer(self, layer: nn.Module) -> None:
        constant_init(layer, self.val, self.bias)


@WEIGHT_INITIALIZERS.register_module(name='Xavier')
class XavierInit(BaseInit):
    """:func:`xavier_init` for the layers of a model; see :class:`BaseInit` too."""

    def __init__(self, gain: float = 1, distribution: str = 'normal', **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gain = gain
        self.distribution = distribution

    def _init_layer(self, layer: nn.Module) -> None:
        xavier_init(layer, self.gain, self.bias, self.distribution)


@WEIGHT_INITIALIZERS.register_module(name='Normal')
class NormalInit(BaseInit):
    """:func:`normal_init` for the layers of a model; see :class:`BaseInit` too."""

    def __init__(self, mean: float = 0, std: float = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mean = mean
        self.std = std

    def _init_layer(self, layer: nn.Module) -> None:
        normal_init(layer, self.mean, self.std, self.bias)


@WEIGHT_INITIALIZERS.register_module(name='TruncNormal')
class TruncNormalInit(BaseInit):
    """:func:`trunc_normal_init` for the layers of a model; see :class:`BaseInit` too."""

    def __init__(
        self, mean: float = 0, std: float = 1, a: float = -2, b: float = 2, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.mean = mean
        self.std = std
        self.a = a
        self.b = b

    def _init_layer(self, layer: nn.Module) -> None:
        trunc_normal_init(layer, self.mean, self.std, self.a, self.b, self.bias)


@WEIGHT_INITIALIZERS.register_module(name='Uniform')
class UniformInit(BaseInit):
    """:func:`uniform_init` for the layers of a model; see :class:`BaseInit` too."""

    def __init__(self, a: float = 0, b: float = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.a = a
        self.b = b

    def _init_layer(self, layer: nn.Module) -> None:
        uniform_init(layer, self.a, self.b, self.bias)


@WEIGHT_INITIALIZERS.register_module(name='Kaiming')
class KaimingInit(BaseInit):
    """:func:`kaiming_init` for the layers of a model; see :class:`BaseInit` too."""

    def __init__(
        self,
        a: float = 0,
        mode: str = 'fan_out',
        nonlinearity: str = 'relu',
        distribution: str = 'normal',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.a = a
        self.mode = mode
        self.nonlinearity = nonlinearity
        self.distribution = distribution

    def _init_layer(self, layer: nn.Module) -> None:
        kaiming_init(layer, self.a, self.mode, self.nonlinearity, self.bias, self.distribution)


@WEIGHT_INITIALIZERS.register_module(name='Caffe2Xavier')
class Caffe2XavierInit(KaimingInit):
    """:func:`caffe2_xavier_init` for the layers of a model; arguments as in :class:`BaseInit`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            a=1, mode='fan_in', nonlinearity='leaky_relu', distribution='uniform', **kwargs
        )


@WEIGHT_INITIALIZERS.register_module(name='Pretrained')
class PretrainedInit:
    """Loads the weights of a module from a checkpoint; tensors that do not match are skipped.

    Skipped tensors are reported in the log.

    Args:
        checkpoint: Path or URL.
        prefix: Load only the part of the checkpoint with this prefix, such as ``'backbone'``.
        map_location: Device of the loaded tensors, as in :func:`torch.load`.
    """

    def __init__(
        self, checkpoint: str, prefix: str | None = None, map_location: Any = 'cpu'
    ) -> None:
        self.checkpoint = checkpoint
        self.prefix = prefix
        self.map_location = map_location

    def __call__(self, module: nn.Module) -> None:
        from mmengine._checkpoint.loader import _load_checkpoint_with_prefix, load_checkpoint
        from mmengine._checkpoint.state_dict import load_state_dict

        part = '' if self.prefix is None else f'{self.prefix} of '
        print_log(f'Loading {part}{self.checkpoint} into {type(module).__name__}', logger='current')
        if self.prefix is None:
            load_checkpoint(
                module,
                self.checkpoint,
                map_location=self.map_location,
                strict=False,
                logger='current',
            )
        else:
            weights = _load_checkpoint_with_prefix(
                self.prefix, self.checkpoint, map_location=self.map_location
            )
            load_state_dict(module, weights, strict=False, logger='current')
        if hasattr(module, '_params_init_info'):
            update_init_info(module, self._get_init_info())

    def _get_init_info(self) -> str:
        return f'{type(self).__name__}: loaded from {self.checkpoint}'


def is_pretrained(cfg: Any) -> bool:
    """Whether ``cfg`` loads pretrained weights."""
    kind = cfg.get('type') if isinstance(cfg, Mapping) else None
    return kind == 'Pretrained' or (isinstance(kind, type) and issubclass(kind, PretrainedInit))


def initialize(module: nn.Module, init_cfg: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Initialise ``module`` by the config ``init_cfg``.

    ``layer`` selects layers by class name. Then ``override`` initialises whole sub-modules: it is a
    config or a list of configs, each with the ``name`` of an attribute of ``module``. With ``type``
    an override uses its own initialiser; with ``name`` only it uses the surrounding config.

    Args:
        module: Changed in place.
        init_cfg: A config in ``WEIGHT_INITIALIZERS``, or a list of them, applied in order. Not
            changed.

    Raises:
        TypeError: If a config is not a dict.
        ValueError: If an override has no name, or has settings but no type.
        RuntimeError: If the name in an override is not an attribute of ``module``.

    Example:
        >>> head = nn.ModuleDict({'conv': nn.Conv2d(3, 3, 1), 'cls': nn.Linear(3, 1)})
        >>> initialize(head, dict(type='Constant', val=1, layer='Conv2d',
        ...                      override=dict(type='Constant', name='cls', val=2)))
        >>> head['conv'].weight.mean().item(), head['cls'].weight.mean().item()
        (1.0, 2.0)
    """
    for cfg in init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]:
        if not isinstance(cfg, Mapping):
            raise TypeError(
                'init_cfg must be a dict with `type`, or a list of such dicts, got '
                f'{type(cfg).__name__}.'
            )
        own_cfg = dict(cfg)
        override = own_cfg.pop('override', None)
        _initialize(module, own_cfg)
        if override is not None:
            # Without layers in the config, only the overridden parts use this initialiser.
            own_cfg.pop('layer', None)
            _initialize_override(module, override, own_cfg)


def _initialize(module: nn.Module, cfg: Mapping[str, Any], wholemodule: bool = False) -> None:
    initializer = build_from_cfg(copy.deepcopy(dict(cfg)), WEIGHT_INITIALIZERS)
    initializer.wholemodule = wholemodule
    initializer(module)


def _initialize_override(module: nn.Module, override: Any, cfg: Mapping[str, Any]) -> None:
    if not isinstance(override, (Mapping, list, tuple)):
        raise TypeError(
            'override must be a dict with `name`, or a list of such dicts, got '
            f'{type(override).__name__}.'
        )
    for entry in [override] if isinstance(override, Mapping) else override:
        settings = dict(entry)
        name = settings.pop('name', None)
        if name is None:
            raise ValueError(f'An override needs the `name` of a sub-module, got {settings}.')
        if not hasattr(module, name):
            near = did_you_mean(name, (child for child, _ in module.named_children()))
            raise RuntimeError(
                f'override has name={name!r}, but {type(module).__name__} has no such attribute.'
                f'{near}'
            )
        if settings and 'type' not in settings:
            raise ValueError(
                f'The override of {name!r} has settings ({settings}), so it needs a '
                '`type` too; give it its initialiser, or only its name to take over '
                f'{cfg.get("type")!r}.'
            )
        _initialize(getattr(module, name), settings or cfg, wholemodule=True)
