"""Builders of what surrounds the data: hub, visualizer, log processor, wrapper and schedules."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mmengine._checkpoint.unwrap import is_model_wrapper
from mmengine.config import Config, placed
from mmengine.dataset._dataloader import num_batches
from mmengine.logging import MessageHub, print_log
from mmengine.optim import BaseOptimWrapper
from mmengine.registry import LOG_PROCESSORS, VISUALIZERS
from mmengine.runner._config_keys import CLOSED, unknown_entries
from mmengine.runner._sample_count import samples_of_training
from mmengine.runner.log_processor import LogProcessor
from mmengine.runner.utils import _get_batch_size
from mmengine.strategy import BaseStrategy
from mmengine.strategy._state import UNKNOWN, are_built
from mmengine.utils.errors import WrongMomentError
from mmengine.visualization import Visualizer


def known_environment(env_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of ``env_cfg`` that are set; warns about one without a meaning."""
    warn_of_unknown('env_cfg', env_cfg)
    return {name: env_cfg[name] for name in CLOSED['env_cfg'] if env_cfg.get(name) is not None}


def warn_of_unknown(name: str, given: Mapping[str, Any]) -> None:
    """Warn of the keys of a dict of the config that mean nothing there."""
    for message in unknown_entries(name, given).values():
        print_log(message, logger='current', level=logging.WARNING)


def build_message_hub(settings: Mapping[str, Any] | None, name: str) -> MessageHub:
    """The message hub called ``name``, unless ``settings`` has another name.

    Raises:
        TypeError: If ``settings`` is not a dict.
    """
    if settings is not None and not isinstance(settings, Mapping):
        raise TypeError(f'message_hub is a dict or None, got {type(settings).__name__}.')
    return MessageHub.get_instance(**{'name': name, **(settings or {})})


def build_visualizer(
    visualizer: Visualizer | Mapping[str, Any] | None, name: str, save_dir: str
) -> Visualizer:
    """A visualizer from its config, or the given one; None writes scalars to local files.

    Raises:
        TypeError: If it is something else.
    """
    if isinstance(visualizer, Visualizer):
        return visualizer
    if visualizer is not None and not isinstance(visualizer, Mapping):
        raise TypeError(
            f'A visualizer is a Visualizer, a dict or None, got {type(visualizer).__name__}.'
        )
    if visualizer is None:
        visualizer = {'vis_backends': [{'type': 'LocalVisBackend'}]}
    built: Visualizer = VISUALIZERS.build(
        placed(visualizer, type='Visualizer'),
        default_args={'name': name, 'save_dir': save_dir},
    )
    return built


def build_log_processor(log_processor: LogProcessor | Mapping[str, Any]) -> LogProcessor:
    """A log processor from its config, or the given one.

    Raises:
        TypeError: If it is something else.
    """
    if isinstance(log_processor, LogProcessor):
        return log_processor
    if not isinstance(log_processor, Mapping):
        raise TypeError(
            f'A log processor is a LogProcessor or a dict, got {type(log_processor).__name__}.'
        )
    built: LogProcessor = LOG_PROCESSORS.build(placed(log_processor, type='LogProcessor'))
    return built


def wrap_model(strategy: BaseStrategy, model: nn.Module, model_wrapper_cfg: Any) -> nn.Module:
    """``model`` as ``strategy`` places it; the run's own model stays what it is."""
    if is_model_wrapper(model):
        return model
    return strategy.wrap_model(
        strategy.convert_model(model), model_wrapper_cfg, strategy.find_unused_parameters
    )


def training_lengths(train_loop: Any) -> dict[str, int | None]:
    """Batches of an epoch, and epochs, iterations and samples of the training, where known.

    Schedules may refer to them.
    """
    max_iters = getattr(train_loop, 'max_iters', None)
    if max_iters == UNKNOWN:
        max_iters = None
    return {
        'epoch_length': num_batches(train_loop.dataloader),
        'max_epochs': getattr(train_loop, 'max_epochs', None),
        'max_iters': max_iters,
        'max_samples': samples_of_training(train_loop.dataloader, max_iters),
    }


def build_param_scheduler(
    strategy: BaseStrategy, scheduler: Any, optim_wrapper: Any, train_loop: Any
) -> list[Any] | dict[str, list[Any]]:
    """Schedulers of ``optim_wrapper``; their ``end`` defaults to the end of training.

    Raises:
        WrongMomentError: If the optimizer is not built yet.
    """
    if not isinstance(optim_wrapper, BaseOptimWrapper):
        raise WrongMomentError(
            'Schedulers change an optimizer that is built: call build_optim_wrapper first.'
        )
    return strategy.build_param_scheduler(scheduler, optim_wrapper, training_lengths(train_loop))


def scale_lr(
    strategy: BaseStrategy,
    optim_wrapper: BaseOptimWrapper,
    settings: dict[str, Any] | None,
    dataloader: Any,
    schedulers: Any,
) -> None:
    """Let ``strategy`` scale learning rates as ``settings`` say.

    Raises:
        RuntimeError: If schedulers are built already.
    """
    if not settings or not settings.get('enable', False):
        return
    check_not_built(schedulers)
    strategy.auto_scale_lr = settings
    strategy.scale_lr(optim_wrapper, _get_batch_size(dataloader))


def check_not_built(schedulers: Any) -> None:
    """Learning rates are scaled before schedulers are built.

    Raises:
        RuntimeError: If a scheduler is built already.
    """
    if schedulers and are_built(schedulers):
        raise RuntimeError(
            'Learning rates must be scaled before schedulers are built, because schedulers start '
            'from the present learning rates. Pass param_scheduler as configs, or scale each '
            'learning rate yourself.'
        )


def write_first_config(runner: Any) -> None:
    """Let a new runner write its config, unless its work dir has one: a training replaces it."""
    source = runner.cfg.filename
    runner._owes_config = bool(source) and Path(runner.work_dir, Path(source).name).exists()
    if not runner._owes_config:
        runner.dump_config()


def write_owed_config(runner: Any) -> None:
    """Write the config at the start of a training, unless the new runner has written it."""
    if getattr(runner, '_owes_config', False):
        runner._owes_config = False
        runner.dump_config()


def write_config(cfg: Config, work_dir: str, timestamp: str) -> None:
    """Write ``cfg`` to ``work_dir``, under its own file name if it has one.

    A file that is the source of the config stays as it is, with its comments and base files.
    """
    source = cfg.filename
    target = Path(work_dir, Path(source).name if source else f'{timestamp}.py')
    if source and target.exists() and target.samefile(source):
        return
    cfg.dump(str(target))
