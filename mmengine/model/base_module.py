"""BaseModule and its containers: modules with a config for their weight initialisation."""

import copy
from abc import ABCMeta
from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.logging import print_log
from mmengine.model._init_record import ATTRIBUTE, InitRecord, Record, log_record
from mmengine.model.weight_init import initialize, is_pretrained, update_init_info

InitCfg = dict[str, Any] | list[dict[str, Any]] | None


class BaseModule(nn.Module, metaclass=ABCMeta):
    """A module that can initialise its weights from a config.

    ``init_weights()`` of the outermost module is called once before training. Each module then goes
    through three stages:

    1. Its ``init_cfg`` is applied, except for pretrained weights.
    2. ``init_weights()`` of each direct child that has this method is called, also inside a
       distributed wrapper: the config of a child overrides the config of its parent. A child whose
       ``is_init`` is True, because its parent has loaded its weights, is skipped.
    3. The pretrained weights in its ``init_cfg`` are loaded: they override the weights of all
       children.

    Args:
        init_cfg: The config of an initialiser or a list of configs, see :func:`initialize`. Copied.
    """

    _params_init_info: Record

    def __init__(self, init_cfg: InitCfg = None) -> None:
        super().__init__()
        self._carry(init_cfg)

    def _carry(self, init_cfg: InitCfg) -> None:
        self._is_init = False
        self.init_cfg = copy.deepcopy(init_cfg)

    @property
    def is_init(self) -> bool:
        """Whether ``init_weights`` has run. Set it to True to keep the weights as they are."""
        return self._is_init

    @is_init.setter
    def is_init(self, value: bool) -> None:
        self._is_init = value

    def init_weights(self) -> None:
        """Initialise the weights of this module and its children; a second call only warns.

        The outermost call logs how each parameter was initialised.
        """
        if ATTRIBUTE in self.__dict__:
            self._init_in_order()
            return
        record = InitRecord(self)
        try:
            self._init_in_order()
            self._dump_init_info()
        finally:
            record.close()

    # An init_weights that fills _params_init_info by itself calls this one, or overrides it.
    def _dump_init_info(self) -> None:
        """Log how each parameter got its values, as ``_params_init_info`` has it."""
        log_record(self, self._params_init_info)

    def _init_in_order(self) -> None:
        if self._is_init:
            print_log(
                f'init_weights of {type(self).__name__} was called again; the weights do not '
                'change.',
                logger='current',
                level='WARNING',
            )
            return
        for cfg in _own_stage(self.init_cfg, pretrained=False):
            initialize(self, cfg)
        for wrapped in self.children():
            child = unwrap_model(wrapped)
            if getattr(child, 'is_init', False):
                continue
            if callable(init_weights := getattr(child, 'init_weights', None)):
                init_weights()
                update_init_info(child, f'set by init_weights of {type(child).__name__}')
        for cfg in _own_stage(self.init_cfg, pretrained=True):
            initialize(self, cfg)
        self._is_init = True

    def __repr__(self) -> str:
        text = super().__repr__()
        return f'{text}\ninit_cfg={self.init_cfg}' if self.init_cfg else text


def _own_stage(init_cfg: InitCfg, *, pretrained: bool) -> Iterator[Any]:
    """The configs to apply before the children (``pretrained=False``) or after the children."""
    if not init_cfg:
        return
    for cfg in init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]:
        if is_pretrained(cfg) is pretrained:
            yield cfg


class Sequential(BaseModule, nn.Sequential):
    """:class:`torch.nn.Sequential` with an ``init_cfg``."""

    def __init__(self, *args: Any, init_cfg: InitCfg = None) -> None:
        nn.Sequential.__init__(self, *args)
        self._carry(init_cfg)


class ModuleList(BaseModule, nn.ModuleList):
    """:class:`torch.nn.ModuleList` with an ``init_cfg``."""

    def __init__(
        self, modules: Iterable[nn.Module] | None = None, init_cfg: InitCfg = None
    ) -> None:
        nn.ModuleList.__init__(self, modules)
        self._carry(init_cfg)


class ModuleDict(BaseModule, nn.ModuleDict):
    """:class:`torch.nn.ModuleDict` with an ``init_cfg``."""

    def __init__(self, modules: Any = None, init_cfg: InitCfg = None) -> None:
        nn.ModuleDict.__init__(self, modules)
        self._carry(init_cfg)
