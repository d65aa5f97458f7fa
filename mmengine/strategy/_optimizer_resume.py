"""Options of parameter groups on resume: a changed option follows the config, the state goes on."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from mmengine._checkpoint.plain import savable
from mmengine.optim.scheduler._base import same_value
from mmengine.strategy._resume_report import NOT_SET, WAY_OUT, ResumeReport
from mmengine.utils.errors import ArgumentError

Options = dict[str, Any]
_Group = dict[str, Any]

# They choose an implementation for the device of this run.
_IMPLEMENTATION = frozenset({'foreach', 'fused', 'capturable', 'differentiable'})
# Options that versions of torch added. A state without them is not from another class.
_ADDED_BY_TORCH = _IMPLEMENTATION | {'maximize', 'decoupled_weight_decay', 'amsgrad', 'nesterov'}
_SHAPED_LIKE_PARAM = ('momentum_buffer', 'exp_avg', 'exp_avg_sq', 'square_avg', 'sum', 'exp_inf')
_SCALER_SETTINGS = ('growth_factor', 'backoff_factor', 'growth_interval')


def options_of(optim_wrapper: Any) -> Options:
    """The options with which the optimizer or the optimizers were built, in plain values.

    Where a schedule has changed a value already, the initial value counts.
    """
    if hasattr(optim_wrapper, 'optim_wrappers'):
        named = optim_wrapper.optim_wrappers.items()
        return {'by_name': {name: options_of(wrapper) for name, wrapper in named}}
    optimizer = getattr(optim_wrapper, 'optimizer', None)
    groups = getattr(optimizer, 'param_groups', None)
    if not isinstance(groups, list):
        return {}
    base = getattr(optim_wrapper, 'base_param_settings', None)
    options: Options = {
        'type': type(optimizer).__name__,
        'groups': [_initial_options(group) for group in groups],
        'base': None if base is None else _initial_options(base),
    }
    scaler = getattr(optim_wrapper, 'loss_scaler', None)
    if scaler is not None and hasattr(scaler, 'state_dict'):
        options['loss_scaler'] = savable(scaler.state_dict(), unknown=str)
    return options


@dataclass(frozen=True)
class OptimizerResume:
    """What decides between the options of this run and of the checkpoint.

    Attributes:
        then: :func:`options_of` the saved run; empty if the checkpoint does not have it.
        now: The same for this run.
        choice: ``resume_request.optimizer``.
        report: Receives the differences.
        scheduled_then: Names of the values that schedules of the saved run changed, by the name of
            the optimizer; the name of a single optimizer is ``''``.
        scheduled_now: The same for this run.
        name: Name of the optimizer.
    """

    then: Options
    now: Options
    choice: str | None
    report: ResumeReport
    scheduled_then: Mapping[str, Collection[str]]
    scheduled_now: Mapping[str, Collection[str]]
    name: str = ''
    _differing: dict[str, tuple[list[Any], list[Any]]] = field(default_factory=dict)

    def fit(self, optim_wrapper: Any, saved: Mapping[str, Any]) -> dict[str, Any] | None:
        """The state to load into ``optim_wrapper``: ``saved`` with the options that win.

        None if nothing can be loaded, and ``choice`` is ``'config'``.

        Raises:
            ArgumentError: If the state is for other optimizers, groups or parameters.
        """
        wrappers = getattr(optim_wrapper, 'optim_wrappers', None)
        is_single_then = 'param_groups' in saved
        if wrappers is None:
            if not is_single_then and _is_by_name(saved):
                self._refuse('optimizers', sorted(saved), 'one optimizer')
                return None
            return self._fit_one(optim_wrapper, saved) if is_single_then else dict(saved)
        if is_single_then:
            self._refuse('optimizers', 'one optimizer', sorted(wrappers))
            return None
        if not set(saved) <= set(wrappers):
            self._refuse('optimizers', sorted(saved), sorted(wrappers))
            return None
        fitted = {}
        for name, state in saved.items():
            then, now = (each.get('by_name', {}).get(name, {}) for each in (self.then, self.now))
            one = replace(self, then=then, now=now, name=name, _differing={})
            part = one.fit(wrappers[name], state)
            if part is not None:
                fitted[name] = part
        return fitted

    def _fit_one(self, wrapper: Any, saved: Mapping[str, Any]) -> dict[str, Any] | None:
        optimizer, now = wrapper.optimizer, self.now or options_of(wrapper)
        groups, saved_groups = optimizer.param_groups, saved['param_groups']
        misfit = self._misfit(optimizer, saved)
        if misfit is not None:
            self._refuse(*misfit)
            return None
        then = self.then.get('groups', [])
        fitted = {
            **saved,
            'param_groups': [
                self._fit_group(group, old, now['groups'][i], then[i] if i < len(then) else None)
                for i, (group, old) in enumerate(zip(groups, saved_groups, strict=True))
            ],
        }
        base, saved_base = wrapper.base_param_settings, saved.get('base_param_settings')
        if base is not None and saved_base is not None:
            fitted['base_param_settings'] = self._fit_group(
                base, saved_base, now['base'], self.then.get('base')
            )
        self._fit_scaler(fitted, now.get('loss_scaler'))
        for key, (old, new) in self._differing.items():
            if not self.report.has_config_key('optim_wrapper', [key]):
                path = f'{self._path}.param_groups.{key}'
                self.report.add(path, _short(old), _short(new), 'config', 'optimizer')
        return fitted

    def base_values(
        self, optimizer: str, value: str, then: list[float], now: list[float]
    ) -> list[float]:
        """The initial values from which schedules step, for each group of one optimizer.

        Args:
            optimizer: Name of the optimizer; ``''`` for a single one.
            value: Name of the value, such as ``'lr'``.
            then: Initial values of the schedules in the checkpoint.
            now: Initial values of the schedules of this run.
        """
        if self.choice is not None:
            return now if self.choice == 'config' else then
        options_then, options_now = (
            _all_groups(each.get('by_name', {}).get(optimizer, {}) if optimizer else each)
            for each in (self.then, self.now)
        )
        if len(options_then) != len(now) or len(options_now) != len(now):
            return now  # initial values are what the configs have set
        return [
            base if same_value(_option(old, value), _option(new, value)) else wanted
            for base, wanted, old, new in zip(then, now, options_then, options_now, strict=True)
        ]

    def options_then(self, optimizer: str, value: str) -> list[Any] | None:
        """The values with which the groups of the saved run were built; None if unknown."""
        options = self.then.get('by_name', {}).get(optimizer, {}) if optimizer else self.then
        values = [_option(group, value) for group in _all_groups(options)]
        return None if not values or NOT_SET in values else values

    @property
    def _path(self) -> str:
        return f'optim_wrapper.{self.name}' if self.name else 'optim_wrapper'

    # -- does the state fit? ----------------------------------------------------------------------

    def _misfit(self, optimizer: Any, saved: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
        """The part that does not fit, then and now; None if the state fits."""
        kind, kind_then = type(optimizer).__name__, self._kind_then()
        if kind_then is not None and kind_then != kind:
            return 'class', kind_then, kind
        groups, saved_groups = optimizer.param_groups, saved['param_groups']
        if len(groups) != len(saved_groups):
            return 'number of parameter groups', len(saved_groups), len(groups)
        for i, (group, old) in enumerate(zip(groups, saved_groups, strict=True)):
            if len(group['params']) != len(old['params']):
                part = f'number of parameters in group {i}'
                return part, len(old['params']), len(group['params'])
            missing = set(optimizer.defaults) - set(old) - _ADDED_BY_TORCH
            unknown = set(old) - set(group)
            unknown = {key for key in unknown if not key.startswith('initial_')}
            if kind_then is None and missing and unknown:
                return 'options', ', '.join(sorted(set(old) - {'params'})), kind
        params = [param for group in groups for param in group['params']]
        indices = [index for group in saved_groups for index in group['params']]
        for number, (param, index) in enumerate(zip(params, indices, strict=True)):
            entry = saved['state'].get(index, {})
            for key in _SHAPED_LIKE_PARAM:
                own = getattr(param, 'ds_shape', param.shape)  # DeepSpeed splits it in place
                shape = getattr(entry.get(key), 'shape', own)
                if len(shape) == len(own) and shape != own:
                    return f'shape of {key} of parameter {number}', tuple(shape), tuple(own)
        return None

    def _kind_then(self) -> str | None:
        if self.then:
            return str(self.then['type'])
        for change in self.report.changes:
            if change.key == f'{self._path}.optimizer.type':
                return str(change.then).rpartition('.')[2]
        return None

    def _refuse(self, part: str, then: Any, now: Any) -> None:
        owner = f'optimizer {self.name!r}' if self.name else 'optimizer'
        if self.choice == 'config':
            self.report.add(
                f'{owner}: {part}', then, now, 'config; its state begins anew', 'optimizer'
            )
            return
        raise ArgumentError(
            f'The state of the {owner} does not fit. Its {part}: {then} in the checkpoint, {now} '
            f'in this run. {WAY_OUT} To keep the position and let the optimizer begin anew, resume '
            "with resume=dict(path=..., optimizer='config')."
        )

    # -- which options win? -----------------------------------------------------------------------

    def _fit_group(
        self, group: _Group, saved: _Group, now: Options, then: Options | None
    ) -> _Group:
        fitted = dict(saved)
        for key, present in group.items():
            if key == 'params' or key.startswith('initial_'):
                continue
            if key not in saved or key in _IMPLEMENTATION:
                fitted[key] = present
            elif key in self.scheduled_now.get(self.name, ()) or key not in now:
                continue  # the schedules decide
            elif self._follows(key, saved, now[key], then):
                fitted[key] = copy.deepcopy(present)
                fitted.pop(f'initial_{key}', None)
                if not same_value(_plain(saved[key]), _plain(present)):
                    old, new = self._differing.setdefault(key, ([], []))
                    old.append(_plain(saved[key]))
                    new.append(_plain(present))
        return fitted

    def _follows(self, key: str, saved: _Group, now: Any, then: Options | None) -> bool:
        """Whether the option ``key`` has the value of this run."""
        if self.choice is not None:
            return self.choice == 'config'
        if key in self.scheduled_then.get(self.name, ()):
            return True  # its schedule was removed
        if then is not None:
            return not same_value(then.get(key, NOT_SET), now)
        if self.report.config_keys is not None:
            return _config_sets(self.report, key)
        # Nothing says what the config was then: what the optimizer had is the best guess.
        return not same_value(_plain(saved.get(f'initial_{key}', saved[key])), now)

    def _fit_scaler(self, fitted: dict[str, Any], now: Options | None) -> None:
        saved = fitted.get('loss_scaler')
        if not saved or not now:
            if saved or now:
                self.report.add(
                    f'{self._path}.loss_scaler',
                    'a loss scale' if saved else 'no loss scale',
                    'a loss scale' if now else 'no loss scale',
                    'config',
                    'optimizer',
                )
            fitted.pop('loss_scaler', None)
            return
        if self.choice == 'checkpoint':
            return
        merged = {**saved, **{key: now[key] for key in _SCALER_SETTINGS if key in now}}
        then = self.then.get('loss_scaler')
        if then:
            is_changed = then.get('scale') != now.get('scale')
        else:
            is_changed = any('loss_scale' in key for key in self.report.config_keys or ())
        if is_changed or self.choice == 'config':
            merged.update(scale=now['scale'], _growth_tracker=0)
        fitted['loss_scaler'] = merged


def _all_groups(options: Options) -> list[Options]:
    if 'groups' not in options:
        return []
    return [*options['groups'], *([options['base']] if options['base'] is not None else [])]


def _option(options: Options, name: str) -> Any:
    if name == 'momentum' and name not in options and 'betas' in options:
        return options['betas'][0]
    return options.get(name, NOT_SET)


def _initial_options(group: Mapping[str, Any]) -> Options:
    options = {
        key: group.get(f'initial_{key}', value)
        for key, value in group.items()
        if key != 'params' and not key.startswith('initial_')
    }
    if 'betas' in options and 'initial_momentum' in group:
        options['betas'] = (group['initial_momentum'], *options['betas'][1:])
        options.pop('momentum', None)  # schedules of momentum set it to the first of betas
    plain: Options = savable({key: _plain(value) for key, value in options.items()}, unknown=str)
    return plain


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value


def _is_by_name(saved: Mapping[str, Any]) -> bool:
    return any(isinstance(part, Mapping) and 'param_groups' in part for part in saved.values())


def _config_sets(report: ResumeReport, key: str) -> bool:
    """Whether the configs differ in what sets the option ``key`` of parameter groups."""
    for path in report.config_keys or ():
        parts = path.split('.')
        if parts[0] == 'auto_scale_lr' and key == 'lr':
            return True
        if parts[0] != 'optim_wrapper':
            continue
        if 'paramwise_cfg' in parts or 'constructor' in parts:
            return True
        if 'optimizer' in parts and parts[-1] in (key, 'optimizer'):
            return True
    return False


def _short(values: list[Any]) -> str:
    different: list[Any] = []
    for value in values:
        if not any(same_value(value, known) for known in different):
            different.append(value)
    return ', '.join(map(repr, different[:4])) + (', ...' * (len(different) > 4))
