"""Scripts: making a runner, registering hooks and running it become one ``Runner(...).train()``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import libcst as cst

from mmengine.migrate._code._base import Codemod, marked
from mmengine.migrate._code._nodes import (
    code,
    dotted,
    entry,
    keys,
    keyword,
    only,
    statements,
)
from mmengine.migrate._code._rewriter import Rewriter
from mmengine.migrate._code._source import Source
from mmengine.migrate._code.hook_objects import as_config
from mmengine.migrate._code.legacy_runner import ENTRY, RUNNERS, Legacy
from mmengine.migrate._code.optimizer_arguments import builds_several
from mmengine.migrate._code.runner_arguments import VALIDATION, keep_order, runner_arguments
from mmengine.migrate._code.script_names import choices_of, constants_of, without_own
from mmengine.migrate._code.script_parts import (
    Parts,
    assigns,
    first_line,
    names_in,
    names_read,
    simple_statements,
    stale_names,
    without_comments,
)
from mmengine.migrate._hook_facts import (
    HookFacts,
    Registration,
    differences,
    follows_metric,
    priority_of,
)

_LOGGER_ARGS = ('name', 'log_file', 'log_level')
_APART = 'Runner gets all its parts at once, then train() is called: its run() is elsewhere'
_USED = 'the runner is used before its run(), where Runner gets everything at once: {}'
_LATER = 'what {} uses is assigned again before the runner is made: check that it is as it was'
_STALE = (
    '{} is assigned again between the calls that used it and this one, which takes their place: '
    'give it what they were given'
)
_STEP_OF_CONFIG = (
    'hooks see weights from before the optimizer step, or its gradients: if the config had an '
    "optimizer_config, put dict(type='LegacyOptimizerStepHook', priority='ABOVE_NORMAL') at the "
    'head of its custom_hooks'
)
_Arguments = dict[str, cst.BaseExpression]


class Scripts(Codemod):
    """``Runner(...)``, ``register_training_hooks(...)`` and ``run(...)`` of one block."""

    name = 'scripts'
    summary = 'Runner(...), register_training_hooks(...), run(...) -> Runner(...).train()'
    triggers = ('Runner', 'build_runner', 'get_logger')

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._constants: _Arguments = {}
        self._functions: list[cst.FunctionDef] = []

    def visit_Module(self, node: cst.Module) -> None:
        """Remember values that configs are made of."""
        self._constants = constants_of(node.body)

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        """A function has its own names."""
        self._functions.append(node)

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        """The function is done."""
        self._functions.pop()
        return updated_node

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
        """Mark every legacy runner; converting a runner removes its mark."""
        small = only(updated_node)
        call = small.value if isinstance(small, (cst.Assign, cst.Expr, cst.Return)) else None
        if isinstance(call, cst.Call) and self._is_runner(call):
            self.mark(_APART)
        return updated_node

    def _is_runner(self, call: cst.Call) -> bool:
        name = self.source.mmcv_name(call.func)
        return name in RUNNERS or name == 'build_runner'

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        """A function's statements."""
        return updated_node.with_changes(body=self._rewritten(list(updated_node.body)))

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        """A script's statements."""
        return updated_node.with_changes(body=self._rewritten(list(updated_node.body)))

    def _rewritten(self, body: list[Any]) -> list[Any]:
        for start, statement in enumerate(body):
            small = only(statement)
            if not isinstance(small, cst.Assign) or not isinstance(small.value, cst.Call):
                continue
            name = dotted(small.targets[0].target)
            if name and self._is_runner(small.value):
                parts = Parts.found(name, body, start, self.source)
                if parts is None:
                    continue
                if parts.obstacle:
                    reason = _USED.format(parts.obstacle)
                    body[start] = marked(_without(statement, _APART), [reason])
                    return body
                return self._joined(body, small.value, parts)
        return body

    def _hooks_of(
        self, parts: Parts, body: Sequence[cst.CSTNode]
    ) -> Iterator[tuple[str, int, HookFacts | None]]:
        """The classes of hooks that are registered, their priorities, and what they do."""
        found = [(one, '') for one in parts.custom_hooks]
        for index in parts.kept:
            calls = _Registrations()
            body[index].visit(calls)
            found += calls.found
        for made, priority in found:
            names = dict.fromkeys(re.findall(r'\b[A-Z]\w*', made))
            for name in names or ['']:
                is_known = name in self.source.classes.by_name
                facts = self.source.classes.hook_facts(name) if is_known else None
                yield name, priority_of(priority or None), facts

    def _keep_order(
        self,
        hooks: Sequence[tuple[str, int, HookFacts | None]],
        legacy: Legacy,
        arguments: dict[str, str],
    ) -> list[str]:
        """Let registered hooks see what they saw; a mark for each that cannot."""
        keys = [key for key in ('lr_config', 'momentum_config') if key in legacy.hooks]
        nodes = [legacy.hooks[key] for key in keys if not legacy.is_told_by_config(key)]
        schedules = [legacy.value(node) or {} for node in nodes if code(node) != 'None']
        reads = changes = False
        marks: list[str] = []
        for name, priority, facts in hooks:
            if facts is None:
                # What is not known may read learning rates.
                reads = reads or priority >= 70
                continue
            reads = reads or facts.reads_between(priority) or facts.needs_legacy_times(priority)
            changes = changes or facts.changes_saved_model(priority)
            hook = Registration(
                name,
                priority,
                legacy.by_epoch,
                any(map(follows_metric, schedules)),
            )
            marks += differences(hook, facts)
        return marks + keep_order(arguments, reads='param_scheduler' in arguments and reads,
                                  changes=changes)  # fmt: skip

    def _joined(self, body: list[Any], made: cst.Call, parts: Parts) -> list[Any]:
        """``body`` with one Runner(...) and its train() in the place of all the calls."""
        above = body[: parts.run]
        own = constants_of(above)
        constants = without_own(self._constants, self._functions) | own
        choices = choices_of(above)
        legacy = Legacy.of(made, parts.calls, constants, self.source, parts.objects, choices)
        registered = list(self._hooks_of(parts, body))
        keeps_times = any(
            facts is not None and facts.needs_legacy_times(priority)
            for _, priority, facts in registered
        )
        arguments, left = runner_arguments(legacy, self.want, keeps_times=keeps_times)
        if parts.evaluates and VALIDATION not in left:
            left.append(VALIDATION)
        wrapping = _wrapping(body[: parts.start], arguments['model'])
        for index in wrapping:
            if 'Distributed' in code(body[index]):
                arguments['launcher'] = _launcher(body[index])
        left += self._keep_order(registered, legacy, arguments)
        steps = legacy.hooks.get('optimizer_config')
        own_step = steps is not None and code(steps) != 'None' and any(
            facts is not None and facts.needs_legacy_step(priority)
            for _, priority, facts in registered
        )  # fmt: skip
        if own_step and legacy.is_told_by_config('optimizer_config'):
            # Whether a hook stepped at all, only the config tells.
            left.append(_STEP_OF_CONFIG)
            own_step = False
        told = arguments.pop('custom_hooks', '')
        if any('custom_hooks' in code(body[index]) for index in parts.kept):
            told = ''
        is_list = told.startswith('[') and told.endswith(']')
        hooks = [told[1:-1] if is_list else f'*({told} or [])'] if told else []
        if parts.custom_hooks:
            told = f'[{", ".join(hooks + parts.custom_hooks)}]'
        if own_step:
            told = f"[dict(type='LegacyOptimizerStepHook'){_items_of(told)}]"
        if told:
            arguments['custom_hooks'] = told
        lines = ''.join(f'    {key}={value},\n' for key, value in arguments.items())
        kind = self.want('mmengine.runner', 'Runner').value
        made_now = statements(f'{parts.name} = {kind}(\n{lines})\n')[0]
        comments = _without(body[parts.start], _APART).leading_lines
        made_now = marked(made_now.with_changes(leading_lines=comments), left)
        trained = statements(f'{parts.name}.train()\n')[0].with_changes(
            leading_lines=body[parts.run].leading_lines
        )
        gone = {*parts.gone, *wrapping, *_unneeded(body, parts, arguments, legacy)}
        if legacy.is_hook_of_config(legacy.hooks.get('optimizer_config')):
            gone.update(_choices(body[: parts.run], legacy.hooks.get('optimizer_config')))
        gone.update(_unused(body, parts, gone, f'{lines} {left}', self.source))
        place = min([parts.run, *parts.kept])
        moved: list[int] = []
        used = names_read(f'Runner({lines})')
        if assigns(body[place : parts.run], used):
            # Runner(...) uses what is assigned further down, so what needs a runner comes later.
            place, moved = parts.run, parts.kept
            for index in moved:
                if assigns(body[index + 1 : parts.run], names_in(without_comments(body[index]))):
                    made_now = marked(made_now, [_LATER.format(first_line(body[index]))])
        stale = stale_names(body[:place], gone, used, own)
        if stale:
            made_now = marked(made_now, [_STALE.format(', '.join(stale))])
        if wrapping and re.fullmatch(r'\w+', arguments['model']):
            unwrapped = _Unwrapped(arguments['model'])
            body = [
                one.visit(unwrapped) if index > wrapping[0] else one
                for index, one in enumerate(body)
            ]
        result: list[Any] = []
        for index, statement in enumerate(body):
            if index == place:
                result += [made_now, *_meta(parts.name, legacy)]
                result += [body[one] for one in moved]
            if index == parts.run:
                result.append(trained)
            elif index not in gone and index not in moved:
                result.append(statement)
        return result


def _meta(runner: str, legacy: Legacy) -> list[cst.BaseStatement]:
    """Statements that keep ``meta`` of a runner in the message hub, which is saved as well."""
    node = legacy.runner.get('meta')
    if node is None or code(node) in ('None', 'dict()', '{}'):
        return []
    put = f'{runner}.message_hub.update_info'
    names = keys(node)
    if names and legacy.value(node) is not None:
        values = {name: entry(node, name) for name in names}
        return statements(
            ''.join(f'{put}({name!r}, {code(one)})\n' for name, one in values.items() if one)
        )
    given = code(node)
    return statements(f'for key, value in ({given} or {{}}).items():\n    {put}(key, value)\n')


def _items_of(hooks: str) -> str:
    """The items of a list in code, behind a comma."""
    if not hooks:
        return ''
    return f', {hooks[1:-1]}' if hooks.startswith('[') else f', *({hooks} or [])'


class _Registrations(Rewriter):
    """The hooks that statements register, with the text of their priorities.

    Attributes:
        found: The text of each hook and of its priority, empty for none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        if dotted(original_node.func).endswith('.register_hook') and original_node.args:
            priority = keyword(original_node, 'priority')
            if priority is None and len(original_node.args) > 1:
                priority = original_node.args[1].value
            hook = keyword(original_node, 'hook') or original_node.args[0].value
            self.found.append((code(hook), code(priority) if priority is not None else ''))
        return updated_node


class _Unwrapped(Rewriter):
    """``model.module`` of a model that is not wrapped any more."""

    def __init__(self, model: str) -> None:
        super().__init__()
        self._wrapped = f'{model}.module'
        self._model = model

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        is_wrapped = dotted(original_node) == self._wrapped
        return cst.Name(self._model) if is_wrapped else updated_node


def _wrapping(body: Sequence[cst.CSTNode], model: str) -> list[int]:
    """Where ``model = MMDataParallel(model, ...)`` stands: Runner wraps models itself."""
    wraps = rf'{model} = MM(Distributed)?DataParallel\(\s*{model}\b[\s\S]*'
    helper = r'find_unused_parameters = .*'
    found = []
    for index, statement in enumerate(body):
        lines = simple_statements(statement)
        texts = [code(line.with_changes(leading_lines=())).strip() for line in lines]
        if any(re.fullmatch(wraps, text) for text in texts) and all(
            re.fullmatch(f'{wraps}|{helper}', text) for text in texts
        ):
            found.append(index)
    return found


def _launcher(wrapping: cst.CSTNode) -> str:
    if not isinstance(wrapping, cst.If):
        return "'pytorch'"
    test = code(wrapping.test)
    first, second = "'pytorch'", "'none'"
    if 'Distributed' not in code(wrapping.body):
        first, second = second, first
    return f'{first} if {test} else {second}'


def _choices(body: Sequence[cst.CSTNode], config: cst.BaseExpression | None) -> list[int]:
    """Where an ``if`` chooses the optimizer hook, which the config alone does now."""
    if not isinstance(config, cst.Name):
        return []
    found = []
    for index, statement in enumerate(body):
        smalls = [only(line) for line in simple_statements(statement)]
        if isinstance(statement, cst.If) and all(
            isinstance(small, cst.Assign) and dotted(small.targets[0].target) == config.value
            for small in smalls
        ):
            found.append(index)
    return found


def _unneeded(
    body: Sequence[cst.CSTNode], parts: Parts, arguments: dict[str, str], legacy: Legacy
) -> list[int]:
    """Where ``optimizer = build_optimizer(...)`` stands that Runner does by itself."""
    new_text = ', '.join(arguments.values())
    found = []
    for index in range(parts.start):
        small = only(body[index])
        if not isinstance(small, cst.Assign):
            continue
        builds_one = isinstance(small.value, cst.Call) and legacy.builds(small.value)
        if not builds_one and not builds_several(small.value, legacy):
            continue
        name = dotted(small.targets[0].target)
        others = [each for i, each in enumerate(body) if i != index and i not in parts.gone]
        used = names_read(new_text).union(*(names_read(without_comments(one)) for one in others))
        if name and name not in used:
            found.append(index)
    return found


def _unused(
    body: Sequence[cst.CSTNode],
    parts: Parts,
    gone: Collection[int],
    arguments: str,
    source: Source,
) -> list[int]:
    """Where ``fp16_cfg = cfg.get('fp16')`` stands that only what is gone looked at."""
    found = []
    for index in range(parts.run):
        small = only(body[index])
        if index in gone or not isinstance(small, cst.Assign):
            continue
        name = dotted(small.targets[0].target)
        asked = ENTRY.fullmatch(code(small.value))
        is_entry = asked is not None and asked[1] in source.configs
        is_hook = isinstance(small.value, cst.Call) and as_config(
            source.mmcv_name(small.value.func), small.value
        )
        if not (is_entry or is_hook) or not name:
            continue
        before = [one for i, one in enumerate(body) if i != index]
        after = [one for i, one in enumerate(body) if i != index and i not in gone]
        used = [name in names_in(without_comments(one)) for one in (*before, *after)]
        was_used, is_used = any(used[: len(before)]), any(used[len(before) :])
        if was_used and not is_used and name not in names_in(arguments):
            found.append(index)
    return found


def _without(statement: Any, reason: str) -> Any:
    """``statement`` without the mark for ``reason``."""
    lines = [
        line
        for line in statement.leading_lines
        if line.comment is None or reason not in line.comment.value
    ]
    return statement.with_changes(leading_lines=lines)
