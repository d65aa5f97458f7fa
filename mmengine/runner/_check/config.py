"""check_config: all mistakes of the config of a run, before anything is built."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn

from mmengine.config import Config, ConfigDict
from mmengine.process.env import check_launcher, worker_settings
from mmengine.process.session import remote_work_dir
from mmengine.process.signals import Preempt
from mmengine.process.watchdog import WatchdogSettings
from mmengine.registry import (
    HOOKS,
    LOG_PROCESSORS,
    MODEL_WRAPPERS,
    MODELS,
    RUNNERS,
    STRATEGIES,
    VISUALIZERS,
    DefaultScope,
)
from mmengine.registry._signature import taken_by
from mmengine.runner._arguments import (
    TRIOS,
    argument_names,
    check_given_together,
    check_scheduler,
)
from mmengine.runner._check.building import check_building
from mmengine.runner._check.data import ask, check_checkpoint, check_data, check_number
from mmengine.runner._check.mistakes import ConfigMistake, Findings, refuse_certain
from mmengine.runner._check.needs import check_needs
from mmengine.runner._check.options import check_options
from mmengine.runner._check.parts import Parts, is_of, nearest, raw_get, raw_items
from mmengine.runner._check.training import (
    check_evaluation_loop,
    check_optim_wrapper,
    check_schedules,
    check_train_loop,
)
from mmengine.runner._config_keys import (
    CLOSED,
    PLACES,
    unknown_entries,
    without_effect,
    wrong_keys,
)
from mmengine.runner._hook_list import default_hooks
from mmengine.runner._preparing import STRATEGY_NAMES
from mmengine.runner._units import default_hook_configs
from mmengine.runner._unsuited import without_step
from mmengine.runner._values import misfits_of_run
from mmengine.runner.priority import get_priority
from mmengine.runner.runner import Runner
from mmengine.strategy import BaseStrategy
from mmengine.strategy._checkpoint_settings import CheckpointSettings
from mmengine.strategy._resume_request import parse_resume
from mmengine.utils.errors import ArgumentError, did_you_mean

_SYNC_BN = ('torch', 'mmcv')
_STAGES = {'train': ('train', 'val'), 'val': ('val',), 'test': ('test',)}
LEVELS = ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL', 'NOTSET')


def check_config(
    cfg: Config | ConfigDict | dict[str, Any],
    stage: str | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    build_model: bool = False,
) -> list[ConfigMistake]:
    """All mistakes of the config of a run, found without building its data.

    Types exist, arguments fit the signatures, top-level keys are known, the parts of a stage are
    given together, numbers are in range, and files are there. Keys that the code of a project may
    read itself, such as those that a model takes out of a part before building it, are not judged.

    Args:
        cfg: The config. Its ``custom_imports`` must be imported.
        stage: 'train', 'val' or 'test' checks what that stage builds; None checks all.
        options: Values that were merged into ``cfg`` from the command line, by dotted path.
        build_model: Also build the model, on the meta device: without memory for its parameters.

    Returns:
        The mistakes, in the order of the file. Those with ``is_certain=False`` may have a meaning
        for a project.

    Raises:
        ArgumentError: If ``stage`` is unknown.
    """
    if stage is not None and stage not in _STAGES:
        raise ArgumentError(f'stage is one of {", ".join(_STAGES)} or None, got {stage!r}.')
    whole = cfg if isinstance(cfg, Config) else Config(cfg)
    findings = Findings(whole, options or {})
    with _scope_of(whole):
        check_options(options or {}, findings)
        _Check(whole, findings, _STAGES.get(stage or '', tuple(_STAGES))).run()
        if build_model:
            check_building(whole, findings)
    return sorted(findings.mistakes, key=_position)


def refuse_mistakes(
    cfg: Config, stage: str | None = None, *, options: Mapping[str, Any] | None = None
) -> None:
    """Raise an error that has all certain mistakes of ``cfg``; see :func:`check_config`.

    Raises:
        ConfigMistakesError: If there are any.
    """
    refuse_certain(check_config(cfg, stage, options=options))


@contextlib.contextmanager
def _scope_of(cfg: Config) -> Iterator[None]:
    scope = raw_get(cfg, 'default_scope')
    with DefaultScope.overwrite_default_scope(scope if isinstance(scope, str) else None):
        yield


def _position(mistake: ConfigMistake) -> tuple[str, int]:
    file, _, line = (mistake.place or '').rpartition(':')
    return (file, int(line)) if line.isdigit() else ('', 0)


class _Check:
    """The check of one config for some stages."""

    def __init__(self, cfg: Config, findings: Findings, stages: tuple[str, ...]) -> None:
        self._cfg = cfg
        self._findings = findings
        self._stages = stages
        self._parts = Parts(findings)
        kind = raw_get(cfg, 'runner_type') or 'Runner'
        self._runner = self._parts.resolve(kind, RUNNERS)

    def run(self) -> None:
        """Check everything that the class of the runner builds in the usual way."""
        runner = self._runner
        if runner is None:
            kind = str(raw_get(self._cfg, 'runner_type'))
            near = did_you_mean(kind, RUNNERS.module_dict, limit=1)
            self._findings.add(
                '', f'runner_type {kind!r} is not registered.{near}', key='runner_type'
            )
            return
        if not (isinstance(runner, type) and issubclass(runner, Runner)):
            return  # it reads its config in its own way
        self._check_keys()
        self._check_values()
        self._check_trios()
        self._check_settings()
        self._check_model()
        self._check_stages()
        self._check_hooks()
        self._check_around()
        if 'train' in self._stages:
            check_needs(self._cfg, self._parts, self._findings)

    def _builds(self, *names: str) -> bool:
        """Whether the runner builds in the usual way: it overrides none of these methods."""
        return all(getattr(self._runner, name) is getattr(Runner, name) for name in names)

    def _get(self, key: str) -> Any:
        return raw_get(self._cfg, key)

    # Keys

    def _check_keys(self) -> None:
        cfg, findings = self._cfg, self._findings
        for wrong in wrong_keys(cfg, argument_names(self._runner, Runner)):
            findings.add('', wrong.message, key=wrong.key, is_certain=wrong.is_certain)
        for key, message in without_effect(cfg).items():
            findings.add('', message, key=key, is_certain=False)
        if self._get('model') is None:
            near = did_you_mean('model', (str(key) for key in cfg), limit=1)
            findings.add('', f'the config has no model, which a run cannot do without.{near}')
        for name in ('auto_scale_lr', 'env_cfg', 'randomness'):
            given = self._get(name)
            entries = given if isinstance(given, Mapping) else {}
            for key, message in unknown_entries(name, entries).items():
                is_certain = key in PLACES or nearest(key, CLOSED[name]) is not None
                findings.add('', message, key=f'{name}.{key}', is_certain=is_certain)

    def _check_values(self) -> None:
        present = {str(key): value for key, value in raw_items(self._cfg)}
        for found in misfits_of_run(present, Runner.__init__):
            self._findings.add_once(found.path, found.message, key=found.key)

    def _check_trios(self) -> None:
        for title, names in TRIOS.values():
            try:
                check_given_together(title, **{name: self._get(name) for name in names})
            except ArgumentError as error:
                given = next(name for name in names if self._get(name) is not None)
                self._findings.add('', str(error), key=given)
        try:
            check_scheduler(self._get('param_scheduler'), self._get('optim_wrapper'))
        except (ArgumentError, TypeError) as error:
            self._findings.add_once('', str(error), key='param_scheduler')

    def _check_settings(self) -> None:
        """Check the small settings by the functions that read them."""
        self._ask('launcher', check_launcher)
        self._ask('resume', parse_resume)
        self._ask('preempt', Preempt.of)
        self._ask('watchdog', WatchdogSettings.of)
        self._ask('checkpoint', CheckpointSettings.of)
        workers = raw_get(self._get('env_cfg') or {}, 'mp_cfg')
        if isinstance(workers, Mapping):
            ask(workers, 'env_cfg.mp_cfg', worker_settings, self._findings)
        level = self._get('log_level')
        if level is not None and (isinstance(level, bool) or not isinstance(level, (str, int))):
            self._findings.add(
                '', f'log_level is a name or an integer, got {level!r}.', key='log_level'
            )
        elif isinstance(level, str) and level.upper() not in LEVELS:
            near = did_you_mean(level, LEVELS, limit=1)
            self._findings.add('log_level', f'there is no log level {level!r}.{near}')
        work_dir = self._get('work_dir')
        if isinstance(work_dir, str) and '://' in work_dir:
            self._findings.add('', remote_work_dir(work_dir), key='work_dir')
        scaling = self._get('auto_scale_lr')
        if isinstance(scaling, Mapping) and raw_get(scaling, 'enable'):
            size = raw_get(scaling, 'base_batch_size')
            check_number(self._findings, 'auto_scale_lr', 'base_batch_size', size, 1)
        resume = self._get('resume')
        if not resume:
            check_checkpoint(self._get('load_from'), 'load_from', self._findings)
        elif resume != 'auto':
            check_checkpoint(resume, 'resume', self._findings)

    def _ask(self, key: str, read: Callable[[Any], Any]) -> None:
        value = self._get(key)
        if value is not None:
            ask(value, key, read, self._findings)

    # Parts

    def _check_model(self) -> None:
        if not self._builds('build_model'):
            return
        model = self._get('model')
        given = ('data_preprocessor',) if self._get('data_preprocessor') is not None else ()
        if model == []:
            self._findings.add('', 'model is an empty list.', key='model')
        for index, one in enumerate(model if isinstance(model, list) else [model]):
            path = f'model.{index}' if isinstance(model, list) else 'model'
            kind = self._parts.check(one, path, MODELS, given=given)
            self._check_steps(kind, path)
        preprocessor = self._get('data_preprocessor')
        if isinstance(preprocessor, Mapping) and 'type' in preprocessor:
            self._parts.check(preprocessor, 'data_preprocessor', MODELS, is_exact=False)

    def _check_steps(self, kind: Any, path: str) -> None:
        """Check that the stock train loop can train the model; another loop may need less."""
        loop = self._get('train_cfg')
        is_stock = isinstance(loop, Mapping) and 'type' not in loop
        if not (isinstance(kind, type) and issubclass(kind, nn.Module)) or not is_stock:
            return
        if 'train' in self._stages and not hasattr(kind, 'train_step'):
            self._findings.add(path, without_step(kind, 'train'), key='type')

    def _check_stages(self) -> None:
        cfg, parts, findings = self._cfg, self._parts, self._findings
        for stage in self._stages:
            if any(self._get(name) is None for name in TRIOS[stage][1]):
                continue  # nothing to build, or already told
            if self._builds('build_dataloader', 'build_evaluator'):
                check_data(cfg, stage, parts, findings)
            if stage == 'train' and self._builds('build_train_loop'):
                check_train_loop(self._get('train_cfg'), parts, findings)
            elif stage != 'train' and self._builds(f'build_{stage}_loop'):
                check_evaluation_loop(self._get(f'{stage}_cfg'), stage, parts)
        if 'train' not in self._stages:
            return
        if self._builds('build_optim_wrapper'):
            check_optim_wrapper(self._get('optim_wrapper'), 'optim_wrapper', parts, findings)
        if self._builds('build_param_scheduler') and self._get('optim_wrapper') is not None:
            check_schedules(cfg, parts, findings)

    def _check_hooks(self) -> None:
        if not self._builds('register_hooks', 'register_default_hooks', 'register_hook'):
            return
        changes = self._get('default_hooks')
        if isinstance(changes, Mapping):
            self._check_default_hooks(changes)
        custom = self._get('custom_hooks')
        for index, hook in enumerate(custom if isinstance(custom, (list, tuple)) else ()):
            self._check_hook(hook, f'custom_hooks.{index}')

    def _check_default_hooks(self, changes: Mapping[str, Any]) -> None:
        defaults = default_hook_configs(self._get('train_cfg'), changes)
        for key, hook in raw_items(changes):
            if isinstance(hook, Mapping) and 'type' not in hook and key not in defaults:
                try:
                    default_hooks({key: hook}, defaults)
                except ValueError as error:
                    near = did_you_mean(str(key), defaults, limit=1)
                    self._findings.add('', f'{error}{near}', key=f'default_hooks.{key}')
                continue
            kind = defaults[key]['type'] if key in defaults else None
            self._check_hook(hook, f'default_hooks.{key}', kind)

    def _check_hook(self, hook: Any, path: str, default_type: str | None = None) -> None:
        kind = self._parts.check(hook, path, HOOKS, default_type=default_type, extra=('priority',))
        priority = raw_get(hook, 'priority') if isinstance(hook, Mapping) else None
        if priority is not None:
            ask(priority, path, get_priority, self._findings, key='priority')
        built = None
        if is_of(kind, 'mmengine.hooks'):
            built = self._parts.construct(hook, path, kind, priority=...)
        average = getattr(built, 'ema_cfg', None)
        if average is not None:
            kind = self._parts.check(average, path, MODELS, given=('model',))
            if is_of(kind, 'mmengine.model'):
                self._parts.construct(average, path, kind, model=nn.Linear(1, 1))

    def _check_around(self) -> None:
        """Check the visualizer, the log processor and the strategy."""
        given = ('name', 'save_dir')
        if self._builds('build_visualizer'):
            visualizer = self._get('visualizer')
            self._parts.check(
                visualizer, 'visualizer', VISUALIZERS, default_type='Visualizer', given=given
            )
        if self._builds('build_log_processor'):
            processor = self._get('log_processor')
            kind = self._parts.check(
                processor, 'log_processor', LOG_PROCESSORS, default_type='LogProcessor'
            )
            if is_of(kind, 'mmengine.runner'):
                self._parts.construct(processor, 'log_processor', kind)
        self._check_strategy(self._get('strategy'), 'strategy')
        sync_bn = self._get('sync_bn')
        if isinstance(sync_bn, str) and sync_bn not in _SYNC_BN:
            message = f"sync_bn is 'torch' or 'mmcv', got {sync_bn!r}."
            self._findings.add('', message, key='sync_bn')
        wrapper = self._get('model_wrapper_cfg')
        if isinstance(wrapper, str):
            self._parts.check(
                {'type': wrapper}, 'model_wrapper_cfg', MODEL_WRAPPERS, is_exact=False
            )

    def _check_strategy(self, strategy: Any, path: str) -> None:
        if isinstance(strategy, str):
            known = {'auto', *STRATEGY_NAMES}
            if strategy not in known and self._parts.resolve(strategy, STRATEGIES) is None:
                near = did_you_mean(strategy, {*known, *STRATEGIES.module_dict}, limit=1)
                self._findings.add(path, f'there is no strategy {strategy!r}.{near}')
        elif isinstance(strategy, Mapping) and 'type' in strategy:
            of_runner = taken_by(BaseStrategy).parameters
            self._parts.check(strategy, path, STRATEGIES, given=of_runner)
        elif isinstance(strategy, Mapping):
            for name, one in raw_items(strategy):
                self._check_strategy(one, f'{path}.{name}')
