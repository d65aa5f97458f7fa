"""The arguments of Runner, from the arguments of a legacy runner."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any

import libcst as cst

from mmengine.migrate._code._nodes import code, dotted
from mmengine.migrate._code.legacy_runner import Code, Legacy, as_code
from mmengine.migrate._code.optimizer_arguments import wrapper_argument
from mmengine.migrate._config.notes import Notes
from mmengine.migrate._config.schedules.conversion import Length, convert_schedule
from mmengine.migrate._config.topics.recording import META
from mmengine.migrate._schedule.legacy_schedule import canonical_name, is_own_policy
from mmengine.utils.errors import ArgumentError

Want = Callable[[str, str], cst.Name]
VALIDATION = 'validation: give val_dataloader, val_cfg and val_evaluator'


def runner_arguments(
    legacy: Legacy, want: Want, *, keeps_times: bool = False
) -> tuple[dict[str, str], list[str]]:
    """Code for the arguments of Runner, and what is left to do.

    Args:
        legacy: The arguments of the legacy runner.
        want: Imports a name.
        keeps_times: Whether hooks see when MMCV set learning rates, or set them themselves.
    """
    left: list[str] = []
    runner = legacy.runner
    arguments = {
        'model': _model(runner.get('model')),
        'work_dir': code(runner['work_dir']) if 'work_dir' in runner else "'./work_dir'",
        'train_dataloader': _loader(legacy, left),
        'train_cfg': _length(legacy, left),
        'optim_wrapper': wrapper_argument(legacy, want, left),
    }
    arguments |= _schedules(legacy, left, keeps_times)
    updaters = arguments.pop('custom_hooks', '')
    arguments |= _hooks(legacy, left)
    if updaters:
        others = arguments.get('custom_hooks')
        rest = f', *({others} or [])' if others else ''
        arguments['custom_hooks'] = f'{updaters[:-1]}{rest}]'
    arguments |= legacy.start
    if legacy.config:
        arguments['cfg'] = legacy.config
        # Runner seeds anew, with a drawn seed unless it is given the one that the script used.
        arguments['randomness'] = f"{legacy.config}.get('randomness', {{}})"
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
    if not legacy.is_read_from_config(workflow):
        phases = legacy.value(workflow)
        if not isinstance(phases, list) or [phase[0] for phase in phases] != ['train']:
            left.append(VALIDATION)
    loaders = legacy.resolved(legacy.run.get('data_loaders'))
    left += _other_phases(legacy, loaders)
    loaders = legacy.run.get('data_loaders')
    if isinstance(loaders, (cst.List, cst.Tuple)) and loaders.elements:
        return code(loaders.elements[0].value)
    return f'{code(loaders)}[0]' if loaders else 'None'


def _other_phases(legacy: Legacy, loaders: cst.BaseExpression | None) -> list[str]:
    """A mark for phases of the workflow other than training, with the loaders that they had."""
    workflow = legacy.run.get('workflow')
    phases = legacy.value(workflow)
    if isinstance(phases, list) and all(phase[0] == 'train' for phase in phases):
        return []
    given = loaders.elements if isinstance(loaders, (cst.List, cst.Tuple)) else ()
    others = ', '.join(code(element.value) for element in given[1:])
    if workflow is None or not (others or isinstance(phases, list)):
        return []
    return [
        _PHASES.format(
            code(legacy.resolved(workflow) or workflow), f' on {others}' if others else ''
        )
    ]


def _length(legacy: Legacy, left: list[str]) -> str:
    if legacy.by_epoch is None and legacy.config:
        return f'{legacy.config}.train_cfg'
    if legacy.is_length_of_config():
        return f'{legacy.config}.train_cfg'
    if legacy.length is None:
        left.append(f'{legacy.unit} was not given where the runner was made')
    total = code(legacy.length) if legacy.length is not None else '1'
    return f'dict(by_epoch={bool(legacy.by_epoch)}, {legacy.unit}={total})'


def _schedules(legacy: Legacy, left: list[str], keeps_times: bool) -> dict[str, str]:
    texts: list[str] = []
    hooks: list[str] = []
    keys = [key for key in ('lr_config', 'momentum_config') if not legacy.is_absent(key)]
    others = [key for key in keys if not legacy.is_told_by_config(key)]
    if len(others) < len(keys):
        left += [_BESIDE.format(code(legacy.hooks[key]), 'param_scheduler') for key in others]
        return {'param_scheduler': f"{legacy.config}.get('param_scheduler')"}
    for key in keys:
        node = legacy.hooks[key]
        config = legacy.value(node)
        is_named = isinstance(config, dict) and not isinstance(config.get('policy'), Code)
        if isinstance(config, dict) and is_named and is_own_policy(config, legacy.classes):
            own = f'{canonical_name(str(config["policy"]))}LrUpdaterHook'
            options = {name: value for name, value in config.items() if name != 'policy'}
            if legacy.by_epoch is False:
                options.setdefault('by_epoch', False)
            hooks.append(as_code({'type': own, **options}))
            continue
        made = legacy.resolved(node)
        if key == 'lr_config' and made is not None and legacy.is_updater(made):
            # The project's own class, which sets learning rates here as well.
            hooks.append(code(node))
            continue
        was = f'{key}={_one_line(made)}'
        if not isinstance(config, dict):
            left.append(f'{was} is not written out here: convert it to param_scheduler')
            continue
        try:
            texts += _schedulers(legacy, key, config, keeps_times)
        except ArgumentError as error:
            left.append(f'{key}: {error}. It was {was}')
    found = {'param_scheduler': f'[{", ".join(texts)}]'} if texts else {}
    return found | ({'custom_hooks': f'[{", ".join(hooks)}]'} if hooks else {})


def _one_line(node: cst.BaseExpression | None) -> str:
    """The text of an expression for a comment."""
    if node is None:
        return 'None'
    text = code(node)
    return ast.unparse(ast.parse(f'({text})')) if '#' in text else ' '.join(text.split())


# What the schedule that MMCV took depends on, other than in its numbers.
_CHOICES = ('policy', 'by_epoch', 'warmup', 'warmup_by_epoch', 'anneal_strategy', 'three_phase')


def _is_number(text: str) -> bool:
    """Whether an expression is a number, whatever its names stand for: a list cannot be."""

    def is_number(node: ast.expr) -> bool:
        if isinstance(node, ast.BinOp):
            sides = is_number(node.left), is_number(node.right)
            if isinstance(node.op, (ast.Add, ast.Mult)):
                return any(sides) if isinstance(node.op, ast.Add) else all(sides)
            return True
        if isinstance(node, ast.Call):
            return ast.unparse(node.func) in ('int', 'round', 'len', 'math.ceil', 'math.floor')
        return isinstance(node, ast.Constant)

    return is_number(ast.parse(text.strip(), mode='eval').body)


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
            if key in _CHOICES:
                raise ArgumentError(f'{key}={value} is known to a run alone: write it out by hand')
            is_count = key in ('step', 'warmup_iters', 'periods', 'cyclic_times', 'total_steps')
            return self.number(value, is_count=is_count)
        return value


def _schedulers(legacy: Legacy, key: str, config: dict[str, Any], keeps_times: bool) -> list[str]:
    """Code for the schedulers of a policy, whose numbers may be expressions."""
    length = legacy.value(legacy.length)
    if legacy.length is None:
        raise ArgumentError('it depends on the length of the run, which is not given here')
    # What may be a list of milestones, or a number: the legacy scheduler takes both.
    step = config.get('step')
    takes_both = isinstance(step, Code) and not _is_number(step)
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
            keeps_times=keeps_times,
            stock=not takes_both,
        )
        tries.append([as_code(one, stand_ins.names) for one in schedulers])
    if tries[0] != tries[1]:
        raise ArgumentError('it depends on numbers that only a run tells: write it out by hand')
    return tries[0]


_PHASES = (
    "workflow {}: its 'val' phases called val_step{}, and before_epoch, after_iter and other "
    'methods of hooks ran in them too; converted hooks run in training alone. Give '
    'val_dataloader, and train_cfg a val_interval, and write before_val_epoch, after_val_iter and '
    'others for such hooks'
)
_BESIDE = '{} of this script is not in the config: give it to {} there, or to Runner'
_NOT_NEEDED = ('create_symlink', 'sync_buffer', 'meta')


def _hooks(legacy: Legacy, left: list[str]) -> dict[str, str]:
    arguments = {}
    found = []
    told = [key for key in ('log_config', 'checkpoint_config') if key in legacy.hooks]
    if any(legacy.is_told_by_config(key) for key in told):
        arguments['default_hooks'] = f"{legacy.config}.get('default_hooks')"
        left += [
            _BESIDE.format(f'{key}={code(legacy.hooks[key])}', 'default_hooks')
            for key in told
            if not legacy.is_told_by_config(key)
        ]
    else:
        log = legacy.value(legacy.hooks.get('log_config'))
        if isinstance(log, dict) and 'interval' in log:
            found.append(f"logger=dict(type='LoggerHook', interval={log['interval']!r})")
        node = legacy.hooks.get('checkpoint_config')
        saving = legacy.value(node)
        if node is None or code(node) == 'None':
            # Such a run saved nothing; Runner saves each epoch unless checkpoint is None.
            found.append('checkpoint=None')
        elif isinstance(saving, dict) and saving.get('by_epoch') and not legacy.by_epoch:
            # A runner of iterations ends no epoch, so that it saved nothing.
            found.append('checkpoint=None')
        elif isinstance(saving, dict):
            if saving.get('meta'):
                left.append(f'meta={saving["meta"]!r}: {META}')
            saving = {name: value for name, value in saving.items() if name not in _NOT_NEEDED}
            options = {'type': 'CheckpointHook', 'by_epoch': bool(legacy.by_epoch), **saving}
            found.append(f'checkpoint={as_code(options)}')
        for name in told:
            given = legacy.hooks[name]
            if code(given) != 'None' and legacy.value(given) is None:
                was = f'{name}={_one_line(legacy.resolved(given))}'
                left.append(f'{was} is not written out here: convert it to default_hooks')
    if 'log_config' in told and legacy.is_told_by_config('log_config'):
        for key in ('log_processor', 'visualizer'):
            arguments[key] = f'{legacy.config}.get({key!r})'
    elif legacy.by_epoch is False:
        arguments['log_processor'] = 'dict(by_epoch=False)'
    if found:
        arguments['default_hooks'] = f'dict({", ".join(found)})'
    custom = legacy.hooks.get('custom_hooks_config')
    if custom is not None and code(custom) != 'None':
        arguments['custom_hooks'] = code(custom)
    elif legacy.is_told_by_config('lr_config'):
        # The hook of a policy of the project's own is there now.
        arguments['custom_hooks'] = f"{legacy.config}.get('custom_hooks')"
    return arguments


_IN_CONFIG = (
    'hooks see when learning rates are set, or change the model behind the checkpoint: give '
    "default_hooks of the config param_scheduler=dict(type='LegacyParamSchedulerHook') and its "
    "checkpoint priority='NORMAL', and take LegacyLRScheduler where a hook needs it before the "
    'first iteration, or sets it'
)


def keep_order(arguments: dict[str, str], *, reads: bool, changes: bool) -> list[str]:
    """Let hooks see the learning rates, and checkpoints hold the weights, that they did.

    Args:
        arguments: The arguments of Runner; its ``default_hooks`` change.
        reads: Whether a hook reads learning rates when the next ones are set already.
        changes: Whether a hook changes the model when it was saved already.

    Returns:
        What is left to do.
    """
    hooks = arguments.get('default_hooks', 'dict()')
    saves = 'checkpoint=None' not in hooks
    if not reads and not (changes and saves):
        return []
    if not hooks.startswith('dict('):
        return [_IN_CONFIG]
    if changes and saves:
        hooks = hooks.replace("type='CheckpointHook'", "type='CheckpointHook', priority='NORMAL'")
    if 'param_scheduler' in arguments:
        comma = '' if hooks == 'dict()' else ', '
        hooks = f"{hooks[:-1]}{comma}param_scheduler=dict(type='LegacyParamSchedulerHook'))"
    arguments['default_hooks'] = hooks
    return []
