"""StepClock: divides the time of a training among the phases of its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Any

import torch

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.hooks import CheckpointHook, LoggerHook
from mmengine.model import BaseModel
from mmengine.optim.optimizer.optimizer_wrapper_dict import wrappers_of

DATA, INPUTS, FORWARD = 'data wait', 'preprocessing', 'forward'
BACKWARD, OPTIMIZER = 'backward', 'optimizer'
HOOKS, LOGS, VALIDATION = 'hooks', 'log and checkpoints', 'validation'
PHASES = (DATA, INPUTS, FORWARD, BACKWARD, OPTIMIZER, HOOKS, LOGS, VALIDATION)
_LOGGERS = ('ProgressHook', 'CurvesHook')
_POINTS = ('before_train_epoch', 'before_train_iter', 'after_train_iter', 'after_train_epoch')
# The phase that the hooks of an iteration are followed by.
_NEXT_PHASE = {'before_train_iter': FORWARD, 'after_train_iter': DATA}


class StepClock:
    """A clock that is in one phase at any time, so that the phases sum to the whole.

    Args:
        waits: Whether to wait for the device at the end of each phase: what it computes then counts
            for the phase that asked for it.

    Attributes:
        seconds: Of each phase so far.
        labels: Whether phases are announced to a profiler.
    """

    def __init__(self, waits: bool) -> None:
        self.seconds: dict[str, float] = {}
        self.labels = False
        self._waits = waits
        self._phases = [DATA]
        self._label: Any = None
        self._since = self._begun = perf_counter()

    def restart(self) -> None:
        """Forget the time so far."""
        self._tick()
        self.seconds, self._begun = {}, self._since

    def stop(self) -> tuple[dict[str, float], float]:
        """The seconds of each phase until now, and of all together by the wall clock."""
        self._tick()
        return dict(self.seconds), self._since - self._begun

    def change(self, phase: str) -> None:
        """The present phase ends and ``phase`` begins."""
        self._tick()
        self._phases[-1] = phase
        self._announce()

    def push(self, phase: str) -> None:
        """``phase`` begins within the present one."""
        self._tick()
        self._phases.append(phase)
        self._announce()

    def pop(self) -> None:
        """The outer phase goes on."""
        self._tick()
        self._phases.pop()
        self._announce()

    def close_label(self) -> None:
        """Announce no phase any more."""
        self.labels = False
        self._announce()

    def _tick(self) -> None:
        if self._waits:
            torch.cuda.synchronize()
        now = perf_counter()
        phase = self._phases[-1]
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._since
        self._since = now

    def _announce(self) -> None:
        if self._label is not None:
            self._label.__exit__(None, None, None)
            self._label = None
        if self.labels:
            self._label = torch.profiler.record_function(f'phase: {self._phases[-1]}')
            self._label.__enter__()


@contextmanager
def phases_of(runner: Any, clock: StepClock, is_compiled: bool) -> Iterator[None]:
    """Let ``clock`` follow the training steps of ``runner`` in this context.

    Args:
        runner: A runner that trains.
        clock: The clock.
        is_compiled: Whether the training step is compiled: its phases cannot be separated, and
            count as forward.
    """
    acting = runner._hooks.acting
    undo: list[Callable[[], Any]] = [partial(acting.arrange, None)]
    try:
        acting.arrange(partial(_followed, clock))
        if not is_compiled:
            _follow_model(unwrap_model(runner.model), clock, undo)
            has_own_step = _has_own_step(unwrap_model(runner.model))
            for wrapper in wrappers_of(runner.optim_wrapper):
                _follow_optimizer(wrapper, clock, has_own_step, undo)
        yield
    finally:
        for restore in undo:
            restore()


def _followed(
    clock: StepClock, point: str, methods: tuple[Callable[..., None], ...]
) -> tuple[Callable[..., None], ...]:
    """The methods of hooks at ``point``, with the changes of the phase there."""
    if point in _POINTS:
        methods = tuple(_timed_hook(clock, method) for method in methods)
    if point in _NEXT_PHASE:
        begin = partial(_at_point, clock.change, HOOKS)
        return (begin, *methods, partial(_at_point, clock.change, _NEXT_PHASE[point]))
    if point == 'before_val':
        return (partial(_at_point, clock.push, VALIDATION), *methods)
    if point == 'after_val':
        return (*methods, partial(_at_point, _popped(clock), ''))
    return methods


def _popped(clock: StepClock) -> Callable[[str], None]:
    return lambda _: clock.pop()


def _at_point(act: Callable[[str], None], phase: str, runner: Any, **arguments: Any) -> None:
    act(phase)


def _timed_hook(clock: StepClock, method: Callable[..., None]) -> Callable[..., None]:
    hook = getattr(getattr(method, 'func', method), '__self__', None)  # a partial has `func`
    logs = isinstance(hook, (LoggerHook, CheckpointHook)) or type(hook).__name__ in _LOGGERS
    return _timed(clock, LOGS if logs else HOOKS, method)


def _timed(clock: StepClock, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        clock.push(phase)
        try:
            return function(*args, **kwargs)
        finally:
            clock.pop()

    return call


def _follow_model(model: Any, clock: StepClock, undo: list[Callable[[], Any]]) -> None:
    preprocessor = getattr(model, 'data_preprocessor', None)
    if not isinstance(preprocessor, torch.nn.Module):
        return

    def enter(module: Any, args: Any) -> None:
        clock.push(INPUTS)

    def leave(module: Any, args: Any, output: Any) -> None:
        clock.pop()

    undo.append(preprocessor.register_forward_pre_hook(enter).remove)
    undo.append(preprocessor.register_forward_hook(leave, always_call=True).remove)


def _has_own_step(model: Any) -> bool:
    return getattr(type(model), 'train_step', None) is not BaseModel.train_step


def _follow_optimizer(
    wrapper: Any, clock: StepClock, has_own_step: bool, undo: list[Callable[[], Any]]
) -> None:
    names = {'update_params': OPTIMIZER, 'backward': BACKWARD}
    if has_own_step:  # which may call each of them
        names |= {'step': OPTIMIZER, 'zero_grad': OPTIMIZER}
    for name, phase in names.items():
        if name in vars(wrapper) or not hasattr(wrapper, name):
            continue
        setattr(wrapper, name, _timed(clock, phase, getattr(wrapper, name)))
        undo.append(partial(delattr, wrapper, name))
