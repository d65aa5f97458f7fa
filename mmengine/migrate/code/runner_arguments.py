"""What a legacy runner was told, as the arguments of Runner."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import libcst as cst

from mmengine.migrate.code._nodes import code, dotted, entry, expression, keys, keyword
from mmengine.migrate.code._source import Source
from mmengine.migrate.code.hook_objects import as_config
from mmengine.migrate.code.optimizer_arguments import wrapper_argument
from mmengine.migrate.config.notes import Notes
from mmengine.migrate.config.schedules.conversion import (
    COUNTS_ITERATIONS_BY_DEFAULT,
    Length,
    convert_schedule,
)
from mmengine.migrate.schedule.legacy_schedule import canonical_name
from mmengine.utils.errors import ArgumentError

RUNNERS = {'Runner': True, 'EpochBasedRunner': True, 'IterBasedRunner': False}
_RUNNER_ARGS = ('model', 'batch_processor', 'optimizer', 'work_dir', 'logger', 'meta', 'max_iters',
                'max_epochs')  # fmt: skip
_HOOK_ARGS = ('lr_config', 'optimizer_config', 'checkpoint_config', 'log_config',
              'momentum_config', 'timer_config', 'custom_hooks_config')  # fmt: skip
# What registers one kind of hook, and the argument of ``register_training_hooks`` that it is.
HOOK_METHODS = {
    'register_lr_hook': 'lr_config',
    'register_momentum_hook': 'momentum_config',
    'register_optimizer_hook': 'optimizer_config',
    'register_checkpoint_hook': 'checkpoint_config',
    'register_logger_hooks': 'log_config',
    'register_timer_hook': 'timer_config',
    'register_custom_hooks': 'custom_hooks_config',
}
VALIDATION = 'validation: give val_dataloader, val_cfg and val_evaluator'
_RUN_ARGS = ('data_loaders', 'workflow', 'length')  # the last by position: of older versions
_Arguments = Mapping[str, cst.BaseExpression]
Want = Callable[[str, str], cst.Name]


@dataclass
class Legacy:
    """What a legacy runner was told.

    Attributes:
        runner: Arguments of the runner itself.
        hooks: Arguments of ``register_training_hooks``.
        run: Arguments of ``run``.
        by_epoch: Whether it counts epochs; None if its config says so.
        length: The expression for how long it runs.
        config: The name of the config that tells its parts, if there is one.
        start: Code for the checkpoint to begin with, and whether to resume it.
        constants: What names stand for.
        configs: Names of configs that were read from a file.
    """

    runner: _Arguments
    hooks: dict[str, cst.BaseExpression]
    run: _Arguments
    by_epoch: bool | None
    length: cst.BaseExpression | None
    config: str
    start: dict[str, str]
    constants: _Arguments = field(default_factory=dict)
    configs: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        made: cst.Call,
        calls: Mapping[str, cst.Call],
        constants: _Arguments,
        source: Source,
        objects: Mapping[str, cst.BaseExpression],
    ) -> Legacy:
        """Read the call that made the runner, and calls of its methods.

        Args:
            made: The call that made the runner.
            calls: Calls of its methods, by method.
            constants: What names stand for.
            source: What is known of the module.
            objects: Configs of hooks that were registered as objects, by their keys.
        """
        hooks = _bound(calls.get('register_training_hooks'), _HOOK_ARGS)
        for method, key in HOOK_METHODS.items():
            if method in calls and calls[method].args:
                hooks[key] = calls[method].args[0].value
        hooks |= objects
        run = _bound(calls.get('run'), _RUN_ARGS)
        legacy = cls({}, hooks, run, None, None, '', _start_of(calls), constants, source.configs)
        for key, node in hooks.items():
            call = legacy.resolved(node)
            if isinstance(call, cst.Call):
                found = as_config(source.mmcv_name(call.func), call)
                if found is not None and found.key == key:
                    legacy.hooks[key] = found.config
        kind = dotted(made.func).rpartition('.')[2]
        if kind in RUNNERS:
            legacy.runner = _bound(made, _RUNNER_ARGS)
            legacy.by_epoch = RUNNERS[kind]
        else:
            legacy._read_build_runner(made)
        if legacy.by_epoch is not None and legacy.length is None:
            unit = legacy.unit
            legacy.length = legacy.runner.get(unit) or run.get(unit) or run.get('length')
        if legacy.by_epoch is False:
            legacy._count_epochs_of(key for key in HOOK_METHODS if key in calls)
        told = [*legacy.runner.values(), *hooks.values(), *run.values(), legacy.length]
        legacy.config = legacy.config or next(filter(None, map(legacy._config_of, told)), '')
        return legacy

    def _count_epochs_of(self, methods: Iterable[str]) -> None:
        """Write out the default of configs that were registered one by one.

        A runner of iterations changes the default of ``register_training_hooks`` alone.
        """
        for method in methods:
            key = HOOK_METHODS[method]
            config = self.value(self.hooks.get(key))
            if key not in ('lr_config', 'checkpoint_config') or not isinstance(config, dict):
                continue
            policy = canonical_name(str(config.get('policy', '')))
            if 'by_epoch' not in config and policy not in COUNTS_ITERATIONS_BY_DEFAULT:
                text = as_code({**config, 'by_epoch': True})
                self.hooks[key] = expression(text)

    def _read_build_runner(self, made: cst.Call) -> None:
        """``build_runner(cfg.runner, default_args=dict(model=model, ...))``."""
        args = _bound(made, ('cfg', 'default_args'))
        given = self.resolved(args.get('default_args'))
        names = [name for name in _RUNNER_ARGS if entry(given, name) is not None]
        self.runner = {name: value for name in names if (value := entry(given, name)) is not None}
        config = self.value(args.get('cfg'))
        if isinstance(config, dict):
            self.by_epoch = RUNNERS.get(str(config.get('type')))
            if self.by_epoch is not None:
                self.length = entry(self.resolved(args.get('cfg')), self.unit)
        elif 'cfg' in args:
            self.config = self._config_of(args['cfg'])

    @property
    def unit(self) -> str:
        """What the length of the run is called."""
        return 'max_epochs' if self.by_epoch else 'max_iters'

    def is_told_by_config(self, node: cst.BaseExpression | None) -> bool:
        """Whether ``node`` is an entry of the config, which has been migrated itself."""
        return bool(self.config) and node is not None and self._config_of(node) == self.config

    def _config_of(self, node: cst.BaseExpression | None) -> str:
        """``cfg`` of ``cfg.lr_config``, ``cfg['lr_config']`` and ``cfg.get('lr_config')``.

        Options of a command line and environments are read alike: only what the module reads from
        a config file counts.
        """
        text = code(node) if node is not None else ''
        head = re.match(r'\w+', text)
        return head[0] if head is not None and head[0] in self.configs else ''

    def resolved(self, node: cst.BaseExpression | None) -> cst.BaseExpression | None:
        """What a name stands for; any other expression itself."""
        if isinstance(node, cst.Name):
            return self.constants.get(node.value, node)
        return node

    def value(self, node: cst.BaseExpression | None) -> Any:
        """The value of a literal or of ``dict(...)``; None if it is neither.

        What is not a literal inside a dict or a list is :class:`Code`.
        """
        value = self._value(node)
        return None if isinstance(value, Code) else value

    def _value(self, node: cst.BaseExpression | None) -> Any:
        resolved = self.resolved(node)
        if resolved is None:
            return None
        if isinstance(resolved, cst.Call) and dotted(resolved.func) == 'dict':
            names = [arg.keyword.value for arg in resolved.args if arg.keyword is not None]
            if len(names) != len(resolved.args):
                return Code(code(resolved))
            return {name: self._value(keyword(resolved, name)) for name in names}
        if isinstance(resolved, cst.Dict) and len(keys(resolved)) == len(resolved.elements):
            return {name: self._value(entry(resolved, name)) for name in keys(resolved)}
        if isinstance(resolved, (cst.List, cst.Tuple)):
            return [self._value(element.value) for element in resolved.elements]
        try:
            return ast.literal_eval(code(resolved))
        except (ValueError, SyntaxError):
            # A name that stands for something else is used by its name.
            return Code(code(node) if node is not None else '')


class Code(str):
    """An expression in the place of a value that only a run tells."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def runner_arguments(legacy: Legacy, want: Want) -> tuple[dict[str, str], list[str]]:
    """Code for the arguments of Runner, and what is left to do."""
    left: list[str] = []
    runner = legacy.runner
    arguments = {
        'model': _model(runner.get('model')),
        'work_dir': code(runner['work_dir']) if 'work_dir' in runner else "'./work_dir'",
        'train_dataloader': _loader(legacy, left),
        'train_cfg': _length(legacy, left),
        'optim_wrapper': wrapper_argument(legacy, want, left),
    }
    arguments |= _schedules(legacy, left)
    arguments |= _hooks(legacy, left)
    arguments |= legacy.start
    if legacy.config:
        arguments['cfg'] = legacy.config
    if 'batch_processor' in runner and code(runner['batch_processor']) != 'None':
        left.append('batch_processor is gone: the step is model.train_step')
    return arguments, left


def _model(node: cst.BaseExpression | None) -> str:
    """The model, out of ``MMDataParallel(model, ...)``: Runner wraps models itself."""
    if isinstance(node, cst.Call) and dotted(node.func).endswith('MMDataParallel') and node.args:
        node = node.args[0].value
    return code(node) if node is not None else 'model'


def _loader(legacy: Legacy, left: list[str]) -> str:
    workflow = legacy.run.get('workflow')
    if not legacy.is_told_by_config(workflow):
        phases = legacy.value(workflow)
        if not isinstance(phases, list) or [phase[0] for phase in phases] != ['train']:
            left.append(VALIDATION)
    loaders = legacy.run.get('data_loaders')
    if isinstance(loaders, (cst.List, cst.Tuple)) and loaders.elements:
        return code(loaders.elements[0].value)
    return f'{code(loaders)}[0]' if loaders else 'None'


def _length(legacy: Legacy, left: list[str]) -> str:
    if legacy.by_epoch is None and legacy.config:
        return f'{legacy.config}.train_cfg'
    if legacy.is_told_by_config(legacy.length):
        return f'{legacy.config}.train_cfg'
    if legacy.length is None:
        left.append(f'{legacy.unit} was not given where the runner was made')
    total = code(legacy.length) if legacy.length is not None else '1'
    return f'dict(by_epoch={bool(legacy.by_epoch)}, {legacy.unit}={total})'


def _schedules(legacy: Legacy, left: list[str]) -> dict[str, str]:
    texts: list[str] = []
    for key in ('lr_config', 'momentum_config'):
        node = legacy.hooks.get(key)
        if node is None or code(node) == 'None':
            continue
        if legacy.is_told_by_config(node):
            return {'param_scheduler': f"{legacy.config}.get('param_scheduler')"}
        config = legacy.value(node)
        if not isinstance(config, dict):
            left.append(f'{key} is not written out here: convert it to param_scheduler')
            continue
        try:
            texts += _schedulers(legacy, key, config)
        except ArgumentError as error:
            left.append(f'{key}: {error}')
    return {'param_scheduler': f'[{", ".join(texts)}]'} if texts else {}


class _StandIns:
    """Numbers in the place of expressions, to see where a conversion puts them.

    Args:
        offset: Tells the numbers of two tries apart.
    """

    def __init__(self, offset: int) -> None:
        self._offset = offset
        self.names: dict[float, str] = {}

    def number(self, text: str, *, is_count: bool) -> float:
        """A number for an expression; a count may come out one higher."""
        index = len(self.names) + 1
        if not is_count:
            number = (self._offset + index) / 9_999_991
            self.names[number] = text
            return number
        count = 1_000_003 * self._offset + 1_009 * index
        is_simple = re.fullmatch(r'[\w.]+(\([^()]*\)|\[[^]]*\])?', text)
        self.names[count] = text
        self.names[count + 1] = f'{text} + 1' if is_simple else f'({text}) + 1'
        return count

    def instead_of(self, value: Any, key: str = '') -> Any:
        """``value`` with numbers for the expressions in it."""
        if isinstance(value, dict):
            return {name: self.instead_of(one, name) for name, one in value.items()}
        if isinstance(value, list):
            return [self.instead_of(one, key) for one in value]
        if isinstance(value, Code):
            is_count = key in ('step', 'warmup_iters', 'periods', 'cyclic_times', 'total_steps')
            return self.number(value, is_count=is_count)
        return value


def _schedulers(legacy: Legacy, key: str, config: dict[str, Any]) -> list[str]:
    """Code for the schedulers of a policy, whose numbers may be expressions."""
    length = legacy.value(legacy.length)
    if legacy.length is None:
        raise ArgumentError('it depends on the length of the run, which is not given here')
    tries = []
    for offset in (1, 2):
        stand_ins = _StandIns(offset)
        # The longest of all, as milestones lie within the run.
        known = stand_ins.instead_of(config)
        total = length
        if not isinstance(length, int):
            total = int(stand_ins.number(code(legacy.length), is_count=True))
        schedulers = convert_schedule(
            known,
            Length(bool(legacy.by_epoch), total, None),
            Notes(),
            of_momentum=key == 'momentum_config',
            key=key,
        )
        tries.append([as_code(one, stand_ins.names) for one in schedulers])
    if tries[0] != tries[1]:
        raise ArgumentError('it depends on numbers that only a run tells: write it out by hand')
    return tries[0]


_NOT_NEEDED = ('create_symlink', 'sync_buffer', 'meta')


def _hooks(legacy: Legacy, left: list[str]) -> dict[str, str]:
    arguments = {}
    found = []
    told = [key for key in ('log_config', 'checkpoint_config') if key in legacy.hooks]
    if any(legacy.is_told_by_config(legacy.hooks[key]) for key in told):
        arguments['default_hooks'] = f"{legacy.config}.get('default_hooks')"
    else:
        log = legacy.value(legacy.hooks.get('log_config'))
        if isinstance(log, dict) and 'interval' in log:
            found.append(f"logger=dict(type='LoggerHook', interval={log['interval']!r})")
        node = legacy.hooks.get('checkpoint_config')
        saving = legacy.value(node)
        if node is None or code(node) == 'None':
            # Such a run saved nothing; Runner saves each epoch unless it is told not to.
            found.append('checkpoint=None')
        elif isinstance(saving, dict) and saving.get('by_epoch') and not legacy.by_epoch:
            # A runner of iterations ends no epoch, so that it saved nothing.
            found.append('checkpoint=None')
        elif isinstance(saving, dict):
            saving = {name: value for name, value in saving.items() if name not in _NOT_NEEDED}
            options = {'type': 'CheckpointHook', 'by_epoch': bool(legacy.by_epoch), **saving}
            found.append(f'checkpoint={as_code(options)}')
        for name in told:
            given = legacy.hooks[name]
            if code(given) != 'None' and legacy.value(given) is None:
                left.append(f'{name} is not written out here: convert it to default_hooks')
    if 'log_config' in told and legacy.is_told_by_config(legacy.hooks['log_config']):
        for key in ('log_processor', 'visualizer'):
            arguments[key] = f'{legacy.config}.get({key!r})'
    elif legacy.by_epoch is False:
        arguments['log_processor'] = 'dict(by_epoch=False)'
    if found:
        arguments['default_hooks'] = f'dict({", ".join(found)})'
    custom = legacy.hooks.get('custom_hooks_config')
    if custom is not None and code(custom) != 'None':
        arguments['custom_hooks'] = code(custom)
    elif legacy.is_told_by_config(legacy.hooks.get('lr_config')):
        # The hook of a policy of the project's own is there now.
        arguments['custom_hooks'] = f"{legacy.config}.get('custom_hooks')"
    return arguments


def after_low_hooks(arguments: dict[str, str]) -> None:
    """Put the schedulers behind hooks of low priority, which saw the rates of their iteration.

    Checkpoints hold the state of the schedulers, so they come behind these.
    """
    hooks = arguments.get('default_hooks', '')
    if not hooks.startswith('dict('):
        return
    last = "param_scheduler=dict(type='ParamSchedulerHook', priority='LOWEST')"
    saving = hooks.replace("type='CheckpointHook'", "type='CheckpointHook', priority='LOWEST'")
    arguments['default_hooks'] = f'{saving[:-1]}, {last})'


def _start_of(calls: Mapping[str, cst.Call]) -> dict[str, str]:
    if 'if' in calls:
        config = dotted(calls['if'].func)
        return {
            'load_from': f"{config}.get('load_from')",
            'resume': f"{config}.get('resume', False)",
        }
    for method, extra in (('resume', {'resume': 'True'}), ('load_checkpoint', {})):
        if method in calls:
            return {'load_from': code(calls[method].args[0].value), **extra}
    return {}


def _bound(call: cst.Call | None, names: Sequence[str]) -> dict[str, cst.BaseExpression]:
    """Arguments by name."""
    found: dict[str, cst.BaseExpression] = {}
    for index, arg in enumerate(call.args if call is not None else ()):
        if arg.keyword is not None:
            found[arg.keyword.value] = arg.value
        elif not arg.star and index < len(names):
            found[names[index]] = arg.value
    return found


def as_code(config: dict[str, Any], names: Mapping[float, str] | None = None) -> str:
    """``dict(...)`` for a config.

    Args:
        config: The config.
        names: Expressions for certain numbers.
    """

    def text(value: Any) -> str:
        if isinstance(value, dict):
            return as_code(value, names)
        if isinstance(value, (list, tuple)):
            return f'[{", ".join(map(text, value))}]'
        if names and type(value) in (int, float) and value in names:
            return names[value]
        return repr(value)

    return f'dict({", ".join(f"{key}={text(value)}" for key, value in config.items())})'
