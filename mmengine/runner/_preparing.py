"""What happens before a stage begins: which strategy a run has, and what the strategy prepares."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from mmengine.dist import is_distributed
from mmengine.optim import BaseOptimWrapper
from mmengine.optim.optimizer.optimizer_wrapper_dict import wrappers_of
from mmengine.runner import _build_run
from mmengine.runner.utils import _get_batch_size
from mmengine.strategy import BaseStrategy, DDPStrategy, SingleDeviceStrategy

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner.runner import Runner


def strategy_arguments(
    cfg: Config,
    *,
    work_dir: str,
    experiment_name: str | None,
    launcher: str,
    randomness: Mapping[str, Any],
    env_cfg: Mapping[str, Any],
    log_level: str,
    auto_scale_lr: dict[str, Any] | None,
) -> dict[str, Any]:
    """Arguments of :class:`BaseStrategy` from the arguments of a runner."""
    name = experiment_name or (Path(cfg.filename).stem if cfg.filename else None)
    environment = _build_run.known_environment(env_cfg)
    return {
        'work_dir': work_dir,
        'experiment_name': name,
        'env_kwargs': {'launcher': launcher, 'randomness': dict(randomness), **environment},
        'log_kwargs': {'log_level': log_level},
        'auto_scale_lr': auto_scale_lr,
    }


def default_strategy(cfg: Config, arguments: dict[str, Any]) -> BaseStrategy:
    """Data parallel where several processes train, else one device."""
    if arguments['env_kwargs']['launcher'] == 'none' and not is_distributed():
        return SingleDeviceStrategy(**arguments)
    return DDPStrategy(
        model_wrapper=cfg.get('model_wrapper_cfg'), sync_bn=cfg.get('sync_bn'), **arguments
    )


def with_preprocessor(runner: Runner, model: Any, data_preprocessor: Any) -> Any:
    """The config of a model with ``data_preprocessor`` in it; a finished model has its own."""
    if isinstance(model, Mapping):
        model = copy.copy(model)
        model.setdefault('data_preprocessor', data_preprocessor)
    else:
        runner.logger.warning(
            f'data_preprocessor is left out: the model is a finished {type(model).__name__}, '
            'which has its own.'
        )
    return model


def prepare_training(runner: Runner) -> None:
    """Let the strategy prepare model, optimizer and schedules.

    The train loop comes first, because schedules depend on its length.
    """
    state, loop = runner.state, runner.train_loop
    optim_wrapper, schedulers = _what_trains(runner)
    if not state.is_lr_scaled and (runner.auto_scale_lr or {}).get('enable'):
        _build_run.check_not_built(schedulers)
    own = ('build_optim_wrapper', 'scale_lr', 'build_param_scheduler')
    if any(runner._overrides(name) for name in own):
        # A subclass builds in its own way; the strategy takes what is built as it is.
        optim_wrapper = runner.optim_wrapper = runner.build_optim_wrapper(optim_wrapper)
        if not state.is_lr_scaled:
            runner.scale_lr(optim_wrapper, runner.auto_scale_lr)
            state.is_lr_scaled = True
        if schedulers is not None:
            schedulers = runner.build_param_scheduler(schedulers)
    runner.strategy.prepare(
        runner.model,
        optim_wrapper=optim_wrapper,
        param_scheduler=schedulers,
        compile=_compile_options(runner._compile_settings, 'train_step'),
        dispatch_kwargs={
            **_build_run.training_lengths(loop),
            'train_micro_batch_size_per_gpu': _get_batch_size(loop.dataloader),
        },
    )
    runner._val_loop = runner.val_loop


def _what_trains(runner: Runner) -> tuple[Any, Any]:
    """The optimizer wrapper and the schedulers, or their configs.

    Where ``runner.model`` was replaced, those that were built for the model before are built anew.

    Raises:
        RuntimeError: If they were given as objects, which cannot be built anew.
    """
    wrapper, schedulers = runner.optim_wrapper, runner.param_schedulers
    if not isinstance(wrapper, BaseOptimWrapper) or _optimizes(wrapper, runner.model):
        return wrapper, schedulers
    given = runner._given_optim_wrapper
    if isinstance(given, BaseOptimWrapper):
        raise RuntimeError(
            'runner.model was replaced, but optim_wrapper still has the parameters of the model '
            'before. Assign runner.optim_wrapper too, or give it as a config.'
        )
    runner.logger.info('runner.model was replaced: its optimizer and schedules are built.')
    runner.state.is_lr_scaled = False
    return given, runner._given_param_scheduler


def _optimizes(optim_wrapper: BaseOptimWrapper, model: nn.Module) -> bool:
    """Whether ``optim_wrapper`` has a parameter of ``model``, or none at all."""
    own = set(map(id, model.parameters()))
    optimized = [
        id(param)
        for wrapper in wrappers_of(optim_wrapper)
        for group in getattr(getattr(wrapper, 'optimizer', None), 'param_groups', [])
        for param in group['params']
    ]
    return not optimized or any(param in own for param in optimized)


def _compile_options(settings: Any, target: str) -> dict[str, Any] | bool:
    if not settings:
        return False
    return {'target': target, **(settings if isinstance(settings, Mapping) else {})}
