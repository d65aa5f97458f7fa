"""What happens before a stage begins: which strategy a run has, and what the strategy prepares."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.dist import is_distributed
from mmengine.dist._data_parallel import get_data_parallel_info
from mmengine.optim import BaseOptimWrapper
from mmengine.optim.optimizer.optimizer_wrapper_dict import wrappers_of
from mmengine.process.session import OwnSteps, Session
from mmengine.registry import STRATEGIES
from mmengine.runner import _build_run
from mmengine.runner._elastic import join_launch, note_launch
from mmengine.runner._elastic_step import align_windows
from mmengine.runner._named_optimizers import check_optimizers
from mmengine.runner._sample_count import count_samples
from mmengine.runner._units import with_unit_of_loop
from mmengine.runner.loops import EpochBasedTrainLoop
from mmengine.runner.utils import _get_batch_size
from mmengine.strategy import BaseStrategy
from mmengine.strategy._schedule_steps import advance_schedulers, flattened
from mmengine.strategy._session_views import SessionViews
from mmengine.strategy._state import are_built

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner.runner import Runner

STRATEGY_NAMES = {
    'single': 'SingleDeviceStrategy',
    'ddp': 'DDPStrategy',
    'fsdp': 'FSDPStrategy',
    'deepspeed': 'DeepSpeedStrategy',
    'colossalai': 'ColossalAIStrategy',  # which says why it cannot train
}
# What they take of the config of a run if it only names them.
_OF_CONFIG = {
    'DDPStrategy': ('model_wrapper', 'sync_bn'),
    'FSDPStrategy': ('model_wrapper', 'sync_bn'),
    'SeparateStrategy': ('model_wrapper', 'sync_bn'),
    'DeepSpeedStrategy': ('sync_bn',),
}


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
    own_steps: OwnSteps | None = None,
) -> dict[str, Any]:
    """Arguments of :class:`BaseStrategy` from the arguments of a runner."""
    name = experiment_name or (Path(cfg.filename).stem if cfg.filename else None)
    environment = _build_run.known_environment(env_cfg)
    _build_run.warn_of_unknown('auto_scale_lr', auto_scale_lr or {})
    if own_steps is not None:
        environment['own_steps'] = own_steps
    return {
        'work_dir': work_dir,
        'experiment_name': name,
        'env_kwargs': {'launcher': launcher, 'randomness': dict(randomness), **environment},
        'log_kwargs': {'log_level': log_level},
        'auto_scale_lr': auto_scale_lr,
    }


def own_steps(runner: Runner, env_cfg: dict[str, Any]) -> OwnSteps | None:
    """The steps of a start that the class of ``runner`` overrides; None if it overrides none."""
    if not any(map(runner._overrides, ('setup_env', 'set_randomness', 'build_logger'))):
        return None

    def begin(session: Session) -> None:
        runner._session = SessionViews.of(session)

    return OwnSteps(
        begin, partial(runner.setup_env, env_cfg), runner.set_randomness, runner.build_logger
    )


def build_strategy(given: Any, cfg: Config, arguments: dict[str, Any]) -> BaseStrategy:
    """The strategy of a run.

    Args:
        given: A strategy, its config for ``STRATEGIES``, or a name: ``'ddp'``, ``'fsdp'``,
            ``'deepspeed'``, ``'single'`` or the name of a class. ``'auto'`` and None are data
            parallel where several processes train, else one device. A dict without ``type`` has a
            strategy for each sub-model, by its name.
        cfg: The config of the run, which may have ``model_wrapper_cfg`` and ``sync_bn``.
        arguments: Of :class:`BaseStrategy`.

    Raises:
        TypeError: If ``given`` has another type.
    """
    if isinstance(given, BaseStrategy):
        return given
    if given is None or given == 'auto':
        is_alone = arguments['env_kwargs']['launcher'] == 'none' and not is_distributed()
        given = 'single' if is_alone else 'ddp'
    uses_config = isinstance(given, str)
    if isinstance(given, str):
        given = {'type': STRATEGY_NAMES.get(given, given)}
    elif isinstance(given, Mapping) and 'type' not in given:
        uses_config, given = True, {'type': 'SeparateStrategy', 'parts': dict(given)}
    if not isinstance(given, Mapping):
        raise TypeError(
            f'A strategy is a BaseStrategy, a dict or a name, got {type(given).__name__}.'
        )
    if uses_config:
        own = {'model_wrapper': cfg.get('model_wrapper_cfg'), 'sync_bn': cfg.get('sync_bn')}
        taken = _OF_CONFIG.get(given['type'], ())
        arguments = {**arguments, **{name: own[name] for name in taken}}
    built: BaseStrategy = STRATEGIES.build(given, default_args=arguments)
    return built


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


def place_model(runner: Runner) -> None:
    """Let the strategy place ``runner.model``, unless it is placed.

    A subclass of Runner that overrides ``wrap_model`` wraps it in its own way.
    """
    state = runner.state
    if runner._overrides('wrap_model') and not state.is_placed:
        wrapped = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), runner.model)
        state.model = state.placed_model = wrapped
    _adopt(runner, runner.strategy.prepare(runner.model))


def prepare_training(runner: Runner) -> None:
    """Let the strategy prepare model, optimizer and schedules.

    The train loop comes first, because schedules depend on its length.
    """
    join_launch(runner)
    state, loop = runner.state, runner.train_loop
    if state.stage == 'train':
        _build_run.write_owed_config(runner)
    if runner._overrides('wrap_model'):
        place_model(runner)
    if state.stage == 'train' and hasattr(loop, 'stop_training'):
        loop.stop_training = False  # an early stop ended the training before this one
    if isinstance(loop, EpochBasedTrainLoop):
        loop._compare_lengths()
    optim_wrapper, schedulers = given = _what_trains(runner)
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
    batch_size = _get_batch_size(loop.dataloader)
    state.batch_size = batch_size * get_data_parallel_info()[1] if batch_size else None
    prepared = runner.strategy.prepare(
        runner.model,
        optim_wrapper=optim_wrapper,
        param_scheduler=with_unit_of_loop(runner, schedulers),
        compile=_compile_options(runner._compile_settings, 'train_step'),
        dispatch_kwargs={
            **_build_run.training_lengths(loop),
            'train_micro_batch_size_per_gpu': state.config_batch_size or batch_size,
        },
    )
    _adopt(runner, prepared)
    if not isinstance(runner.optim_wrapper, BaseOptimWrapper):
        raise RuntimeError(
            f'{type(runner.strategy).__name__}.prepare was given optim_wrapper, but neither '
            'returned an optimizer wrapper after the model nor set self.optim_wrapper.'
        )
    check_optimizers(unwrap_model(runner.model), runner.optim_wrapper)
    _note_configs(runner, *given)
    runner._val_loop = runner.val_loop


def begin_counts(runner: Runner) -> None:
    """Tell the parts of a training that count where it begins, after a checkpoint was loaded."""
    loop = runner.train_loop
    count_samples(runner)
    if runner.state.launch is not None:
        align_windows(runner)
        note_launch(runner)
    runner.optim_wrapper.initialize_count_status(runner.model, loop.iter, loop.max_iters)


def _adopt(runner: Runner, prepared: Any) -> None:
    """Take what a strategy's ``prepare`` returned, in the order of its arguments.

    A ``prepare`` of a user may set the strategy's attributes, return what it made, or both.
    """
    state = runner.state
    parts = list(prepared) if isinstance(prepared, (list, tuple)) else [prepared]
    for name, part in zip(('model', 'optim_wrapper', 'param_schedulers'), parts, strict=False):
        if part is not None and getattr(state, name) is not part:
            setattr(state, name, part)
    if isinstance(parts[0] if parts else None, nn.Module):
        state.placed_model = state.model


def _what_trains(runner: Runner) -> tuple[Any, Any]:
    """The optimizer wrapper and the schedulers, or the configs from which they are to be built.

    Where ``runner.model`` was replaced, an optimizer that was built for the model before is built
    anew, and where the optimizer was replaced, its schedules are.

    Raises:
        RuntimeError: If the optimizer wrapper was given or assigned as an object.
    """
    wrapper, schedulers = runner.optim_wrapper, runner.param_schedulers
    if not isinstance(wrapper, BaseOptimWrapper):
        return wrapper, schedulers
    if not _optimizes(wrapper, runner.model):
        wrapper = _config_of(runner, 'optim_wrapper', [wrapper])
        if wrapper is None:
            raise RuntimeError(
                'runner.model was replaced, but optim_wrapper still has the parameters of the '
                'model before. Assign runner.optim_wrapper too, or give it as a config.'
            )
        runner.logger.info('runner.model was replaced: its optimizer is built.')
        runner.state.is_lr_scaled = False
    if are_built(schedulers) and not _schedule(schedulers, wrapper):
        config = _config_of(runner, 'param_schedulers', flattened(schedulers))
        if config is not None:
            runner.logger.info('The optimizer was replaced: its schedules are built.')
            return wrapper, config
        runner.logger.warning(
            'The optimizer was replaced, but param_schedulers change the one before. Assign '
            'runner.param_schedulers too, or give them as configs.'
        )
    return wrapper, schedulers


@dataclass(frozen=True)
class BuiltFrom:
    """Parts of a run that were built from a config, which can build them anew."""

    parts: list[Any]
    config: Any


def _note_configs(runner: Runner, optim_wrapper: Any, schedulers: Any) -> None:
    """Remember the configs of what was just built; new schedules go to the run's position."""
    if not isinstance(optim_wrapper, BaseOptimWrapper):
        runner._built_from['optim_wrapper'] = BuiltFrom([runner.optim_wrapper], optim_wrapper)
    if schedulers is not None and not are_built(schedulers):
        built = runner.param_schedulers
        runner._built_from['param_schedulers'] = BuiltFrom(flattened(built), schedulers)
        length = runner.state.lengths['epoch_length']
        advance_schedulers(built, runner.epoch, runner.iter, length)


def _config_of(runner: Runner, name: str, parts: list[Any]) -> Any:
    """The config of these objects; None if they were not built from it."""
    known = runner._built_from.get(name)
    if known is None or list(map(id, known.parts)) != list(map(id, parts)):
        return None
    return known.config


def _schedule(schedulers: Any, optim_wrapper: Any) -> bool:
    """Whether all ``schedulers`` change ``optim_wrapper``, as far as they have an optimizer."""
    if not isinstance(optim_wrapper, BaseOptimWrapper):
        return not flattened(schedulers)
    own = {id(group) for wrapper in wrappers_of(optim_wrapper) for group in _groups_of(wrapper)}
    return all(
        any(id(group) in own for group in scheduler.optimizer.param_groups)
        for scheduler in flattened(schedulers)
        if hasattr(getattr(scheduler, 'optimizer', None), 'param_groups')
    )


def _optimizes(optim_wrapper: BaseOptimWrapper, model: nn.Module) -> bool:
    """Whether ``optim_wrapper`` has a parameter of ``model``, or none at all."""
    own = set(map(id, model.parameters()))
    optimized = [
        id(param)
        for wrapper in wrappers_of(optim_wrapper)
        for group in _groups_of(wrapper)
        for param in group['params']
    ]
    return not optimized or any(param in own for param in optimized)


def _groups_of(wrapper: Any) -> list[dict[str, Any]]:
    return getattr(getattr(wrapper, 'optimizer', None), 'param_groups', [])


def _compile_options(settings: Any, target: str) -> dict[str, Any] | bool:
    if not settings:
        return False
    return {'target': target, **(settings if isinstance(settings, Mapping) else {})}
