"""Checks a ``dict(type=..., ...)``: its type exists, and its arguments fit the signature."""

from __future__ import annotations

import copy
import difflib
import inspect
import warnings
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.config.lazy import LazyAttr, LazyObject
from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    METRICS,
    MODELS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TRANSFORMS,
    VISBACKENDS,
    WEIGHT_INITIALIZERS,
    DefaultScope,
    Registry,
)
from mmengine.registry._diagnosis import unknown_type
from mmengine.registry._errors import name_of
from mmengine.registry._signature import Taken, taken_by
from mmengine.registry.default_scope import current_scope_name
from mmengine.registry.registry import ALL_REGISTRIES
from mmengine.runner._check.mistakes import REGISTERED_BY_IMPORT, Findings
from mmengine.runner._config_facts import KEYS_OF_BUILDERS
from mmengine.runner._values import misfits
from mmengine.utils import ManagerMixin
from mmengine.utils.errors import did_you_mean, short_form

_LAZY = (LazyObject, LazyAttr)
_OF_REGISTRY = ('type', '_scope_')
# What builds the parts in an argument of this name.
BY_KEY: dict[str, Registry[Any]] = {
    'pipeline': TRANSFORMS,
    'transforms': TRANSFORMS,
    'init_cfg': WEIGHT_INITIALIZERS,
    'dataset': DATASETS,
    'datasets': DATASETS,
    'sampler': DATA_SAMPLERS,
    'batch_sampler': DATA_SAMPLERS,
    'optimizer': OPTIMIZERS,
    'metrics': METRICS,
    'vis_backends': VISBACKENDS,
    'data_preprocessor': MODELS,
    'model': MODELS,
}
# How similar a name must be to be a misspelling where other names may have a meaning.
_CLEARLY_NEAR = 0.75
_MIN_LETTERS = 5
# A longer list has annotations, not parts of a model.
_MAX_ITEMS = 1000


def raw_items(node: Mapping[Any, Any] | Config) -> Iterator[tuple[Any, Any]]:
    """The entries of a config, lazy values as they are."""
    plain = node._cfg_dict if isinstance(node, Config) else node
    yield from dict.items(plain) if isinstance(plain, dict) else plain.items()


def raw_get(node: Mapping[Any, Any] | Config, key: str) -> Any:
    """The entry ``key`` of a config, or None."""
    return next((value for name, value in raw_items(node) if name == key), None)


def is_described(value: Any) -> bool:
    """Whether ``value`` is a dict that names a type."""
    return isinstance(value, Mapping) and (
        isinstance(raw_get(value, 'type'), (str, *_LAZY)) or callable(raw_get(value, 'type'))
    )


class Parts:
    """Checks single parts of a config, and the parts within them.

    Args:
        findings: Where mistakes go.

    Attributes:
        found: The parts so far by path: each config, and the class or function that it names.
    """

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self.found: dict[str, tuple[Mapping[Any, Any], Any]] = {}

    def check(
        self,
        part: Any,
        path: str,
        registry: Registry[Any],
        *,
        default_type: str | None = None,
        given: Collection[str] = (),
        extra: Collection[str] = (),
        skip: Collection[str] = (),
        is_exact: bool = True,
    ) -> Any:
        """Check one part; objects are taken as they are.

        Args:
            part: A config.
            path: Its path.
            registry: What builds it.
            default_type: Its type if it has none.
            given: Arguments that the builder adds.
            extra: Keys that the builder takes out.
            skip: Arguments that contain no parts.
            is_exact: Whether all other keys are arguments. Otherwise a project may take some out,
                and only a misspelt one is a mistake.

        Returns:
            The class or function; None if there is none.
        """
        if not isinstance(part, Mapping):
            self._check_object(part, path, registry)
            return None
        with DefaultScope.overwrite_default_scope(raw_get(part, '_scope_')):
            component = self._component(part, path, registry, default_type)
            if component is None:
                return None
            self.found[path] = (part, component)
            if isinstance(component, type) and issubclass(component, ManagerMixin):
                extra = (*extra, 'name')
            taken = taken_by(component)
            self._check_arguments(part, path, component, taken, {*given}, {*extra}, is_exact)
            self._check_values(part, path, component, taken, registry)
            for key, value in raw_items(part):
                if key not in _OF_REGISTRY and key not in skip:
                    self._check_within(value, f'{path}.{key}', str(key), registry)
        return component

    def _check_object(self, part: Any, path: str, registry: Registry[Any]) -> None:
        """Check that what has no type to build is an object, not its name or its class."""
        try:
            is_class = isinstance(part, _LAZY) and isinstance(part.build(), type)
        except ImportError as error:
            self._findings.add(path, f'{part!r} cannot be imported: {str(error).rstrip(".")}.')
            return
        if not (is_class or isinstance(part, (str, bool, int, float, list, tuple, type))):
            return
        name = part if isinstance(part, str) else getattr(part, '__name__', part)
        hint = f' Write dict(type={name!r}).' if is_class or isinstance(part, (str, type)) else ''
        got = f'the class {name!r}' if is_class else short_form(part)
        article = 'an' if registry.name[0] in 'aeiou' else 'a'
        message = f'{article} {registry.name} is a dict with a type, or an object; got {got}.{hint}'
        self._findings.add_once(path, message)

    def resolve(self, kind: Any, registry: Registry[Any]) -> Any:
        """The class or function that ``kind`` names in ``registry`` or is; None if there is none.

        Raises:
            ImportError: If the module that it names cannot be imported.
        """
        if isinstance(kind, _LAZY):
            return kind.build()
        if not isinstance(kind, str):
            return kind if callable(kind) else None
        start = registry._lookup_start(current_scope_name())
        found = start.get(kind)
        if found is None and start is not registry:
            found = registry.get(kind)
        return found if callable(found) else None

    def _component(
        self, part: Mapping[Any, Any], path: str, registry: Registry[Any], default_type: str | None
    ) -> Any:
        kind = raw_get(part, 'type')
        if kind is None:
            kind = default_type
        if kind is None:
            keys = [str(key) for key, _ in raw_items(part)]
            self._findings.add(
                path,
                f'the key "type" is missing, which says what to build; there are {keys}.'
                f'{did_you_mean("type", keys)}',
            )
            return None
        try:
            found = self.resolve(kind, registry)
        except ImportError as error:
            self._findings.add(
                path, f'type {kind!r} cannot be imported: {str(error).rstrip(".")}.', key='type'
            )
            return None
        if found is None:
            self._add_unknown(kind, path, registry)
        return found

    def _add_unknown(self, kind: Any, path: str, registry: Registry[Any]) -> None:
        if not isinstance(kind, str):
            message, advice = f'type is a name, a class or a function, got {kind!r}.', ''
        else:
            start = registry._lookup_start(current_scope_name())
            # Without the place, which the list of mistakes has in front.
            text = str(unknown_type(kind, start, {'type': kind}, 'type'))
            message, advice = text.rpartition('\n')[0], REGISTERED_BY_IMPORT
        self._findings.add(path, message, key='type', advice=advice)

    def _check_arguments(
        self,
        part: Mapping[Any, Any],
        path: str,
        component: Any,
        taken: Taken,
        given: set[str],
        extra: set[str],
        is_exact: bool,
    ) -> None:
        parameters, takes_any = taken
        keys = [str(key) for key, _ in raw_items(part) if key not in _OF_REGISTRY]
        free = [name for name in parameters if name not in keys and name not in given]
        title = getattr(component, '__name__', name_of(component))
        wrong = [] if takes_any else [k for k in keys if k not in parameters and k not in extra]
        for key in wrong:
            near = nearest(key, free) or (nearest(key, parameters) if is_exact else None)
            if near is None and not is_exact:
                continue
            hint = f'Did you mean {near!r}?' if near else f'It takes {", ".join(free) or "none"}.'
            self._findings.add(path, f'{title} has no argument {key!r}. {hint}', key=key)
            if near in free:
                free.remove(near)
        if not is_exact:
            return
        for name in free:
            parameter = parameters[name]
            is_misspelt = takes_any and nearest(name, [k for k in keys if k not in parameters])
            if parameter.default is inspect.Parameter.empty:
                hint = f' Is it misspelt as {is_misspelt!r}?' if is_misspelt else ''
                self._findings.add(path, f'{title} needs the argument {name!r}.{hint}')

    def _check_values(
        self,
        part: Mapping[Any, Any],
        path: str,
        component: Any,
        taken: Taken,
        registry: Registry[Any],
    ) -> None:
        """Check the kinds of values; the annotations of other packages may be incomplete."""
        known = {**KEYS_OF_BUILDERS.get(registry.name, {}), **taken.parameters}
        is_exact = is_of(component, 'mmengine', 'torch.optim')
        takes_fractions = registry is PARAM_SCHEDULERS  # of an epoch
        for found in misfits(
            path, part, known, *_OF_REGISTRY, is_exact=is_exact, takes_fractions=takes_fractions
        ):
            self._findings.add_once(path, found.message, key=found.key)

    def _check_within(self, value: Any, path: str, key: str, registry: Registry[Any]) -> None:
        """Check the parts within an argument, which the code of the component builds."""
        if isinstance(value, (list, tuple)) and len(value) <= _MAX_ITEMS:
            for index, item in enumerate(value):
                self._check_within(item, f'{path}.{index}', key, registry)
        elif is_described(value):
            self._check_nested(value, path, BY_KEY.get(key, registry))
        elif isinstance(value, Mapping):
            for name, item in raw_items(value):
                self._check_within(item, f'{path}.{name}', str(name), registry)

    def _check_nested(self, part: Mapping[Any, Any], path: str, registry: Registry[Any]) -> None:
        kind = raw_get(part, 'type')
        try:
            found = self.resolve(kind, registry)
        except ImportError as error:
            message = f'type {kind!r} cannot be imported: {str(error).rstrip(".")}.'
            self._findings.add(path, message, key='type', is_certain=False)
            return
        if found is not None:
            self.check(part, path, registry, is_exact=False)
            return
        name = kind.rpartition('.')[2]
        other = next((each for each in ALL_REGISTRIES if name in each.module_dict), None)
        if other is not None:
            self.check({**dict(raw_items(part)), 'type': other.module_dict[name]}, path, other,
                       is_exact=False)  # fmt: skip
            return
        known = {name for node in _tree(registry) for name in node.module_dict}
        near = nearest(kind, [name for name in known if name.lower() != kind.lower()])
        if near is not None and len(kind) >= _MIN_LETTERS:
            message = f'type {kind!r} is not known. Did you mean {near!r}?'
            self._findings.add(path, message, key='type', advice=REGISTERED_BY_IMPORT)
        else:
            self._findings.add(
                path, f'type {kind!r} is in no registry.', key='type', is_certain=False
            )

    def construct(self, part: Mapping[Any, Any], path: str, component: Any, **given: Any) -> Any:
        """Build a small part of this package to hear what it says about its values.

        Args:
            part: Its config. Nothing is built if it has mistakes already.
            path: Its path.
            component: Its class.
            given: More arguments, and keys of ``part`` to replace; ``...`` leaves a key out.
        """
        if any(mistake.path == path for mistake in self._findings.mistakes):
            return None
        arguments = {str(key): value for key, value in raw_items(part) if key not in _OF_REGISTRY}
        arguments.update(given)
        arguments = {key: value for key, value in arguments.items() if value is not ...}
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            try:
                return component(**copy.deepcopy(arguments))
            except (ValueError, TypeError, KeyError) as error:
                text = str(error.args[0]) if isinstance(error, KeyError) and error.args else error
                title = getattr(component, '__name__', name_of(component))
                message = str(text) if str(text).startswith(title) else f'{title}: {text}'
                self._findings.add(path, message, key=_key_in(str(text), arguments))
        return None


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name of which ``name`` is clearly a misspelling, or None."""
    by_folded = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_folded, n=1, cutoff=_CLEARLY_NEAR)
    return by_folded[near[0]] if near else None


def is_of(component: Any, *packages: str) -> bool:
    """Whether a class or function is defined in one of these packages."""
    module = f'{getattr(component, "__module__", "")}.'
    return any(module.startswith(f'{package}.') for package in packages)


def _key_in(text: str, arguments: Mapping[str, Any]) -> str:
    """The argument that a message is about, for its line."""
    return next((key for key in arguments if key in text), '')


def _tree(registry: Registry[Any]) -> Iterator[Registry[Any]]:
    pending = [registry.root]
    while pending:
        node = pending.pop()
        yield node
        pending.extend(node.children.values())
