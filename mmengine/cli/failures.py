"""Distinguishes user errors, which need one message, from failures, which need a traceback."""

from __future__ import annotations

import dis
import sys
from dataclasses import dataclass
from types import TracebackType

RUN_FAILED = 1
USER_MISTAKE = 2

# Errors whose message is sufficient wherever they are raised. They are listed by name, because
# importing their classes would import torch, even for a misspelt file name.
SELF_EXPLAINING = {
    'mmengine.config.errors.ConfigError': USER_MISTAKE,
    'mmengine.registry._errors.RegistryKeyError': USER_MISTAKE,
    'mmengine.registry._errors.ComponentArgumentError': USER_MISTAKE,
    'mmengine._checkpoint._outside.CheckpointReadError': USER_MISTAKE,
    'mmengine._checkpoint._save_error.CheckpointSaveError': RUN_FAILED,
    'mmengine.hooks.non_finite_loss_hook.NonFiniteLossError': RUN_FAILED,
    'mmengine.process._lock.WorkDirInUseError': USER_MISTAKE,
    'mmengine.export._errors.ExportError': RUN_FAILED,
    'mmengine.runner._unsuited.UnsuitedModelError': USER_MISTAKE,
    'mmengine.process.failure.RankFailedError': RUN_FAILED,
}
_PATH_ERRORS = (
    FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError,
)  # fmt: skip
# What a component raises for a value that it does not take.
_OF_VALUES = (ValueError, TypeError, KeyError)
_BUILD = ('mmengine.registry.build_functions', '_build')
# Packages to which a frame can belong; all other frames are code of the user.
_OURS = ('mmengine', '__main__')
_LIBRARIES = ('torch', 'numpy', 'yaml', *sys.stdlib_module_names)


@dataclass(frozen=True)
class Verdict:
    """The message to print instead of a traceback, and the exit code."""

    message: str
    exit_code: int


def judge(error: Exception) -> Verdict | None:
    """The message for ``error``; None if the error needs its traceback.

    A user error is an error that this package raised on purpose, or a path that the system refused,
    while no code of the user was running. Building a component resets this rule: a value that a
    component rejects always counts as an error in the config, also if it is a component of the
    user.
    """
    for ancestor in type(error).__mro__:
        exit_code = SELF_EXPLAINING.get(f'{ancestor.__module__}.{ancestor.__qualname__}')
        if exit_code is not None:
            return Verdict(_text_of(error), exit_code)
    if not _is_mistake(error):
        return None
    hint = '' if isinstance(error, _PATH_ERRORS) else '\n(--traceback shows where this was found)'
    return Verdict(_text_of(error) + hint, USER_MISTAKE)


def _is_mistake(error: Exception) -> bool:
    frames = _frames(error)
    builds = [index for index, frame in enumerate(frames) if _is_build(frame)]
    if builds:
        frames = frames[builds[-1] :]
        if isinstance(error, _OF_VALUES) and _refuses_its_arguments(frames):
            return True
    packages = [_package(frame) for frame in frames]
    if not frames or any(package not in _OURS + _LIBRARIES for package in packages):
        return False
    if isinstance(error, _PATH_ERRORS):
        return True
    if packages[-1] in _OURS:
        return _is_raise_statement(frames[-1])
    return bool(builds)


def _refuses_its_arguments(frames: list[TracebackType]) -> bool:
    """Whether the constructor or function that was built raised the error itself, on purpose."""
    return len(frames) == 2 and _is_raise_statement(frames[-1])


def _frames(error: Exception) -> list[TracebackType]:
    """The frames from the call that caught the error to the call that raised it."""
    found, frame = [], error.__traceback__
    while frame is not None:
        found.append(frame)
        frame = frame.tb_next
    return found


def _package(frame: TracebackType) -> str:
    return str(frame.tb_frame.f_globals.get('__name__', '')).partition('.')[0]


def _is_build(frame: TracebackType) -> bool:
    caller = frame.tb_frame
    return (caller.f_globals.get('__name__'), caller.f_code.co_name) == _BUILD


def _is_raise_statement(frame: TracebackType) -> bool:
    """Whether the frame stopped at a ``raise`` statement, not at a failed operation."""
    return dis.opname[frame.tb_frame.f_code.co_code[frame.tb_lasti]] == 'RAISE_VARARGS'


def _text_of(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        text = f'{error.filename}: {error.strerror}'
    elif type(error).__str__ is KeyError.__str__ and len(error.args) == 1:
        text = str(error.args[0])  # a KeyError prints the repr of its message
    else:
        text = str(error) or type(error).__name__
    return '\n  '.join([text, *getattr(error, '__notes__', [])])
