"""Scripts: a runner that is told its hooks and then run becomes one that is told all at once."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

import libcst as cst

from mmengine.migrate.code._base import Codemod, marked
from mmengine.migrate.code._nodes import call_of, code, dotted, entry, keyword, only, statements
from mmengine.migrate.code._source import Source
from mmengine.migrate.config.notes import Notes
from mmengine.migrate.config.schedules import Length, convert_schedule
from mmengine.utils.errors import ArgumentError

_RUNNERS = {'Runner': True, 'EpochBasedRunner': True, 'IterBasedRunner': False}
_RUNNER_ARGS = ('model', 'batch_processor', 'optimizer', 'work_dir', 'logger', 'meta', 'max_iters',
                'max_epochs')  # fmt: skip
_HOOK_ARGS = ('lr_config', 'optimizer_config', 'checkpoint_config', 'log_config',
              'momentum_config', 'timer_config', 'custom_hooks_config')  # fmt: skip
_RUN_ARGS = ('data_loaders', 'workflow', 'max_epochs')
_LOGGER_ARGS = ('name', 'log_file', 'log_level')
_APART = 'Runner is told everything at once, then train() is called: its run() is elsewhere'
_USED = 'the runner is used before its run(): Runner is told everything at once'
_Arguments = dict[str, cst.BaseExpression]


class Scripts(Codemod):
    """``Runner(...)``, ``register_training_hooks(...)`` and ``run(...)`` of one block."""

    name = 'scripts'
    summary = 'Runner(...), register_training_hooks(...), run(...) -> Runner(...).train()'
    triggers = ('Runner', 'get_logger')

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._constants: _Arguments = {}

    def visit_Module(self, node: cst.Module) -> None:
        """Remember values that configs are made of."""
        self._constants = _assigned(node.body)

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        """A logger by the name of this engine."""
        name = self.source.name_of(original_node.func)
        if not name.startswith('mmcv.') or not name.endswith('.get_logger'):
            return updated_node
        args = [
            arg
            if index == 0 or arg.keyword is not None or arg.star
            else arg.with_changes(
                keyword=cst.Name(_LOGGER_ARGS[index]),
                equal=cst.AssignEqual(cst.SimpleWhitespace(''), cst.SimpleWhitespace('')),
            )
            for index, arg in enumerate(updated_node.args)
        ]
        logger = self.want('mmengine.logging', 'MMLogger')
        return updated_node.with_changes(
            func=cst.Attribute(logger, cst.Name('get_instance')), args=args
        )

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine:
        """Mark every legacy runner; the marks of those that are converted go with them."""
        small = only(updated_node)
        call = small.value if isinstance(small, (cst.Assign, cst.Expr, cst.Return)) else None
        if isinstance(call, cst.Call) and self._is_runner(call):
            self.mark(_APART)
        return updated_node

    def _is_runner(self, call: cst.Call) -> bool:
        module, _, name = self.source.name_of(call.func).rpartition('.')
        return module.startswith('mmcv.runner') and name in _RUNNERS

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        """A function's statements."""
        return updated_node.with_changes(body=self._rewritten(list(updated_node.body)))

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        """A script's statements."""
        return updated_node.with_changes(body=self._rewritten(list(updated_node.body)))

    def _rewritten(self, body: list[Any]) -> list[Any]:
        original = list(body)
        for start, statement in enumerate(original):
            small = only(statement)
            if not isinstance(small, cst.Assign) or not isinstance(small.value, cst.Call):
                continue
            if not self._is_runner(small.value):
                continue
            kind = self.source.name_of(small.value.func)
            name = dotted(small.targets[0].target)
            calls = {
                method: index
                for index in range(start + 1, len(body))
                if (call := call_of(body[index])) is not None
                and (method := dotted(call.func).removeprefix(f'{name}.'))
                in ('register_training_hooks', 'run', 'resume', 'load_checkpoint')
            }
            if not name or 'run' not in calls:
                continue
            between = [
                other
                for index, other in enumerate(body[start + 1 : calls['run']], start + 1)
                if index not in calls.values() and re.search(rf'\b{name}\b', code(other))
            ]
            hooks = [_registered_hook(other, name) for other in between]
            if None in hooks:
                body[start] = marked(_without(statement, _APART), [_USED])
                continue
            body = [other for other in body if other not in between]
            calls = {
                method: next(i for i, other in enumerate(body) if other is old)
                for method, old in [(m, original[i]) for m, i in calls.items()]
            }
            by_epoch = _RUNNERS[kind.rpartition('.')[2]]
            self._constants |= _assigned(body[:start])
            return self._joined(body, name, start, calls, by_epoch, [h for h in hooks if h])
        return body

    def _joined(
        self,
        body: list[Any],
        name: str,
        start: int,
        calls: dict[str, int],
        by_epoch: bool,
        custom_hooks: list[str],
    ) -> list[Any]:
        def given(index: int, names: Sequence[str]) -> _Arguments:
            small = only(body[index])
            call = small.value if isinstance(small, cst.Assign) else call_of(body[index])
            assert isinstance(call, cst.Call)
            return _bound(call, names)

        runner = given(start, _RUNNER_ARGS)
        run = given(calls['run'], _RUN_ARGS)
        hooks = (
            given(calls['register_training_hooks'], _HOOK_ARGS)
            if ('register_training_hooks' in calls)
            else {}
        )
        left: list[str] = []
        arguments = {'model': code(runner['model']) if 'model' in runner else 'model'}
        arguments['work_dir'] = code(runner['work_dir']) if 'work_dir' in runner else "'./work_dir'"
        arguments |= self._training(runner, run, hooks, by_epoch, left)
        for method, extra in (('load_checkpoint', ''), ('resume', 'True')):
            if method in calls:
                call = call_of(body[calls[method]])
                assert call is not None
                arguments['load_from'] = code(call.args[0].value)
                if extra:
                    arguments['resume'] = extra
        if custom_hooks:
            arguments['custom_hooks'] = f'[{", ".join(custom_hooks)}]'
        if 'batch_processor' in runner:
            left.append('batch_processor is gone: the step is model.train_step')
        lines = ''.join(f'    {key}={value},\n' for key, value in arguments.items())
        self.want('mmengine.runner', 'Runner')
        new = statements(f'{name} = Runner(\n{lines})\n{name}.train()\n')
        comments = [
            cst.EmptyLine(comment=cst.Comment(f'# TODO(mmengine migrate): {reason}'))
            for reason in left
        ]
        above = _without(body[start], _APART).leading_lines
        new[0] = new[0].with_changes(leading_lines=[*above, *comments])
        gone = {start, *calls.values()}
        result: list[Any] = []
        for index, statement in enumerate(body):
            if index == calls['run']:
                result += new
            elif index not in gone:
                result.append(statement)
        return result

    def _training(
        self,
        runner: _Arguments,
        run: _Arguments,
        hooks: _Arguments,
        by_epoch: bool,
        left: list[str],
    ) -> dict[str, str]:
        loaders = run.get('data_loaders')
        arguments: dict[str, str] = {}
        if isinstance(loaders, (cst.List, cst.Tuple)) and loaders.elements:
            arguments['train_dataloader'] = code(loaders.elements[0].value)
        else:
            arguments['train_dataloader'] = f'{code(loaders)}[0]' if loaders else 'None'
        workflow = self._value(run.get('workflow'))
        if not isinstance(workflow, list) or [phase[0] for phase in workflow] != ['train']:
            left.append('validation: give val_dataloader, val_cfg and val_evaluator')
        unit = 'max_epochs' if by_epoch else 'max_iters'
        total = runner.get(unit) or run.get(unit)
        total_text = code(total) if total is not None else '1'
        if total is None:
            left.append(f'{unit} was not given where the runner was made')
        arguments['train_cfg'] = f'dict(by_epoch={by_epoch}, {unit}={total_text})'
        arguments['optim_wrapper'] = self._wrapper(runner, hooks, left)
        for key in ('lr_config', 'momentum_config'):
            if key in hooks and code(hooks[key]) != 'None':
                self._schedule(key, hooks[key], by_epoch, total, arguments, left)
        defaults = self._default_hooks(hooks, by_epoch, left)
        if defaults:
            arguments['default_hooks'] = f'dict({", ".join(defaults)})'
        return arguments

    def _wrapper(self, runner: _Arguments, hooks: _Arguments, left: list[str]) -> str:
        optimizer = runner.get('optimizer')
        if optimizer is None:
            left.append('the optimizer was not given where the runner was made')
            return 'None'
        config = self._resolved(hooks.get('optimizer_config'))
        clip = entry(config, 'grad_clip') if config is not None else None
        count = entry(config, 'cumulative_iters') if config is not None else None
        options = ''
        if clip is not None and code(clip) != 'None':
            options += f', clip_grad={code(clip)}'
        if count is not None:
            options += f', accumulative_counts={code(count)}'
        kind = entry(config, 'type') if config is not None else None
        if kind is not None and 'Fp16' in code(kind):
            left.append('mixed precision: AmpOptimWrapper takes the place of OptimWrapper')
        resolved = self._resolved(optimizer)
        if isinstance(resolved, (cst.Dict, cst.DictComp)) or (
            isinstance(resolved, cst.Call) and dotted(resolved.func) == 'dict'
        ):
            self.want('mmengine.optim', 'OptimWrapperDict')
            self.want('mmengine.optim', 'OptimWrapper')
            text = code(optimizer)
            return (
                'OptimWrapperDict(**{name: OptimWrapper(optimizer'
                f'{options}) for name, optimizer in {text}.items()}})'
            )
        self.want('mmengine.optim', 'OptimWrapper')
        return f'OptimWrapper({code(optimizer)}{options})'

    def _schedule(
        self,
        key: str,
        node: cst.BaseExpression,
        by_epoch: bool,
        total: cst.BaseExpression | None,
        arguments: dict[str, str],
        left: list[str],
    ) -> None:
        config, length = self._value(node), self._value(total)
        if not isinstance(config, dict) or not isinstance(length, int):
            left.append(f'{key} is not written out here: convert it to param_scheduler')
            return
        try:
            schedulers = convert_schedule(
                config, Length(by_epoch, length, None), Notes(), of_momentum=key[0] == 'm', key=key
            )
        except ArgumentError as error:
            left.append(f'{key}: {error}')
            return
        texts = [_as_code(scheduler) for scheduler in schedulers]
        if texts:
            before = arguments.get('param_scheduler', '[]')[1:-1]
            arguments['param_scheduler'] = f'[{", ".join([*([before] if before else []), *texts])}]'

    def _default_hooks(self, hooks: _Arguments, by_epoch: bool, left: list[str]) -> list[str]:
        found = []
        log = self._value(hooks.get('log_config'))
        if isinstance(log, dict) and 'interval' in log:
            found.append(f"logger=dict(type='LoggerHook', interval={log['interval']!r})")
        saving = self._value(hooks.get('checkpoint_config'))
        if isinstance(saving, dict):
            options = {'type': 'CheckpointHook', 'by_epoch': by_epoch, **saving}
            found.append(f'checkpoint={_as_code(options)}')
        for key in ('log_config', 'checkpoint_config'):
            node = hooks.get(key)
            if node is not None and code(node) != 'None' and self._value(node) is None:
                left.append(f'{key} is not written out here: convert it to default_hooks')
        if 'custom_hooks_config' in hooks and code(hooks['custom_hooks_config']) != 'None':
            left.append('custom_hooks_config: give it as custom_hooks')
        return found

    def _resolved(self, node: cst.BaseExpression | None) -> cst.BaseExpression | None:
        if isinstance(node, cst.Name):
            return self._constants.get(node.value, node)
        return node

    def _value(self, node: cst.BaseExpression | None) -> Any:
        """The value of a literal or of ``dict(...)`` of literals; None if it is none."""
        resolved = self._resolved(node)
        if resolved is None:
            return None
        if isinstance(resolved, cst.Call) and dotted(resolved.func) == 'dict':
            names = [arg.keyword.value for arg in resolved.args if arg.keyword is not None]
            if len(names) != len(resolved.args):
                return None
            return {name: self._value(keyword(resolved, name)) for name in names}
        if isinstance(resolved, (cst.List, cst.Tuple)):
            return [self._value(element.value) for element in resolved.elements]
        try:
            return ast.literal_eval(code(resolved))
        except (ValueError, SyntaxError):
            return None


def _assigned(body: Sequence[cst.CSTNode]) -> _Arguments:
    """What each name is set to by the statements of a block."""
    found = {}
    for small in map(only, body):
        if isinstance(small, cst.Assign):
            for target in small.targets:
                if isinstance(target.target, cst.Name):
                    found[target.target.value] = small.value
    return found


def _without(statement: Any, reason: str) -> Any:
    """``statement`` without the mark for ``reason``."""
    lines = [
        line
        for line in statement.leading_lines
        if line.comment is None or reason not in line.comment.value
    ]
    return statement.with_changes(leading_lines=lines)


def _registered_hook(statement: cst.CSTNode, name: str) -> str | None:
    """The hook in ``runner.register_hook(hook)``; None for any other statement."""
    call = call_of(statement)
    if call is None or dotted(call.func) != f'{name}.register_hook' or len(call.args) != 1:
        return None
    return code(call.args[0].value)


def _bound(call: cst.Call, names: Sequence[str]) -> _Arguments:
    """Arguments by name."""
    found: _Arguments = {}
    for index, arg in enumerate(call.args):
        if arg.keyword is not None:
            found[arg.keyword.value] = arg.value
        elif not arg.star and index < len(names):
            found[names[index]] = arg.value
    return found


def _as_code(config: dict[str, Any]) -> str:
    items = (
        f'{key}={_as_code(value) if isinstance(value, dict) else repr(value)}'
        for key, value in config.items()
    )
    return f'dict({", ".join(items)})'
