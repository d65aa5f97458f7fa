"""``step`` and ``zero_grad`` of a torch optimizer, without the parts that serve nobody.

torch runs ``optimizer.step()`` in two decorators. ``profile_hook_step`` announces the step to
profilers and calls the hooks of a step. ``_use_grad_for_differentiable`` sets the grad mode and
tells the compiler to leave the step alone. ``zero_grad`` announces itself too. When nobody profiles
or compiles and there are no hooks, the function beneath the decorators under no-grad, and
``param.grad = None``, give the same bits in less time: ``benchmarks/optimizer_calls.py``.

:func:`undecorated_step` holds the conditions. They are looked at in every step, so that a hook, a
profiler or a patch of ``step`` gets the plain calls in the very next step. Nothing is remembered
about an optimizer. That includes its parameters, because no cheap test finds a parameter that was
replaced in its group.

Checked with the decorators of torch 2.6, 2.9 and 2.13, and run with 2.13. If a decorator of another
version uses a name that these do not use (``_KNOWN_NAMES``), it may serve somebody new, and all
calls are plain. Who listens to announcements is decided in `mmengine/utils/_recorded.py`, which
names one listener that nobody can see. ``OptimWrapper.direct_step = False`` makes all calls plain.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim import optimizer as torch_optimizer

from mmengine.utils._recorded import is_recorded
from mmengine.utils._torch_own import codes_of, has_names, uses_known_names

# The decorators' inner functions, and what these call. For each, what it looks up: attributes,
# globals, imports.
_KNOWN_NAMES = {
    'wrapper': {
        'cast', 'Optimizer', '__class__', '__name__', 'torch', 'autograd', 'profiler',
        'record_function', 'chain', 'values', 'isinstance', 'tuple', 'len', 'RuntimeError',
        '_global_optimizer_pre_hooks', '_optimizer_step_pre_hooks', '_optimizer_step_code',
        '_optimizer_step_post_hooks', '_global_optimizer_post_hooks',
    },
    '_use_grad': {
        'torch', 'torch._dynamo', '_dynamo', 'graph_break', 'cast', 'Optimizer', 'defaults',
        'is_grad_enabled', 'set_grad_enabled',
    },
    'inner': {
        'getattr', 'torch', 'torch._dynamo', '_dynamo', 'disable', '__dynamo_disable',
    },
    'zero_grad': {
        'defaults', 'get', 'hasattr', '_patch_step_function', 'defaultdict', 'torch', 'autograd',
        'profiler', 'record_function', '_zero_grad_profile_name', 'param_groups', 'grad', 'grad_fn',
        'detach_', 'requires_grad_', 'is_sparse', 'zero_', 'AssertionError', 'device', 'dtype',
        'append', 'values', '_foreach_zero_',
    },
    '_optimizer_step_code': set(),
}  # fmt: skip

# What this file uses of torch beside its documented API.
_USED = ('_C._set_grad_enabled',)
_USED_HOOKS = ('_global_optimizer_pre_hooks', '_global_optimizer_post_hooks')

# As they were at import. Whether they are torch's own, `_is_known_torch` finds out.
_ZERO_GRAD = Optimizer.zero_grad
_STEP_CODE = getattr(Optimizer, '_optimizer_step_code', None)


def take_step(optimizer: Any, drops_gradients: bool = False) -> None:
    """``optimizer.step()``, and ``optimizer.zero_grad()`` if ``drops_gradients``."""
    step = undecorated_step(optimizer)
    if step is None:
        optimizer.step()
        if drops_gradients:
            optimizer.zero_grad()
        return
    was_enabled = torch.is_grad_enabled()
    torch._C._set_grad_enabled(False)
    try:
        step(optimizer)
    finally:
        torch._C._set_grad_enabled(was_enabled)
    if drops_gradients:
        # As in `drop_gradients`, whose call and conditions are saved here.
        for group in optimizer.param_groups:
            for param in group['params']:
                if param.grad is not None:
                    param.grad = None


def drop_gradients(optimizer: Any) -> None:
    """``optimizer.zero_grad()``."""
    if undecorated_step(optimizer) is None:
        optimizer.zero_grad()
        return
    for group in optimizer.param_groups:
        for param in group['params']:
            if param.grad is not None:
                param.grad = None


def undecorated_step(optimizer: Any) -> Callable[[Any], object] | None:
    """The ``step`` of ``optimizer`` beneath torch's decorators; None if somebody needs these.

    If it is not None, ``zero_grad`` serves nobody either.
    """
    if torch.compiler.is_compiling():
        return None
    cls = type(optimizer)
    if (
        not issubclass(cls, Optimizer)
        or type(cls.step) is not FunctionType
        or cls.zero_grad is not _ZERO_GRAD
        or cls.__getattribute__ is not object.__getattribute__
    ):
        return None
    step = _beneath_both_decorators(cls.step)
    own = optimizer.__dict__
    if (
        step is None
        or cls._optimizer_step_code is not _STEP_CODE
        # Schedulers of torch patch the `step` of an optimizer, to see that it was called.
        or 'step' in own
        or 'zero_grad' in own
        or '_optimizer_step_code' in own
        or own.get('_optimizer_step_pre_hooks', True)
        or own.get('_optimizer_step_post_hooks', True)
        or torch_optimizer._global_optimizer_pre_hooks
        or torch_optimizer._global_optimizer_post_hooks
        or own.get('defaults', {}).get('differentiable', True)
        or is_recorded()
    ):
        return None
    return step


@lru_cache(maxsize=64)
def _beneath_both_decorators(step: FunctionType) -> Callable[[Any], object] | None:
    if not _is_known_torch():
        return None
    inner = _beneath(step, Optimizer.profile_hook_step, 'func')
    if inner is None:
        return None
    return _beneath(inner, torch_optimizer._use_grad_for_differentiable, 'func')


def _is_known_torch() -> bool:
    """Whether torch has what is used here, and its functions use known names only."""
    if not has_names(torch, _USED) or not has_names(torch_optimizer, _USED_HOOKS):
        return False
    try:
        zero_grad = _beneath(_ZERO_GRAD, torch._compile._disable_dynamo, 'fn')
        codes = codes_of([zero_grad, _STEP_CODE])
        for decorator in (
            Optimizer.profile_hook_step,
            torch_optimizer._use_grad_for_differentiable,
            torch._compile._disable_dynamo,
        ):
            codes += _codes_within(decorator)
    except AttributeError:  # another version of torch
        return False
    return uses_known_names(codes, _KNOWN_NAMES)


def _beneath(function: object, decorator: Any, variable: str) -> FunctionType | None:
    """The function that ``decorator`` was applied to; None if ``function`` is not its result.

    Args:
        function: The decorated function.
        decorator: A function that returns a closure.
        variable: The closure's name of the decorated function.
    """
    if not isinstance(function, FunctionType) or function.__code__ not in _codes_within(decorator):
        return None
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    inner = cells[variable].cell_contents if variable in cells else None
    return inner if isinstance(inner, FunctionType) else None


def _codes_within(function: Any) -> list[CodeType]:
    return [const for const in function.__code__.co_consts if isinstance(const, CodeType)]
