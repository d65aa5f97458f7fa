"""Whether somebody records the calls that torch announces with ``record_function``.

torch announces the step of an optimizer and each batch of a dataloader to profilers. An
announcement costs about as much as a small operator. While nobody profiles, leaving it out changes
no result, so this package asks :func:`is_recorded` before each call that torch announces, and then
calls what is beneath the announcement.

The conditions fit torch 2.6, 2.9 and 2.13. If the code of an announcement uses a name that
these versions do not use (:func:`uses_known_names`), it may serve somebody new, and the calls are
not changed.

One listener cannot be seen from Python: an ``ExecutionTraceObserver`` that is started without a
profiler. It records the operators of the step or batch but not the announcement.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cache
from operator import attrgetter
from types import CodeType, FunctionType
from typing import Any

import torch
from torch.autograd import profiler

_KNOWN_NAMES = {
    '__enter__': {
        'torch', 'ops', 'profiler', '_record_function_enter_new', 'name', 'args', 'record', 'jit',
        'is_scripting', '_maybe_cupti_monitor', 'push_user_annotation',
        '_cupti_monitor_external_id',
    },
    '__exit__': {
        'torch', 'ops', 'profiler', '_record_function_exit', '_RecordFunction', '_C',
        'DisableTorchFunctionSubclass', 'run_callbacks_on_exit', 'record', 'jit', 'is_scripting',
        'AssertionError', '_maybe_cupti_monitor', 'pop_user_annotation',
        '_cupti_monitor_external_id',
    },
}  # fmt: skip

# What this file uses of torch beside its documented API.
_USED = (
    '_C._autograd._profiler_enabled',
    '_C._len_torch_dispatch_stack',
    '_C._len_torch_function_stack',
    'autograd.profiler._is_profiler_enabled',
)

_RECORD_FUNCTION = profiler.record_function  # as it was at import
# torch reads this variable when it is imported. From then on a daemon can start a profiler.
_HAS_PROFILER_DAEMON = 'KINETO_USE_DAEMON' in os.environ
_CUPTI_MONITOR = 'torch.profiler._cupti_monitor'


def is_recorded() -> bool:
    """Whether somebody records what is announced, or may: then all calls have to be plain."""
    # The flag is the process's, the function tells of this thread.
    return bool(
        not knows_announcements()
        or profiler._is_profiler_enabled
        or torch._C._autograd._profiler_enabled()
        or profiler.record_function is not _RECORD_FUNCTION
        or _HAS_PROFILER_DAEMON
        or getattr(sys.modules.get(_CUPTI_MONITOR), '_monitor_singleton', None) is not None
        # A mode sees the operators that announce a call.
        or torch._C._len_torch_dispatch_stack()
        or torch._C._len_torch_function_stack()
    )


@cache
def knows_announcements() -> bool:
    """Whether this torch announces calls as a known version does."""
    methods = [_RECORD_FUNCTION.__enter__, _RECORD_FUNCTION.__exit__]
    return has_names(torch, _USED) and uses_known_names(codes_of(methods), _KNOWN_NAMES)


def has_names(owner: Any, names: tuple[str, ...]) -> bool:
    """Whether ``owner`` has all attributes of dotted ``names``."""
    try:
        attrgetter(*names)(owner)
    except AttributeError:  # another version of torch
        return False
    return True


def uses_known_names(codes: list[CodeType], known: Mapping[str, set[str]]) -> bool:
    """Whether ``codes`` are of the functions in ``known``, and use only the names there.

    Args:
        codes: Code objects of functions.
        known: For each function, by its name, the attributes, globals and imports that it may use.
    """
    return {code.co_name for code in codes} == set(known) and all(
        set(code.co_names) <= known[code.co_name] for code in codes
    )


def codes_of(functions: list[Any]) -> list[CodeType]:
    """The code objects of the ``functions`` that are written in Python."""
    return [function.__code__ for function in functions if isinstance(function, FunctionType)]
