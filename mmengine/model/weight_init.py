"""Initial weights: functions for a layer, initialisers for the layers of a model, ``init_cfg``."""

import copy
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmengine.logging import print_log
from mmengine.model._init_record import note
from mmengine.registry import WEIGHT_INITIALIZERS, build_from_cfg
from mmengine.utils.errors import ArgumentError, did_you_mean

Fill = Callable[[Tensor], object]


def update_init_info(module: nn.Module, init_info: str) -> None:
    """Note how those parameters of ``module`` that changed since the last note got their values.

    For an ``init_weights`` that sets values by hand; the note ends up in the log.

    Args:
        module: A part of the model whose ``init_weights`` is running.
        init_info: How, in a few words.

    Raises:
        ArgumentError: If no ``BaseModule.init_weights`` is running over ``module``.
    """
    record = getattr(module, '_params_init_info', None)
    if record is None:
        raise ArgumentError(
            'update_init_info works while BaseModule.init_weights runs over the module, and none '
            f'does over this {type(module).__name__}. Call it inside init_weights, after '
            'super().init_weights().'
        )
    note(record, module, init_info)


def constant_init(module: nn.Module, val: float, bias: float = 0) -> None:
    """Set the weight of a layer to ``val`` and its bias to ``bias``; what it lacks is left out."""
    _fill(module, partial(nn.init.constant_, val=val), bias)


def xavier_init(
    module: nn.Module, gain: float = 1, bias: float = 0, distribution: str = 'normal'
) -> None:
    """Fill a layer's weight by Glorot and Bengio 2010 and its bias with ``bias``.

    Args:
        module: A layer whose weight has at least two dims.
        gain: Scales the weights.
        bias: Value of the bias.
        distribution: ``'normal'`` or ``'uniform'``.
    """
    fills = {'normal': nn.init.xavier_normal_, 'uniform': nn.init.xavier_uniform_}
    _fill(module, partial(_chosen(fills, distribution), gain=gain), bias)


def normal_init(module: nn.Module, mean: float = 0, std: float = 1, bias: float = 0) -> None:
    """Fill a layer's weight from a normal distribution and its bias with ``bias``."""
    _fill(module, partial(nn.init.normal_, mean=mean, std=std), bias)


def trunc_normal_init(
    module: nn.Module, mean: float = 0, std: float = 1, a: float = -2, b: float = 2, bias: float = 0
) -> None:
    """Fill a layer's weight by :func:`trunc_normal_` and its bias with ``bias``."""
    _fill(module, partial(trunc_normal_, mean=mean, std=std, a=a, b=b), bias)


def uniform_init(module: nn.Module, a: float = 0, b: float = 1, bias: float = 0) -> None:
    """Fill a layer's weight evenly from ``[a, b)`` and its bias with ``bias``."""
    _fill(module, partial(nn.init.uniform_, a=a, b=b), bias)


def kaiming_init(
    module: nn.Module,
    a: float = 0,
    mode: str = 'fan_out',
    nonlinearity: str = 'relu',
    bias: float = 0,
    distribution: str = 'normal',
) -> None:
    """Fill a layer's weight by He et al. 2015 and its bias with ``bias``.

    Args:
        module: A layer whose weight has at least two dims.
        a: Negative slope of the leaky ReLU after this layer; used with
            ``nonlinearity='leaky_relu'`` only.
        mode: ``'fan_out'`` keeps the size of gradients, ``'fan_in'`` that of activations.
        nonlinearity: Name of the function after this layer, as in
            :func:`torch.nn.init.calculate_gain`.
        bias: Value of the bias.
        distribution: ``'normal'`` or ``'uniform'``.
    """
    fills = {'normal': nn.init.kaiming_normal_, 'uniform': nn.init.kaiming_uniform_}
    fill = partial(_chosen(fills, distribution), a=a, mode=mode, nonlinearity=nonlinearity)
    _fill(module, fill, bias)


def caffe2_xavier_init(module: nn.Module, bias: float = 0) -> None:
    """Fill a layer's weight like the XavierFill of Caffe2 (uniform, by fan-in), and its bias."""
    kaiming_init(
        module, a=1, mode='fan_in', nonlinearity='leaky_relu', bias=bias, distribution='uniform'
    )


def bias_init_with_prob(prior_prob: float) -> float:
    """The bias that makes a sigmoid output start at ``prior_prob``: its logit (arXiv:1708.02002).

    Example:
        >>> bias_init_with_prob(0.5)
        0.0
    """
    if not 0 < prior_prob < 1:
        raise ArgumentError(f'A prior probability lies between 0 and 1, got {prior_prob}.')
    return math.log(prior_prob) - math.log1p(-prior_prob)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> Tensor:
    r"""Fill ``tensor`` in place from the normal distribution cut to ``[a, b]``.

    One uniform number makes one value, :math:`\mu + \sigma \Phi^{-1}(u)`, so the same seed gives
    the same values on every version of torch.

    Args:
        tensor: Any shape and floating dtype.
        mean: Mean of the distribution before it is cut.
        std: Standard deviation of the distribution before it is cut.
        a: Smallest value.
        b: Largest value.

    Returns:
        ``tensor``.
    """
    return _no_grad_trunc_normal_(tensor, mean, std, a, b)


@torch.no_grad()
def _no_grad_trunc_normal_(tensor: Tensor, mean: float, std: float, a: float, b: float) -> Tensor:
    if not a - 2 * std <= mean <= b + 2 * std:
        print_log(
            f'trunc_normal_: the mean {mean} is more than 2 std away from [{a}, {b}], so the '
            'values pile up at one end.',
            logger='current',
            level='WARNING',
        )
    # erf, not the distribution function, is uniform below: it is what torch can invert.
    lowest, highest = (math.erf((end - mean) / (std * math.sqrt(2.0))) for end in (a, b))
    quantile = tensor.uniform_(lowest, highest).erfinv_()
    return quantile.mul_(std * math.sqrt(2.0)).add_(mean).clamp_(min=a, max=b)


def _fill(module: nn.Module, fill_weight: Fill, bias: float) -> None:
    weight, own_bias = getattr(module, 'weight', None), getattr(module, 'bias', None)
    if weight is not None:
        fill_weight(weight)
    if own_bias is not None:
        nn.init.constant_(own_bias, bias)


def _chosen(fills: Mapping[str, Callable[..., object]], distribution: str) -> Callable[..., object]:
    if distribution not in fills:
        raise ArgumentError(f'distribution has to be one of {list(fills)}, got {distribution!r}.')
    return fills[distribution]


def _get_bases_name(m: nn.Module) -> list[str]:
    return [base.__name__ for base in type(m).__bases__]


class BaseInit:
    """Base of the initialisers: which layers are meant, and what their bias becomes.

    A layer is meant when its class, or a direct base of it, has a name in ``layer``.

    Args:
        bias: Value of the bias.
        bias_prob: Sets the bias to :func:`bias_init_with_prob` of this instead.
        layer: Name of a class or a list of names. Without any, only an ``override`` in the config
            initialises something.

    Raises:
        TypeError: If a value is of another type.
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
            raise TypeError(f'bias has to be a number, got {type(bias).__name__}.')
        if bias_prob is not None and not isinstance(bias_prob, float):
            raise TypeError(
                f'bias_prob has to be a float between 0 and 1, got {type(bias_prob).__name__}.'
            )
        self.bias = bias if bias_prob is None else bias_init_with_prob(bias_prob)
        self.layer = _as_names(layer)

    def __call__(self, module: nn.Module) -> None:
        """Initialise those layers of ``module`` that are meant, innermost first.

        All of them are when ``wholemodule`` is set.
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
        raise NotImplementedError(f'{type(self).__name__} has to define __call__(module).')

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
        raise TypeError(f'layer has to be the name of a class or a list of names, got {layer!r}.')
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
    """Loads the weights of a module from a checkpoint; what does not fit is reported and skipped.

    Args:
        checkpoint: Path or URL.
        prefix: Load only the part of the checkpoint under this name, such as ``'backbone'``.
        map_location: Where the checkpoint's tensors go first, as in :func:`torch.load`.
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
    """Whether ``cfg`` loads weights rather than drawing them."""
    kind = cfg.get('type') if isinstance(cfg, Mapping) else None
    return kind == 'Pretrained' or (isinstance(kind, type) and issubclass(kind, PretrainedInit))


def initialize(module: nn.Module, init_cfg: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Initialise ``module`` as ``init_cfg`` says.

    ``layer`` names classes of layers; ``override`` (a config or a list of them, each with the
    ``name`` of an attribute of ``module``) then initialises whole sub-modules, by an initialiser of
    its own or, with ``name`` alone, by the one around it.

    Args:
        module: Changed in place.
        init_cfg: A config in ``WEIGHT_INITIALIZERS``, or a list of them, applied in order. Not
            changed.

    Raises:
        TypeError: If a config is no dict.
        ValueError: If an override lacks its name, or has settings but no type.
        RuntimeError: If an override names an attribute that ``module`` lacks.

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
                'init_cfg has to be a dict with `type`, or a list of such dicts, got '
                f'{type(cfg).__name__}.'
            )
        own_cfg = dict(cfg)
        override = own_cfg.pop('override', None)
        _initialize(module, own_cfg)
        if override is not None:
            # A config without layers means that only the overridden parts get this initialiser.
            own_cfg.pop('layer', None)
            _initialize_override(module, override, own_cfg)


def _initialize(module: nn.Module, cfg: Mapping[str, Any], wholemodule: bool = False) -> None:
    initializer = build_from_cfg(copy.deepcopy(dict(cfg)), WEIGHT_INITIALIZERS)
    initializer.wholemodule = wholemodule
    initializer(module)


def _initialize_override(module: nn.Module, override: Any, cfg: Mapping[str, Any]) -> None:
    if not isinstance(override, (Mapping, list, tuple)):
        raise TypeError(
            'override has to be a dict with `name`, or a list of such dicts, got '
            f'{type(override).__name__}.'
        )
    for entry in [override] if isinstance(override, Mapping) else override:
        settings = dict(entry)
        name = settings.pop('name', None)
        if name is None:
            raise ValueError(
                f'An override needs the `name` of the sub-module it initialises, got {settings}.'
            )
        if not hasattr(module, name):
            near = did_you_mean(name, (child for child, _ in module.named_children()))
            raise RuntimeError(
                f'override names {name!r}, which {type(module).__name__} does not have.{near}'
            )
        if settings and 'type' not in settings:
            raise ValueError(
                f'The override of {name!r} has settings of its own ({settings}), so it needs a '
                '`type` too; give it its initialiser, or only its name to take over '
                f'{cfg.get("type")!r}.'
            )
        _initialize(getattr(module, name), settings or cfg, wholemodule=True)
