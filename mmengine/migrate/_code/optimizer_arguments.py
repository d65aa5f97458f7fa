"""The ``optim_wrapper`` of Runner from a legacy optimizer and its hook."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import libcst as cst

from mmengine.migrate._code._nodes import code, dotted, entry, expression, keys
from mmengine.migrate._code._rewriter import Rewriter
from mmengine.migrate._code.hook_objects import WITHOUT_MEANING

if TYPE_CHECKING:
    from mmengine.migrate._code.legacy_runner import Legacy
    from mmengine.migrate._code.runner_arguments import Want

_STOCK = {
    'OptimizerHook': 'OptimWrapper',
    'GradientCumulativeOptimizerHook': 'OptimWrapper',
    'Fp16OptimizerHook': 'AmpOptimWrapper',
    'GradientCumulativeFp16OptimizerHook': 'AmpOptimWrapper',
}
_RENAMED = {'grad_clip': 'clip_grad', 'cumulative_iters': 'accumulative_counts'}
# Of Fp16OptimizerHook; a wrapper would begin with a dynamic scale.
_HALF = {'loss_scale': '512.0', 'dtype': "'float16'"}


def wrapper_argument(legacy: Legacy, want: Want, left: list[str]) -> str:
    """Code for ``optim_wrapper``; what is left to do goes to ``left``."""
    optimizer = legacy.runner.get('optimizer')
    if optimizer is None:
        left.append('the optimizer was not given where the runner was made')
        return 'None'
    resolved = legacy.resolved(optimizer)
    text = code(optimizer)
    moved = ''
    if isinstance(resolved, cst.Call) and legacy.builds(resolved):
        given = resolved.args[1].value if len(resolved.args) > 1 else None
        if legacy.is_optimizer_of_config(given):
            return _beside_config(legacy, left)
        text, moved = _without_groups(legacy.resolved(given), text)
    elif resolved is not None and builds_several(resolved, legacy):
        return _several(resolved, legacy, want, left)
    kind, options = _wrapper_options(legacy, left)
    given_options = ''.join(f', {name}={value}' for name, value in options.items())
    if kind not in _STOCK.values() and kind.startswith(('"', "'")):
        return f'dict(type={kind}, optimizer={text}{moved}{given_options})'
    if text != code(optimizer):
        named = f'type={_type_of(kind)}, ' if kind != 'OptimWrapper' else ''
        return f'dict({named}optimizer={text}{moved}{given_options})'
    if kind in _STOCK.values():
        kind = want('mmengine.optim', kind).value
    is_half = kind.endswith('AmpOptimWrapper')
    one = 'optimizer=optimizer' if is_half else 'optimizer'
    if _is_dict(resolved):
        several = want('mmengine.optim', 'OptimWrapperDict').value
        return (
            f'{several}(**{{name: {kind}({one}{given_options}) '
            f'for name, optimizer in {text}.items()}})'
        )
    return f'{kind}({f"optimizer={text}" if is_half else text}{given_options})'


def builds_several(node: cst.CSTNode | None, legacy: Legacy) -> bool:
    """Whether an expression is a dict of optimizers that MMCV builds from configs."""
    if isinstance(node, cst.DictComp):
        return isinstance(node.value, cst.Call) and legacy.builds(node.value)
    if not isinstance(node, cst.BaseExpression) or not _is_dict(node):
        return False
    values = [entry(node, name) for name in keys(node)]
    return bool(values) and all(isinstance(one, cst.Call) and legacy.builds(one) for one in values)


def _several(node: cst.BaseExpression, legacy: Legacy, want: Want, left: list[str]) -> str:
    """Code for an ``OptimWrapperDict`` in the place of a dict of optimizers."""
    building = _Wrappers(legacy, want, left)
    built = node.visit(building)
    assert isinstance(built, cst.CSTNode)
    text = code(built)
    several = want('mmengine.optim', 'OptimWrapperDict').value
    return f'{several}(**{text})'


class _Wrappers(Rewriter):
    """``build_optimizer(part, config)`` becomes ``build_optim_wrapper(part, config)``."""

    def __init__(self, legacy: Legacy, want: Want, left: list[str]) -> None:
        super().__init__()
        self._legacy, self._want, self._left = legacy, want, left

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        if not self._legacy.builds(original_node) or len(original_node.args) != 2:
            return updated_node
        part, given = (arg.value for arg in original_node.args)
        build = self._want('mmengine.optim', 'build_optim_wrapper').value
        config = self._legacy.config
        if self._legacy.is_optimizer_of_config(given):
            text = re.sub(
                rf"""^{re.escape(config)}(\.optimizer\b(?!\.optim)|\.optim_wrapper\.optimizer\b|\['optimizer'\])""",
                f'{config}.optim_wrapper',
                code(given),
            )
            return expression(f'{build}({code(part)}, {text})')
        kind, options = _wrapper_options(self._legacy, self._left)
        text, moved = _without_groups(self._legacy.resolved(given), code(given))
        rest = moved + ''.join(f', {name}={value}' for name, value in options.items())
        kind = _type_of(kind)
        return expression(f'{build}({code(part)}, dict(type={kind}{rest}, optimizer={text}))')


def _beside_config(legacy: Legacy, left: list[str]) -> str:
    """The wrapper of the config, or its optimizer in the wrapper that the script asks for."""
    whole = f'{legacy.config}.optim_wrapper'
    hook = legacy.hooks.get('optimizer_config')
    if hook is None or code(hook) == 'None' or legacy.is_hook_of_config(hook):
        return whole
    unknown: list[str] = []
    kind, options = _wrapper_options(legacy, unknown)
    if unknown:
        left += unknown
        return whole
    kind = _type_of(kind)
    given = ''.join(f', {name}={value}' for name, value in options.items())
    # The config's own clipping, accumulation and precision were not asked for.
    return (
        f'dict({{key: {whole}[key] for key in {_OF_OPTIMIZER} if key in {whole}}}, '
        f'type={kind}{given})'
    )


_OF_OPTIMIZER = ('optimizer', 'paramwise_cfg', 'constructor')
_CONSTRUCTORS = {'DefaultOptimizerConstructor': 'DefaultOptimWrapperConstructor'}
_OF_GROUPS = ('paramwise_cfg', 'constructor')


def _without_groups(node: cst.BaseExpression | None, text: str) -> tuple[str, str]:
    """The config of an optimizer, and what stands beside it here: groups of parameters.

    Args:
        node: The config.
        text: Its text where it is not written out.
    """
    if node is None:
        return text, ''
    if isinstance(node, cst.Name):
        name = node.value
        return name, f", paramwise_cfg={name}.pop('paramwise_cfg', None)"
    if not _is_dict(node) or isinstance(node, cst.DictComp):
        return code(node), ''
    moved = {name: entry(node, name) for name in keys(node) if name in _OF_GROUPS}
    if not moved:
        return code(node), ''
    rest = ', '.join(
        f'{name}={code(value)}'
        for name in keys(node)
        if name not in _OF_GROUPS and (value := entry(node, name)) is not None
    )
    beside = ''.join(f', {name}={code(value)}' for name, value in moved.items() if value)
    for old, new in _CONSTRUCTORS.items():
        beside = beside.replace(old, new)
    return f'dict({rest})', beside


def _wrapper_options(legacy: Legacy, left: list[str]) -> tuple[str, dict[str, str]]:
    """The class of the wrapper, a text in quotes for a registered one, and its arguments."""
    node = legacy.hooks.get('optimizer_config')
    config = legacy.resolved(node)
    if config is None or code(config) == 'None':
        return 'OptimWrapper', {}
    if isinstance(config, cst.Call) and dotted(config.func) not in ('', 'dict'):
        kind = dotted(config.func)
        if legacy.resolved(config.func) is not config.func or not _is_class(kind, legacy):
            # A function's return, or an entry of something.
            left.append(f'{code(config)}: {_UNKNOWN}')
            return 'OptimWrapper', {}
        # A hook of the project's own: a wrapper of the same name now.
        if any(arg.star for arg in config.args) and kind.rpartition('.')[2] in _STOCK:
            left.append(f'{code(config)}: {_UNKNOWN}')
            return 'OptimWrapper', {}
        names = legacy.arguments.get(kind.rpartition('.')[2], ())
        own = {
            arg.keyword.value if arg.keyword is not None else name: arg.value
            for arg, name in zip(config.args, [*names, *[''] * len(config.args)], strict=False)
            if not arg.star
        }
        if own.pop('', None) is not None or any(arg.star for arg in config.args):
            left.append(f'{code(config)}: give its arguments by name, the optimizer comes first')
        return kind, _renamed(own)
    if not _is_dict(config) or isinstance(config, cst.DictComp):
        left.append(f'{code(config)}: {_UNKNOWN}')
        return 'OptimWrapper', {}
    given = {name: value for name in keys(config) if (value := entry(config, name)) is not None}
    kind_node = given.pop('type', None)
    kind = code(kind_node) if kind_node is not None else "'OptimizerHook'"
    stock = _STOCK.get(kind.strip('\'"'))
    if stock is None:
        return kind, _renamed(given)
    options = _renamed(given)
    if stock == 'AmpOptimWrapper':
        options = {**_HALF, **options}
    else:
        options.pop('loss_scale', None)
    return stock, options


_UNKNOWN = 'clipping, accumulation and mixed precision are arguments of the optimizer wrapper'


def _type_of(kind: str) -> str:
    """The ``type`` of a config for a wrapper: a registered name, or the project's own class."""
    return repr(kind) if kind in _STOCK.values() else kind


def _is_class(name: str, legacy: Legacy) -> bool:
    last = name.rpartition('.')[2]
    return last in legacy.classes or last[:1].isupper()


def _renamed(given: dict[str, cst.BaseExpression]) -> dict[str, str]:
    return {
        _RENAMED.get(name, name): code(value)
        for name, value in given.items()
        if code(value) != 'None' and name not in WITHOUT_MEANING
    }


def _is_dict(node: cst.BaseExpression | None) -> bool:
    return isinstance(node, (cst.Dict, cst.DictComp)) or (
        isinstance(node, cst.Call) and dotted(node.func) == 'dict'
    )
