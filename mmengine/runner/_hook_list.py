"""The hooks of a run in calling order, and for each point the methods that act there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from mmengine.config import placed
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner.priority import Priority, get_priority

if TYPE_CHECKING:
    from mmengine.hooks.run import Run
    from mmengine.runner.runner import Runner

HookConfig = Hook | dict[str, Any]
Methods = tuple[Callable[..., None], ...]

DEFAULT_HOOKS: dict[str, dict[str, Any]] = {
    'runtime_info': {'type': 'RuntimeInfoHook'},
    'timer': {'type': 'IterTimerHook'},
    'sampler_seed': {'type': 'DistSamplerSeedHook'},
    'logger': {'type': 'LoggerHook'},
    'non_finite_loss': {'type': 'NonFiniteLossHook'},
    'param_scheduler': {'type': 'ParamSchedulerHook'},
    'checkpoint': {'type': 'CheckpointHook', 'interval': 1},
}


class HookList:
    """Hooks sorted by priority; hooks with equal priority are in the order of registration.

    Which methods act at a point of an iteration is worked out once, so that calling it costs the
    comparison of two short lists, one dictionary look-up and the calls themselves. It is worked out
    anew when the list of hooks has changed, and after each point that is not of an iteration.

    Args:
        first: By point, what the run itself does before all hooks.
    """

    def __init__(self, first: Mapping[str, Callable[..., None]] | None = None) -> None:
        self.hooks: list[Hook] = []
        self.acting = _ActingMethods(self.hooks, first or {})

    def __iter__(self) -> Iterator[Hook]:
        return iter(self.hooks)

    def __len__(self) -> int:
        return len(self.hooks)

    def __getitem__(self, index: int) -> Hook:
        return self.hooks[index]

    def register(self, hook: HookConfig, priority: int | str | Priority | None = None) -> None:
        """Add ``hook``, built from its config if need be.

        Args:
            hook: A hook or its config; the config may hold ``priority``.
            priority: Overrides the config's, which overrides the class's.
        """
        if isinstance(hook, Mapping):
            config = placed(hook)
            configured = config.pop('priority', None)
            built = HOOKS.build(config)
            priority = priority if priority is not None else configured
        else:
            built = hook
        if not isinstance(built, Hook):
            raise TypeError(f'A hook is a Hook or its config, got {type(built).__name__}.')
        if priority is not None:
            # On the object, never on its class: another run may use the class at its own priority.
            built.priority = priority  # type: ignore[assignment]  # the API allows numbers and names alike
        rank = get_priority(built.priority)
        place = len(self.hooks)
        while place and get_priority(self.hooks[place - 1].priority) > rank:
            place -= 1
        self.hooks.insert(place, built)

    def begin_with(self, point: str, method: Callable[..., None]) -> None:
        """Let the run itself do ``method`` at ``point``, before all hooks."""
        self.acting.begin_with(point, method)

    def describe(self) -> str:
        """Which hooks act at which point, as text for the log."""
        acting = [(hook, set(hook.get_triggered_stages())) for hook in self.hooks]
        lines = []
        for point in Hook.stages:
            rows = [
                f'({_level_name(hook):<12}) {type(hook).__name__:<35}'
                for hook, points in acting
                if point in points
            ]
            if rows:
                lines += [f'{point}:', *rows, ' -------------------- ']
        return '\n'.join(lines)


class _ActingMethods(dict[str, Methods]):
    """For each point the bound methods that act there, in calling order, worked out when needed.

    A point of ``Hook.stages`` counts for a hook that overrides it; any other name for a hook that
    has it. Only points of an iteration are kept: at any other point, such as the beginning of an
    epoch, methods that were replaced meanwhile are found.

    Attributes:
        hooks: The hooks, a list that anybody may change.
        known: The hooks that the kept points belong to.
    """

    def __init__(self, hooks: list[Hook], first: Mapping[str, Callable[..., None]]) -> None:
        super().__init__()
        self.hooks = hooks
        self.known: list[Hook] = []
        self._first = dict(first)
        self._arranged: Callable[[str, Methods], Methods] | None = None

    def arrange(self, arranged: Callable[[str, Methods], Methods] | None) -> None:
        """From now on, call ``arranged(point, methods)`` instead of the methods themselves."""
        self._arranged = arranged
        self.clear()

    def begin_with(self, point: str, method: Callable[..., None]) -> None:
        """Let ``method`` be the first at ``point``."""
        self._first[point] = method
        self.pop(point, None)

    def __missing__(self, point: str) -> tuple[Callable[..., None], ...]:
        methods = tuple(_method_at(hook, point) for hook in self.hooks if _acts_at(hook, point))
        if point in self._first:
            methods = (self._first[point], *methods)
        if self._arranged is not None:
            methods = self._arranged(point, methods)
        if point.endswith('_iter'):
            self.known = list(self.hooks)
            self[point] = methods
        else:
            self.clear()
        return methods


def default_hooks(
    overrides: Mapping[str, Any] | None, defaults: Mapping[str, dict[str, Any]] = DEFAULT_HOOKS
) -> list[HookConfig]:
    """The default hooks with the user's changes: a config or hook replaces one, None drops it, a
    new key adds one.

    A config without ``type`` changes arguments of the default hook of that key.

    Raises:
        ValueError: If a new key comes without ``type``.
    """
    chosen: dict[str, Any] = {key: dict(config) for key, config in defaults.items()}
    for key, hook in (overrides or {}).items():
        if isinstance(hook, Mapping) and 'type' not in hook:
            if key not in defaults:
                raise ValueError(
                    f'default_hooks has {key!r}, which names no default hook '
                    f'({", ".join(defaults)}) '
                    "and says no type. Give it a 'type', or put it in custom_hooks."
                )
            hook = placed(hook, **defaults[key])
        chosen[key] = hook
    return [hook for hook in chosen.values() if hook is not None]


def _acts_at(hook: Hook, point: str) -> bool:
    if point in Hook.stages:
        if getattr(type(hook), 'get_triggered_stages', None) is Hook.get_triggered_stages:
            return hook._acts_at(point)  # looks at one point instead of all
        points = hook.get_triggered_stages()
        # A test double answers with another double, and is called at every point.
        return not isinstance(points, (list, tuple, set, frozenset)) or point in points
    if hasattr(Hook, point):
        return hook._overrides(point)
    return hasattr(hook, point)


def _method_at(hook: Hook, point: str) -> Callable[..., None]:
    """The method of ``hook`` for ``point``.

    An iteration's point that the hook inherits would only call the one that all modes share, which
    is spared here in every step.
    """
    moment, _, rest = point.partition('_')
    mode, _, unit = rest.partition('_')
    if unit == 'iter' and point in Hook.stages and not hook._overrides(point):
        shared: Callable[..., None] = getattr(hook, f'_{moment}_iter')
        return partial(shared, mode=mode)
    method: Callable[..., None] = getattr(hook, point)
    return method


def _level_name(hook: Hook) -> str:
    rank = get_priority(hook.priority)
    return next((level.name for level in Priority if level.value == rank), str(rank))


if TYPE_CHECKING:

    def _as_run(runner: Runner) -> Run:
        """A Runner has all that a hook may use."""
        return runner
