"""The part that all parameter schedules share: when to act, what to remember, how to convert."""

import copy
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from mmengine.logging import print_log
from mmengine.utils._given import notes_given
from mmengine.utils.errors import ArgumentError, did_you_mean

from ._checks import require_range

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from mmengine.optim.optimizer import BaseOptimWrapper

INF = int(1e9)

_Scheduler = TypeVar('_Scheduler', bound='_ParamScheduler')
_Group = dict[str, Any]


class _ParamScheduler:
    """Drive one hyper-parameter of every parameter group through a run.

    A schedule acts while ``begin <= steps taken < end``; outside it leaves the groups alone, so
    schedules follow each other or overlap freely. It starts from the value that it finds in a group
    rather than from a table, so overlapping ones multiply. Creating it takes the step at 0: the
    first training iteration already runs with the scheduled value.

    A new schedule overrides :meth:`_get_value`, and sets its own attributes *before* calling this
    constructor, since that takes the first step. Attributes are its state: they are saved in
    checkpoints, so they are plain Python values.

    Args:
        optimizer: An optimizer or an ``OptimWrapper``: whatever has ``param_groups``.
        param_name: Key of the scheduled value in the groups, such as ``'lr'`` or
            ``'weight_decay'``.
        begin: The step at which the schedule starts to act.
        end: The step from which it no longer acts.
        last_step: Index of the last step that the schedule itself took, to go on from there with an
            optimizer whose groups hold ``initial_<param_name>``; -1 starts afresh.
        by_epoch: Whether ``begin``, ``end`` and all other counts are epochs; else iterations. In a
            run, if not given, what the train loop counts.
        verbose: Log each group's value at every step.

    Raises:
        TypeError: If ``optimizer`` has no list of parameter groups.
        KeyError: If a group lacks ``param_name``, or ``initial_<param_name>`` when going on.
        ArgumentError: If ``begin`` is negative or not below ``end``.
    """

    unit: str | None = None
    """'step' or 'sample': all counts are optimizer steps or samples, whatever ``by_epoch`` says.

    A config has it as a key. Of an object, set it before the training begins.
    """

    need_val_args: bool = False
    """Whether :meth:`step` waits for the metrics of a validation."""

    _epoch_counts: ClassVar[tuple[str, ...]] = ('begin', 'end')
    _fixed_param_name: ClassVar[str | None] = None
    _not_state: ClassVar[frozenset[str]] = frozenset(
        {
            'optimizer',
            '_holds_tensors',
            '_as_built',
            '_values_as_built',
            '_learned',
            '_given',
            '_units_done',
            '_ends_with_run',
        }
    )
    _progress: ClassVar[frozenset[str]] = frozenset(
        {'base_values', 'last_step', '_global_step', '_last_value'}
    )

    # Settings that older states do not have.
    _added_settings: ClassVar[frozenset[str]] = frozenset()

    _as_built: Mapping[str, Any] = MappingProxyType({})
    _values_as_built: Sequence[float] = ()
    _units_done: Callable[[], int] | None = None
    # Whether `print_value` is overridden: then every step calls it, whatever `verbose` is.
    _prints_always: ClassVar[bool] = False
    # Whether it has a unit, and its end is the end of the run.
    _ends_with_run = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._prints_always = cls.print_value is not _ParamScheduler.print_value
        if '__init__' in vars(cls):
            cls.__init__ = notes_given(cls.__init__)  # type: ignore[method-assign]  # as it was

    @notes_given
    def __init__(
        self,
        optimizer: 'Optimizer | BaseOptimWrapper',
        param_name: str,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ) -> None:
        groups = groups_of(optimizer)
        require_range(self, 'begin', begin, 0)
        require_range(self, 'end', end, 0)
        if not begin < end:
            raise ArgumentError(
                f'{type(self).__name__} acts while begin <= step < end, so begin must be below '
                f'end, got begin={begin}, end={end}.'
            )
        self.optimizer = optimizer
        self.param_name = param_name
        self.begin = begin
        self.end = end
        self.by_epoch = by_epoch
        self.verbose = verbose
        self.base_values = _base_values(groups, param_name, going_on=last_step != -1)
        self._holds_tensors = any(isinstance(group[param_name], Tensor) for group in groups)
        self.last_step = last_step
        self._global_step = -1 if last_step == -1 else int(begin) + last_step
        self._last_value: list[float] | None = None
        self._take_first_step()
        self._note_as_built()

    def _take_first_step(self) -> None:
        self.step()

    def _get_value(self) -> Sequence[float] | None:
        """The value for every group at step ``last_step``; called only inside the window.

        ``self.optimizer.param_groups`` still holds the values of the step before. None leaves them
        as they are.
        """
        raise NotImplementedError(f'{type(self).__name__} must define _get_value().')

    def step(self) -> None:
        """Advance by one epoch (``by_epoch``) or iteration and write the new values."""
        self._global_step += 1
        self._last_value = None
        if self.begin <= self._global_step < self.end:
            self.last_step += 1
            values = self._get_value()
            if values is not None:
                self._write(values)
        if self.verbose or self._prints_always:
            self._print_values()

    def _read(self) -> list[float]:
        values = list(map(itemgetter(self.param_name), self.optimizer.param_groups))
        return [float(value) for value in values] if self._holds_tensors else values

    def _write(self, values: Sequence[float]) -> None:
        name = self.param_name
        groups = self.optimizer.param_groups
        if self._holds_tensors:
            _write_keeping_tensors(groups, name, values)
            return
        for group, value in zip(groups, values, strict=True):
            group[name] = value
        self._last_value = list(values)

    def _print_values(self) -> None:
        for index, value in enumerate(self.get_last_value()):
            self.print_value(self.verbose, index, value)

    def print_value(self, is_verbose: bool, group: int, value: float) -> None:
        """Log the value of one parameter group, if ``is_verbose``."""
        if is_verbose:
            print_log(
                f'{self.param_name} of parameter group {group}: {value:.4e}', logger='current'
            )

    def get_last_value(self) -> list[float]:
        """The value that this schedule last gave to every parameter group.

        Where its last step left the groups alone, these are the values that they hold now.
        """
        return self._read() if self._last_value is None else self._last_value

    def _note_as_built(self) -> None:
        """Keep the state and the groups' values right after building.

        A resumed run whose config has changed steps from these values, and tells by them what the
        schedule has learned from what its config says.
        """
        self._values_as_built = self._read()
        self._as_built = {
            key: copy.deepcopy(value) if isinstance(value, (list, dict, set)) else value
            for key, value in self._state().items()
        }

    def _restart_from(self, base_values: Sequence[float]) -> None:
        """Take the first step again, from other initial values, which the groups hold already.

        Schedules of the same value restart in the order in which they were built.
        """
        vars(self).update(copy.deepcopy(dict(self._as_built)))
        self.base_values = list(base_values)
        self.last_step = self._global_step = -1
        self._last_value = None
        self._take_first_step()
        self._note_as_built()

    def _rewind(self) -> None:
        """Return to the state right after building, in which a new schedule is already."""
        self._rewind_groups()
        if self._global_step != self._as_built['_global_step']:
            vars(self).update(copy.deepcopy(dict(self._as_built)))

    def _rewind_groups(self) -> None:
        """Write the values that the groups had when this schedule was built."""
        name = self.param_name
        groups = self.optimizer.param_groups
        for group, base, value in zip(groups, self.base_values, self._values_as_built, strict=True):
            group[f'initial_{name}'] = base
            held = group.get(name)
            if isinstance(held, Tensor):
                held.fill_(value)
            else:
                group[name] = value

    @property
    def _spans_window(self) -> bool:
        """Whether the values depend on how long the window is."""
        window = self.end - self.begin
        span = getattr(self, 'total_iters', getattr(self, 'T_max', None))
        return span in (window, window - 1)

    def _state(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in self._not_state}

    def state_dict(self) -> dict[str, Any]:
        """The attributes except the optimizer, as plain Python values.

        ``_learned`` names the attributes that have changed since the schedule was built, beside the
        counts and values that every schedule has.
        """
        state = self._state()
        learned = [
            key
            for key, value in state.items()
            if key not in self._progress
            and not (key in self._as_built and same_value(value, self._as_built[key]))
        ]
        return state | {'_last_value': self.get_last_value(), '_learned': sorted(learned)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state of a schedule. The optimizer restores the values in its groups.

        Args:
            state_dict: What :meth:`state_dict` of a schedule of the same class returned.

        Raises:
            ArgumentError: If it was saved for another number of parameter groups.
        """
        saved = state_dict.get('base_values')
        num_groups = len(self.optimizer.param_groups)
        if saved is not None and len(saved) != num_groups:
            raise ArgumentError(
                f'The state of this {type(self).__name__} was saved for {len(saved)} parameter '
                f'groups, but the optimizer now has {num_groups}. Build the optimizer with the '
                'same parameter options as then.'
            )
        vars(self).update(
            {key: value for key, value in state_dict.items() if key not in self._not_state}
        )

    @classmethod
    def build_iter_from_epoch(
        cls: type[_Scheduler],
        *args: Any,
        begin: float = 0,
        end: float = INF,
        by_epoch: bool = True,
        epoch_length: int | None = None,
        **kwargs: Any,
    ) -> _Scheduler:
        """Build a schedule that steps every iteration from numbers written in epochs.

        ``begin``, ``end`` and the class's own counts (``T_max``, ``milestones``, ``periods``,
        ``step_size``, ``total_steps``) are multiplied by ``epoch_length``; fractions of an epoch
        are welcome. An ``end`` that was left open stays open.

        Args:
            *args: Positional arguments of the constructor, none of them a count of epochs.
            begin: First epoch of the window.
            end: The epoch that ends the window.
            by_epoch: Must be True: the numbers are epochs.
            epoch_length: Iterations in an epoch, ``len(dataloader)``.
            **kwargs: Further arguments of the constructor.

        Raises:
            ArgumentError: If ``by_epoch`` is False or ``epoch_length`` is not positive.
            TypeError: If a count of epochs came by position.
        """
        if not by_epoch:
            raise ArgumentError(
                f'{cls.__name__} with by_epoch=False counts iterations already. '
                'Drop convert_to_iter_based, or set by_epoch=True.'
            )
        if not isinstance(epoch_length, Real) or epoch_length <= 0:
            raise ArgumentError(
                f'Converting {cls.__name__} from epochs to iterations needs a positive '
                f'epoch_length, got {epoch_length!r}. Pass epoch_length=len(dataloader).'
            )
        _refuse_positional_counts(cls, len(args))
        counts = {'begin': begin, 'end': end} | {
            name: kwargs.pop(name) for name in cls._epoch_counts if name in kwargs
        }
        iterations = {name: to_iterations(count, epoch_length) for name, count in counts.items()}
        return cls(*args, by_epoch=False, **iterations, **kwargs)


def groups_of(optimizer: Any) -> list[_Group]:
    """The optimizer's parameter groups, or an error that names the type that was passed."""
    groups = getattr(optimizer, 'param_groups', None)
    if isinstance(groups, list):
        return groups
    hint = (
        'A dict of wrappers needs one schedule for each: give it one of its values.'
        if isinstance(groups, dict)
        else 'Pass a torch optimizer or an OptimWrapper.'
    )
    raise TypeError(
        f'A parameter scheduler needs an optimizer with a list of param_groups, got '
        f'{type(optimizer).__name__}. {hint}'
    )


def same_value(one: Any, other: Any) -> bool:
    """Whether two attributes of schedules are equal; lists and tuples of equal values are."""
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same_value, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_value(one[key], other[key]) for key in one)
    return bool(one == other)


def _write_keeping_tensors(groups: list[_Group], name: str, values: Sequence[Any]) -> None:
    # A compiled or captured optimizer step reads its learning rate from the tensor it was compiled
    # with. A new tensor would have no effect.
    for group, value in zip(groups, values, strict=True):
        held = group[name]
        if isinstance(held, Tensor):
            held.fill_(value)
        else:
            group[name] = float(value)


def _base_values(groups: list[_Group], param_name: str, *, going_on: bool) -> list[float]:
    initial = f'initial_{param_name}'
    for index, group in enumerate(groups):
        if group.get(param_name) is None:
            known = [key for key in group if key not in ('params', param_name)]
            raise KeyError(
                f'Parameter group {index} has no {param_name!r} to schedule.'
                f'{did_you_mean(param_name, known)} It has: {", ".join(known)}.'
            )
        if going_on and initial not in group:
            raise KeyError(
                f'Parameter group {index} has no {initial!r}, which a schedule that goes on '
                '(last_step is not -1) starts from. Load the optimizer state first, or start with '
                'last_step=-1.'
            )
        if not going_on:
            value = group[param_name]
            group.setdefault(initial, float(value) if isinstance(value, Tensor) else value)
    return [group[initial] for group in groups]


def to_iterations(epochs: Any, epoch_length: float) -> Any:
    """Epochs, or each of a list of them, as whole iterations; a started iteration is not counted.

    None and an open end stay as they are. 0.29 of an epoch of 100 iterations is 29, although the
    product of the two floats is 28.999999999999996.
    """
    if epochs is None or epochs == INF:
        return epochs
    if isinstance(epochs, Sequence):
        return [to_iterations(count, epoch_length) for count in epochs]
    iterations = epochs * epoch_length
    nearest = round(iterations)
    # The float and the product are each rounded to 53 bits.
    is_whole = math.isclose(iterations, nearest, rel_tol=2**-50)
    return nearest if is_whole else math.floor(iterations)


def _refuse_positional_counts(cls: type[_ParamScheduler], num_given: int) -> None:
    schedule = next(
        owner
        for owner in cls.__mro__
        if '__init__' in vars(owner) and 'param_name' in inspect.signature(owner).parameters
    )
    names = [
        name
        for name in inspect.signature(schedule).parameters
        if name != 'param_name' or cls._fixed_param_name is None
    ]
    counts = [name for name in names[:num_given] if name in cls._epoch_counts]
    if counts:
        raise TypeError(
            f'{cls.__name__}.build_iter_from_epoch converts {", ".join(counts)}: '
            f'pass {"it" if len(counts) == 1 else "them"} by keyword.'
        )
