"""The arguments of a legacy runner, from the calls that made it and registered its hooks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import libcst as cst

from mmengine.migrate._code._nodes import code, dotted, entry, expression, keys, keyword
from mmengine.migrate._code._source import Source
from mmengine.migrate._code.hook_objects import WITHOUT_MEANING, as_config
from mmengine.migrate._config.schedules.conversion import COUNTS_ITERATIONS_BY_DEFAULT
from mmengine.migrate._schedule.legacy_schedule import canonical_name

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
# ``cfg.lr_config``, ``cfg['lr_config']`` and ``cfg.get('lr_config')``, without a default.
ENTRY = re.compile(
    r"""((?:self\.)?\w+)(?:\.(?!get\()\w+(?!\()\b|\[[^][]+\]
    |\.get\(\s*['"]\w+['"]\s*(?:,\s*(?:None|\{\}|dict\(\))\s*)?\))+""",
    re.VERBOSE,
)
_KEY = re.compile(r"""\.get\(\s*['"](\w+)['"][^)]*\)|\.(\w+)|\[\s*['"](\w+)['"]\s*\]|(\[)""")
_LENGTHS = ('total_epochs', 'total_iters', 'runner.max_epochs', 'runner.max_iters')
_RUN_ARGS = ('data_loaders', 'workflow', 'length')  # the last by position: of older versions
_Arguments = Mapping[str, cst.BaseExpression]


@dataclass
class Legacy:
    """The arguments of a legacy runner.

    Attributes:
        runner: Arguments of the runner itself.
        hooks: Arguments of ``register_training_hooks``.
        run: Arguments of ``run``.
        by_epoch: Whether it counts epochs; None if only its config says which.
        length: The expression for how long it runs.
        config: The name of the config that holds its parts, if there is one.
        start: Code for the checkpoint to begin with, and whether to resume it.
        constants: What names stand for.
        choices: What a name is set to by the branches of an ``if``.
        configs: Names of configs that were read from a file.
        classes: Names of the project's classes.
        builders: What ``build_optimizer`` is called.
        updaters: Names of those that are hooks for learning rates.
        arguments: The arguments of those that are optimizer hooks, by name.
    """

    runner: _Arguments
    hooks: dict[str, cst.BaseExpression]
    run: _Arguments
    by_epoch: bool | None
    length: cst.BaseExpression | None
    config: str
    start: dict[str, str]
    constants: _Arguments = field(default_factory=dict)
    choices: Mapping[str, Sequence[cst.BaseExpression]] = field(default_factory=dict)
    configs: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    builders: frozenset[str] = frozenset()
    updaters: frozenset[str] = frozenset()
    arguments: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        made: cst.Call,
        calls: Mapping[str, cst.Call],
        constants: _Arguments,
        source: Source,
        objects: Mapping[str, cst.BaseExpression],
        choices: Mapping[str, Sequence[cst.BaseExpression]],
    ) -> Legacy:
        """Read the call that made the runner, and calls of its methods.

        Args:
            made: The call that made the runner.
            calls: Calls of its methods, by method.
            constants: What names stand for.
            source: What is known of the module.
            objects: Configs of hooks that were registered as objects, by their keys.
            choices: What a name is set to by the branches of an ``if``.
        """
        hooks = _bound(calls.get('register_training_hooks'), _HOOK_ARGS)
        for method, key in HOOK_METHODS.items():
            if method in calls and calls[method].args:
                hooks[key] = calls[method].args[0].value
        hooks |= objects
        run = _bound(calls.get('run'), _RUN_ARGS)
        names = frozenset(source.classes.by_name)
        start = _start_of(calls)
        builders = frozenset(
            local for local, full in source.origins.items() if full.endswith('.build_optimizer')
        )
        legacy = cls(
            {},
            hooks,
            run,
            None,
            None,
            '',
            start,
            constants,
            choices,
            source.configs,
            names,
            builders,
            frozenset(name for name in names if source.classes.is_lr_hook(name)),
            source.classes.arguments_of_optimizer_hooks(),
        )
        for key, node in hooks.items():
            call = legacy.resolved(node)
            if isinstance(call, cst.Call):
                found = as_config(source.mmcv_name(call.func), call)
                if found is not None and found.key == key:
                    legacy.hooks[key] = found.config
        kind = source.mmcv_name(made.func)
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
        optimizer = legacy.resolved(legacy.runner.get('optimizer'))
        if isinstance(optimizer, cst.Call):
            # build_optimizer(model, cfg.optimizer)
            told += [arg.value for arg in optimizer.args]
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

    def builds(self, call: cst.Call) -> bool:
        """Whether a call is one of ``build_optimizer``."""
        name = dotted(call.func)
        return name in self.builders or name.rpartition('.')[2] == 'build_optimizer'

    @property
    def unit(self) -> str:
        """What the length of the run is called."""
        return 'max_epochs' if self.by_epoch else 'max_iters'

    def is_absent(self, key: str) -> bool:
        """Whether ``register_training_hooks`` was given nothing for ``key``."""
        node = self.hooks.get(key)
        return node is None or code(node) == 'None'

    def entry_of_config(self, node: cst.BaseExpression | None) -> str:
        """``runner.max_epochs`` of ``cfg.runner['max_epochs']``, with ``[`` for a key that is not
        written out; empty for what is not an entry of the config."""
        resolved = self.resolved(node)
        asked = ENTRY.fullmatch(code(resolved)) if resolved is not None else None
        if not self.config or asked is None or asked[1] != self.config:
            return ''
        return '.'.join(''.join(key) for key in _KEY.findall(asked[0], asked.end(1)))

    def is_told_by_config(self, key: str) -> bool:
        """Whether ``register_training_hooks`` was given the config's own ``key``.

        The config has been migrated itself; a variable of the config has not.
        """
        return self.entry_of_config(self.hooks.get(key)) == key

    def is_length_of_config(self) -> bool:
        """Whether the config tells how long the run is."""
        return self.entry_of_config(self.length) in _LENGTHS

    def is_updater(self, node: cst.BaseExpression) -> bool:
        """Whether ``node`` makes a hook of the project that says learning rates."""
        name = dotted(node.func).rpartition('.')[2] if isinstance(node, cst.Call) else ''
        return name in self.updaters

    def is_optimizer_of_config(self, node: cst.BaseExpression | None) -> bool:
        """Whether ``node`` is the optimizer of the config, or one of several."""
        head = self.entry_of_config(node).partition('.')[0]
        return head in ('optimizer', 'optimizers')

    def is_hook_of_config(self, node: cst.BaseExpression | None) -> bool:
        """Whether an optimizer hook is what the config makes of it, without further arguments."""
        if isinstance(node, cst.Name) and node.value in self.choices:
            return all(map(self.is_hook_of_config, self.choices[node.value]))
        hook = self.resolved(node)
        if hook is None or self.entry_of_config(hook) == 'optimizer_config':
            return True
        if not isinstance(hook, cst.Call) or not dotted(hook.func).endswith('OptimizerHook'):
            return False
        unpacked = [arg.value for arg in hook.args if arg.star]
        given = [arg for arg in hook.args if not arg.star]
        entries = {self.entry_of_config(one) for one in unpacked}
        return bool(entries) and entries <= {'optimizer_config', 'fp16'} and all(
            arg.keyword is not None and arg.keyword.value in WITHOUT_MEANING for arg in given
        )  # fmt: skip

    def is_read_from_config(self, node: cst.BaseExpression | None) -> bool:
        """The same, whatever the script takes where the config has none."""
        return bool(self.config) and node is not None and self._config_of(node) == self.config

    def _config_of(self, node: cst.BaseExpression | None) -> str:
        """``cfg`` of ``cfg.lr_config``, ``cfg['lr_config']`` and ``cfg.get('lr_config')``.

        Options of a command line and environments are read alike: only what the module reads from
        a config file counts.
        """
        resolved = self.resolved(node)
        text = code(resolved) if resolved is not None else ''
        heads = [re.match(pattern, text) for pattern in (r'self\.\w+', r'\w+')]
        return next((one[0] for one in heads if one is not None and one[0] in self.configs), '')

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


def _start_of(calls: Mapping[str, cst.Call]) -> dict[str, str]:
    if 'if' in calls:
        return {code(arg.keyword): code(arg.value) for arg in calls['if'].args if arg.keyword}
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
