"""Subclasses of OptimizerHook: become optimizer wrappers."""

from __future__ import annotations

import libcst as cst

from mmengine.migrate.code._base import Codemod
from mmengine.migrate.code._nodes import body_of, code, dotted, expression, parameters
from mmengine.migrate.code._rewriter import Rewriter

_BASES = {
    'OptimizerHook': 'OptimWrapper',
    'GradientCumulativeOptimizerHook': 'OptimWrapper',
    'Fp16OptimizerHook': 'AmpOptimWrapper',
    'GradientCumulativeFp16OptimizerHook': 'AmpOptimWrapper',
}


class OptimizerHooks(Codemod):
    """``after_train_iter`` of the hook is ``update_params`` of the wrapper."""

    name = 'optimizer-hooks'
    summary = 'subclasses of OptimizerHook -> subclasses of OptimWrapper'
    triggers = ('OptimizerHook',)
    in_expressions = False

    def leave_ClassDef(
        self, original_node: cst.ClassDef, updated_node: cst.ClassDef
    ) -> cst.ClassDef:
        """Base, registry and methods."""
        names = [self.source.name_of(base.value) for base in updated_node.bases]
        old = next(
            (
                name.rpartition('.')[2]
                for name in names
                if name.startswith('mmcv.') and name.rpartition('.')[2] in _BASES
            ),
            '',
        )
        if not old:
            return updated_node
        bases = [
            base.with_changes(value=self.want('mmengine.optim', _BASES[old]))
            if name.endswith(f'.{old}')
            else base
            for base, name in zip(updated_node.bases, names, strict=True)
        ]
        decorators = []
        for decorator in updated_node.decorators:
            text = code(decorator.decorator)
            if dotted_head(decorator).endswith('HOOKS'):
                self.want('mmengine.registry', 'OPTIM_WRAPPERS')
                tail = text.partition('.')[2]
                decorator = decorator.with_changes(decorator=expression(f'OPTIM_WRAPPERS.{tail}'))
            decorators.append(decorator)
        body = [
            self._method(item) if isinstance(item, cst.FunctionDef) else item
            for item in body_of(updated_node)
        ]
        return updated_node.with_changes(
            bases=bases,
            decorators=decorators,
            body=updated_node.body.with_changes(body=body),
        )

    def _method(self, method: cst.FunctionDef) -> cst.FunctionDef:
        name = method.name.value
        params = method.params.params
        if name == '__init__':
            return _Init.convert(method, self)
        if name != 'after_train_iter' or len(params) != 2:
            if any(param.name.value == 'runner' for param in params):
                self.mark(f'{name} has no place in an optimizer wrapper: make it a Hook of its own')
            return method
        runner = params[1].name.value
        body = cst.ensure_type(method.visit(_Body(runner)), cst.FunctionDef)
        if f'{runner}.' in code(body.body):
            self.mark(
                f'update_params is not told the {runner}; MessageHub.get_current_instance() '
                'knows the iteration'
            )
        if 'clip_grads(' in code(body.body):
            self.mark('step() clips: drop the call of clip_grads and what depends on it')
        return body.with_changes(
            name=cst.Name('update_params'),
            params=parameters('self, loss, step_kwargs=None, zero_kwargs=None'),
        )


def dotted_head(decorator: cst.Decorator) -> str:
    """``HOOKS`` of ``@HOOKS.register_module()``."""
    node = decorator.decorator
    func = node.func if isinstance(node, cst.Call) else node
    return dotted(func).partition('.')[0]


class _Body(Rewriter):
    """The hook's runner in terms of the wrapper."""

    def __init__(self, runner: str) -> None:
        super().__init__()
        self._runner = runner

    def leave_Subscript(
        self, original_node: cst.Subscript, updated_node: cst.Subscript
    ) -> cst.BaseExpression:
        if code(original_node) == f"{self._runner}.outputs['loss']":
            return cst.Name('loss')
        return updated_node

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        text = code(original_node.func)
        optimizer = f'{self._runner}.optimizer'
        if text in (f'{optimizer}.zero_grad', f'{optimizer}.step'):
            method = text.rpartition('.')[2]
            return updated_node.with_changes(func=expression(f'self.{method}'))
        func = updated_node.func
        if isinstance(func, cst.Attribute) and func.attr.value == 'backward':
            loss = cst.Arg(func.value)
            return updated_node.with_changes(
                func=expression('self.backward'), args=[loss, *updated_node.args]
            )
        return updated_node

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        if dotted(original_node) == f'{self._runner}.optimizer':
            return expression('self.optimizer')
        return updated_node


class _Init(Rewriter):
    """A wrapper is given its optimizer, and calls clipping ``clip_grad``."""

    @classmethod
    def convert(cls, method: cst.FunctionDef, owner: Codemod) -> cst.FunctionDef:
        names = {'grad_clip': 'clip_grad', 'cumulative_iters': 'accumulative_counts'}
        own = [
            code(
                param.with_changes(
                    comma=cst.MaybeSentinel.DEFAULT,
                    name=cst.Name(names.get(param.name.value, param.name.value)),
                )
            )
            for param in method.params.params[1:]
        ]
        given = {text.partition('=')[0].strip() for text in own}
        first = ['self', 'optimizer', *(text for text in own if '=' not in text)]
        rest = [text for text in own if '=' in text] + [
            f'{name}={default}'
            for name, default in (('accumulative_counts', '1'), ('clip_grad', 'None'))
            if name not in given
        ]
        changed = cst.ensure_type(method.visit(cls()), cst.FunctionDef)
        text = code(changed.body)
        if 'super(' not in text:
            owner.mark(
                '__init__ calls super().__init__(optimizer, accumulative_counts, clip_grad) first'
            )
        return changed.with_changes(params=parameters(', '.join([*first, *rest])))

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.Name:
        names = {'grad_clip': 'clip_grad', 'cumulative_iters': 'accumulative_counts'}
        return cst.Name(names.get(original_node.value, original_node.value))

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        func = original_node.func
        if (
            isinstance(func, cst.Attribute)
            and func.attr.value == '__init__'
            and code(func.value).startswith('super(')
        ):
            call = expression(
                'f(optimizer, accumulative_counts=accumulative_counts, clip_grad=clip_grad)'
            )
            return updated_node.with_changes(args=cst.ensure_type(call, cst.Call).args)
        return updated_node
