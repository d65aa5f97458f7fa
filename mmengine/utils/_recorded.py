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
from functools import cache

import torch
from torch.autograd import profiler

from mmengine.utils._torch_own import codes_of, has_names, uses_known_names

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

# As they were at import. Whether they are torch's own, `knows_announcements` finds out.
_RECORD_FUNCTION = profiler.record_function
_ENTER, _EXIT = _RECORD_FUNCTION.__enter__, _RECORD_FUNCTION.__exit__
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
        or _RECORD_FUNCTION.__enter__ is not _ENTER
        or _RECORD_FUNCTION.__exit__ is not _EXIT
        or _HAS_PROFILER_DAEMON
        or getattr(sys.modules.get(_CUPTI_MONITOR), '_monitor_singleton', None) is not None
        # A mode sees the operators that announce a call.
        or torch._C._len_torch_dispatch_stack()
        or torch._C._len_torch_function_stack()
    )


@cache
def knows_announcements() -> bool:
    """Whether this torch announces calls as a known version does."""
    return has_names(torch, _USED) and uses_known_names(codes_of([_ENTER, _EXIT]), _KNOWN_NAMES)
