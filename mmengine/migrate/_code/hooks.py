"""Hooks: signatures, and what a runner calls its parts."""

from __future__ import annotations

import re
from collections.abc import Sequence

import libcst as cst

from mmengine.migrate._code import hook_outputs, legacy_counts, several_optimizers
from mmengine.migrate._code._nodes import (
    body_of,
    code,
    dotted,
    expression,
    parameters,
    plain,
    statements,
)
from mmengine.migrate._code._source import Source
from mmengine.migrate._code.assigned import Assigned
from mmengine.migrate._code.hook_calls import (
    METHODS,
    QUESTIONS,
    OwnCall,
    in_training,
    names_runner,
    takes_runner_alone,
)
from mmengine.migrate._code.log_buffer import logged_value, logging_lines
from mmengine.migrate._code.runner_meta import in_hub, keys_set
from mmengine.migrate._code.runner_names import (
    ARGUMENTS,
    GONE,
    OF_RUNNER,
    READ_ONLY,
    SAME_PLACES,
    advice_for,
)
from mmengine.migrate._hook_facts import READS_GRADIENTS

# What the runner has: the new expression for {0}, the runner.
_ATTRIBUTES = {
    'optimizer': '{0}.optim_wrapper.optimizer',
    '_max_iters': '{0}.max_iters',
    '_max_epochs': '{0}.max_epochs',
    '_epoch': '{0}.epoch',
    '_iter': '{0}.iter',
    '_hooks': '{0}.hooks',
}
# What a hook method is handed now, and the parameter of that name that it needs.
_HANDED = {'outputs': 'outputs', 'data_batch': 'data_batch', 'inner_iter': 'batch_idx',
           '_inner_iter': 'batch_idx'}  # fmt: skip
# What MMCV's Hook.before_train_epoch and the like called: in training alone, with a usual workflow.
_OF_ALL_MODES = ('before_epoch', 'after_epoch', 'before_iter', 'after_iter')
_BY_NAME = ('getattr', 'hasattr', 'setattr', 'delattr')


class Hooks(Assigned):
    """Subclasses of a hook of MMCV."""

    name = 'hooks'
    summary = "hooks' new signatures; runner.outputs, data_batch, optimizer, log_buffer, ..."
    triggers = ('Hook', 'runner')

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._is_hook = [False]
        self._bases: list[list[str]] = [[]]
        self._own_methods: list[frozenset[str]] = [frozenset()]
        self._counts_as_before = [False]
        self._names = ['']
        self._set_by_project: frozenset[str] = frozenset()
        self._meta_keys: frozenset[str] = frozenset()
        self._works_with_runners = False
        self._outputs = hook_outputs.Parts()
        self._dicts = several_optimizers.Dicts()
        self._text = ['']
        self._runner = ['']
        self._given: list[set[str]] = [set()]
        self._method = ['']
        self._asks_for_wrapper = [False]

    def visit_Module(self, node: cst.Module) -> None:
        """Note what the project itself puts on a runner."""
        text = self.source.code_of(node)
        found = re.findall(r'\brunner\.(\w+)(?:: [^=\n]+)? = ', text)
        found += re.findall(r"\bsetattr\(runner, ['\"](\w+)", text)
        self._set_by_project = frozenset(found)
        self._meta_keys = keys_set(text)
        self._works_with_runners = any(
            full.startswith('mmcv.runner') for full in self.source.origins.values()
        )

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        """Note whether the class is a hook, and what it defines."""
        bases = [self.source.name_of(base.value) for base in node.bases]
        methods = [item for item in body_of(node) if isinstance(item, cst.FunctionDef)]
        self._is_hook.append(self._is_hook_class(bases, methods))
        self._bases.append(bases)
        self._own_methods.append(frozenset(method.name.value for method in methods))
        counts = self._is_hook[-1] and self.source.classes.counts_as_before(node.name.value)
        self._counts_as_before.append(counts)
        self._names.append(node.name.value)

    def _is_hook_class(self, bases: Sequence[str], methods: Sequence[cst.FunctionDef]) -> bool:
        if any(base.rpartition('.')[2].endswith('OptimWrapper') for base in bases):
            return False
        above = self.source.classes.outside(bases)
        if any(one.endswith('Hook') and not one.startswith('mmengine.') for one in above):
            return True
        # Of an unknown base, its methods tell.
        return bool(bases) and any(
            method.name.value in METHODS and takes_runner_alone(method) and names_runner(method)
            for method in methods
        )

    def leave_ClassDef(
        self, original_node: cst.ClassDef, updated_node: cst.ClassDef
    ) -> cst.ClassDef:
        """The class is done."""
        self._is_hook.pop()
        self._bases.pop()
        self._own_methods.pop()
        self._names.pop()
        if not self._counts_as_before.pop():
            return updated_node
        bases = [
            base.with_changes(value=self.want('mmengine.migrate', 'LegacyHook'))
            if self.source.mmcv_name(old.value) == 'Hook'
            else base
            for old, base in zip(original_node.bases, updated_node.bases, strict=True)
        ]
        return updated_node.with_changes(bases=bases)

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        """Note what the method calls its runner, and what it is handed."""
        names = [param.name.value for param in node.params.params]
        runner = ''
        if self._is_hook[-1] and len(names) > 1:
            runner = names[1] if 'runner' in names[1] else 'runner' if 'runner' in names else ''
        elif len(self._is_hook) == 1 and 'runner' in names and self._works_with_runners:
            runner = 'runner'
        self._runner.append(runner)
        self._method.append(node.name.value)
        text = self.source.text_of(node)
        self._text.append(text)
        self._asks_for_wrapper.append(bool(re.search(r"_wrapper\(|'module'|DataParallel", text)))
        given = set(names)
        if runner and takes_runner_alone(node) and node.name.value in METHODS:
            fresh = parameters(METHODS[node.name.value][1].format(runner))
            given = {param.name.value for param in fresh.params}
        self._given.append(given)

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        """The new signature."""
        runner = self._runner.pop()
        self._given.pop()
        self._method.pop()
        self._asks_for_wrapper.pop()
        self._text.pop()
        name = original_node.name.value
        if runner and f'{runner}.meta' in self.source.text_of(original_node):
            updated_node = in_hub(updated_node, runner, self._meta_keys)
            if f'{runner}.meta' in code(updated_node):
                self.mark(f'{runner}.meta: {advice_for("meta")}')
        if runner:
            self._mark_gradients(name, runner, self.source.text_of(original_node))
        if runner and self._counts_as_before[-1] and name in legacy_counts.OF_TRAIN_EPOCHS:
            updated_node = legacy_counts.left_in_iterations(updated_node, runner)
        if not runner or name not in METHODS:
            return updated_node
        new_name, params = METHODS[name]
        if not takes_runner_alone(original_node):
            if new_name != name:
                self._marks[-1:] = [[f'{name} has another name and signature: {new_name}']]
            return updated_node
        changed = updated_node.with_changes(
            name=cst.Name(new_name), params=parameters(params.format(runner))
        )
        if name in _OF_ALL_MODES:
            changed = in_training(changed)
        return changed

    def _mark_gradients(self, method: str, runner: str, text: str) -> None:
        """Mark a method that reads gradients."""
        text = re.sub(r'#.*', '', text)
        if self._names[-1] in self.source.classes.used:
            return  # where it is registered, the step is converted for it
        if re.search(READS_GRADIENTS, text):
            self.mark(_NO_GRADIENTS.format(method))

    def leave_Subscript(
        self, original_node: cst.Subscript, updated_node: cst.Subscript
    ) -> cst.BaseExpression:
        """``runner.outputs['log_vars']['x']``: the outputs are the log variables now."""
        if not self._runner[-1]:
            return updated_node
        runner, text = self._runner[-1], plain(original_node)
        if text == f"{runner}.outputs['log_vars']":
            return updated_node.value
        if code(original_node.value) == f'{runner}.optimizer':
            key = code(original_node.with_changes(value=cst.Name('_')))[1:]
            return expression(f'{runner}.optim_wrapper{key}.optimizer')
        if (of_one := several_optimizers.of_one(original_node, runner)) is not None:
            return of_one
        new = ''
        if text.startswith(f'{runner}.outputs[') and original_node not in self._set:
            rest = text.removeprefix(f'{runner}.outputs')
            new, why = hook_outputs.read(rest, self._given[-1], self.source.classes)
            self._mark_if(why)
        new = new or logged_value(original_node, runner)
        return expression(new) if new else updated_node

    def _mark_if(self, why: str) -> None:
        if why:
            self.mark(why)

    def visit_Attribute(self, node: cst.Attribute) -> None:
        """Note ``runner.outputs.get`` and ``runner.current_lr().items``."""
        self._outputs.note(node)
        self._dicts.note(node)

    def visit_Subscript(self, node: cst.CSTNode) -> None:
        """Note that a part of the outputs is taken, or that a question is about one."""
        self._outputs.note(node)

    visit_Call = visit_Comparison = visit_Subscript

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        """A part of the runner by its new name."""
        runner = self._runner[-1]
        if runner and dotted(original_node) == f'{runner}.model.module':
            if original_node in self._set:
                self.mark(f'{runner}.model.module is set: a model in one process is not wrapped')
                return updated_node
            if self._asks_for_wrapper[-1]:
                return updated_node
            # Every model was wrapped under MMCV; here one is that trains in several processes.
            return expression(f"getattr({runner}.model, 'module', {runner}.model)")
        if not runner or dotted(original_node.value) != runner:
            return updated_node
        name = original_node.attr.value
        if self._counts_as_before[-1] and (
            count := legacy_counts.count_of(name, runner, 'batch_idx' in self._given[-1])
        ):
            if original_node not in self._set:
                return expression(count)
            told = legacy_counts.ENDS if 'max' in name else legacy_counts.IS_SET
            self.mark(told.format(f'{runner}.{name}'))
        if name in _HANDED and original_node in self._set:
            self.mark(f'{runner}.{name} is set in vain: it is handed to the methods of hooks')
        elif name in _HANDED:
            if name == 'outputs' and 'outputs' in self._given[-1]:
                self._mark_if(self._outputs.mark_of(original_node))
            if _HANDED[name] in self._given[-1]:
                return cst.Name(_HANDED[name])
            self.mark(f'{runner}.{name} is handed to before_ and after_ methods of an iteration')
        elif name == 'data_loader' and original_node in self._set:
            self.mark(f'{runner}.{name} cannot be set: it is a property that the loops keep')
        elif name == 'data_loader':
            stage = 'val' if '_val_' in self._method[-1] else 'train'
            return expression(f'{runner}.{stage}_dataloader')
        elif name in _ATTRIBUTES:
            return expression(_ATTRIBUTES[name].format(runner))
        elif name == 'mode' and original_node not in self._set and (mode := self._mode()):
            return expression(mode)
        elif name not in OF_RUNNER | self._set_by_project and name not in _SEEN_ELSEWHERE:
            self.mark(f'{runner}.{name}: {advice_for(name)}')
        return updated_node

    def _mode(self) -> str:
        """What ``runner.mode`` is in the method at hand; empty if that is not known."""
        if 'mode' in self._given[-1]:
            return 'mode'
        modes = ("'train'", "'val'")
        return next((mode for mode in modes if f'_{mode[1:-1]}_' in self._method[-1]), '')

    def leave_AssignTarget(
        self, original_node: cst.AssignTarget, updated_node: cst.AssignTarget
    ) -> cst.AssignTarget:
        """What is assigned to is not read: the whole statement changes, or nothing."""
        self._mark_target(original_node.target, updated_node.target)
        if f'{self._runner[-1]}.log_buffer' in code(original_node) and self._runner[-1]:
            return original_node
        return updated_node

    def leave_AugAssign(
        self, original_node: cst.AugAssign, updated_node: cst.AugAssign
    ) -> cst.AugAssign:
        """``runner._epoch += 1`` sets as well."""
        self._mark_target(original_node.target, updated_node.target)
        return updated_node

    def _mark_target(self, old: cst.CSTNode, new: cst.CSTNode) -> None:
        """Mark what is set in vain, or cannot be set."""
        runner = self._runner[-1]
        if not runner:
            return
        if code(old).startswith(f'{runner}.outputs['):
            self.mark(
                f'{code(old)} is set in vain: the optimizer step is done when hooks see outputs. '
                'Change the loss in the model, or in update_params of an optimizer wrapper'
            )
        owner, _, name = dotted(new).rpartition('.')
        if owner == runner and name in READ_ONLY:
            self.mark(f'{runner}.{name} cannot be set: it is a property that the loops keep')

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        """Questions to the runner and to the hook itself."""
        runner, name = self._runner[-1], dotted(original_node.func)
        if not runner:
            return updated_node
        owner, _, method = name.rpartition('.')
        if owner == runner and method in several_optimizers.KINDS and not updated_node.args:
            several = self.source.classes.has_several_optimizers()
            new, why = self._dicts.answer(original_node, runner, self._text[-1], several)
            self._mark_if(why)
            return expression(new)
        if owner == runner:
            self._mark_arguments(method, original_node)
        if name.startswith(f'{runner}.optimizer.') and method in ('items', 'values', 'keys'):
            self.mark(
                f'{runner}.optim_wrapper is a dict of wrappers here: each has its optimizer under '
                '.optimizer'
            )
        if name in _BY_NAME and len(original_node.args) > 1:
            self._mark_by_name(name, original_node)
        if name in (f'{runner}.outputs.get', f'{runner}.outputs.pop') and original_node.args:
            key = original_node.args[0].value
            if plain(key) == "'log_vars'" and 'outputs' in self._given[-1]:
                return cst.Name('outputs')
            self._mark_if(hook_outputs.mark_of_key(key, self.source.classes))
        if code(original_node.func).endswith('.backward') and '.outputs' in self._text[-1]:
            self.mark(hook_outputs.NO_BACKWARD)
        own = OwnCall.of(original_node, runner)
        new = self._own_call(own) if own is not None else ''
        return expression(new) if new else updated_node

    def _own_call(self, call: OwnCall) -> str:
        """A call of a method of the hook itself; empty to leave it as it is."""
        given = self._given[-1]
        if call.method in METHODS and len(call.args) == 1:
            new = call.of_method(given)
        elif call.method not in QUESTIONS or len(call.args) > 2 or self._has_own(call):
            return ''
        else:
            new = call.question(given, counts_as_before=self._counts_as_before[-1])
        if not new:
            self.mark(
                f'{call.method} needs the index of the batch, which methods of an iteration get'
            )
        return new

    def _mark_by_name(self, function: str, call: cst.Call) -> None:
        """Mark ``getattr(runner, 'data_loader')`` and the like, where nothing is by that name."""
        runner, key = self._runner[-1], call.args[1].value
        name = key.evaluated_value if isinstance(key, cst.SimpleString) else None
        if code(call.args[0].value) != runner or not isinstance(name, str):
            return
        if name in _ATTRIBUTES:
            self.mark(f'{runner}.{name}: it is {_ATTRIBUTES[name].format(runner)} here')
        elif name in _HANDED or name in GONE or name == 'data_loader':
            self.mark(f'{runner}.{name}: {advice_for(name)}')
        elif function == 'setattr' and name in READ_ONLY:
            self.mark(f'{runner}.{name} cannot be set: it is a property that the loops keep')
        elif function != 'setattr' and name not in OF_RUNNER | self._set_by_project:
            self.mark(f'{runner}.{name}: {advice_for(name)}')

    def leave_Comparison(
        self, original_node: cst.Comparison, updated_node: cst.Comparison
    ) -> cst.Comparison:
        """``'num_samples' in runner.outputs``."""
        target = original_node.comparisons[0]
        if self._runner[-1] and code(target.comparator) == f'{self._runner[-1]}.outputs':
            self._mark_if(hook_outputs.mark_of_key(original_node.left, self.source.classes))
        return updated_node

    def _has_own(self, call: OwnCall) -> bool:
        """Whether a method of MMCV's Hook may be the project's own; marks what is not known."""
        bases, method = self._bases[-1], call.method
        if call.is_explicit:
            bases = [self.source.origins.get(call.owner, call.owner)]
        classes = self.source.classes
        is_own = call.owner == 'self' and method in self._own_methods[-1]
        if is_own or classes.inherits_method(bases, method):
            return True
        unknown = [
            one for one in classes.outside(bases) if not one.startswith(('mmcv.', 'mmengine.'))
        ]
        unknown = [one for one in unknown if one not in ('object', 'Hook')]
        if unknown:
            new = f'self.{QUESTIONS[method].partition("(")[0]}'
            self.mark(
                f'{call.owner}.{method} may be a method of {unknown[0]}, which is not known here; '
                f'of a Hook it is {new} now'
            )
        return bool(unknown)

    def _mark_arguments(self, method: str, call: cst.Call) -> None:
        """Mark arguments that a method of Runner does not have, or has in another place."""
        if method not in ARGUMENTS:
            return
        runner = self._runner[-1]
        names = [arg.keyword.value for arg in call.args if arg.keyword is not None]
        wrong = [name for name in names if name not in ARGUMENTS[method]]
        num_positional = sum(arg.keyword is None and not arg.star for arg in call.args)
        if not ARGUMENTS[method] and call.args:
            self.mark(f'{runner}.{method} takes no arguments here')
        elif wrong:
            self.mark(f'{runner}.{method} has no {", ".join(wrong)}: {_ADVICE.get(method, "")}')
        elif num_positional > SAME_PLACES[method] or (
            method == 'save_checkpoint' and 'filename' not in names
        ):
            order = ', '.join(ARGUMENTS[method])
            self.mark(f'{runner}.{method} takes its arguments in this order here: {order}')

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement] | cst.RemovalSentinel:
        """Statements about the log buffer."""
        runner = self._runner[-1]
        if not runner or f'{runner}.log_buffer' not in code(original_node):
            return updated_node
        new = logging_lines(original_node, updated_node, runner, f'{runner}.message_hub')
        if new == []:
            return cst.RemoveFromParent()
        if new is None:
            if f'{runner}.log_buffer' in code(updated_node):
                self.mark(f'{runner}.log_buffer: {advice_for("log_buffer")}')
            return updated_node
        lines = statements(''.join(f'{line}\n' for line in new))
        lines[0] = lines[0].with_changes(leading_lines=updated_node.leading_lines)
        return cst.FlattenSentinel(lines)


_NO_GRADIENTS = (
    '{0} reads gradients, which update_params has dropped by then: read them in a method '
    'clip_grads or step of an OptimWrapper'
)
_SEEN_ELSEWHERE = ('log_buffer', 'meta', 'optimizer', *several_optimizers.KINDS)
_ADVICE = {
    'save_checkpoint': "give filename='epoch_1.pth', the name itself",
    'resume': 'the first argument is filename',
}
